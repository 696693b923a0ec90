/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many more pointers lead to a data block than one: 16 bits for each, in a hidden
 * inode that is made when something is cloned for the first time. A block whose count
 * has reached its largest value is never shared further, and never freed.
 */
#include "config.h"

#include <string.h>

#include "fs.h"

#define COUNTS_PER_BLOCK (MFS_BLOCK / 2)

/* -ENOENT if nothing was ever cloned. */
static int load_counts(const struct mfs *fs, struct mfs_inode *ret)
{
	uint32_t ino = get32(mfs_super(fs)->counts_inode);
	int rc;

	if (!ino)
		return -ENOENT;
	rc = mfs_inode_load(fs, ino, ret);
	return !rc && !(ret->flags & MFS_INODE_HIDDEN) ? -EUCLEAN : rc;
}

int mfs_shares(const struct mfs *fs, uint32_t block, uint32_t *ret)
{
	uint64_t i = block - fs->geo.data;
	struct mfs_inode counts;
	uint32_t at;
	int rc = load_counts(fs, &counts);

	if (rc == -ENOENT) {
		*ret = 0;
		return 0;
	}
	if (!rc)
		rc = mfs_map_get(fs, &counts, i / COUNTS_PER_BLOCK, &at);
	if (!rc)
		*ret = at ? get16(((const le16 *)mfs_at(fs, at))[i % COUNTS_PER_BLOCK]) : 0;
	return rc;
}

int mfs_counts_create(struct mfs *fs)
{
	struct disk_super *super = mfs_super(fs);
	struct mfs_inode counts;
	uint8_t *bytes;
	int rc;

	if (get32(super->counts_inode))
		return 0;
	rc = mfs_inode_new(fs, S_IFREG, 0, 0, &counts);
	if (rc)
		return rc;
	counts.flags = MFS_INODE_HIDDEN;
	counts.size = fs->geo.data_blocks * 2;
	rc = mfs_inode_store(fs, &counts);
	if (!rc)
		rc = mfs_touch(fs, 0, &bytes);
	if (rc)
		return rc;
	super->counts_inode = put32(counts.ino);
	super->ro_compat = put32(get32(super->ro_compat) | MFS_RO_COMPAT_CLONES);
	return 0;
}

/* The block of counts in which that of @i is, to be changed. NULL: it is a hole, and none is to be made. */
static int own_counts(struct mfs *fs, uint64_t i, bool make, uint8_t **ret)
{
	struct mfs_inode counts;
	uint32_t at;
	int rc = load_counts(fs, &counts);

	*ret = NULL;
	if (rc == -ENOENT)
		return make ? -EUCLEAN : 0;
	if (!rc)
		rc = mfs_map_get(fs, &counts, i / COUNTS_PER_BLOCK, &at);
	if (!rc && !at && !make)
		return 0;
	if (!rc && !at) {
		rc = mfs_map_own(fs, &counts, i / COUNTS_PER_BLOCK, false, &at);
		if (!rc)
			rc = mfs_inode_store(fs, &counts);
	}
	return rc ? rc : mfs_touch(fs, at, ret);
}

int mfs_shares_set(struct mfs *fs, uint32_t block, uint32_t shares)
{
	uint64_t i = block - fs->geo.data;
	uint8_t *bytes;
	int rc = own_counts(fs, i, shares != 0, &bytes);

	if (!rc && bytes)
		((le16 *)bytes)[i % COUNTS_PER_BLOCK] = put16((uint16_t)shares);
	return rc;
}

int mfs_share(struct mfs *fs, uint32_t block, uint64_t n, uint64_t *ret)
{
	uint64_t i = block - fs->geo.data, room = COUNTS_PER_BLOCK - i % COUNTS_PER_BLOCK, done = 0;
	uint8_t *bytes;
	le16 *counts;
	int rc = own_counts(fs, i, true, &bytes);

	if (rc)
		return rc;
	counts = (le16 *)bytes + i % COUNTS_PER_BLOCK;
	for (; done < n && done < room && get16(counts[done]) < MFS_SHARES_MAX; done++) {
		if (!mfs_block_used(fs, block + (uint32_t)done))
			return -EUCLEAN;
		counts[done] = put16((uint16_t)(get16(counts[done]) + 1));
	}
	*ret = done;
	return 0;
}

static int give_up(struct mfs *fs, uint32_t block, le16 *count)
{
	uint32_t shares = count ? get16(*count) : 0;

	if (shares == MFS_SHARES_MAX)
		return 0;
	if (!shares)
		return mfs_block_free(fs, block);
	*count = put16((uint16_t)(shares - 1));
	return 0;
}

static bool any_shared(const le16 *counts, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++)
		if (get16(counts[k]) && get16(counts[k]) < MFS_SHARES_MAX)
			return true;
	return false;
}

/* One pointer less for each of @n blocks; the last one frees a block. */
int mfs_unshare_run(struct mfs *fs, uint32_t block, uint64_t n)
{
	struct mfs_inode counts;
	int rc = mfs_is_data(fs, block) && n <= fs->geo.blocks - block ? load_counts(fs, &counts) : -EUCLEAN;
	bool none = rc == -ENOENT;

	if (none)
		rc = 0;
	for (uint64_t done = 0; !rc && done < n;) {
		uint64_t i = block - fs->geo.data + done, room = COUNTS_PER_BLOCK - i % COUNTS_PER_BLOCK;
		uint64_t end = n - done < room ? n : done + room;
		uint32_t at = 0;
		uint8_t *bytes;
		le16 *count = NULL;

		rc = none ? 0 : mfs_map_get(fs, &counts, i / COUNTS_PER_BLOCK, &at);
		if (!rc && at) {
			count = (le16 *)mfs_at(fs, at) + i % COUNTS_PER_BLOCK;
			rc = any_shared(count, end - done) ? mfs_touch(fs, at, &bytes) : 0;
		}
		for (; !rc && done < end; done++)
			rc = give_up(fs, block + (uint32_t)done, count ? count++ : NULL);
	}
	return rc;
}

int mfs_unshare(struct mfs *fs, uint32_t block)
{
	return mfs_unshare_run(fs, block, 1);
}
