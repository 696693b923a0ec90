/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes, by path and by number. See include/minifs.h. */
#include "config.h"

#include "minifs_image.h"
#include <minifs.h>
#include <minifs/ino.h>

struct attribute {
	const char *name;
	const void *value;
	size_t size;
	int flags;
};

static ssize_t get(struct minifs *fs, const struct image_which *which, const char *name, void *value, size_t size)
{
	struct mfs_inode inode;
	ssize_t rc = name && (value || !size) ? image_enter(fs, name) : -EINVAL;

	if (!rc) {
		rc = image_find(fs, which, &inode);
		if (!rc)
			rc = mfs_xattr_get(&fs->fs, &inode, name, value, size);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "read an attribute of", which->path) : rc;
}

static ssize_t list_all(struct minifs *fs, const struct image_which *which, char *list, size_t size)
{
	struct mfs_inode inode;
	ssize_t rc = list || !size ? image_enter(fs, fs) : -EINVAL;

	if (!rc) {
		rc = image_find(fs, which, &inode);
		if (!rc)
			rc = mfs_xattr_list(&fs->fs, &inode, list, size);
		image_leave(fs);
	}
	return rc < 0 ? image_fail(fs, (int)rc, "list the attributes of", which->path) : rc;
}

static int store(struct minifs *fs, struct mfs_inode *inode, int rc)
{
	inode->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(&fs->fs, inode);
}

static int set_attribute(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	const struct attribute *a = (const struct attribute *)arg;

	return store(fs, inode, mfs_xattr_set(&fs->fs, inode, a->name, a->value, a->size, a->flags));
}

static int set(struct minifs *fs, const struct image_which *which, const struct attribute *attribute)
{
	if (!attribute->name || (!attribute->value && attribute->size))
		return image_fail(fs, -EINVAL, "set an attribute of", which->path);
	return image_change(fs, which, set_attribute, attribute, "set an attribute of");
}

static int remove_attribute(struct minifs *fs, struct mfs_inode *inode, const void *arg)
{
	return store(fs, inode, mfs_xattr_remove(&fs->fs, inode, (const char *)arg));
}

static int remove_one(struct minifs *fs, const struct image_which *which, const char *name)
{
	return name ? image_change(fs, which, remove_attribute, name, "remove an attribute of")
		    : image_fail(fs, -EINVAL, "remove an attribute of", which->path);
}

ssize_t minifs_getxattr(struct minifs *fs, const char *path, const char *name, void *value, size_t size)
{
	return path ? get(fs, &(struct image_which){.path = path}, name, value, size)
		    : image_fail(fs, -EINVAL, "read an attribute of", NULL);
}

ssize_t minifs_ino_getxattr(struct minifs *fs, uint64_t ino, const char *name, void *value, size_t size)
{
	return get(fs, &(struct image_which){.ino = ino}, name, value, size);
}

ssize_t minifs_listxattr(struct minifs *fs, const char *path, char *list, size_t size)
{
	return path ? list_all(fs, &(struct image_which){.path = path}, list, size)
		    : image_fail(fs, -EINVAL, "list the attributes of", NULL);
}

ssize_t minifs_ino_listxattr(struct minifs *fs, uint64_t ino, char *list, size_t size)
{
	return list_all(fs, &(struct image_which){.ino = ino}, list, size);
}

int minifs_setxattr(struct minifs *fs, const char *path, const char *name, const void *value, size_t size, int flags)
{
	return path ? set(fs, &(struct image_which){.path = path}, &(struct attribute){name, value, size, flags})
		    : image_fail(fs, -EINVAL, "set an attribute of", NULL);
}

int minifs_ino_setxattr(struct minifs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	return set(fs, &(struct image_which){.ino = ino}, &(struct attribute){name, value, size, flags});
}

int minifs_removexattr(struct minifs *fs, const char *path, const char *name)
{
	return path ? remove_one(fs, &(struct image_which){.path = path}, name)
		    : image_fail(fs, -EINVAL, "remove an attribute of", NULL);
}

int minifs_ino_removexattr(struct minifs *fs, uint64_t ino, const char *name)
{
	return remove_one(fs, &(struct image_which){.ino = ino}, name);
}
