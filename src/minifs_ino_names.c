/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names in directories that are known by number: each operation is one transaction. See include/minifs/ino.h. */
#include "config.h"

#include "minifs_image.h"
#include <minifs.h>
#include <minifs/ino.h>

static int walk_at(struct minifs *fs, uint64_t parent, const char *name, struct mfs_walk *ret)
{
	return parent <= UINT32_MAX ? mfs_walk_at(&fs->fs, (uint32_t)parent, name, ret) : -EINVAL;
}

int minifs_ino_make(struct minifs *fs, uint64_t parent, const char *name, const struct minifs_new *new_one,
		    struct minifs_entry *ret)
{
	struct mfs_inode inode = {0};
	struct mfs_walk walk;
	int rc = new_one && ret ? 0 : -EINVAL;

	if (!rc && !S_ISREG(new_one->mode) && !S_ISDIR(new_one->mode))
		rc = -EPERM;
	if (!rc)
		rc = image_enter_change(fs, name);
	if (!rc) {
		const struct mfs_owner owner = {new_one->uid, new_one->gid};

		rc = walk_at(fs, parent, name, &walk);
		if (!rc)
			rc = mfs_make(&fs->fs, &walk, new_one->mode & (S_IFMT | 07777), &owner, &inode);
		rc = image_leave_held(fs, rc, &inode, ret);
	}
	return rc ? image_fail(fs, rc, "make", name) : 0;
}

int minifs_ino_symlink(struct minifs *fs, uint64_t parent, const char *name, const char *target,
		       const struct minifs_new *new_one, struct minifs_entry *ret)
{
	struct mfs_inode inode = {0};
	struct mfs_walk walk;
	int rc = new_one && target && ret ? image_enter_change(fs, name) : -EINVAL;

	if (!rc) {
		const struct mfs_owner owner = {new_one->uid, new_one->gid};

		rc = walk_at(fs, parent, name, &walk);
		if (!rc)
			rc = mfs_make_symlink(&fs->fs, &walk, target, &owner, &inode);
		rc = image_leave_held(fs, rc, &inode, ret);
	}
	return rc ? image_fail(fs, rc, "make the link", name) : 0;
}

int minifs_ino_link(struct minifs *fs, uint64_t ino, uint64_t parent, const char *name, struct minifs_entry *ret)
{
	struct mfs_inode inode = {0};
	struct mfs_walk walk;
	int rc = ret ? image_enter_change(fs, name) : -EINVAL;

	if (!rc) {
		rc = image_find(fs, &(struct image_which){.ino = ino}, &inode);
		if (!rc)
			rc = walk_at(fs, parent, name, &walk);
		if (!rc)
			rc = mfs_link(&fs->fs, &inode, &walk);
		rc = image_leave_held(fs, rc, &inode, ret);
	}
	return rc ? image_fail(fs, rc, "make the name", name) : 0;
}

static int remove_at(struct minifs *fs, uint64_t parent, const char *name, int (*step)(struct mfs *, struct mfs_walk *))
{
	struct mfs_walk walk;
	int rc = image_enter_change(fs, name);

	if (!rc) {
		rc = walk_at(fs, parent, name, &walk);
		if (!rc)
			rc = step(&fs->fs, &walk);
		rc = (int)image_leave_change(fs, rc);
	}
	return rc ? image_fail(fs, rc, "remove", name) : 0;
}

int minifs_ino_unlink(struct minifs *fs, uint64_t parent, const char *name)
{
	return remove_at(fs, parent, name, mfs_unlink);
}

int minifs_ino_rmdir(struct minifs *fs, uint64_t parent, const char *name)
{
	return remove_at(fs, parent, name, mfs_rmdir);
}

_Static_assert(MINIFS_RENAME_NOREPLACE == MFS_RENAME_NOREPLACE && MINIFS_RENAME_EXCHANGE == MFS_RENAME_EXCHANGE,
	       "the flags are passed on");

int minifs_ino_rename(struct minifs *fs, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
		      uint32_t flags)
{
	struct mfs_walk from, to;
	int rc = new_name && flags <= MINIFS_RENAME_EXCHANGE ? image_enter_change(fs, name) : -EINVAL;

	if (!rc) {
		rc = walk_at(fs, parent, name, &from);
		if (!rc)
			rc = walk_at(fs, new_parent, new_name, &to);
		if (!rc)
			rc = mfs_rename(&fs->fs, &from, &to, flags);
		rc = (int)image_leave_change(fs, rc);
	}
	return rc ? image_fail(fs, rc, "rename", name) : 0;
}
