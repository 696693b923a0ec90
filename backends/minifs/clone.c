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
		rc = mfs_punch_blocks(fs, to, cloning.to_block, cloning.to_block + blocks);
	if (!rc)
		rc = mfs_map_runs(fs, &source, cloning.from_block, cloning.from_block + blocks, clone_run, &cloning);
	/* Of holes that were cloned. */
	if (!rc)
		rc = mfs_map_prune(fs, to, cloning.to_block, cloning.to_block + blocks);
	if (r.to + r.length > to->size)
		to->size = r.to + r.length;
	to->mtime = to->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, to);
}

/* What lies alike in its blocks, and to the end of a block or of both files. */
static bool can_share(const struct mfs_inode *from, const struct mfs_inode *to, const struct mfs_clone *r)
{
	uint64_t length = r->length;

	if (r->from % MFS_BLOCK || r->to % MFS_BLOCK)
		return false;
	if (from->ino == to->ino && r->from < r->to + length && r->to < r->from + length)
		return false;
	return length % MFS_BLOCK == 0 || (r->from + length == from->size && r->to + length >= to->size);
}

static int copy_bytes(struct mfs *fs, struct mfs_inode *from, struct mfs_inode *to, const struct mfs_clone *r)
{
	uint8_t bytes[MFS_BLOCK];

	for (uint64_t done = 0; done < r->length;) {
		size_t room = MFS_BLOCK - (r->to + done) % MFS_BLOCK;
		size_t n = r->length - done < room ? (size_t)(r->length - done) : room;
		ssize_t got = mfs_read(fs, from, bytes, n, r->from + done);

		if (got > 0)
			got = mfs_write(fs, to, bytes, (size_t)got, r->to + done);
		if (got < 0)
			return (int)got;
		if (!got)
			return -EUCLEAN;
		done += (uint64_t)got;
	}
	return 0;
}

/*
 * Bytes to another place, of which none may be behind the end of @from: whole blocks are
 * shared where both lie alike in them, else copied. @from and @to may be the same struct,
 * then the ranges must not overlap.
 */
int mfs_copy_range(struct mfs *fs, struct mfs_inode *from, struct mfs_inode *to, const struct mfs_clone *range)
{
	struct mfs_clone head = *range, middle = *range, tail = *range;
	int rc;

	if (range->to > mfs_size_max(fs) || range->length > mfs_size_max(fs) - range->to)
		return -EFBIG;
	if (range->from % MFS_BLOCK != range->to % MFS_BLOCK) {
		rc = mfs_fill(fs, to, range->to, range->to + range->length);
		return rc ? rc : copy_bytes(fs, from, to, range);
	}
	head.length = (MFS_BLOCK - range->from % MFS_BLOCK) % MFS_BLOCK;
	if (head.length > range->length)
		head.length = range->length;
	middle.from += head.length;
	middle.to += head.length;
	middle.length -= head.length;
	if (!can_share(from, to, &middle))
		middle.length -= middle.length % MFS_BLOCK;
	tail.length -= head.length + middle.length;
	tail.from += head.length + middle.length;
	tail.to += head.length + middle.length;
	/* All that can fail comes before the first byte is overwritten. */
	rc = mfs_fill(fs, to, head.to, head.to + head.length);
	if (!rc)
		rc = mfs_fill(fs, to, tail.to, tail.to + tail.length);
	if (!rc && middle.length)
		rc = mfs_clone_range(fs, from, to, &middle);
	if (!rc)
		rc = copy_bytes(fs, from, to, &head);
	return rc ? rc : copy_bytes(fs, from, to, &tail);
}
