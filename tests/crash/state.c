/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See state.h. */
#include "config.h"

#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "random.h"

#define SECTOR ((size_t)512)

const char *mode_name(enum mode mode)
{
	static const char *const names[] = {"all in order", "nothing since the flush", "some writes",
					    "parts of writes"};

	return names[mode];
}

static enum mode some_mode(uint64_t *random)
{
	unsigned n = (unsigned)random_below(random, 100);

	return n < 25 ? MODE_ALL : n < 40 ? MODE_NOTHING : n < 70 ? MODE_SUBSET : MODE_TORN;
}

void state_choose(const struct record *r, uint64_t seed, struct state *ret)
{
	uint64_t random = seed;
	struct state s = {.seed = seed};

	s.cut = r->start + 1 + random_below(&random, r->end - r->start);
	s.mode = some_mode(&random);
	for (s.flush = s.cut; s.flush && r->events[s.flush - 1].kind != EVENT_FLUSH;)
		s.flush--;
	*ret = s;
}

static void apply(const struct event *e, struct pages *p)
{
	if (e->kind == EVENT_WRITE)
		pages_refer(p, e->offset, e->length, e->data);
	if (e->kind == EVENT_ZERO)
		pages_zero(p, e->offset, e->length);
}

static void apply_part(const struct event *e, size_t from, size_t n, struct pages *p)
{
	if (e->kind == EVENT_WRITE)
		pages_refer(p, e->offset + from, n, (const char *)e->data + from);
	else
		pages_zero(p, e->offset + from, n);
}

/*
 * Disks write sectors of 512 bytes whole, and file systems count on more than that for
 * some of their own blocks (superblocks above all). So only a block of file data is torn
 * within: those can be told by what the model puts there.
 */
static bool is_file_data(const struct event *e, size_t at, size_t n)
{
	/* A strategy that writes files of its own adds what their blocks begin with, 8 bytes. */
	static const char *const magics[] = {MODEL_MAGIC, "minifs\r\n"};

	for (size_t i = 0; e->kind == EVENT_WRITE && n == BLOCK && i < sizeof(magics) / sizeof(magics[0]); i++)
		if (!memcmp((const char *)e->data + at, magics[i], 8))
			return true;
	return false;
}

static void apply_torn_block(const struct event *e, size_t at, size_t n, unsigned percent, uint64_t *random,
			     struct pages *p)
{
	if (!is_file_data(e, at, n) || random_percent(random, 70)) {
		if (random_percent(random, percent))
			apply_part(e, at, n, p);
		return;
	}
	for (size_t k = 0; k < n; k += SECTOR)
		if (random_percent(random, percent))
			apply_part(e, at + k, SECTOR, p);
}

static void apply_torn(const struct event *e, unsigned percent, uint64_t *random, struct pages *p)
{
	size_t n;

	if (e->kind != EVENT_WRITE && e->kind != EVENT_ZERO)
		return;
	for (size_t at = 0; at < e->length; at += n) {
		n = BLOCK - (e->offset + at) % BLOCK;
		if (n > e->length - at)
			n = e->length - at;
		apply_torn_block(e, at, n, percent, random, p);
	}
}

static void shuffle(size_t *order, size_t n, uint64_t *random)
{
	for (size_t i = n; i > 1; i--) {
		size_t other = random_below(random, i), kept = order[i - 1];

		order[i - 1] = order[other];
		order[other] = kept;
	}
}

/* Chances of a write to have reached the disk: nearly all, nearly none, any. */
static unsigned some_percent(uint64_t *random)
{
	static const unsigned chances[] = {5, 30, 50, 70, 95};

	return chances[random_below(random, sizeof(chances) / sizeof(chances[0]))];
}

static void apply_some(const struct record *r, const struct state *s, uint64_t *random, struct pages *p)
{
	unsigned percent = some_percent(random);
	size_t n = s->cut - s->flush;
	size_t *order = malloc((n + 1) * sizeof(*order));

	if (!order)
		abort();
	for (size_t i = 0; i < n; i++)
		order[i] = s->flush + i;
	if (s->mode == MODE_TORN)
		shuffle(order, n, random);
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &r->events[order[i]];

		if (s->mode == MODE_TORN)
			apply_torn(e, percent, random, p);
		else if (random_percent(random, percent))
			apply(e, p);
	}
	free(order);
}

void state_build(const struct record *r, const struct state *s, struct pages *p)
{
	uint64_t random = random_mix(s->seed, 1);

	pages_clear(p);
	for (size_t i = 0; i < (s->mode == MODE_ALL ? s->cut : s->flush); i++)
		apply(&r->events[i], p);
	if (s->mode == MODE_SUBSET || s->mode == MODE_TORN)
		apply_some(r, s, &random, p);
}

void expect_mark(struct expect *e, const struct mark *m, bool power)
{
	if (m->kind == MARK_START)
		e->floor[FILE_F] = e->floor[FILE_G] = e->newest[FILE_F] = e->newest[FILE_G] = 1;
	if (m->kind == MARK_BEGIN)
		e->newest[m->name] = m->version;
	if (m->kind == MARK_DONE && (m->durable || !power))
		e->floor[m->name] = m->version;
}

void state_expect(const struct record *r, const struct state *s, struct expect *ret)
{
	*ret = (struct expect){0};
	for (size_t i = 0; i < s->cut; i++)
		if (r->events[i].kind == EVENT_MARK)
			expect_mark(ret, r->events[i].data, true);
}
