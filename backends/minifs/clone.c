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

static int set_pointers(struct cloning *c, uint64_t at, uint32_t block, uint64_t n)
{
	int rc = 0;

	for (uint64_t done = 0, some; !rc && done < n; done += some) {
		rc = mfs_map_set_run(c->fs, c->to, at + done, block + (uint32_t)done, n - done, &some);
		if (rc)
			break;
	}
	c->to->blocks += rc ? 0 : n;
	return rc;
}

static int clone_run(void *arg, const struct mfs_extent *run)
{
	struct cloning *c = (struct cloning *)arg;
	uint64_t target = run->at - c->from_block + c->to_block;
	int rc = 0;

	for (uint64_t done = 0, n; !rc && done < run->length; done += n) {
		uint32_t block = run->block + (uint32_t)done;

		rc = mfs_share(c->fs, block, run->length - done, &n);
		if (!rc && !n) {
			rc = copy_block(c, block, &block);
			n = 1;
		}
		if (!rc)
			rc = set_pointers(c, target + done, block, n);
		if (rc)
			break;
	}
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
		rc = mfs_map_runs(fs, &source, cloning.from_block, cloning.from_block + blocks, clone_run, &cloning);
	if (r.to + r.length > to->size)
		to->size = r.to + r.length;
	to->mtime = to->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, to);
}
