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

int mfs_shares_set(struct mfs *fs, uint32_t block, uint32_t shares)
{
	uint64_t i = block - fs->geo.data;
	struct mfs_inode counts;
	uint8_t *bytes;
	uint32_t at;
	int rc = load_counts(fs, &counts);

	if (rc == -ENOENT && !shares)
		return 0;
	if (rc == -ENOENT)
		rc = -EUCLEAN;
	if (!rc)
		rc = mfs_map_get(fs, &counts, i / COUNTS_PER_BLOCK, &at);
	if (!rc && !at && !shares)
		return 0;
	if (!rc && !at) {
		rc = mfs_map_own(fs, &counts, i / COUNTS_PER_BLOCK, false, &at);
		if (!rc)
			rc = mfs_inode_store(fs, &counts);
	}
	if (!rc)
		rc = mfs_touch(fs, at, &bytes);
	if (!rc)
		((le16 *)bytes)[i % COUNTS_PER_BLOCK] = put16((uint16_t)shares);
	return rc;
}

/* One more pointer will lead to the block. *@ret_shared is false if it has to be copied instead. */
int mfs_share(struct mfs *fs, uint32_t block, bool *ret_shared)
{
	uint32_t shares;
	int rc = mfs_shares(fs, block, &shares);

	if (rc)
		return rc;
	if (!mfs_block_used(fs, block))
		return -EUCLEAN;
	*ret_shared = shares < MFS_SHARES_MAX;
	return *ret_shared ? mfs_shares_set(fs, block, shares + 1) : 0;
}

/* One pointer less; the last one frees the block. */
int mfs_unshare(struct mfs *fs, uint32_t block)
{
	uint32_t shares;
	int rc = mfs_is_data(fs, block) ? mfs_shares(fs, block, &shares) : -EUCLEAN;

	if (rc || shares == MFS_SHARES_MAX)
		return rc;
	return shares ? mfs_shares_set(fs, block, shares - 1) : mfs_block_free(fs, block);
}
