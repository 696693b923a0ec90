/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pages.h. */
#include "config.h"

#include "pages.h"

#include <string.h>
#include <sys/mman.h>

#include "model.h"

static size_t count(const struct pages *p)
{
	return (p->size + BLOCK - 1) / BLOCK;
}

static void *map(size_t n)
{
	void *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

int pages_new(uint64_t size, struct pages *ret)
{
	struct pages p = {.size = size};

	p.at = map(count(&p) * sizeof(*p.at));
	p.own = map(count(&p) * BLOCK);
	if (!p.at || !p.own) {
		pages_free(&p);
		return -1;
	}
	*ret = p;
	return 0;
}

void pages_free(struct pages *p)
{
	if (p->at)
		munmap(p->at, count(p) * sizeof(*p->at));
	if (p->own)
		munmap(p->own, count(p) * BLOCK);
	*p = (struct pages){0};
}

void pages_clear(struct pages *p)
{
	memset(p->at, 0, count(p) * sizeof(*p->at));
}

/* The part of [@offset, @offset + @n) that lies in one block */
static size_t part(uint64_t offset, size_t n)
{
	size_t rest = BLOCK - offset % BLOCK;

	return n < rest ? n : rest;
}

static size_t cut(const struct pages *p, uint64_t offset, size_t n)
{
	if (offset >= p->size)
		return 0;
	return n < p->size - offset ? n : (size_t)(p->size - offset);
}

void pages_read(const struct pages *p, uint64_t offset, size_t n, void *ret)
{
	char *to = ret;
	size_t k;

	for (n = cut(p, offset, n); n; n -= k, offset += k, to += k) {
		const unsigned char *from = p->at[offset / BLOCK];

		k = part(offset, n);
		if (from)
			memcpy(to, from + offset % BLOCK, k);
		else
			memset(to, 0, k);
	}
}

static unsigned char *own_block(struct pages *p, size_t i, size_t n)
{
	unsigned char *own = p->own + i * BLOCK;

	if (p->at[i] == own)
		return own;
	if (n == BLOCK)
		; /* all of it is about to be written */
	else if (p->at[i])
		memcpy(own, p->at[i], BLOCK);
	else
		memset(own, 0, BLOCK);
	p->at[i] = own;
	return own;
}

void pages_write(struct pages *p, uint64_t offset, size_t n, const void *data)
{
	const char *from = data;
	size_t k;

	for (n = cut(p, offset, n); n; n -= k, offset += k, from += k) {
		k = part(offset, n);
		memcpy(own_block(p, offset / BLOCK, k) + offset % BLOCK, from, k);
	}
}

void pages_zero(struct pages *p, uint64_t offset, size_t n)
{
	size_t k;

	for (n = cut(p, offset, n); n; n -= k, offset += k) {
		k = part(offset, n);
		if (k == BLOCK)
			p->at[offset / BLOCK] = NULL;
		else
			memset(own_block(p, offset / BLOCK, k) + offset % BLOCK, 0, k);
	}
}

void pages_refer(struct pages *p, uint64_t offset, size_t n, const void *data)
{
	const unsigned char *from = data;
	size_t k;

	for (n = cut(p, offset, n); n; n -= k, offset += k, from += k) {
		k = part(offset, n);
		if (k == BLOCK)
			p->at[offset / BLOCK] = from;
		else
			pages_write(p, offset, k, from);
	}
}
