/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exchanges that the kernel can finish after a crash.
 *
 * XFS exchanges extent by extent: one is taken from each file, and each gets the
 * other's. A crash in between leaves the rest to the recovery of the log. A few extents lie
 * in the inode itself, more are in blocks. A file with one more than fit in the inode
 * gives the block back when an extent is taken from it, and takes a new block with the
 * next. While the kernel runs it uses the block that came back; in recovery it does not
 * (seen on Linux 6.18), but takes all from what it has set aside at its beginning, which is
 * four blocks for each file. If that is used up, the file system shuts down, and cannot be
 * mounted any more.
 *
 * So no exchange may do that to either file more than a few times:
 *  - The donor gets extents of its own behind its end, which stay, so that it never has
 *    few enough for its inode; unless all that it ever has fit there.
 *  - The file can have just so many only if whole extents of it are taken; an exchange
 *    that takes many, with a number at which that may happen, is refused.
 */
#include "config.h"

#include "exchange_recovery.h"

#include <errno.h>
#include <linux/fiemap.h>

#include "sys.h"

/* For each file, of the eight blocks; two are left for changes that stay. */
#define MANY 3

#define CORE 176  /* bytes of an inode before its extents (struct xfs_dinode, version 3) */
#define EXTENT 16 /* bytes of an extent there */
#define FEWEST 2  /* that fit beside attributes */

static uint64_t most_in_inode(const struct layout *l)
{
	return (l->inode - CORE) / EXTENT;
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint64_t count_blocks(const struct layout *l, const struct ranges *blocks)
{
	uint64_t n = 0;

	for (size_t i = 0; i < blocks->n; i++)
		n += round_up(blocks->v[i].length, l->block) / l->block;
	return n;
}

/* ---- the file ---- */

/**
 * struct pieces - what an exchange takes from a file
 * @whole: extents that are taken as they are
 * @parts: extents of which something stays
 * @holes: where there is nothing to take
 * @joints: places within the ranges where one piece ends and the next begins
 */
struct pieces {
	uint64_t whole, parts, holes, joints;
};

/* Extents in order, some at a time. */
struct walk {
	int file, n, i;
	struct fiemap_extent v[SYS_EXTENTS_MAX];
};

/* The first extent that ends behind @at; NULL in @ret if there is none. */
static int extent_at(struct walk *w, uint64_t at, const struct fiemap_extent **ret)
{
	*ret = NULL;
	while (w->i < w->n && w->v[w->i].fe_logical + w->v[w->i].fe_length <= at)
		w->i++;
	if (w->i == w->n) {
		w->i = 0;
		w->n = sys_list_extents(w->file, at, false, w->v, SYS_EXTENTS_MAX);
		if (w->n < 0)
			return w->n;
	}
	if (w->i < w->n)
		*ret = &w->v[w->i];
	return 0;
}

static int count_range(struct walk *w, uint64_t from, uint64_t end, struct pieces *p)
{
	uint64_t at = from;

	while (at < end) {
		const struct fiemap_extent *e;
		int rc = extent_at(w, at, &e);

		if (rc)
			return rc;
		p->joints += at > from;
		if (!e || e->fe_logical > at) {
			p->holes++;
			at = e && e->fe_logical < end ? e->fe_logical : end;
			continue;
		}
		if (e->fe_logical >= from && e->fe_logical + e->fe_length <= end)
			p->whole++;
		else
			p->parts++;
		at = e->fe_logical + e->fe_length;
	}
	return 0;
}

static int count_pieces(int file, const struct layout *l, const struct ranges *blocks, struct pieces *ret)
{
	struct walk w = {.file = file};
	int rc = 0;

	*ret = (struct pieces){0};
	for (size_t i = 0; !rc && i < blocks->n; i++) {
		uint64_t from = blocks->v[i].offset;

		rc = count_range(&w, from, from + round_up(blocks->v[i].length, l->block), ret);
	}
	return rc;
}

/* Whether a file that has from @least to @most extents meanwhile may have one more than fit in its inode. */
static bool may_be_at_the_edge(const struct layout *l, uint64_t least, uint64_t most)
{
	uint64_t fit = most_in_inode(l);

	return least <= fit + 1 && most > (l->attributes ? FEWEST : fit);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

int exchange_recovery_check(int file, const struct layout *l, const struct ranges *blocks)
{
	uint64_t n = count_blocks(l, blocks);
	struct pieces p;
	int rc;

	if (n <= MANY || l->extents <= MANY ||
	    !may_be_at_the_edge(l, less(l->extents, n - blocks->n), l->extents + 2 * n))
		return 0;
	rc = count_pieces(file, l, blocks, &p);
	if (rc)
		return rc;
	/* What is taken and given side by side may become one extent; a part leaves two. */
	return p.whole > MANY && may_be_at_the_edge(l, less(l->extents, p.joints), l->extents + 2 * p.parts + p.holes)
		       ? -EOPNOTSUPP
		       : 0;
}

/* ---- the donor ---- */

int exchange_recovery_pad(int donor, const struct layout *l, const struct ranges *blocks, uint64_t size)
{
	uint64_t needed = most_in_inode(l) + 2, n = count_blocks(l, blocks), own = l->holes ? 0 : blocks->n;
	uint64_t at = round_up(size, l->block) + l->block;
	struct sys_layout st;
	int rc;

	if (n <= MANY || own >= needed)
		return 0;
	rc = sys_layout(donor, &st);
	if (rc || (n <= most_in_inode(l) && !st.attributes))
		return rc;
	for (uint64_t i = own; !rc && i < needed; i++) {
		rc = sys_allocate_behind(donor, at, l->block);
		at += 2 * l->block;
	}
	return rc;
}
