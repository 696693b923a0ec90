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

/* The first clear bit of [@from, @to), or @to. */
static uint64_t find_clear(const struct mfs *fs, uint32_t bitmap, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t clear = ~word_at(fs, bitmap, from) >> (from % 64);

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

/* A data block, @near if that is free; its bytes are whatever they were. */
int mfs_block_alloc(struct mfs *fs, uint32_t near, uint32_t *ret)
{
	uint64_t bit = fs->block_rotor;
	uint32_t block;
	int rc = 0;

	if (!fs->store->writable)
		return -EROFS;
	if (mfs_is_data(fs, near) && !mfs_block_used(fs, near))
		bit = near - fs->geo.data;
	else
		rc = find_from(fs, fs->geo.data_bitmap, fs->block_rotor, fs->geo.data_blocks, &bit);
	if (!rc)
		rc = set_bit(fs, fs->geo.data_bitmap, bit, true);
	if (!rc)
		rc = count_blocks(fs, false);
	block = fs->geo.data + (uint32_t)bit;
	if (!rc)
		rc = mfs_fresh(fs, block);
	if (rc)
		return rc;
	fs->block_rotor = bit + 1;
	*ret = block;
	return 0;
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
