/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a file's blocks are: 12 pointers in the inode, then trees of blocks with 1,024
 * pointers each, one level deep, and with the feature "large" two and three. Blocks of
 * pointers always belong to one inode; only data is shared.
 */
#include "config.h"

#include <string.h>

#include "fs.h"

#define LEVELS 3

/* How many blocks of data a pointer of that level stands for. */
static uint64_t span_of(unsigned level)
{
	return (uint64_t)1 << (10 * level);
}

static unsigned levels(const struct mfs *fs)
{
	return fs->incompat & MFS_INCOMPAT_LARGE ? LEVELS : 1;
}

static uint64_t blocks_max(const struct mfs *fs)
{
	uint64_t blocks = MFS_DIRECT;

	for (unsigned level = 1; level <= levels(fs); level++)
		blocks += span_of(level);
	return blocks;
}

uint64_t mfs_size_max(const struct mfs *fs)
{
	return blocks_max(fs) * MFS_BLOCK;
}

/* The inode's pointer for block @at, its level, and the place in what it leads to. */
static void find_slot(uint64_t at, unsigned *ret_slot, unsigned *ret_level, uint64_t *ret_rest)
{
	unsigned level = 0;

	if (at < MFS_DIRECT) {
		*ret_slot = (unsigned)at;
		*ret_level = 0;
		*ret_rest = 0;
		return;
	}
	at -= MFS_DIRECT;
	for (level = 1; at >= span_of(level); level++)
		at -= span_of(level);
	*ret_slot = MFS_DIRECT + level - 1;
	*ret_level = level;
	*ret_rest = at;
}

static le32 *pointers_of(const struct mfs *fs, uint32_t block)
{
	return (le32 *)mfs_at(fs, block);
}

static unsigned child_of(uint64_t rest, unsigned level)
{
	return (unsigned)(rest >> (10 * (level - 1))) & (MFS_PER_BLOCK - 1);
}

/* *@ret is 0 for a hole. */
int mfs_map_get(const struct mfs *fs, const struct mfs_inode *inode, uint64_t at, uint32_t *ret)
{
	unsigned slot, level;
	uint64_t rest;
	uint32_t block;

	if (at >= blocks_max(fs))
		return -EUCLEAN;
	find_slot(at, &slot, &level, &rest);
	block = inode->pointers[slot];
	for (; block && level; level--) {
		if (!mfs_is_data(fs, block))
			return -EUCLEAN;
		block = get32(pointers_of(fs, block)[child_of(rest, level)]);
	}
	if (block && !mfs_is_data(fs, block))
		return -EUCLEAN;
	*ret = block;
	return 0;
}

static int new_pointer_block(struct mfs *fs, struct mfs_inode *inode, uint32_t *ret)
{
	int rc = mfs_pointer_alloc(fs, ret);

	if (rc)
		return rc;
	memset(mfs_at(fs, *ret), 0, MFS_BLOCK);
	inode->blocks++;
	return 0;
}

/* Blocks of pointers are made as needed; the block itself is the caller's to count. */
int mfs_map_set_run(struct mfs *fs, struct mfs_inode *inode, uint64_t at, uint32_t block, uint64_t n, uint64_t *ret)
{
	unsigned slot, level;
	uint64_t rest;
	uint32_t next;
	uint8_t *bytes;
	le32 *pointers;
	int rc = 0;

	if (at >= blocks_max(fs))
		return -EFBIG;
	find_slot(at, &slot, &level, &rest);
	*ret = 1;
	if (!level) {
		inode->pointers[slot] = block;
		return 0;
	}
	if (!inode->pointers[slot])
		rc = new_pointer_block(fs, inode, &inode->pointers[slot]);
	next = inode->pointers[slot];
	for (;; level--) {
		if (!rc && !mfs_is_data(fs, next))
			rc = -EUCLEAN;
		if (!rc)
			rc = mfs_touch(fs, next, &bytes);
		if (rc)
			return rc;
		pointers = (le32 *)bytes + child_of(rest, level);
		if (level == 1)
			break;
		next = get32(*pointers);
		if (!next) {
			rc = new_pointer_block(fs, inode, &next);
			if (!rc)
				*pointers = put32(next);
		}
	}
	if (n > MFS_PER_BLOCK - child_of(rest, 1))
		n = MFS_PER_BLOCK - child_of(rest, 1);
	for (uint32_t i = 0; i < n; i++)
		pointers[i] = put32(block + i);
	*ret = n;
	return 0;
}

