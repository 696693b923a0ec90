/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes of files in an image: mode, owner, times, extended ones. See include/minifs.h. */
#include "config.h"

#include "base.h"
#include "minifs_image.h"
#include <minifs.h>

int image_find(const struct minifs *fs, const struct image_which *which, struct mfs_inode *ret)
{
	if (which->path)
		return mfs_find(&fs->fs, which->path, !which->nofollow, ret);
	return which->ino <= UINT32_MAX ? mfs_inode_load(&fs->fs, (uint32_t)which->ino, ret) : -EINVAL;
}

int image_change(struct minifs *fs, const struct image_which *which, image_edit *edit, const void *arg,
		 const char *what)
{
	struct mfs_inode inode;
	int rc = image_enter_change(fs, which->path ? which->path : "");

	if (rc)
		return image_fail(fs, rc, what, which->path);
	rc = image_find(fs, which, &inode);
	if (!rc)
		rc = edit(fs, &inode, arg);
	rc = (int)image_leave_change(fs, rc);
	return rc ? image_fail(fs, rc, what, which->path) : 0;
}

/* The change is stored if @edit returns 0. */
static int change(struct minifs *fs, const char *path, uint32_t flags, image_edit *edit, const void *arg,
		  const char *what)
{
	const struct image_which which = {.path = path, .nofollow = flags & MINIFS_NOFOLLOW};

	if (!path || (flags & ~MINIFS_NOFOLLOW))
		return image_fail(fs, -EINVAL, what, path);
	return image_change(fs, &which, edit, arg, what);
}

static int store(struct minifs *fs, struct mfs_inode *inode)
{
	inode->ctime = mfs_now();
	return mfs_inode_store(&fs->fs, inode);
}

static int set_mode(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	inode->mode = (inode->mode & S_IFMT) | (*(const mode_t *)arg & 07777);
	return store(fs, inode);
}

int minifs_chmod(struct minifs *fs, const char *path, mode_t mode)
{
	return change(fs, path, 0, set_mode, &mode, "change the mode of");
}

static int set_owner(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct mfs_owner *owner = (const struct mfs_owner *)arg;

	if (owner->uid != (uid_t)-1)
		inode->uid = owner->uid;
	if (owner->gid != (gid_t)-1)
		inode->gid = owner->gid;
	if (!S_ISDIR(inode->mode))
		inode->mode &= ~(uint32_t)(S_ISUID | (inode->mode & S_IXGRP ? S_ISGID : 0));
	return store(fs, inode);
}

int minifs_chown(struct minifs *fs, const char *path, uint32_t flags, uid_t uid, gid_t gid)
{
	const struct mfs_owner owner = {uid, gid};

	return change(fs, path, flags, set_owner, &owner, "change the owner of");
}

/* As far as 64 bits of nanoseconds reach. */
static int64_t nanoseconds(const struct timespec *time)
{
	const int64_t limit = INT64_MAX / 1000000000 - 1;

	if (time->tv_sec > limit)
		return INT64_MAX;
	if (time->tv_sec < -limit)
		return INT64_MIN;
	return time->tv_sec * (int64_t)1000000000 + time->tv_nsec;
}

int image_set_time(const struct timespec *time, int64_t *ret)
{
	if (time->tv_nsec == UTIME_OMIT)
		return 0;
	if (time->tv_nsec != UTIME_NOW && (time->tv_nsec < 0 || time->tv_nsec > 999999999))
		return -EINVAL;
	*ret = time->tv_nsec == UTIME_NOW ? mfs_now() : nanoseconds(time);
	return 0;
}

static int set_times(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct timespec *times = (const struct timespec *)arg;
	int rc = image_set_time(&times[0], &inode->atime);

	if (!rc)
		rc = image_set_time(&times[1], &inode->mtime);
	return rc ? rc : store(fs, inode);
}

int minifs_utimens(struct minifs *fs, const char *path, uint32_t flags, const struct timespec *times)
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

	return change(fs, path, flags, set_times, times ? times : now, "change the times of");
}
