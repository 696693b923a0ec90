/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Free space: two bitmaps, a set bit for what is used. The search goes on where the
 * last one ended, a word of 64 bits at a time.
 */
#include "config.h"

#include <string.h>

#include "fs.h"

static uint8_t *byte_of(const struct mfs *fs, uint32_t bitmap, uint64_t bit)
{
	return mfs_at(fs, bitmap) + bit / 8;
}

static bool is_set(const struct mfs *fs, uint32_t bitmap, uint64_t bit)
{
	return *byte_of(fs, bitmap, bit) >> (bit % 8) & 1;
}

/* @block must be a data block. */
bool mfs_block_used(const struct mfs *fs, uint32_t block)
{
	return is_set(fs, fs->geo.data_bitmap, block - fs->geo.data);
}

bool mfs_inode_used(const struct mfs *fs, uint32_t ino)
{
	return ino < fs->geo.inodes && is_set(fs, fs->geo.inode_bitmap, ino);
}

static uint64_t word_at(const struct mfs *fs, uint32_t bitmap, uint64_t bit)
{
	uint64_t word;

	memcpy(&word, byte_of(fs, bitmap, bit & ~(uint64_t)63), sizeof(word));
	return le64toh(word);
}

/* A part of a bitmap that was never written is a hole, and even a look at that may want room. */
static bool can_look(const struct mfs *fs, uint32_t bitmap, uint64_t bit)
{
	return !mfs_get_ready(fs, bitmap + (uint32_t)(bit / MFS_BITS_PER_BLOCK));
}

/* The first clear bit of [@from, @to), or @to. */
static uint64_t find_clear(const struct mfs *fs, uint32_t bitmap, uint64_t from, uint64_t to)
{
	uint64_t looked = UINT64_MAX;

	while (from < to) {
		uint64_t clear;

		if (from / MFS_BITS_PER_BLOCK != looked && !can_look(fs, bitmap, from)) {
			from = (from / MFS_BITS_PER_BLOCK + 1) * MFS_BITS_PER_BLOCK;
			continue;
		}
		looked = from / MFS_BITS_PER_BLOCK;
		clear = ~word_at(fs, bitmap, from) >> (from % 64);
		if (clear) {
			from += (uint64_t)__builtin_ctzll(clear);
			return from < to ? from : to;
		}
		from = (from | 63) + 1;
	}
	return to;
}

static int find_from(const struct mfs *fs, uint32_t bitmap, uint64_t start, uint64_t bits, uint64_t *ret)
{
	uint64_t found;

	if (start >= bits)
		start = 0;
	found = find_clear(fs, bitmap, start, bits);
	if (found == bits) {
		found = find_clear(fs, bitmap, 0, start);
		if (found == start)
			return -ENOSPC;
	}
	*ret = found;
	return 0;
}

/* The same for blocks of data, without those that are pinned. */
static uint64_t find_free(const struct mfs *fs, uint64_t from, uint64_t to)
{
	uint64_t end;

	while (from < to) {
		from = find_clear(fs, fs->geo.data_bitmap, from, to);
		end = from < to ? mfs_pinned_until(fs, from + fs->geo.data) : 0;
		if (!end)
			return from;
		from = end - fs->geo.data;
	}
	return to;
}

static int find_block(const struct mfs *fs, uint64_t start, uint64_t *ret)
{
	uint64_t bits = fs->geo.data_blocks, found;

	if (start >= bits)
		start = 0;
	found = find_free(fs, start, bits);
	if (found == bits) {
		found = find_free(fs, 0, start);
		if (found == start)
			return -ENOSPC;
	}
	*ret = found;
	return 0;
}

/* @block must be a data block. */
static bool is_to_be_had(const struct mfs *fs, uint32_t block)
{
	return can_look(fs, fs->geo.data_bitmap, block - fs->geo.data) && !mfs_block_used(fs, block) &&
	       !mfs_pinned_until(fs, block);
}

static uint64_t count_clear(const struct mfs *fs, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	while (from < to) {
		uint64_t end = (from | 63) + 1, clear = ~word_at(fs, fs->geo.data_bitmap, from) >> (from % 64);

		if (end > to)
			clear &= ((uint64_t)1 << (to - from)) - 1;
		n += (uint64_t)__builtin_popcountll(clear);
		from = end;
	}
	return n;
}

uint64_t mfs_blocks_pinned_free(const struct mfs *fs)
{
	uint64_t n = 0;

	for (size_t i = 0; i < fs->pins.n; i++)
		n += count_clear(fs, fs->pins.v[i].start - fs->geo.data, fs->pins.v[i].end - fs->geo.data);
	return n;
}

uint64_t mfs_blocks_free(const struct mfs *fs)
{
	uint64_t n = get64(mfs_super(fs)->free_blocks), pinned = mfs_blocks_pinned_free(fs);

	return n > pinned ? n - pinned : 0;
}

