/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes and ranges of files that are known by number. See include/minifs/ino.h. */
#include "config.h"

#include <limits.h>
#include <unistd.h>

#include "minifs_image.h"
#include <minifs.h>
#include <minifs/ino.h>

#define SET_ALL (MINIFS_SET_CTIME * 2 - 1)
#define SIZE_LIMIT ((uint64_t)INT64_MAX)

static int set_times(struct mfs_inode *inode, const struct minifs_change *c)
{
	int rc = c->what & MINIFS_SET_ATIME ? image_set_time(c->atime, &inode->atime) : 0;

	if (!rc && (c->what & MINIFS_SET_MTIME))
		rc = image_set_time(c->mtime, &inode->mtime);
	inode->ctime = mfs_now();
	if (!rc && (c->what & MINIFS_SET_CTIME))
		rc = image_set_time(c->ctime, &inode->ctime);
	return rc;
}

struct setting {
	const struct minifs_change *change;
	struct mfs_inode *ret;
};

/* A resize is first: it sets times of its own. */
static int set_all(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct setting *setting = (const struct setting *)arg;
	const struct minifs_change *c = setting->change;
	int rc = c->what & MINIFS_SET_SIZE ? mfs_resize(&fs->fs, inode, c->size) : 0;

	if (c->what & MINIFS_SET_MODE)
		inode->mode = (inode->mode & S_IFMT) | (c->mode & 07777);
	if (c->what & MINIFS_SET_UID)
		inode->uid = c->uid;
	if (c->what & MINIFS_SET_GID)
		inode->gid = c->gid;
	if (!S_ISDIR(inode->mode) && (c->what & (MINIFS_SET_UID | MINIFS_SET_GID)) && !(c->what & MINIFS_SET_MODE))
		inode->mode &= ~(uint32_t)(S_ISUID | (inode->mode & S_IXGRP ? S_ISGID : 0));
	if (!rc)
		rc = set_times(inode, c);
	if (!rc)
		rc = mfs_inode_store(&fs->fs, inode);
	*setting->ret = *inode;
	return rc;
}

int minifs_ino_set(struct minifs *fs, uint64_t ino, const struct minifs_change *change, struct stat *ret)
{
	struct mfs_inode inode;
	int rc;

	if (!change || (change->what & ~SET_ALL) || ((change->what & MINIFS_SET_ATIME) && !change->atime) ||
	    ((change->what & MINIFS_SET_MTIME) && !change->mtime) ||
	    ((change->what & MINIFS_SET_CTIME) && !change->ctime))
		return image_fail(fs, -EINVAL, "change", NULL);
	rc = image_change(fs, &(struct image_which){.ino = ino}, set_all, &(struct setting){change, &inode}, "change");
	if (!rc && ret)
		mfs_inode_stat(&inode, ret);
	return rc;
}

static int check_files(const struct mfs_inode *from, const struct mfs_inode *to)
{
	if (S_ISDIR(from->mode) || S_ISDIR(to->mode))
		return -EISDIR;
	return S_ISREG(from->mode) && S_ISREG(to->mode) ? 0 : -EINVAL;
}

static ssize_t copy_range(struct minifs *fs, uint64_t from, uint64_t to, struct mfs_clone *r)
{
	struct mfs_inode inodes[2], *target = &inodes[from != to];
	int rc = image_find(fs, &(struct image_which){.ino = from}, &inodes[0]);

	if (!rc && from != to)
		rc = image_find(fs, &(struct image_which){.ino = to}, target);
	if (!rc)
		rc = check_files(&inodes[0], target);
	if (rc)
		return rc;
	if (r->from >= inodes[0].size)
		return 0;
	if (r->length > inodes[0].size - r->from)
		r->length = inodes[0].size - r->from;
	if (r->to > SIZE_LIMIT - r->length)
		return -EFBIG;
	if (from == to && r->from < r->to + r->length && r->to < r->from + r->length)
		return -EINVAL;
	rc = mfs_copy_range(&fs->fs, &inodes[0], target, r);
	return rc ? rc : (ssize_t)r->length;
}

ssize_t minifs_ino_copy_range(struct minifs *fs, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset,
			      uint64_t length)
{
	struct mfs_clone range = {from_offset, to_offset, length < SSIZE_MAX ? length : SSIZE_MAX};
	ssize_t rc = image_enter_change(fs, fs);

	if (!rc)
		rc = image_leave_change(fs, copy_range(fs, from, to, &range));
	return rc < 0 ? image_fail(fs, (int)rc, "copy", NULL) : rc;
}

