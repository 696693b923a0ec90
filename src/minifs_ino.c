/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files by number: finding and holding them, and what is in a directory. A hold is taken
 * with the image's lock shared and a mutex of its own, so lookups do not wait for each
 * other; ending one may free the file, and wants the lock alone only then. See
 * include/minifs/ino.h.
 */
#include "config.h"

#include <string.h>

#include "minifs_image.h"
#include <minifs.h>
#include <minifs/ino.h>

/* With the image's lock, shared or not. Fills in *@ret too. */
static int hold(struct minifs *fs, const struct mfs_inode *inode, struct minifs_entry *ret)
{
	int rc = 0;

	if (inode->ino != MFS_ROOT) {
		pthread_mutex_lock(&fs->holds);
		rc = mfs_hold(&fs->fs, inode->ino);
		pthread_mutex_unlock(&fs->holds);
	}
	if (rc)
		return rc;
	*ret = (struct minifs_entry){.ino = inode->ino, .generation = inode->generation};
	mfs_inode_stat(inode, &ret->stat);
	return 0;
}

/* Ends the holder's transaction; what failed at its end is not held. */
int image_leave_held(struct minifs *fs, int rc, const struct mfs_inode *inode, struct minifs_entry *ret)
{
	struct minifs_entry entry;
	bool held = false;

	if (!rc) {
		rc = hold(fs, inode, &entry);
		held = !rc;
	}
	rc = mfs_end(&fs->fs, rc);
	if (rc && held)
		mfs_unhold(&fs->fs, inode->ino, 1);
	pthread_rwlock_unlock(&fs->lock);
	if (!rc)
		*ret = entry;
	return rc;
}

int minifs_ino_lookup(struct minifs *fs, uint64_t parent, const char *name, struct minifs_entry *ret)
{
	struct mfs_inode inode;
	struct mfs_walk walk;
	int rc = ret && parent <= UINT32_MAX ? image_enter(fs, name) : -EINVAL;

	if (rc)
		return image_fail(fs, rc, "look up", name);
	rc = mfs_walk_at(&fs->fs, (uint32_t)parent, name, &walk);
	if (!rc)
		rc = walk.ino ? mfs_inode_load(&fs->fs, walk.ino, &inode) : -ENOENT;
	if (!rc && (inode.flags & MFS_INODE_HIDDEN))
		rc = -EUCLEAN;
	if (!rc)
		rc = hold(fs, &inode, ret);
	image_leave(fs);
	return rc;
}

/* True if these holds are the last ones of a file without a name. Else they are ended. */
static bool has_to_go(struct minifs *fs, uint32_t ino, uint64_t n)
{
	struct mfs_inode inode;
	bool last;

	pthread_mutex_lock(&fs->holds);
	last = mfs_holds(&fs->fs, ino) <= n && !mfs_inode_load(&fs->fs, ino, &inode) && !inode.links;
	if (!last)
		mfs_unhold(&fs->fs, ino, n);
	pthread_mutex_unlock(&fs->holds);
	return last;
}

static bool is_held(struct minifs *fs, uint32_t ino)
{
	bool held;

	pthread_mutex_lock(&fs->holds);
	held = mfs_holds(&fs->fs, ino) > 0;
	pthread_mutex_unlock(&fs->holds);
	return held;
}

static int hold_any(struct minifs *fs, uint64_t ino, struct minifs_entry *ret)
{
	struct mfs_inode inode;
	int rc = ino <= UINT32_MAX && mfs_inode_used(&fs->fs, (uint32_t)ino) ? 0 : -ENOENT;

	if (!rc)
		rc = mfs_inode_load(&fs->fs, (uint32_t)ino, &inode);
	if (!rc && ((inode.flags & MFS_INODE_HIDDEN) || (!inode.links && !is_held(fs, inode.ino))))
		rc = -ENOENT;
	return rc ? rc : hold(fs, &inode, ret);
}

