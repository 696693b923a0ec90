/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations on names of an image: each is one transaction. See include/minifs.h. */
#include "config.h"

#include <string.h>

#include "base.h"
#include "minifs_image.h"
#include <minifs.h>

int minifs_stat(struct minifs *fs, const char *path, uint32_t flags, struct stat *ret)
{
	struct mfs_inode inode;
	int rc = flags & ~MINIFS_NOFOLLOW || !ret ? -EINVAL : image_enter(fs, path);

	if (rc)
		return image_fail(fs, rc, "look at", path);
	rc = mfs_find(&fs->fs, path, !(flags & MINIFS_NOFOLLOW), &inode);
	image_leave(fs);
	if (rc)
		return image_fail(fs, rc, "look at", path);
	mfs_inode_stat(&inode, ret);
	return 0;
}

/* A step on the name at the end of @path, in a transaction. */
typedef int name_step(struct minifs *fs, struct mfs_walk *walk, const void *arg);

static int change_name(struct minifs *fs, const char *path, name_step *step, const void *arg, const char *what)
{
	struct mfs_walk walk;
	int rc = image_enter_change(fs, path);

	if (!rc) {
		rc = mfs_walk_to(&fs->fs, path, false, &walk);
		if (!rc)
			rc = step(fs, &walk, arg);
		rc = (int)image_leave_change(fs, rc);
	}
	return rc ? image_fail(fs, rc, what, path) : 0;
}

static int make(struct minifs *fs, struct mfs_walk *walk, const void *mode)
{
	struct mfs_inode inode;

	return mfs_make(&fs->fs, walk, *(const uint32_t *)mode, &fs->owner, &inode);
}

int minifs_create(struct minifs *fs, const char *path, mode_t mode)
{
	const uint32_t all = S_IFREG | (mode & 07777);

	return change_name(fs, path, make, &all, "create");
}

int minifs_mkdir(struct minifs *fs, const char *path, mode_t mode)
{
	const uint32_t all = S_IFDIR | (mode & 07777);

	return change_name(fs, path, make, &all, "make the directory");
}

static int make_symlink(struct minifs *fs, struct mfs_walk *walk, const void *target)
{
	struct mfs_inode inode;

	return mfs_make_symlink(&fs->fs, walk, (const char *)target, &fs->owner, &inode);
}

int minifs_symlink(struct minifs *fs, const char *target, const char *path)
{
	return target ? change_name(fs, path, make_symlink, target, "make the link")
		      : image_fail(fs, -EINVAL, "make the link", path);
}

static int link_both(struct minifs *fs, const char *from, const char *to)
{
	struct mfs_inode inode;
	struct mfs_walk walk;
	int rc = mfs_find(&fs->fs, from, false, &inode);

	if (!rc)
		rc = mfs_walk_to(&fs->fs, to, false, &walk);
	return rc ? rc : mfs_link(&fs->fs, &inode, &walk);
}

int minifs_link(struct minifs *fs, const char *from, const char *to)
{
	int rc = from ? image_enter_change(fs, to) : -EINVAL;

	if (!rc)
		rc = (int)image_leave_change(fs, link_both(fs, from, to));
	return rc ? image_fail(fs, rc, "make the name", to) : 0;
}

static int remove_name(struct minifs *fs, struct mfs_walk *walk, const void *arg)
{
	(void)arg;
	return mfs_unlink(&fs->fs, walk);
}

int minifs_unlink(struct minifs *fs, const char *path)
{
	return change_name(fs, path, remove_name, NULL, "remove");
}

static int remove_directory(struct minifs *fs, struct mfs_walk *walk, const void *arg)
{
	(void)arg;
	return mfs_rmdir(&fs->fs, walk);
}

int minifs_rmdir(struct minifs *fs, const char *path)
{
	return change_name(fs, path, remove_directory, NULL, "remove the directory");
}

