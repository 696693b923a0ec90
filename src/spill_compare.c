/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where two files differ, of which one began as a copy of the other.
 *
 * What may differ is found first: where both can share extents, by the places where
 * these lie on the disk; else by where there is data at all. All of that is then
 * compared byte by byte, so the answer is exact, and only its cost depends on the
 * first step.
 *
 * Why extents at the same place are the same bytes: the image keeps its extents, so
 * none of them can be freed and used again while both files are open, and a store to
 * the work file gets a new one. This holds for file systems with one space of
 * addresses (FS_ONE_SPACE); where extents come from several devices, two different ones can have
 * the same address.
 */
#include "config.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <string.h>
#include <sys/mman.h>

#include "base.h"
#include "mapping.h"
#include "spill.h"
#include "sys.h"

#define PIECE ((size_t)1 << 20)

/**
 * struct state - a comparison under way
 * @end: what lies before has been compared
 * @buffer: room for a piece of each file
 */
struct state {
	const struct comparison *c;
	struct ranges *ret;
	uint64_t end;
	char *buffer;
};

/* --- bytes */

static int read_image(const struct comparison *c, char *to, size_t n, uint64_t at)
{
	size_t wanted = at >= c->common ? 0 : c->common - at < n ? (size_t)(c->common - at) : n;
	size_t got = 0;
	int rc = wanted ? sys_pread_full(c->image, to, wanted, at, &got) : 0;

	memset(to + got, 0, n - got);
	return rc;
}

static int compare_piece(struct state *s, uint64_t at, size_t n)
{
	size_t page = sys_page_size(), got;
	char *work = s->buffer, *image = s->buffer + PIECE;
	int rc = sys_pread_full(s->c->work, work, n, at, &got);

	if (!rc && got < n)
		rc = -EIO;
	if (!rc)
		rc = read_image(s->c, image, n, at);
	for (size_t i = 0; !rc && i < n; i += page) {
		size_t length = n - i < page ? n - i : page;

		if (memcmp(work + i, image + i, length))
			rc = ranges_append(s->ret, at + i, length);
	}
	/* Nobody looks at the image but for this. */
	sys_forget_pages(s->c->image, at, n);
	return rc;
}

/* Whole pages; those that have been compared already are left out. */
static int compare_run(struct state *s, uint64_t start, uint64_t end)
{
	int rc = 0;

	start = page_down((size_t)start);
	end = page_up((size_t)end);
	start = start > s->end ? start : s->end;
	end = end < s->c->size ? end : s->c->size;
	for (uint64_t at = start; !rc && at < end; at += PIECE)
		rc = compare_piece(s, at, end - at < PIECE ? (size_t)(end - at) : PIECE);
	s->end = end > s->end ? end : s->end;
	return rc;
}

/* --- by data */

/* Elsewhere it is not known here where there is data: what was not written out yet is none. */
static int tell_all(const struct comparison *c)
{
	int rc;

	if (fs_traits_of(c->work)->flags & FS_LOCAL)
		return 0;
	rc = sys_fsync(c->work);
	return rc ? rc : sys_fsync(c->image);
}

/* Holes of both are the same. */
static int compare_data(struct state *s, uint64_t at)
{
	const struct comparison *c = s->c;
	uint64_t common = c->common < c->size ? c->common : c->size;
	int rc = tell_all(c);

	while (!rc && at < c->size) {
		uint64_t start, stop, image_start, image_stop;

		sparse_next_data(c->work, at, c->size, &start, &stop);
		sparse_next_data(c->image, at, common, &image_start, &image_stop);
		if (image_start < common && (image_start < start || start == c->size)) {
			start = image_start;
			stop = image_stop;
		}
		if (start >= c->size)
			break;
		rc = compare_run(s, start, stop);
		at = stop;
	}
	return rc;
}

/* --- by extents */

/**
 * struct extents - the extents of a file, from the first to the last
 * @v: the present answer, @n of them, of which @i is the first that was not passed
 */
