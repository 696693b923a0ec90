/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exchanges that the kernel can end, also after a crash.
 *
 * XFS exchanges extent by extent: one is taken from each file, and each gets the
 * other's. At the beginning it sets blocks aside for the trees of extents of both files, and
 * if they are used up half way, it shuts the file system down; the recovery of the log, which
 * sets aside as many for the steps that are left, ends in the same way, so that the file system
 * cannot be mounted any more (both seen on Linux 6.18). Two things use more than it expects.
 *
 * A few extents lie in the inode itself, more are in blocks. A file with one more than
 * fit in the inode gives the block back when an extent is taken from it, and takes a new
 * block with the next. While the kernel runs it uses the block that came back; in recovery
 * it does not. So no exchange may do that to either file more than a few times:
 *  - The donor gets extents of its own behind its end, which stay, so that it never has
 *    few enough for its inode; unless all that it ever has fit there.
 *  - The file can have just so many only if whole extents of it are taken; an exchange
 *    that takes many, with a number at which that may happen, is refused.
 *
 * And each extent that a file gets more can find its leaf of the tree full, which is split
 * then, while the kernel expects many new ones in each leaf. A file that was written from
 * front to back has nothing but full leaves. It cannot be seen which are, but how many can be
 * split at most; an exchange that may need more than is set aside is refused (-EXFULL).
 * exchange_cut() can help then.
 *
 * Sources: xfs_exchmaps_estimate_overhead(), XFS_NEXTENTADD_SPACE_RES and
 * xfs_bmap_compute_maxlevels() in the kernel's fs/xfs/libxfs; its checks of sizes there.
 */
#include "config.h"

#include "exchange_recovery.h"

#include <errno.h>

#include "exchange_steps.h"
#include "sys.h"

/* So often may an inode take in its extents and give them out again, in each of the two files. */
#define MANY 3

#define CORE 176  /* bytes of an inode before its extents (struct xfs_dinode, version 3) */
#define EXTENT 16 /* bytes of an extent, there and in a leaf, and of an entry of a node */
#define FEWEST 2  /* that fit beside attributes */

static uint64_t most_in_inode(const struct layout *l)
{
	return (l->inode - CORE) / EXTENT;
}