static int rename_to(struct minifs *fs, struct mfs_walk *from, const void *arg)
{
	struct mfs_walk to;
	int rc = mfs_walk_to(&fs->fs, (const char *)arg, false, &to);

	return rc ? rc : mfs_rename(&fs->fs, from, &to, 0);
}

int minifs_rename(struct minifs *fs, const char *from, const char *to)
{
	return to ? change_name(fs, from, rename_to, to, "rename") : image_fail(fs, -EINVAL, "rename", from);
}

static ssize_t read_link(const struct mfs *fs, const char *path, char *buf, size_t size)
{
	struct mfs_inode inode;
	int rc = mfs_find(fs, path, false, &inode);

	if (!rc && !S_ISLNK(inode.mode))
		rc = -EINVAL;
	return rc ? rc : mfs_read(fs, &inode, buf, size, 0);
}

ssize_t minifs_readlink(struct minifs *fs, const char *path, char *buf, size_t size)
{
	ssize_t rc = buf && size ? image_enter(fs, path) : -EINVAL;

	if (!rc) {
		rc = read_link(&fs->fs, path, buf, size);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "read the link", path) : rc;
}

static int fill_dirent(const struct mfs *fs, const struct mfs_name *name, struct minifs_dirent *ret)
{
	struct mfs_inode inode;
	int rc = mfs_inode_load(fs, name->ino, &inode);

	if (rc)
		return rc;
	ret->ino = name->ino;
	ret->mode = inode.mode & S_IFMT;
	memcpy(ret->name, name->name, name->length);
	ret->name[name->length] = 0;
	return 0;
}

static ssize_t list(const struct mfs *fs, const char *path, uint64_t *cursor, struct minifs_dirent *entries,
		    size_t capacity)
{
	struct mfs_name name = {.next = *cursor};
	struct mfs_inode dir;
	size_t n = 0;
	int rc = mfs_find(fs, path, true, &dir);

	if (!rc && !S_ISDIR(dir.mode))
		rc = -ENOTDIR;
	if (rc)
		return rc;
	while (!rc && n < capacity) {
		rc = mfs_dir_next(fs, &dir, name.next, &name);
		if (rc == -ENOENT)
			break;
		if (!rc)
			rc = fill_dirent(fs, &name, &entries[n++]);
	}
	if (rc && rc != -ENOENT)
		return rc;
	*cursor = name.next;
	return (ssize_t)n;
}

ssize_t minifs_readdir(struct minifs *fs, const char *path, uint64_t *cursor, struct minifs_dirent *entries,
		       size_t capacity)
{
	ssize_t rc = cursor && entries && capacity ? image_enter(fs, path) : -EINVAL;

	if (!rc) {
		rc = list(&fs->fs, path, cursor, entries, capacity);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "list", path) : rc;
}

/* A new file with the content and attributes of another. */
static int clone_file(struct minifs *fs, const char *from, const char *to)
{
	static const struct mfs_clone all;
	struct mfs_inode source, target;
	struct mfs_owner owner;
	struct mfs_walk walk;
	int rc = mfs_find(&fs->fs, from, true, &source);

	if (!rc && !S_ISREG(source.mode))
		rc = S_ISDIR(source.mode) ? -EISDIR : -EINVAL;
	if (!rc)
		rc = mfs_walk_to(&fs->fs, to, false, &walk);
	if (rc)
		return rc;
	owner = (struct mfs_owner){source.uid, source.gid};
	rc = mfs_make(&fs->fs, &walk, source.mode, &owner, &target);
	if (!rc)
		rc = mfs_xattr_copy(&fs->fs, &source, &target);
	if (rc)
		return rc;
	target.gid = source.gid;
	rc = mfs_inode_store(&fs->fs, &target);
	return rc ? rc : mfs_clone_range(&fs->fs, &source, &target, &all);
}

int minifs_clone(struct minifs *fs, const char *from, const char *to)
{
	int rc = to ? image_enter_change(fs, from) : -EINVAL;

	if (!rc)
		rc = (int)image_leave_change(fs, clone_file(fs, from, to));
	return rc ? image_fail(fs, rc, "clone", from) : 0;
}
