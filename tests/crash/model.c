/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See model.h. */
#include "config.h"

#include "model.h"

#include <stdio.h>
#include <string.h>

#include "random.h"

#define LARGEST ((size_t)MODEL_BLOCKS * BLOCK)

struct block_head {
	char magic[8];
	uint32_t id;
	uint32_t block;
	uint64_t version;
	uint64_t checksum;
};

static size_t blocks_of(size_t size)
{
	return (size + BLOCK - 1) / BLOCK;
}

/* Small ones most of the time, and every second one with a part of a block at its end. */
static size_t some_size(uint64_t *random)
{
	size_t size = (size_t)1 << (10 + random_below(random, 11));

	size += random_below(random, size);
	if (size > LARGEST)
		size = LARGEST;
	if (random_percent(random, 50))
		size = blocks_of(size) * BLOCK;
	return size;
}

static void resize(struct model *m, size_t size)
{
	size_t n = blocks_of(size);

	for (size_t i = n; i < MODEL_BLOCKS; i++)
		m->blocks[i] = (struct model_block){0};
	m->size = size;
	if (n && m->blocks[n - 1].length > size - (n - 1) * BLOCK)
		m->blocks[n - 1].length = size - (n - 1) * BLOCK;
}

static void write_block(struct model *m, size_t i)
{
	size_t end = m->size - i * BLOCK;

	m->blocks[i] = (struct model_block){m->version, end < BLOCK ? end : BLOCK};
}

static void write_some(struct model *m, uint64_t *random, size_t count)
{
	size_t n = blocks_of(m->size);

	/* One for certain, so that no two versions have the same bytes. */
	for (size_t i = 0; n && i < (count ? count : 1); i++)
		write_block(m, random_below(random, n));
}

/*
 * Blocks that do not touch each other, the same ones each time, and about as many as
 * extents fit into an inode: recovery of the log has to be able to finish exchanges of those.
 */
static void write_apart(struct model *m, uint64_t *random)
{
	size_t n = blocks_of(m->size), count = 8 + random_below(random, 20);

	for (size_t i = 0; i < count && 2 * i < n; i++)
		write_block(m, 2 * i);
}

static void write_all(struct model *m)
{
	for (size_t i = 0; i < blocks_of(m->size); i++)
		write_block(m, i);
}

static void step_scattered(struct model *m, uint64_t *random)
{
	/* Every other block, so that there are as many extents as there can be. */
	for (size_t i = random_below(random, 2); i < MODEL_BLOCKS; i += 2)
		write_block(m, i);
}

static void step(struct model *m, uint64_t *random)
{
	size_t n = blocks_of(m->size);
	unsigned act = (unsigned)random_below(random, 100);

	if (m->version == 1 || !m->size || act < 15) {
		resize(m, some_size(random));
		write_all(m);
	} else if (act < 35) {
		write_some(m, random, 1);
	} else if (act < 50) {
		write_apart(m, random);
	} else if (act < 65) {
		write_some(m, random, random_below(random, n / 2 + 1));
	} else if (act < 75) {
		write_all(m);
	} else if (act < 87) {
		size_t more = m->size + some_size(random);

		resize(m, more < LARGEST ? more : LARGEST);
		write_some(m, random, random_below(random, n + 1));
	} else if (act < 98) {
		resize(m, m->size - random_below(random, m->size));
		write_some(m, random, random_below(random, 4));
	} else {
		resize(m, 0);
	}
}

void model_begin(struct model *m, uint64_t seed, uint32_t id, enum shape shape)
{
	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->id = id;
	m->shape = shape;
}

void model_step(struct model *m)
{
	uint64_t random = random_mix(random_mix(m->seed, m->id), ++m->version);

	if (m->shape == SHAPE_ANY) {
		step(m, &random);
	} else if (m->version == 1) {
		resize(m, LARGEST);
		write_all(m);
	} else if (m->shape == SHAPE_SCATTERED) {
		step_scattered(m, &random);
	} else {
		write_some(m, &random, 1 + random_below(&random, 60));
	}
}

void model_go(struct model *m, uint64_t version)
{
	while (m->version < version)
		model_step(m);
}