/* So that a file always has more than fit there. */
static uint64_t pads_needed(const struct layout *l)
{
	return most_in_inode(l) + 2;
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t count_blocks(const struct layout *l, const struct ranges *blocks)
{
	uint64_t n = 0;

	for (size_t i = 0; i < blocks->n; i++)
		n += round_up(blocks->v[i].length, l->block) / l->block;
	return n;
}

/* ---- the trees ---- */

#define BLOCK_HEADER 72			/* bytes (struct xfs_btree_block with checksums) */
#define EXTENTS_MAX ((uint64_t)1 << 31) /* of a file without large counters */
#define ROOT_LEAST 3			/* entries that fit in an inode */

/* Entries of a block of a tree. All but the root have half of them. */
static uint64_t most_entries(const struct layout *l)
{
	return (l->block - BLOCK_HEADER) / EXTENT;
}

static uint64_t least_entries(const struct layout *l)
{
	return most_entries(l) / 2;
}

/* What the kernel sets aside for @steps: for each file a new path through its tree for so many new extents. */
static uint64_t set_aside(const struct layout *l, uint64_t steps)
{
	uint64_t each = most_entries(l) - least_entries(l), levels = 0;

	for (uint64_t blocks = EXTENTS_MAX / least_entries(l); blocks > ROOT_LEAST; blocks /= least_entries(l))
		levels++;
	return 2 * levels * ((steps + each - 1) / each);
}

/**
 * struct growth - what some steps do to the extents of a file
 * @more: new ones
 * @places: where these are: those of one step are side by side
 * @fewer: times that one went
 */
struct growth {
	uint64_t more, places, fewer;
};

static void add(struct growth *g, int n)
{
	g->more += n > 0 ? (uint64_t)n : 0;
	g->places += n > 0;
	g->fewer += n < 0 ? 1 : 0;
}

/*
 * How many blocks a tree gets at most in the last steps, @last of @all, of a file with @extents
 * before the first, at most @near of them where these steps are. A block that is full is split
 * by the next entry at its place. There are only so many full ones, among all, and among those
 * there (and one at the border); a half must have been filled again before it is split. Two
 * that were emptied to below a half become one, which may be full: that takes two entries
 * each time.
 */
static uint64_t new_blocks(const struct layout *l, uint64_t extents, uint64_t near, const struct growth *all,
			   const struct growth *last)
{
	uint64_t places = last->places, more = last->more, full = most_entries(l) + 1, sum = 0;
	uint64_t before = less(extents + all->more - last->more, all->fewer - last->fewer);

	while (more) {
		uint64_t here = (near + last->more) / full + 1;
		uint64_t split = least(places, least((extents + all->more) / full, here)) + more / least_entries(l);

		sum += split;
		more = places = split;
		full *= least_entries(l);
	}
	/* A root with one more level; and what lay in the inode gets its first block. */
	sum += sum ? 1 : 0;
	sum += last->more && before <= most_in_inode(l) ? 1 : 0;
	return sum + least(last->more, last->fewer) / 2;
}

/* ---- the file ---- */

/**
 * struct outlook - an exchange, seen from its end: what the last steps do
 * @extents: of the file and the donor, before
 * @all: what all steps do to these
 * @last: what those do that have been looked at
 * @steps: how many these are
 * @near: extents that the donor has there, at most, but for those that it was padded with
 * @moves: blocks for inodes that take their extents in and give them out
 */
struct outlook {
	const struct layout *layout;
	uint64_t extents[2];
	struct growth all[2], last[2];
	uint64_t steps, near, moves;
};

static bool is_enough(const struct outlook *o)
{
	uint64_t near = least(o->extents[1], o->near + pads_needed(o->layout));

	return o->moves + new_blocks(o->layout, o->extents[0], o->extents[0], &o->all[0], &o->last[0]) +
		       new_blocks(o->layout, o->extents[1], near, &o->all[1], &o->last[1]) <=
	       set_aside(o->layout, o->steps);
}

/* One step more, before those. Whether what is set aside for them is enough. */
static bool look_back(struct outlook *o, int file, int donor)
{
	uint64_t each = most_entries(o->layout) - least_entries(o->layout);

	add(&o->last[0], file);
	add(&o->last[1], donor);
	o->steps++;
	o->near++;
	/* It never becomes fewer by one step more, so the last of those with equally much tells. */
	return o->steps % each || is_enough(o);
}

/* Whether a file that has from @least to @most extents meanwhile may have one more than fit in its inode. */
static bool may_be_at_the_edge(const struct layout *l, uint64_t fewest, uint64_t most)
{
	uint64_t fit = most_in_inode(l);

	return fewest <= fit + 1 && most > (l->attributes ? FEWEST : fit);
}

bool exchange_recovery_is_sure(const struct layout *l, const struct ranges *blocks)
{
	uint64_t n = count_blocks(l, blocks);
	struct outlook o = {.layout = l, .extents = {l->extents, n + pads_needed(l)}};
	uint64_t whole = least(n, l->extents);

	if (may_be_at_the_edge(l, less(l->extents, n - blocks->n), l->extents + 2 * n)) {
		if (whole > MANY)
			return false;
		o.moves = whole;
	}
	o.moves += n <= MANY ? n : 0;
	/* Each block may lie alone in either file; a range of one block is one step. */
	o.all[0] = (struct growth){n + blocks->n, n, n - blocks->n};
	o.all[1] = (struct growth){n - blocks->n, n - blocks->n, n};
	if (n == blocks->n) {
		for (uint64_t i = 0; i < n; i++)
			if (!look_back(&o, 2, 0))
				return false;
	} else {
		o.last[0] = o.all[0];
		o.last[1] = o.all[1];
		o.near = n;
		o.steps = 1; /* all of it may be in the last few */
	}
	return is_enough(&o);
}

int exchange_recovery_check(const struct layout *l, uint64_t donor_extents, const struct exchange_steps *s)
{
	struct outlook o = {.layout = l, .extents = {l->extents, donor_extents}};
	uint64_t whole = 0;

	for (size_t i = 0; i < s->n; i++) {
		add(&o.all[0], s->v[i].file);
		add(&o.all[1], s->v[i].donor);
		whole += !s->v[i].hole && !s->v[i].left && !s->v[i].right;
	}
	if (may_be_at_the_edge(l, less(l->extents, o.all[0].fewer), l->extents + o.all[0].more)) {
		if (whole > MANY)
			return -EOPNOTSUPP;
		o.moves = whole;
	}
	o.moves += s->n <= MANY ? s->n : 0;
	for (size_t i = s->n; i-- > 0;)
		if (!look_back(&o, s->v[i].file, s->v[i].donor))
			return -EXFULL;
	return is_enough(&o) ? 0 : -EXFULL;
}

/* ---- the donor ---- */

int exchange_recovery_pad(int donor, const struct layout *l, const struct ranges *blocks, uint64_t size)
{
	uint64_t needed = pads_needed(l), n = count_blocks(l, blocks), own = l->holes ? 0 : blocks->n;
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
