/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sharing blocks between files: pointers are copied and counts raised, data stays where it is. */
#include "config.h"

#include <string.h>

#include "fs.h"

struct cloning {
	struct mfs *fs;
	struct mfs_inode *to;
	uint64_t from_block, to_block;
};

/* A block that too many share already is copied. */
static int copy_block(struct cloning *c, uint32_t from, uint32_t *ret)
{
	int rc = mfs_block_alloc(c->fs, 0, ret);

	if (!rc)
		memmove(mfs_at(c->fs, *ret), mfs_at(c->fs, from), MFS_BLOCK);
	return rc;
}

static int clone_block(void *arg, uint64_t at, uint32_t block)
{
	struct cloning *c = (struct cloning *)arg;
	uint64_t target = at - c->from_block + c->to_block;
	bool shared;
	int rc = mfs_share(c->fs, block, &shared);

	if (!rc && !shared)
		rc = copy_block(c, block, &block);
	if (!rc)
		rc = mfs_map_set(c->fs, c->to, target, block);
	if (!rc)
		c->to->blocks++;
	return rc;
}

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
static int punch(struct mfs *fs, struct mfs_inode *inode, uint64_t from, uint64_t to)
{
	struct mfs_inode old = *inode;
	struct clearing clearing = {.fs = fs, .inode = inode};

	return mfs_map_walk(fs, &old, from, to, clear_block, &clearing);
}

static int check_range(const struct mfs *fs, const struct mfs_inode *from, const struct mfs_inode *to,
		       const struct mfs_clone *r)
{
	if (S_ISDIR(from->mode) || S_ISDIR(to->mode))
		return -EISDIR;
	if (!S_ISREG(from->mode) || !S_ISREG(to->mode))
		return -EINVAL;
	if (r->from % MFS_BLOCK || r->to % MFS_BLOCK)
		return -EINVAL;
	if (r->from > from->size || r->length > from->size - r->from)
		return -EINVAL;
	if (r->length % MFS_BLOCK && (r->from + r->length != from->size || r->to + r->length < to->size))
		return -EINVAL;
	if (r->to > mfs_size_max(fs) || r->length > mfs_size_max(fs) - r->to)
		return -EFBIG;
	if (from->ino == to->ino && r->from < r->to + r->length && r->to < r->from + r->length)
		return -EINVAL;
	return 0;
}

/* As FICLONERANGE. A length of 0 is up to the end. @from and @to may be the same struct. */
int mfs_clone_range(struct mfs *fs, struct mfs_inode *from, struct mfs_inode *to, const struct mfs_clone *range)
{
	struct mfs_inode source = *from;
	struct mfs_clone r = *range;
	struct cloning cloning = {.fs = fs, .to = to};
	uint64_t blocks;
	int rc;

	if (!r.length && r.from < from->size)
		r.length = from->size - r.from;
	rc = check_range(fs, from, to, &r);
	if (rc || !r.length)
		return rc;
	blocks = (r.length + MFS_BLOCK - 1) / MFS_BLOCK;
	cloning.from_block = r.from / MFS_BLOCK;
	cloning.to_block = r.to / MFS_BLOCK;
	rc = mfs_counts_create(fs);
	if (!rc)
		rc = punch(fs, to, cloning.to_block, cloning.to_block + blocks);
	if (!rc)
		rc = mfs_map_walk(fs, &source, cloning.from_block, cloning.from_block + blocks, clone_block, &cloning);
	if (r.to + r.length > to->size)
		to->size = r.to + r.length;
	to->mtime = to->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, to);
}