int minifs_ino_hold(struct minifs *fs, uint64_t ino, struct minifs_entry *ret)
{
	int rc = image_enter(fs, ret);

	if (!rc) {
		rc = hold_any(fs, ino, ret);
		image_leave(fs);
	}
	return rc ? image_fail(fs, rc, "hold", NULL) : 0;
}

int minifs_ino_forget(struct minifs *fs, uint64_t ino, uint64_t n)
{
	if (ino > UINT32_MAX || ino == MFS_ROOT || image_enter(fs, fs))
		return 0;
	if (!has_to_go(fs, (uint32_t)ino, n)) {
		image_leave(fs);
		return 0;
	}
	image_leave(fs);
	pthread_rwlock_wrlock(&fs->lock);
	mfs_release(&fs->fs, (uint32_t)ino, n);
	pthread_rwlock_unlock(&fs->lock);
	return 1;
}

int minifs_ino_stat(struct minifs *fs, uint64_t ino, struct stat *ret)
{
	struct mfs_inode inode;
	int rc = image_enter(fs, ret);

	if (!rc) {
		rc = image_find(fs, &(struct image_which){.ino = ino}, &inode);
		image_leave(fs);
	}
	if (rc)
		return image_fail(fs, rc, "look at", NULL);
	mfs_inode_stat(&inode, ret);
	return 0;
}

ssize_t minifs_ino_readlink(struct minifs *fs, uint64_t ino, char *buf, size_t size)
{
	struct mfs_inode inode;
	ssize_t rc = size ? image_enter(fs, buf) : -EINVAL;

	if (!rc) {
		rc = image_find(fs, &(struct image_which){.ino = ino}, &inode);
		if (!rc)
			rc = S_ISLNK(inode.mode) ? mfs_read(&fs->fs, &inode, buf, size, 0) : -EINVAL;
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "read the link", NULL) : rc;
}

static bool is_dots(const struct mfs_name *name)
{
	return name->name[0] == '.' && (name->length == 1 || (name->length == 2 && name->name[1] == '.'));
}

static int fill_named(struct minifs *fs, const struct mfs_name *name, uint32_t flags, struct minifs_named *ret)
{
	struct mfs_inode inode;
	int rc = mfs_inode_load(&fs->fs, name->ino, &inode);

	if (rc)
		return rc;
	if ((flags & MINIFS_HOLD) && !is_dots(name)) {
		rc = hold(fs, &inode, &ret->entry);
		if (rc)
			return rc;
	} else {
		ret->entry = (struct minifs_entry){.ino = inode.ino, .generation = inode.generation};
		mfs_inode_stat(&inode, &ret->entry.stat);
	}
	ret->next = name->next;
	memcpy(ret->name, name->name, name->length);
	ret->name[name->length] = 0;
	return 0;
}

/* An error behind some names waits for the next call. */
static ssize_t list(struct minifs *fs, uint64_t ino, uint64_t cursor, uint32_t flags, struct minifs_named *names,
		    size_t capacity)
{
	struct mfs_name name = {.next = cursor};
	struct mfs_inode dir;
	size_t n = 0;
	int rc = image_find(fs, &(struct image_which){.ino = ino}, &dir);

	if (!rc && !S_ISDIR(dir.mode))
		rc = -ENOTDIR;
	while (!rc && n < capacity) {
		rc = mfs_dir_next(&fs->fs, &dir, name.next, &name);
		if (!rc)
			rc = fill_named(fs, &name, flags, &names[n]);
		n += !rc;
	}
	return n || rc == -ENOENT ? (ssize_t)n : rc;
}

ssize_t minifs_ino_readdir(struct minifs *fs, uint64_t ino, uint64_t cursor, uint32_t flags, struct minifs_named *names,
			   size_t capacity)
{
	ssize_t rc = capacity && !(flags & ~MINIFS_HOLD) ? image_enter(fs, names) : -EINVAL;

	if (!rc) {
		rc = list(fs, ino, cursor, flags, names, capacity);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "list", NULL) : rc;
}