int mfs_map_set(struct mfs *fs, struct mfs_inode *inode, uint64_t at, uint32_t block)
{
	uint64_t n;

	return mfs_map_set_run(fs, inode, at, block, 1, &n);
}

static bool may_be_shared(const struct mfs_inode *inode)
{
	return S_ISREG(inode->mode) && !(inode->flags & MFS_INODE_HIDDEN);
}

/* Space behind the block before, so that what is written in order lies in order. */
static uint32_t near(const struct mfs *fs, const struct mfs_inode *inode, uint64_t at)
{
	uint32_t before;

	return at && !mfs_map_get(fs, inode, at - 1, &before) && before ? before + 1 : 0;
}

int mfs_map_own(struct mfs *fs, struct mfs_inode *inode, uint64_t at, bool whole, uint32_t *ret)
{
	uint32_t old = 0, block, shares = 0;
	int rc = at < blocks_max(fs) ? mfs_map_get(fs, inode, at, &old) : -EFBIG;

	if (!rc && old && may_be_shared(inode))
		rc = mfs_shares(fs, old, &shares);
	/* Somebody has it mapped. */
	if (!rc && old && !shares && may_be_shared(inode) && mfs_pinned_until(fs, old))
		shares = 1;
	if (!rc && old && !shares) {
		*ret = old;
		return 0;
	}
	if (!rc)
		rc = mfs_block_alloc(fs, near(fs, inode, at), &block);
	if (rc)
		return rc;
	if (old) {
		if (!whole)
			memmove(mfs_at(fs, block), mfs_at(fs, old), MFS_BLOCK);
		rc = mfs_unshare(fs, old);
	} else {
		if (!whole)
			memset(mfs_at(fs, block), 0, MFS_BLOCK);
		inode->blocks++;
	}
	if (!rc)
		rc = mfs_map_set(fs, inode, at, block);
	if (!rc)
		*ret = block;
	return rc;
}

/* @visited: blocks of pointers; more than there are blocks is a loop. */
struct cut {
	struct mfs *fs;
	struct mfs_inode *inode;
	uint64_t from;
	struct mfs_visits seen;
};

static bool all_zero(const uint8_t *block)
{
	return !block[0] && !memcmp(block, block + 1, MFS_BLOCK - 1);
}

static int free_one(struct cut *cut, uint32_t block, bool data)
{
	if (cut->inode->blocks)
		cut->inode->blocks--;
	return data && may_be_shared(cut->inode) ? mfs_unshare(cut->fs, block) : mfs_block_free(cut->fs, block);
}

/* The data of a block of pointers, from pointer @i on. */
static int free_data(struct cut *cut, const le32 *pointers, unsigned i)
{
	int rc = 0;

	while (!rc && i < MFS_PER_BLOCK) {
		uint32_t block = get32(pointers[i]), n = 1;

		/* Not on from the last number to 0, which is a hole. */
		while (block && i + n < MFS_PER_BLOCK && block + n && get32(pointers[i + n]) == block + n)
			n++;
		i += n;
		if (!block)
			continue;
		cut->inode->blocks -= n < cut->inode->blocks ? n : cut->inode->blocks;
		rc = mfs_unshare_run(cut->fs, block, n);
	}
	return rc;
}

/* @first: the block of the file where the subtree begins. *@pointer becomes 0 if all of it went. */
static int cut_tree(struct cut *cut, uint32_t *pointer, unsigned level, uint64_t first)
{
	struct mfs *fs = cut->fs;
	uint32_t block = *pointer;
	uint64_t span = level ? span_of(level - 1) : 0;
	unsigned i = level && cut->from > first ? (unsigned)((cut->from - first) / span) : 0;
	bool partly = cut->from > first;
	uint8_t *bytes;
	int rc;

	if (!mfs_is_data(fs, block))
		return -EUCLEAN;
	rc = level ? mfs_visit_once(&cut->seen, block) : 0;
	if (rc)
		return rc;
	if (partly) {
		rc = mfs_touch(fs, block, &bytes);
		if (rc)
			return rc;
	}
	if (level == 1 && may_be_shared(cut->inode)) {
		rc = free_data(cut, pointers_of(fs, block), i);
		if (rc)
			return rc;
		if (partly)
			memset(pointers_of(fs, block) + i, 0, (MFS_PER_BLOCK - i) * sizeof(le32));
		i = MFS_PER_BLOCK;
	}
	for (; level && i < MFS_PER_BLOCK; i++) {
		le32 *entry = pointers_of(fs, block) + i;
		uint32_t child = get32(*entry);

		if (!child)
			continue;
		rc = cut_tree(cut, &child, level - 1, first + i * span);
		if (rc)
			return rc;
		if (partly)
			*entry = put32(child);
	}
	if (partly && !all_zero(mfs_at(fs, block)))
		return 0;
	*pointer = 0;
	return free_one(cut, block, !level);
}

