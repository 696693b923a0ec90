/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking what follows from inodes and tree: indexes, reference counts, bitmaps, free space. */
#include "config.h"

#include <string.h>

#include "check.h"

static bool index_is_right(const struct checker *c, const struct mfs_inode *dir)
{
	struct mfs_name name = {0};
	struct mfs_place place;
	uint64_t names = 0, indexed;
	int rc;

	while (!(rc = mfs_dir_next(c->fs, dir, name.next, &name))) {
		if (mfs_index_find(c->fs, dir, name.name, name.length, &place) || place.position != name.next - 4)
			return false;
		names++;
	}
	return rc == -ENOENT && !mfs_index_count(c->fs, dir, &indexed) && indexed == names;
}

static void check_index(struct checker *c, struct mfs_inode *dir)
{
	struct inode_model *model = &c->inodes[dir->index];
	struct mfs_inode inode;

	mfs_inode_decode(c->fs, dir->index, &inode);
	if ((model->state & INODE_USED) && !(model->state & INODE_KNOWN) && (inode.flags & MFS_INODE_HIDDEN) &&
	    index_is_right(c, dir)) {
		model->state |= INODE_KNOWN;
		return;
	}
	if (chk_problem(c, "the index of directory %u is damaged", dir->ino)) {
		dir->index = 0;
		chk_store(c, dir);
	}
}

void chk_indexes(struct checker *c)
{
	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes; ino++) {
		struct mfs_inode dir;

		if (!(c->inodes[ino].state & INODE_USED))
			continue;
		mfs_inode_decode(c->fs, ino, &dir);
		if (dir.index)
			check_index(c, &dir);
	}
}

void chk_counts_inode(struct checker *c)
{
	struct disk_super *super = mfs_super(c->fs);
	uint32_t ino = get32(super->counts_inode);
	struct mfs_inode counts;
	uint8_t *bytes;

	if (!ino)
		return;
	if (ino < c->fs->geo.inodes && (c->inodes[ino].state & INODE_USED)) {
		mfs_inode_decode(c->fs, ino, &counts);
		if (S_ISREG(counts.mode) && (counts.flags & MFS_INODE_HIDDEN) &&
		    counts.size == c->fs->geo.data_blocks * 2) {
			c->inodes[ino].state |= INODE_KNOWN;
			return;
		}
	}
	if (chk_problem(c, "the inode of the reference counts is damaged") && chk_touch(c, 0, &bytes))
		super->counts_inode = put32(0);
}

static uint32_t wanted_shares(uint32_t model, uint32_t stored)
{
	uint32_t pointers = model & ~BLOCK_EXCLUSIVE;

	if (model & BLOCK_EXCLUSIVE || pointers < 2)
		return pointers && stored == MFS_SHARES_MAX && !(model & BLOCK_EXCLUSIVE) ? stored : 0;
	if (stored == MFS_SHARES_MAX || pointers - 1 > MFS_SHARES_MAX)
		return MFS_SHARES_MAX;
	return pointers - 1;
}

/*
 * That its last pointer went is nothing that a writer could know, and so no damage: the
 * block is in use for those who only look. A repair frees it.
 */
static bool is_out_of_count(const struct checker *c, uint32_t block, uint32_t stored)
{
	return !c->repair && stored == MFS_SHARES_MAX && !c->blocks[block - c->fs->geo.data] &&
	       mfs_block_used(c->fs, block);
}

static void mend_count(struct checker *c, uint32_t block, uint32_t shares)
{
	int rc = shares ? mfs_counts_create(c->fs) : 0;

	if (!rc)
		rc = mfs_shares_set(c->fs, block, shares);
	mfs_end(c->fs, rc);
}

