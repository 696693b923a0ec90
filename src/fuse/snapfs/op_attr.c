/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about attributes. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wrapper.h"

static void reply_attr(fuse_req_t req, const struct file *file)
{
	struct stat st;
	int rc = file_stat(file, &st);

	if (rc)
		reply_rc(req, rc);
	else
		fuse_reply_attr(req, &st, wrapper.request->timeout);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct snapshot *s = snapshot_of(ino);
	const struct file *file = file_of(ino);
	struct stat st;

	(void)fi;
	if (file) {
		reply_attr(req, file);
	} else if (s) {
		snapshot_stat(s, &st);
		fuse_reply_attr(req, &st, WRAPPER_TIMEOUT);
	} else {
		control_getattr(req, node_of(ino));
	}
}

static int set_mode(const struct file *file, mode_t mode)
{
	REACH at = file_reach(file);

	if (at.fd < 0)
		return at.fd;
	return chmod(file_path(at.fd).text, mode) ? -errno : 0;
}

static int set_owner(const struct file *file, const struct stat *attr, int to_set)
{
	REACH at = file_reach(file);
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	if (at.fd < 0)
		return at.fd;
	return fchownat(at.fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* What is cut off may be needed by snapshots. */
static int set_size(struct file *file, off_t size, const struct fuse_file_info *fi)
{
	int fd = fi ? handle_of(fi)->fd : file_open(file, O_WRONLY | O_NONBLOCK), rc;

	if (fd < 0)
		return fd;
	rc = change_begin_zeros(file, (uint64_t)size, UINT64_MAX);
	if (!rc) {
		rc = ftruncate(fd, size) ? -errno : 0;
		change_end(file);
	}
	if (!fi)
		close(fd);
	return rc;
}

static struct timespec time_to_set(int to_set, int given, int now, struct timespec time)
{
	if (to_set & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return to_set & given ? time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(const struct file *file, const struct stat *attr, int to_set)
{
	const struct timespec times[2] = {
		time_to_set(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim),
		time_to_set(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim),
	};

	REACH at = file_reach(file);

	if (at.fd < 0)
		return at.fd;
	return utimensat(at.fd, "", times, AT_EMPTY_PATH) ? -errno : 0;
}

static int set_all(struct file *file, const struct stat *attr, int to_set, const struct fuse_file_info *fi)
{
	int rc = 0;

	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		rc = set_owner(file, attr, to_set);
	if (!rc && (to_set & FUSE_SET_ATTR_MODE))
		rc = set_mode(file, attr->st_mode & 07777);
	if (!rc && (to_set & FUSE_SET_ATTR_SIZE))
		rc = set_size(file, attr->st_size, fi);
	if (!rc &&
	    (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)))
		rc = set_times(file, attr, to_set);
	return rc;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct file *file = file_of(ino);
	int rc = file ? set_all(file, attr, to_set, fi) : -EROFS;

	if (rc == -EROFS && node_of(ino) == &control_file && !(to_set & ~FUSE_SET_ATTR_SIZE))
		control_getattr(req, &control_file); /* a shell cuts what it writes to */
	else if (rc)
		reply_rc(req, rc);
	else
		reply_attr(req, file);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct file *file = file_of(ino);
	REACH at = file_reach(file ? file : &wrapper.root);
	struct statvfs st;

	if (at.fd < 0)
		reply_rc(req, at.fd);
	else if (fstatvfs(at.fd, &st))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* @rc: how long it is, or -1 and errno; asked with a @size of 0 only that is told. */
static void reply_value(fuse_req_t req, ssize_t rc, const char *value, size_t size)
{
	if (rc < 0)
		fuse_reply_err(req, errno);
	else if (!size)
		fuse_reply_xattr(req, (size_t)rc);
	else
		fuse_reply_buf(req, value, (size_t)rc);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	const struct file *file = file_of(ino);
	REACH at = file_reach(file ? file : &wrapper.root);
	char *value = size ? (char *)malloc(size) : NULL;

	if (!file)
		fuse_reply_err(req, ENODATA);
	else if (at.fd < 0)
		reply_rc(req, at.fd);
	else if (size && !value)
		fuse_reply_err(req, ENOMEM);
	else
		reply_value(req, getxattr(file_path(at.fd).text, name, value, size), value, size);
	free(value);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	const struct file *file = file_of(ino);
	REACH at = file_reach(file ? file : &wrapper.root);

	if (!file)
		fuse_reply_err(req, EPERM);
	else if (at.fd < 0)
		reply_rc(req, at.fd);
	else
		reply_rc(req, setxattr(file_path(at.fd).text, name, value, size, flags) ? -errno : 0);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	const struct file *file = file_of(ino);
	REACH at = file_reach(file ? file : &wrapper.root);
	char *list = size ? (char *)malloc(size) : NULL;

	if (size && !list)
		fuse_reply_err(req, ENOMEM);
	else if (at.fd < 0)
		reply_rc(req, at.fd);
	else
		reply_value(req, file ? listxattr(file_path(at.fd).text, list, size) : 0, list, size);
	free(list);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	const struct file *file = file_of(ino);
	REACH at = file_reach(file ? file : &wrapper.root);

	if (!file)
		fuse_reply_err(req, EPERM);
	else if (at.fd < 0)
		reply_rc(req, at.fd);
	else
		reply_rc(req, removexattr(file_path(at.fd).text, name) ? -errno : 0);
}