/* Gives up all blocks from @from on. */
int mfs_map_cut(struct mfs *fs, struct mfs_inode *inode, uint64_t from)
{
	struct cut cut = {.fs = fs, .inode = inode, .from = from};
	uint64_t first = 0;
	int rc = 0;

	for (unsigned slot = 0; !rc && slot < MFS_POINTERS; slot++) {
		unsigned level = slot < MFS_DIRECT ? 0 : slot - MFS_DIRECT + 1;
		uint64_t next = first + span_of(level);

		if (inode->pointers[slot] && from < next)
			rc = cut_tree(&cut, &inode->pointers[slot], level, first);
		first = next;
	}
	mfs_visits_free(&cut.seen);
	return rc;
}

/* Blocks of pointers to [@cut->from, @to) that have become empty go; *@pointer becomes 0 then. */
static int prune_tree(struct cut *cut, uint64_t to, uint32_t *pointer, unsigned level, uint64_t first)
{
	uint64_t span = span_of(level - 1);
	uint32_t block = *pointer;
	uint8_t *bytes;
	int rc = mfs_is_data(cut->fs, block) ? mfs_visit_once(&cut->seen, block) : -EUCLEAN;

	for (unsigned i = 0; !rc && level > 1 && i < MFS_PER_BLOCK; i++) {
		uint32_t child = get32(pointers_of(cut->fs, block)[i]), left = child;

		if (!child || first + (i + 1) * span <= cut->from || first + i * span >= to)
			continue;
		rc = prune_tree(cut, to, &left, level - 1, first + i * span);
		if (rc || left == child)
			continue;
		rc = mfs_touch(cut->fs, block, &bytes);
		if (!rc)
			pointers_of(cut->fs, block)[i] = put32(left);
	}
	if (rc || !all_zero(mfs_at(cut->fs, block)))
		return rc;
	*pointer = 0;
	return free_one(cut, block, false);
}

/* After blocks in that range became holes. */
int mfs_map_prune(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	struct cut cut = {.fs = fs, .inode = inode, .from = from};
	uint64_t first = MFS_DIRECT;
	int rc = 0;

	for (unsigned level = 1; !rc && level <= MFS_INDIRECT; level++) {
		uint32_t *pointer = &inode->pointers[MFS_DIRECT + level - 1];
		uint64_t next = first + span_of(level);

		if (*pointer && from < next && first < to)
			rc = prune_tree(&cut, to, pointer, level, first);
		first = next;
	}
	mfs_visits_free(&cut.seen);
	return rc;
}

struct walk {
	const struct mfs *fs;
	uint64_t from, to;
	struct mfs_visits seen;
	mfs_visit *visit;
	void *arg;
};

static int walk_tree(struct walk *walk, uint32_t block, unsigned level, uint64_t first)
{
	const struct mfs *fs = walk->fs;
	uint64_t span;
	int rc;

	if (!block || first + span_of(level) <= walk->from || first >= walk->to)
		return 0;
	if (!mfs_is_data(fs, block))
		return -EUCLEAN;
	if (!level)
		return walk->visit(walk->arg, first, block);
	rc = mfs_visit_once(&walk->seen, block);
	span = span_of(level - 1);
	for (unsigned i = 0; !rc && i < MFS_PER_BLOCK; i++)
		rc = walk_tree(walk, get32(pointers_of(fs, block)[i]), level - 1, first + i * span);
	return rc;
}

int mfs_map_walk(const struct mfs *fs, const struct mfs_inode *inode, uint64_t from, uint64_t to, mfs_visit *visit,
		 void *arg)
{
	struct walk walk = {.fs = fs, .from = from, .to = to, .visit = visit, .arg = arg};
	uint64_t first = 0;
	int rc = 0;

	for (unsigned slot = 0; !rc && slot < MFS_POINTERS; slot++) {
		unsigned level = slot < MFS_DIRECT ? 0 : slot - MFS_DIRECT + 1;

		rc = walk_tree(&walk, inode->pointers[slot], level, first);
		first += span_of(level);
	}
	mfs_visits_free(&walk.seen);
	return rc;
}
