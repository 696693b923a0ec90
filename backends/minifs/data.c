/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of files: reading, writing, and other sizes. */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "fs.h"

static size_t piece(uint64_t offset, size_t n)
{
	size_t room = MFS_BLOCK - offset % MFS_BLOCK;

	return n < room ? n : room;
}

ssize_t mfs_read(const struct mfs *fs, const struct mfs_inode *inode, void *buf, size_t n, uint64_t offset)
{
	uint8_t *to = (uint8_t *)buf;
	size_t done = 0;

	if (offset >= inode->size)
		return 0;
	if (n > inode->size - offset)
		n = (size_t)(inode->size - offset);
	if (n > SSIZE_MAX)
		n = SSIZE_MAX;
	while (done < n) {
		size_t part = piece(offset + done, n - done);
		uint32_t block;
		int rc = mfs_map_get(fs, inode, (offset + done) / MFS_BLOCK, &block);

		if (rc)
			return rc;
		if (block)
			memcpy(to + done, mfs_at(fs, block) + (offset + done) % MFS_BLOCK, part);
		else
			memset(to + done, 0, part);
		done += part;
	}
	return (ssize_t)n;
}

/* Bytes behind the end, in its block, are zeros always: so growth is zeros. */
static int zero_tail(struct mfs *fs, struct mfs_inode *inode)
{
	uint32_t block;
	uint8_t *bytes;
	size_t used = inode->size % MFS_BLOCK;
	int rc = used ? mfs_map_get(fs, inode, inode->size / MFS_BLOCK, &block) : 0;

	if (rc || !used || !block)
		return rc;
	rc = mfs_map_own(fs, inode, inode->size / MFS_BLOCK, false, &block);
	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (!rc)
		memset(bytes + used, 0, MFS_BLOCK - used);
	return rc;
}

static int write_mode_check(const struct mfs_inode *inode)
{
	return S_ISDIR(inode->mode) ? -EISDIR : S_ISREG(inode->mode) ? 0 : -EINVAL;
}

static void changed(struct mfs_inode *inode)
{
	inode->mtime = inode->ctime = mfs_now();
}

/*
 * First all blocks, which can fail, then the bytes, which cannot: what is overwritten
 * in place needs no saving then.
 */
ssize_t mfs_write(struct mfs *fs, struct mfs_inode *inode, const void *buf, size_t n, uint64_t offset)
{
	const uint8_t *from = (const uint8_t *)buf;
	uint64_t end;
	uint32_t block;
	int rc = write_mode_check(inode);

	if (rc || !n)
		return rc;
	if (n > SSIZE_MAX)
		n = SSIZE_MAX;
	if (offset >= mfs_size_max(fs))
		return -EFBIG;
	if (n > mfs_size_max(fs) - offset)
		n = (size_t)(mfs_size_max(fs) - offset);
	end = offset + n;
	for (uint64_t at = offset / MFS_BLOCK; !rc && at * MFS_BLOCK < end; at++) {
		bool whole = at * MFS_BLOCK >= offset && (at + 1) * MFS_BLOCK <= end;

		rc = mfs_map_own(fs, inode, at, whole, &block);
		if (!rc)
			rc = mfs_get_ready(fs, block);
	}
	if (end > inode->size)
		inode->size = end;
	changed(inode);
	if (!rc)
		rc = mfs_inode_store(fs, inode);
	for (size_t done = 0; !rc && done < n;) {
		size_t part = piece(offset + done, n - done);

		rc = mfs_map_get(fs, inode, (offset + done) / MFS_BLOCK, &block);
		if (!rc && !block)
			rc = -EUCLEAN;
		if (!rc)
			memcpy(mfs_at(fs, block) + (offset + done) % MFS_BLOCK, from + done, part);
		done += part;
	}
	return rc ? rc : (ssize_t)n;
}

int mfs_resize(struct mfs *fs, struct mfs_inode *inode, uint64_t size)
{
	uint64_t old = inode->size;
	int rc = write_mode_check(inode);

	if (rc)
		return rc;
	if (size > mfs_size_max(fs))
		return -EFBIG;
	inode->size = size;
	if (size < old) {
		rc = mfs_map_cut(fs, inode, (size + MFS_BLOCK - 1) / MFS_BLOCK);
		if (!rc)
			rc = zero_tail(fs, inode);
	}
	changed(inode);
	return rc ? rc : mfs_inode_store(fs, inode);
}
