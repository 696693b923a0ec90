/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and removing names. The order of the checks is Linux's, so the errors are too. */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "fs.h"

/* Whether something new can be there. */
static int check_new(const struct mfs_walk *walk, bool directory)
{
	if (walk->ino)
		return -EEXIST;
	return walk->slash && !directory ? -ENOENT : 0;
}

static int new_inode(struct mfs *fs, struct mfs_inode *dir, uint32_t mode, const struct mfs_owner *owner,
		     struct mfs_inode *ret)
{
	uint32_t gid = owner->gid;
	int rc;

	if (S_ISDIR(mode) && dir->links >= MFS_LINK_MAX)
		return -EMLINK;
	if (dir->mode & S_ISGID) {
		gid = dir->gid;
		mode |= S_ISDIR(mode) ? S_ISGID : 0;
	}
	rc = mfs_inode_new(fs, mode, owner->uid, gid, ret);
	if (rc)
		return rc;
	ret->links = 1;
	return S_ISDIR(mode) ? mfs_dir_make(fs, ret, dir->ino) : 0;
}

static int enter(struct mfs *fs, struct mfs_walk *walk, const struct mfs_inode *inode)
{
	int rc = mfs_inode_store(fs, inode);

	if (!rc && S_ISDIR(inode->mode))
		walk->dir.links++;
	return rc ? rc : mfs_dir_add(fs, &walk->dir, walk->name, walk->length, inode->ino);
}

/* A regular file or a directory, by @mode. */
int mfs_make(struct mfs *fs, struct mfs_walk *walk, uint32_t mode, const struct mfs_owner *owner, struct mfs_inode *ret)
{
	int rc = check_new(walk, S_ISDIR(mode));

	if (!rc)
		rc = new_inode(fs, &walk->dir, mode, owner, ret);
	return rc ? rc : enter(fs, walk, ret);
}

static int put_target(struct mfs *fs, struct mfs_inode *inode, const char *target, size_t n)
{
	uint32_t block;
	int rc = mfs_map_own(fs, inode, 0, false, &block);

	if (rc)
		return rc;
	memcpy(mfs_at(fs, block), target, n);
	inode->size = n;
	return 0;
}

int mfs_make_symlink(struct mfs *fs, struct mfs_walk *walk, const char *target, const struct mfs_owner *owner,
		     struct mfs_inode *ret)
{
	size_t n = strlen(target);
	int rc = check_new(walk, false);

	if (!rc && !n)
		rc = -ENOENT;
	if (!rc && n >= PATH_MAX)
		rc = -ENAMETOOLONG;
	if (!rc)
		rc = new_inode(fs, &walk->dir, S_IFLNK | 0777, owner, ret);
	if (!rc)
		rc = put_target(fs, ret, target, n);
	return rc ? rc : enter(fs, walk, ret);
}

int mfs_link(struct mfs *fs, struct mfs_inode *inode, struct mfs_walk *to)
{
	int rc = check_new(to, false);

	if (!rc && S_ISDIR(inode->mode))
		rc = -EPERM;
	if (!rc && !inode->links)
		rc = -ENOENT;
	if (!rc && inode->links >= MFS_LINK_MAX)
		rc = -EMLINK;
	if (rc)
		return rc;
	inode->links++;
	inode->ctime = mfs_now();
	rc = mfs_inode_store(fs, inode);
	return rc ? rc : mfs_dir_add(fs, &to->dir, to->name, to->length, inode->ino);
}

static int load_last(const struct mfs *fs, const struct mfs_walk *walk, struct mfs_inode *ret)
{
	int rc = walk->ino ? mfs_inode_load(fs, walk->ino, ret) : -ENOENT;

	return !rc && !ret->links ? -EUCLEAN : rc;
}

int mfs_unlink(struct mfs *fs, struct mfs_walk *walk)
{
	struct mfs_inode inode;
	int rc = !walk->length || walk->dots ? -EISDIR : load_last(fs, walk, &inode);

	if (!rc && S_ISDIR(inode.mode))
		rc = -EISDIR;
	if (!rc && walk->slash)
		rc = -ENOTDIR;
	if (!rc)
		rc = mfs_dir_remove(fs, &walk->dir, walk->name, walk->length);
	if (rc)
		return rc;
	inode.links--;
	inode.ctime = mfs_now();
	return inode.links ? mfs_inode_store(fs, &inode) : mfs_inode_unlinked(fs, &inode);
}

static int check_rmdir(const struct mfs_walk *walk)
{
	if (!walk->length)
		return -EBUSY;
	if (walk->dots)
		return walk->length == 1 ? -EINVAL : -ENOTEMPTY;
	return 0;
}

int mfs_rmdir(struct mfs *fs, struct mfs_walk *walk)
{
	struct mfs_inode inode;
	int rc = check_rmdir(walk);

	if (!rc)
		rc = load_last(fs, walk, &inode);
	if (!rc && !S_ISDIR(inode.mode))
		rc = -ENOTDIR;
	/* A damaged tree may have a directory in itself. */
	if (!rc && (inode.ino == walk->dir.ino || inode.ino == MFS_ROOT || walk->dir.links <= 2))
		rc = -EUCLEAN;
	if (!rc)
		rc = mfs_dir_empty(fs, &inode);
	if (rc)
		return rc;
	walk->dir.links--;
	inode.links = 0;
	rc = mfs_dir_remove(fs, &walk->dir, walk->name, walk->length);
	return rc ? rc : mfs_inode_unlinked(fs, &inode);
}
