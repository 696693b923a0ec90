/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of files, by path and by open file. An open file is the number of an inode
 * that is held: it stays when its last name goes. See include/minifs.h.
 */
#include "config.h"

#include <stdlib.h>

#include "base.h"
#include "minifs_image.h"
#include <minifs.h>
#include <minifs/ino.h>

struct minifs_file {
	struct minifs *fs;
	uint32_t ino;
};

static ssize_t read_file(struct minifs *fs, const struct image_which *which, void *buf, size_t n, uint64_t offset)
{
	struct mfs_inode inode;
	ssize_t rc = image_enter(fs, buf);

	if (rc)
		return image_fail(fs, (int)rc, "read", which->path);
	rc = image_find(fs, which, &inode);
	if (!rc && !S_ISREG(inode.mode))
		rc = S_ISDIR(inode.mode) ? -EISDIR : -EINVAL;
	if (!rc)
		rc = mfs_read(&fs->fs, &inode, buf, n, offset);
	image_leave(fs);
	return rc < 0 ? image_fail(fs, (int)rc, "read", which->path) : rc;
}

static ssize_t write_file(struct minifs *fs, const struct image_which *which, const void *buf, size_t n,
			  uint64_t offset)
{
	struct mfs_inode inode;
	ssize_t rc = image_enter_change(fs, buf);

	if (rc)
		return image_fail(fs, (int)rc, "write", which->path);
	rc = image_find(fs, which, &inode);
	if (!rc)
		rc = mfs_write(&fs->fs, &inode, buf, n, offset);
	rc = image_leave_change(fs, rc);
	return rc < 0 ? image_fail(fs, (int)rc, "write", which->path) : rc;
}

static int resize_file(struct minifs *fs, const struct image_which *which, uint64_t size)
{
	struct mfs_inode inode;
	int rc = image_enter_change(fs, fs);

	if (rc)
		return image_fail(fs, rc, "truncate", which->path);
	rc = image_find(fs, which, &inode);
	if (!rc)
		rc = mfs_resize(&fs->fs, &inode, size);
	rc = (int)image_leave_change(fs, rc);
	return rc ? image_fail(fs, rc, "truncate", which->path) : 0;
}

static int clone_range(struct minifs *fs, const struct image_which *from, const struct image_which *to,
		       const struct mfs_clone *range)
{
	struct mfs_inode source, target;
	int rc = image_enter_change(fs, fs);

	if (rc)
		return image_fail(fs, rc, "clone", from->path);
	rc = image_find(fs, from, &source);
	if (!rc)
		rc = image_find(fs, to, &target);
	if (!rc)
		rc = mfs_clone_range(&fs->fs, &source, &target, range);
	rc = (int)image_leave_change(fs, rc);
	return rc ? image_fail(fs, rc, "clone", from->path) : 0;
}

ssize_t minifs_pread(struct minifs *fs, const char *path, void *buf, size_t n, uint64_t offset)
{
	return path ? read_file(fs, &(struct image_which){.path = path}, buf, n, offset)
		    : image_fail(fs, -EINVAL, "read", NULL);
}

ssize_t minifs_pwrite(struct minifs *fs, const char *path, const void *buf, size_t n, uint64_t offset)
{
	return path ? write_file(fs, &(struct image_which){.path = path}, buf, n, offset)
		    : image_fail(fs, -EINVAL, "write", NULL);
}

int minifs_truncate(struct minifs *fs, const char *path, uint64_t size)
{
	return path ? resize_file(fs, &(struct image_which){.path = path}, size)
		    : image_fail(fs, -EINVAL, "truncate", NULL);
}

int minifs_clone_range(struct minifs *fs, const char *from, uint64_t from_offset, const char *to, uint64_t to_offset,
		       uint64_t length)
{
	const struct mfs_clone range = {from_offset, to_offset, length};

	return from && to
		       ? clone_range(fs, &(struct image_which){.path = from}, &(struct image_which){.path = to}, &range)
		       : image_fail(fs, -EINVAL, "clone", from);
}

