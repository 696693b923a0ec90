/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holes of files: making them, filling them, finding them. Sizes and times are the callers'. */
#include "config.h"

#include <string.h>

#include "fs.h"

struct clearing {
	struct mfs *fs;
	struct mfs_inode *inode;
};

static int clear_block(void *arg, uint64_t at, uint32_t block)
{
	struct clearing *c = (struct clearing *)arg;
	int rc = mfs_map_set(c->fs, c->inode, at, 0);

	if (c->inode->blocks)
		c->inode->blocks--;
	return rc ? rc : mfs_unshare(c->fs, block);
}

/* The inode's blocks of [@from, @to) become holes. */
int mfs_punch_blocks(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	struct mfs_inode old = *inode;
	struct clearing clearing = {.fs = fs, .inode = inode};

	return mfs_map_walk(fs, &old, from, to, clear_block, &clearing);
}

/* Bytes within one block. */
static int zero_part(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	uint32_t block;
	uint8_t *bytes;
	int rc = from < to ? mfs_map_get(fs, inode, from / MFS_BLOCK, &block) : 0;

	if (rc || from >= to || !block)
		return rc;
	rc = mfs_map_own(fs, inode, from / MFS_BLOCK, false, &block);
	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (!rc)
		memset(bytes + from % MFS_BLOCK, 0, to - from);
	return rc;
}

/* Zeros: whole blocks of the range become holes. The inode is the caller's to store. */
int mfs_punch(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	uint64_t first = (from + MFS_BLOCK - 1) / MFS_BLOCK * MFS_BLOCK, last = to / MFS_BLOCK * MFS_BLOCK;
	int rc;

	if (from >= to)
		return 0;
	if (from / MFS_BLOCK == to / MFS_BLOCK)
		return zero_part(fs, inode, from, to);
	rc = zero_part(fs, inode, from, first);
	if (!rc)
		rc = mfs_punch_blocks(fs, inode, first / MFS_BLOCK, last / MFS_BLOCK);
	if (!rc)
		rc = mfs_map_prune(fs, inode, first / MFS_BLOCK, last / MFS_BLOCK);
	return rc ? rc : zero_part(fs, inode, last, to);
}

/* Blocks of the inode's own in all of the range: zeros where there was a hole. */
int mfs_fill(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	int rc = 0;

	if (from >= to)
		return 0;
	/* So that a large one that cannot be does not begin. */
	if ((to - from) / MFS_BLOCK > fs->geo.data_blocks)
		return -ENOSPC;
	for (uint64_t at = from / MFS_BLOCK; !rc && at * MFS_BLOCK < to; at++) {
		uint32_t block;

		rc = mfs_map_own(fs, inode, at, false, &block);
	}
	return rc;
}

struct seeking {
	uint64_t next; /* block that is looked for */
	bool hole;
};

/* 1: found. */
static int seek_block(void *arg, uint64_t at, uint32_t block)
{
	struct seeking *s = (struct seeking *)arg;

	(void)block;
	if (!s->hole) {
		s->next = at;
		return 1;
	}
	if (at > s->next)
		return 1;
	s->next = at + 1;
	return 0;
}

/* As lseek(2) with SEEK_DATA or SEEK_HOLE. */
int mfs_seek(const struct mfs *fs, const struct mfs_inode *inode, uint64_t offset, bool hole, uint64_t *ret)
{
	uint64_t end = (inode->size + MFS_BLOCK - 1) / MFS_BLOCK, found;
	struct seeking seeking = {.next = offset / MFS_BLOCK, .hole = hole};
	int rc;

	if (offset >= inode->size)
		return -ENXIO;
	rc = mfs_map_walk(fs, inode, offset / MFS_BLOCK, end, seek_block, &seeking);
	if (rc < 0)
		return rc;
	if (!rc && !hole)
		return -ENXIO;
	found = seeking.next * MFS_BLOCK;
	if (found < offset)
		found = offset;
	*ret = found < inode->size ? found : inode->size;
	return 0;
}