/* @mend: set them; needs space. Else only say what is wrong. */
void chk_counts(struct checker *c, bool mend)
{
	struct mfs *fs = c->fs;
	uint64_t wrong = 0;

	for (uint64_t i = 0; i < fs->geo.data_blocks; i++) {
		uint32_t block = fs->geo.data + (uint32_t)i, stored = 0;
		uint32_t wanted;

		if (!c->blocks[i] && !get32(mfs_super(fs)->counts_inode))
			continue;
		if (mfs_shares(fs, block, &stored))
			stored = 0;
		if (is_out_of_count(c, block, stored)) {
			c->blocks[i] = 1;
			continue;
		}
		wanted = wanted_shares(c->blocks[i], stored);
		if (wanted == stored)
			continue;
		wrong++;
		if (mend)
			mend_count(c, block, wanted);
	}
	if (wrong && !mend)
		chk_problem(c, "%llu reference counts are wrong", (unsigned long long)wrong);
}

struct bitmap {
	uint32_t start, blocks;
	uint64_t bits; /* that mean something; the others are 0 */
};

static bool bit_of(const struct checker *c, const struct bitmap *map, uint64_t bit)
{
	return mfs_at(c->fs, map->start)[bit / 8] >> (bit % 8) & 1;
}

static void set_bit(struct checker *c, const struct bitmap *map, uint64_t bit, bool value)
{
	uint8_t *bytes, mask = (uint8_t)(1u << (bit % 8));

	if (!chk_touch(c, map->start + (uint32_t)(bit / MFS_BITS_PER_BLOCK), &bytes))
		return;
	bytes += bit % MFS_BITS_PER_BLOCK / 8;
	*bytes = (uint8_t)(value ? *bytes | mask : *bytes & ~mask);
}

/* Returns how many bits should be set. */
static uint64_t check_bitmap(struct checker *c, const struct bitmap *map,
			     bool (*wanted)(const struct checker *c, uint64_t bit), const char *what)
{
	uint64_t used = 0, missing = 0, surplus = 0, padding = 0;

	for (uint64_t bit = 0; bit < (uint64_t)map->blocks * MFS_BITS_PER_BLOCK && !c->error; bit++) {
		bool inside = bit < map->bits, is = bit_of(c, map, bit), want = inside && wanted(c, bit);

		used += want;
		if (is == want)
			continue;
		*(want ? &missing : inside ? &surplus : &padding) += 1;
		if (c->repair)
			set_bit(c, map, bit, want);
	}
	if (missing)
		chk_problem(c, "%llu %s are used, but marked as free", (unsigned long long)missing, what);
	if (surplus)
		chk_problem(c, "%llu %s are free, but marked as used", (unsigned long long)surplus, what);
	if (padding)
		chk_problem(c, "the bitmap of %s has bits set behind its end", what);
	return used;
}

static bool block_wanted(const struct checker *c, uint64_t bit)
{
	return c->blocks[bit];
}

static bool inode_wanted(const struct checker *c, uint64_t bit)
{
	return bit < MFS_ROOT || c->inodes[bit].state;
}

static void check_free(struct checker *c, uint64_t blocks, uint64_t inodes)
{
	struct disk_super *super = mfs_super(c->fs);
	uint8_t *bytes;

	if (get64(super->free_blocks) == blocks && get32(super->free_inodes) == inodes)
		return;
	if (chk_problem(c, "%llu blocks and %llu inodes are free, not %llu and %u", (unsigned long long)blocks,
			(unsigned long long)inodes, (unsigned long long)get64(super->free_blocks),
			get32(super->free_inodes)) &&
	    chk_touch(c, 0, &bytes)) {
		super->free_blocks = put64(blocks);
		super->free_inodes = put32((uint32_t)inodes);
	}
}

void chk_bitmaps(struct checker *c)
{
	const struct mfs_geometry *g = &c->fs->geo;
	const struct bitmap inodes = {g->inode_bitmap, g->inode_bitmap_blocks, g->inodes};
	const struct bitmap blocks = {g->data_bitmap, g->data_bitmap_blocks, g->data_blocks};
	uint64_t used_inodes = check_bitmap(c, &inodes, inode_wanted, "inodes");
	uint64_t used_blocks = check_bitmap(c, &blocks, block_wanted, "blocks");

	check_free(c, g->data_blocks - used_blocks, g->inodes - used_inodes);
}