static int open_inode(struct minifs *fs, const char *path, uint32_t *ret)
{
	struct mfs_inode inode;
	int rc = mfs_find(&fs->fs, path, true, &inode);

	if (!rc && !S_ISREG(inode.mode))
		rc = S_ISDIR(inode.mode) ? -EISDIR : -EINVAL;
	if (!rc)
		rc = mfs_hold(&fs->fs, inode.ino);
	if (!rc)
		*ret = inode.ino;
	return rc;
}

int minifs_file_open(struct minifs *fs, const char *path, struct minifs_file **ret)
{
	struct minifs_file *file;
	int rc = fs && path && ret ? 0 : -EINVAL;

	if (rc)
		return image_fail(fs, rc, "open", path);
	file = (struct minifs_file *)malloc(sizeof(*file));
	if (!file)
		return image_fail(fs, -ENOMEM, "open", path);
	file->fs = fs;
	/* The list of what is open is changed, also in an image that is only read. */
	pthread_rwlock_wrlock(&fs->lock);
	rc = open_inode(fs, path, &file->ino);
	pthread_rwlock_unlock(&fs->lock);
	if (rc) {
		free(file);
		return image_fail(fs, rc, "open", path);
	}
	*ret = file;
	return 0;
}

void minifs_file_close(struct minifs_file *file)
{
	if (!file)
		return;
	pthread_rwlock_wrlock(&file->fs->lock);
	mfs_release(&file->fs->fs, file->ino, 1);
	pthread_rwlock_unlock(&file->fs->lock);
	free(file);
}

struct minifs *image_of_file(const struct minifs_file *file, uint32_t *ret_ino)
{
	*ret_ino = file->ino;
	return file->fs;
}

int minifs_file_stat(struct minifs_file *file, struct stat *ret)
{
	struct mfs_inode inode;
	int rc = file ? image_enter(file->fs, ret) : -EINVAL;

	if (rc)
		return image_fail(file ? file->fs : NULL, rc, "look at", NULL);
	rc = mfs_inode_load(&file->fs->fs, file->ino, &inode);
	image_leave(file->fs);
	if (rc)
		return image_fail(file->fs, rc, "look at", NULL);
	mfs_inode_stat(&inode, ret);
	return 0;
}

ssize_t minifs_file_pread(struct minifs_file *file, void *buf, size_t n, uint64_t offset)
{
	return file ? read_file(file->fs, &(struct image_which){.ino = file->ino}, buf, n, offset)
		    : image_fail(NULL, -EINVAL, "read", NULL);
}

ssize_t minifs_file_pwrite(struct minifs_file *file, const void *buf, size_t n, uint64_t offset)
{
	return file ? write_file(file->fs, &(struct image_which){.ino = file->ino}, buf, n, offset)
		    : image_fail(NULL, -EINVAL, "write", NULL);
}

int minifs_file_truncate(struct minifs_file *file, uint64_t size)
{
	return file ? resize_file(file->fs, &(struct image_which){.ino = file->ino}, size)
		    : image_fail(NULL, -EINVAL, "truncate", NULL);
}

int minifs_file_clone_range(struct minifs_file *from, uint64_t from_offset, struct minifs_file *to, uint64_t to_offset,
			    uint64_t length)
{
	const struct mfs_clone range = {from_offset, to_offset, length};

	if (!from || !to)
		return image_fail(NULL, -EINVAL, "clone", NULL);
	if (from->fs != to->fs)
		return image_fail(from->fs, -EXDEV, "clone", NULL);
	return clone_range(from->fs, &(struct image_which){.ino = from->ino}, &(struct image_which){.ino = to->ino},
			   &range);
}

ssize_t minifs_ino_pread(struct minifs *fs, uint64_t ino, void *buf, size_t n, uint64_t offset)
{
	return read_file(fs, &(struct image_which){.ino = ino}, buf, n, offset);
}

ssize_t minifs_ino_pwrite(struct minifs *fs, uint64_t ino, const void *buf, size_t n, uint64_t offset)
{
	return write_file(fs, &(struct image_which){.ino = ino}, buf, n, offset);
}