static uint64_t sum(const uint64_t *words, size_t n)
{
	uint64_t h = 0;

	for (size_t i = 0; i < n; i++)
		h = (h ^ words[i]) * 0x100000001b3;
	return h;
}

union block {
	struct block_head head;
	uint64_t words[BLOCK / 8];
	unsigned char bytes[BLOCK];
};

static void fill(const struct model *m, size_t i, union block *ret)
{
	const struct model_block *b = &m->blocks[i];
	uint64_t random = random_mix(m->seed ^ m->id, (b->version << 16) + i);

	memset(ret, 0, sizeof(*ret));
	if (!b->version)
		return;
	for (size_t k = 0; k < BLOCK / 8; k++)
		ret->words[k] = random_next(&random);
	ret->head = (struct block_head){.magic = MODEL_MAGIC, .id = m->id, .block = (uint32_t)i, .version = b->version};
	ret->head.checksum = sum(ret->words, BLOCK / 8);
	memset(ret->bytes + b->length, 0, BLOCK - b->length);
}

static size_t bytes_of_block(size_t size, size_t i)
{
	return size - i * BLOCK < BLOCK ? size - i * BLOCK : BLOCK;
}

void model_store(const struct model *m, void *data)
{
	union block b;

	for (size_t i = 0; i < blocks_of(m->size); i++) {
		if (m->blocks[i].version != m->version)
			continue;
		fill(m, i, &b);
		memcpy((char *)data + i * BLOCK, &b, bytes_of_block(m->size, i));
	}
}

bool model_is(const struct model *m, const void *data, size_t size)
{
	union block b;

	if (size != m->size)
		return false;
	/* First what tells most versions apart. */
	for (size_t i = 0; i < blocks_of(size); i++) {
		const struct block_head *head = (const void *)((const char *)data + i * BLOCK);
		uint64_t version;

		if (m->blocks[i].length < sizeof(*head))
			continue;
		memcpy(&version, &head->version, sizeof(version));
		if (version != m->blocks[i].version)
			return false;
	}
	for (size_t i = 0; i < blocks_of(size); i++) {
		fill(m, i, &b);
		if (memcmp((const char *)data + i * BLOCK, &b, bytes_of_block(size, i)))
			return false;
	}
	return true;
}

void model_differ(const struct model *m, const void *data, size_t size, char *ret, size_t capacity)
{
	size_t common = size < m->size ? size : m->size;
	union block b;

	for (size_t i = 0; i < blocks_of(common); i++) {
		const unsigned char *found = (const unsigned char *)data + i * BLOCK;

		fill(m, i, &b);
		for (size_t k = 0; k < bytes_of_block(common, i); k++) {
			if (found[k] == b.bytes[k])
				continue;
			snprintf(ret, capacity, "of %zu bytes, from byte %zu of block %zu (version %llu, %zu bytes)",
				 m->size, k, i, (unsigned long long)m->blocks[i].version, m->blocks[i].length);
			return;
		}
	}
	snprintf(ret, capacity, "of %zu bytes", m->size);
}

int64_t model_find(const struct model *m, uint64_t newest, const void *data, size_t size)
{
	struct model walk;
	int64_t found = -1;

	model_begin(&walk, m->seed, m->id, m->shape);
	while (walk.version < newest) {
		model_step(&walk);
		if (model_is(&walk, data, size))
			found = (int64_t)walk.version;
	}
	return found;
}

void model_describe(const void *data, size_t size, char *ret, size_t capacity)
{
	size_t n = (size_t)snprintf(ret, capacity, "%zu bytes, blocks of versions", size);
	uint64_t last = UINT64_MAX;

	for (size_t i = 0; i < blocks_of(size) && n + 24 < capacity; i++) {
		struct block_head head = {.version = 0};

		memcpy(&head, (const char *)data + i * BLOCK, size - i * BLOCK < sizeof(head) ? 0 : sizeof(head));
		if (memcmp(head.magic, MODEL_MAGIC, sizeof(head.magic)))
			head.version = 0;
		if (head.version != last)
			n += (size_t)snprintf(ret + n, capacity - n, " %zu:%llu", i, (unsigned long long)head.version);
		last = head.version;
	}
}
