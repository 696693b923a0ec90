/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps of an exchange, told from how the two files lie.
 *
 * An extent is one record in the tree of a file. The kernel lists what is shared and what
 * is not as several, so neighbours that go on in each other are put together here. If they
 * are several records nevertheless, more is expected of the exchange than it does.
 */
#include "config.h"

#include "exchange_steps.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <stdlib.h>

#include "sys.h"

#define FEW 3 /* extents to ask for where a file may share blocks: the kernel looks each of them up */

/* One extent: [start, end), from where it is looked at. Behind the last one both are UINT64_MAX. */
struct extent {
	uint64_t start, end, physical;
	bool unwritten;
};

/* The extents of a file in order, some at a time. */
struct walk {
	int fd, n, i;
	unsigned batch; /* to ask for when a range begins */
	uint64_t block;
	struct extent now;
	struct fiemap_extent v[SYS_EXTENTS_MAX];
};

static uint64_t end_of(const struct fiemap_extent *e)
{
	return e->fe_logical + e->fe_length;
}

/* The first one listed that ends behind @at; NULL in @ret if there is none. */
static int listed_at(struct walk *w, uint64_t at, unsigned batch, const struct fiemap_extent **ret)
{
	*ret = NULL;
	while (w->i < w->n && end_of(&w->v[w->i]) <= at)
		w->i++;
	if (w->i == w->n) {
		w->i = 0;
		w->n = sys_list_extents(w->fd, at, false, w->v, batch);
		if (w->n < 0) {
			int rc = w->n;

			w->n = 0;
			return rc;
		}
	}
	if (w->i < w->n)
		*ret = &w->v[w->i];
	return 0;
}

static bool goes_on(const struct extent *x, const struct fiemap_extent *e)
{
	return e->fe_logical == x->end && e->fe_physical == x->physical + (x->end - x->start) &&
	       !!(e->fe_flags & FIEMAP_EXTENT_UNWRITTEN) == x->unwritten;
}

/* Up to behind @until, for the rest of it does not matter. */
static int lengthen(struct walk *w, uint64_t until)
{
	while (w->now.end <= until) {
		const struct fiemap_extent *e;
		int rc = listed_at(w, w->now.end, SYS_EXTENTS_MAX, &e);

		if (rc)
			return rc;
		if (!e || !goes_on(&w->now, e))
			return 0;
		w->now.end = end_of(e);
	}
	return 0;
}

static int begin(struct walk *w, uint64_t at, unsigned batch)
{
	const struct fiemap_extent *e;
	int rc = listed_at(w, at, batch, &e);

	if (rc)
		return rc;
	w->now =
		e ? (struct extent){e->fe_logical, end_of(e), e->fe_physical, !!(e->fe_flags & FIEMAP_EXTENT_UNWRITTEN)}
		  : (struct extent){UINT64_MAX, UINT64_MAX, 0, false};
	return 0;
}

/* Makes w->now the extent that @at is in, or the first behind it. Whether it begins before @at is known by one block. */
static int look_at(struct walk *w, uint64_t at, uint64_t until)
{
	int rc = 0;

	if (w->now.end < at)
		rc = begin(w, at < w->block ? 0 : at - w->block, w->batch);
	if (!rc)
		rc = lengthen(w, until);
	while (!rc && w->now.end <= at) {
		rc = begin(w, w->now.end, SYS_EXTENTS_MAX);
		if (!rc)
			rc = lengthen(w, until);
	}
	return rc;
}

static int append(struct exchange_steps *s, const struct exchange_step *step)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct exchange_step *v = (struct exchange_step *)reallocarray(s->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	s->v[s->n++] = *step;
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* [at, end) of a range that begins at @from; at most as much as lies in one extent of each. */
static struct exchange_step step_at(const struct extent *f, const struct extent *d, uint64_t from, uint64_t at,
				    uint64_t end)
{
	bool hole = f->start > at;
	uint64_t to = least(least(hole ? f->start : f->end, d->end), end);
	struct exchange_step s = {
		.offset = at,
		.length = to - at,
		.hole = hole,
		/* Behind the beginning of the range that part has been taken by the step before. */
		.left = !hole && at == from && f->start < at,
		.right = !hole && f->end > to,
	};
	/* What comes from the same extent as that of the step before becomes one with it. */
	int file_joins = at > from && d->start < at, donor_joins = !hole && at > from && f->start < at;
	bool donor_left = at == from && d->start < at;
	bool donor_right = d->end > to;

	s.file = (signed char)((hole ? 1 : s.left + s.right) - file_joins);
	s.donor = (signed char)(donor_left + donor_right + !hole - 1 - donor_joins);
	return s;
}

static int list_range(struct walk *f, struct walk *d, uint64_t from, uint64_t end, struct exchange_steps *s)
{
	uint64_t at = from;
	int rc = 0;

	while (!rc && at < end) {
		rc = look_at(f, at, end);
		if (!rc)
			rc = look_at(d, at, end);
		if (!rc && d->now.start > at) {
			/* Nothing is taken there: what comes behind begins as a range does. */
			from = at = d->now.start;
		} else if (!rc) {
			struct exchange_step step = step_at(&f->now, &d->now, from, at, end);

			rc = append(s, &step);
			at += step.length;
		}
	}
	return rc;
}

int exchange_steps_list(int file, int donor, uint64_t block, const struct ranges *blocks, struct exchange_steps *ret)
{
	struct walk f = {.fd = file, .batch = FEW, .block = block};
	struct walk d = {.fd = donor, .batch = SYS_EXTENTS_MAX, .block = block};
	int rc = 0;

	*ret = (struct exchange_steps){0};
	for (size_t i = 0; !rc && i < blocks->n; i++) {
		uint64_t from = blocks->v[i].offset;

		rc = list_range(&f, &d, from, from + (blocks->v[i].length + block - 1) / block * block, ret);
	}
	if (rc)
		exchange_steps_free(ret);
	return rc;
}

void exchange_steps_free(struct exchange_steps *steps)
{
	free(steps->v);
	*steps = (struct exchange_steps){0};
}