static int set_bit(struct mfs *fs, uint32_t bitmap, uint64_t bit, bool value)
{
	uint8_t *bytes, mask = (uint8_t)(1u << (bit % 8));
	int rc = mfs_touch(fs, bitmap + (uint32_t)(bit / MFS_BITS_PER_BLOCK), &bytes);

	if (rc)
		return rc;
	bytes += bit % MFS_BITS_PER_BLOCK / 8;
	*bytes = (uint8_t)(value ? *bytes | mask : *bytes & ~mask);
	return 0;
}

static int count_blocks(struct mfs *fs, bool free)
{
	struct disk_super *super = mfs_super(fs);
	uint64_t n = get64(super->free_blocks);
	uint8_t *bytes;
	int rc = mfs_touch(fs, 0, &bytes);

	if (!rc && (free ? n < fs->geo.data_blocks : n > 0))
		super->free_blocks = put64(free ? n + 1 : n - 1);
	return rc;
}

static int count_inodes(struct mfs *fs, bool free)
{
	struct disk_super *super = mfs_super(fs);
	uint32_t n = get32(super->free_inodes);
	uint8_t *bytes;
	int rc = mfs_touch(fs, 0, &bytes);

	if (!rc && (free ? n < fs->geo.inodes : n > 0))
		super->free_inodes = put32(free ? n + 1 : n - 1);
	return rc;
}

static int take_block(struct mfs *fs, uint64_t bit, uint32_t *ret)
{
	uint32_t block = fs->geo.data + (uint32_t)bit;
	int rc = set_bit(fs, fs->geo.data_bitmap, bit, true);

	if (!rc)
		rc = count_blocks(fs, false);
	if (!rc)
		rc = mfs_fresh(fs, block);
	if (!rc)
		*ret = block;
	return rc;
}

/* A data block, @near if that is free; its bytes are whatever they were. */
int mfs_block_alloc(struct mfs *fs, uint32_t near, uint32_t *ret)
{
	uint64_t bit = 0;
	int rc = fs->store->writable ? 0 : -EROFS;

	if (!rc && mfs_is_data(fs, near) && is_to_be_had(fs, near))
		bit = near - fs->geo.data;
	else if (!rc)
		rc = find_block(fs, fs->block_rotor, &bit);
	if (!rc)
		rc = take_block(fs, bit, ret);
	if (!rc)
		fs->block_rotor = bit + 1;
	return rc;
}

/*
 * A block for pointers. Among the data they would end a run after each 1,024 blocks, so
 * they begin at a place of their own, where one block of 128 lies behind them.
 */
int mfs_pointer_alloc(struct mfs *fs, uint32_t *ret)
{
	uint64_t apart = fs->geo.data_blocks / 128, bit = 0;
	int rc;

	if (apart < 16)
		return mfs_block_alloc(fs, 0, ret);
	if (!fs->pointer_rotor)
		fs->pointer_rotor = fs->geo.data_blocks - apart;
	rc = fs->store->writable ? find_block(fs, fs->pointer_rotor, &bit) : -EROFS;
	if (!rc)
		rc = take_block(fs, bit, ret);
	if (!rc)
		fs->pointer_rotor = bit + 1;
	return rc;
}

/* A block that nobody shares. */
int mfs_block_free(struct mfs *fs, uint32_t block)
{
	if (!mfs_is_data(fs, block) || !mfs_block_used(fs, block))
		return -EUCLEAN;
	return mfs_txn_free(fs, block);
}

/* The end of that, which cannot fail: nothing has to be saved any more. */
void mfs_block_release(struct mfs *fs, uint32_t block)
{
	struct disk_super *super = mfs_super(fs);
	uint64_t bit = block - fs->geo.data, n = get64(super->free_blocks);

	if (!mfs_block_used(fs, block))
		return;
	*byte_of(fs, fs->geo.data_bitmap, bit) &= (uint8_t) ~(1u << (bit % 8));
	if (n < fs->geo.data_blocks)
		super->free_blocks = put64(n + 1);
}

/* The number of a free inode, which is marked as used. */
int mfs_inode_take(struct mfs *fs, uint32_t *ret)
{
	uint64_t bit;
	int rc = fs->store->writable ? 0 : -EROFS;

	if (!rc)
		rc = find_from(fs, fs->geo.inode_bitmap, fs->inode_rotor, fs->geo.inodes, &bit);
	if (!rc && bit < MFS_ROOT)
		rc = -EUCLEAN;
	if (!rc)
		rc = set_bit(fs, fs->geo.inode_bitmap, bit, true);
	if (!rc)
		rc = count_inodes(fs, false);
	if (rc)
		return rc;
	fs->inode_rotor = (uint32_t)bit + 1;
	*ret = (uint32_t)bit;
	return 0;
}

int mfs_inode_give(struct mfs *fs, uint32_t ino)
{
	int rc = set_bit(fs, fs->geo.inode_bitmap, ino, false);

	return rc ? rc : count_inodes(fs, true);
}