static int share(struct minifs *fs, uint64_t from, struct mfs_clone *range, const struct minifs_new *new_one,
		 struct mfs_inode *ret)
{
	struct mfs_inode source;
	int rc = image_find(fs, &(struct image_which){.ino = from}, &source);

	if (!rc)
		rc = check_files(&source, &source);
	if (!rc)
		rc = mfs_inode_new(&fs->fs, S_IFREG | (new_one->mode & 07777), new_one->uid, new_one->gid, ret);
	if (!rc)
		rc = mfs_inode_orphan(&fs->fs, ret);
	if (rc || range->from >= source.size)
		return rc;
	if (range->length > source.size - range->from)
		range->length = source.size - range->from;
	rc = range->length ? mfs_copy_range(&fs->fs, &source, ret, range) : 0;
	/* It is as old as what it was made of. */
	ret->mtime = source.mtime;
	return rc ? rc : mfs_inode_store(&fs->fs, ret);
}

int minifs_ino_share(struct minifs *fs, uint64_t from, uint64_t offset, uint64_t length,
		     const struct minifs_new *new_one, struct minifs_entry *ret)
{
	struct mfs_clone range = {.from = offset, .length = length};
	struct mfs_inode inode = {0};
	int rc = new_one && ret ? image_enter_change(fs, fs) : -EINVAL;

	if (!rc)
		rc = image_leave_held(fs, share(fs, from, &range, new_one, &inode), &inode, ret);
	return rc ? image_fail(fs, rc, "share blocks", NULL) : 0;
}

struct allocation {
	uint32_t flags;
	uint64_t from, to;
};

static int allocate(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct allocation *a = (const struct allocation *)arg;
	bool keep = a->flags & MINIFS_ALLOCATE_KEEP_SIZE;
	uint64_t to = keep && a->to > inode->size ? inode->size : a->to;
	int rc = check_files(inode, inode);

	if (!rc && a->to > mfs_size_max(&fs->fs) && !(a->flags & MINIFS_ALLOCATE_PUNCH))
		rc = -EFBIG;
	/* Behind the end there is nothing but zeros. */
	if (!rc && a->from < to && a->from < inode->size && (a->flags & (MINIFS_ALLOCATE_PUNCH | MINIFS_ALLOCATE_ZERO)))
		rc = mfs_punch(&fs->fs, inode, a->from, to < inode->size ? to : inode->size);
	if (!rc && a->from < to && !(a->flags & MINIFS_ALLOCATE_PUNCH))
		rc = mfs_fill(&fs->fs, inode, a->from, to);
	if (rc)
		return rc;
	if (!keep && to > inode->size)
		inode->size = to;
	inode->mtime = inode->ctime = mfs_now();
	return mfs_inode_store(&fs->fs, inode);
}

int minifs_ino_allocate(struct minifs *fs, uint64_t ino, uint32_t flags, uint64_t offset, uint64_t length)
{
	const struct allocation allocation = {flags, offset, offset + length};
	bool punch = flags & MINIFS_ALLOCATE_PUNCH, keep = flags & MINIFS_ALLOCATE_KEEP_SIZE;
	int rc = 0;

	if (flags >= MINIFS_ALLOCATE_ZERO * 2 || !length || (punch && (!keep || (flags & MINIFS_ALLOCATE_ZERO))))
		rc = -EINVAL;
	else if (offset > SIZE_LIMIT || length > SIZE_LIMIT - offset)
		rc = -EFBIG;
	if (rc)
		return image_fail(fs, rc, "allocate for", NULL);
	return image_change(fs, &(struct image_which){.ino = ino}, allocate, &allocation, "allocate for");
}

int minifs_ino_seek(struct minifs *fs, uint64_t ino, uint64_t offset, int whence, uint64_t *ret)
{
	struct mfs_inode inode;
	int rc = whence == SEEK_DATA || whence == SEEK_HOLE ? image_enter(fs, ret) : -EINVAL;

	if (rc)
		return image_fail(fs, rc, "search", NULL);
	rc = image_find(fs, &(struct image_which){.ino = ino}, &inode);
	if (!rc)
		rc = check_files(&inode, &inode);
	if (!rc)
		rc = mfs_seek(&fs->fs, &inode, offset, whence == SEEK_HOLE, ret);
	image_leave(fs);
	return rc;
}
