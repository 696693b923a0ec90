/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes of files in an image: mode, owner, times, extended ones. See include/minifs.h. */
#include "config.h"

#include "base.h"
#include "minifs_image.h"
#include <minifs.h>

/* Changes the inode; the change is stored if it returns 0. */
typedef int inode_edit(struct minifs *fs, struct mfs_inode *inode, const void *arg);

static int change(struct minifs *fs, const char *path, uint32_t flags, inode_edit *edit, const void *arg,
		  const char *what)
{
	struct mfs_inode inode;
	int rc = flags & ~MINIFS_NOFOLLOW ? -EINVAL : image_enter_change(fs, path);

	if (rc)
		return image_fail(fs, rc, what, path);
	rc = mfs_find(&fs->fs, path, !(flags & MINIFS_NOFOLLOW), &inode);
	if (!rc)
		rc = edit(fs, &inode, arg);
	if (!rc) {
		inode.ctime = mfs_now();
		rc = mfs_inode_store(&fs->fs, &inode);
	}
	rc = (int)image_leave_change(fs, rc);
	return rc ? image_fail(fs, rc, what, path) : 0;
}

static int set_mode(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	(void)fs;
	inode->mode = (inode->mode & S_IFMT) | (*(const mode_t *)arg & 07777);
	return 0;
}

int minifs_chmod(struct minifs *fs, const char *path, mode_t mode)
{
	return change(fs, path, 0, set_mode, &mode, "change the mode of");
}

struct owner {
	uid_t uid;
	gid_t gid;
};

static int set_owner(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct owner *owner = (const struct owner *)arg;

	(void)fs;
	if (owner->uid != (uid_t)-1)
		inode->uid = owner->uid;
	if (owner->gid != (gid_t)-1)
		inode->gid = owner->gid;
	if (!S_ISDIR(inode->mode))
		inode->mode &= ~(uint32_t)(S_ISUID | (inode->mode & S_IXGRP ? S_ISGID : 0));
	return 0;
}

int minifs_chown(struct minifs *fs, const char *path, uint32_t flags, uid_t uid, gid_t gid)
{
	const struct owner owner = {uid, gid};

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

static int set_time(const struct timespec *time, int64_t *ret)
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
	int rc = set_time(&times[0], &inode->atime);

	(void)fs;
	return rc ? rc : set_time(&times[1], &inode->mtime);
}

int minifs_utimens(struct minifs *fs, const char *path, uint32_t flags, const struct timespec *times)
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

	return change(fs, path, flags, set_times, times ? times : now, "change the times of");
}

ssize_t minifs_getxattr(struct minifs *fs, const char *path, const char *name, void *value, size_t size)
{
	struct mfs_inode inode;
	ssize_t rc = name && (value || !size) ? image_enter(fs, path) : -EINVAL;

	if (!rc) {
		rc = mfs_find(&fs->fs, path, true, &inode);
		if (!rc)
			rc = mfs_xattr_get(&fs->fs, &inode, name, value, size);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "read an attribute of", path) : rc;
}

ssize_t minifs_listxattr(struct minifs *fs, const char *path, char *list, size_t size)
{
	struct mfs_inode inode;
	ssize_t rc = list || !size ? image_enter(fs, path) : -EINVAL;

	if (!rc) {
		rc = mfs_find(&fs->fs, path, true, &inode);
		if (!rc)
			rc = mfs_xattr_list(&fs->fs, &inode, list, size);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "list the attributes of", path) : rc;
}

struct attribute {
	const char *name;
	const void *value;
	size_t size;
	int flags;
};

static int set_attribute(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct attribute *a = (const struct attribute *)arg;

	return mfs_xattr_set(&fs->fs, inode, a->name, a->value, a->size, a->flags);
}

int minifs_setxattr(struct minifs *fs, const char *path, const char *name, const void *value, size_t size, int flags)
{
	const struct attribute attribute = {name, value, size, flags};

	if (!name || (!value && size))
		return image_fail(fs, -EINVAL, "set an attribute of", path);
	return change(fs, path, 0, set_attribute, &attribute, "set an attribute of");
}

static int remove_attribute(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	return mfs_xattr_remove(&fs->fs, inode, (const char *)arg);
}

int minifs_removexattr(struct minifs *fs, const char *path, const char *name)
{
	if (!name)
		return image_fail(fs, -EINVAL, "remove an attribute of", path);
	return change(fs, path, 0, remove_attribute, name, "remove an attribute of");
}