struct extents {
	int fd;
	struct fiemap_extent v[SYS_EXTENTS_MAX];
	unsigned n;
	unsigned i;
	bool last;
};

static int more_extents(struct extents *e, uint64_t at, bool flush)
{
	int n = sys_list_extents(e->fd, at, flush, e->v, SYS_EXTENTS_MAX);

	if (n < 0)
		return n;
	e->i = 0;
	e->n = (unsigned)n;
	e->last = !n || (e->v[n - 1].fe_flags & FIEMAP_EXTENT_LAST);
	return 0;
}

static int extents_open(int fd, struct extents *ret)
{
	ret->fd = fd;
	return more_extents(ret, 0, true);
}

/* What lies at @at, which never goes back: an extent, or NULL for a hole. @ret_stop: where that ends at the latest. */
static int extent_at(struct extents *e, uint64_t at, const struct fiemap_extent **ret, uint64_t *ret_stop)
{
	for (;;) {
		int rc;

		while (e->i < e->n && e->v[e->i].fe_logical + e->v[e->i].fe_length <= at)
			e->i++;
		if (e->i < e->n || e->last)
			break;
		rc = more_extents(e, at, false);
		if (rc)
			return rc;
	}
	*ret = NULL;
	*ret_stop = UINT64_MAX;
	if (e->i == e->n)
		return 0;
	*ret_stop = e->v[e->i].fe_logical;
	if (*ret_stop > at)
		return 0;
	*ret_stop += e->v[e->i].fe_length;
	*ret = e->v[e->i].fe_flags & FIEMAP_EXTENT_UNWRITTEN ? NULL : &e->v[e->i];
	return 0;
}

/* Of a compressed extent the place of a part is not told. */
static bool same_bytes(const struct fiemap_extent *a, const struct fiemap_extent *b, uint64_t at)
{
	const uint32_t nowhere =
		FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL;
	uint32_t flags;

	if (!a || !b)
		return a == b;
	flags = a->fe_flags | b->fe_flags;
	if (flags & nowhere)
		return false;
	if (flags & (FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED))
		return a->fe_logical == b->fe_logical && a->fe_physical == b->fe_physical &&
		       a->fe_length == b->fe_length;
	return a->fe_physical + (at - a->fe_logical) == b->fe_physical + (at - b->fe_logical);
}

static int compare_extents(struct state *s, struct extents *work, struct extents *image, uint64_t end)
{
	uint64_t at = 0, a_stop = 0, b_stop = 0;
	const struct fiemap_extent *a = NULL, *b = NULL;
	int rc = 0;

	while (!rc && at < end) {
		uint64_t stop;

		rc = extent_at(work, at, &a, &a_stop);
		if (!rc)
			rc = extent_at(image, at, &b, &b_stop);
		if (rc)
			break;
		stop = a_stop < b_stop ? a_stop : b_stop;
		stop = stop < end ? stop : end;
		if (!same_bytes(a, b, at))
			rc = compare_run(s, at, stop);
		at = stop;
	}
	return rc;
}

/* The page in which the common part ends, and what follows, is left to the other way. */
static int compare_shared(struct state *s)
{
	const struct comparison *c = s->c;
	uint64_t end = page_down((size_t)(c->common < c->size ? c->common : c->size));
	struct extents work, image;
	int rc = extents_open(c->work, &work);

	if (!rc)
		rc = extents_open(c->image, &image);
	if (rc)
		return compare_data(s, 0);
	rc = compare_extents(s, &work, &image, end);
	return rc ? rc : compare_data(s, end);
}

int spill_compare(const struct comparison *c, struct ranges *ret)
{
	struct state s = {.c = c, .ret = ret};
	bool shares = c->shares && (fs_traits_of(c->work)->flags & FS_ONE_SPACE);
	void *p;
	int rc = sys_map(NULL, 2 * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &p);

	if (rc)
		return rc;
	s.buffer = (char *)p;
	rc = shares ? compare_shared(&s) : compare_data(&s, 0);
	sys_unmap(p, 2 * PIECE);
	return rc;
}
