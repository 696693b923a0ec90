/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about the content of files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wrapper.h"

/*
 * The kernel appends by itself, and where it collects writes it also reads what was opened
 * for writing only. Direct transfer is between the caller and us.
 */
static int flags_below(int flags)
{
	flags &= ~(O_APPEND | O_DIRECT | O_TRUNC | O_CREAT | O_EXCL | O_NOFOLLOW);
	if (wrapper.request->writeback && (flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags;
}

static bool is_writable(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static void close_handle(struct file *file, struct handle *handle)
{
	if (handle->writable)
		atomic_fetch_sub(&file->writers, 1);
	atomic_fetch_sub(&wrapper.handles, 1);
	close(handle->fd);
	free(handle);
}

/* A file that may only be appended to is opened like that, and written to at its end by itself. */
static int open_below(const struct file *file, int flags)
{
	int fd = file_open(file, flags_below(flags));

	return fd == -EPERM && (flags & O_APPEND) ? file_open(file, flags_below(flags) | O_APPEND) : fd;
}

/* Takes over the descriptor. False: no memory. */
static bool make_handle(struct file *file, int fd, struct fuse_file_info *fi)
{
	struct handle *handle = (struct handle *)malloc(sizeof(*handle));

	if (!handle) {
		close(fd);
		return false;
	}
	*handle = (struct handle){
		.fd = fd, .writable = is_writable(fi->flags), .readable = (fi->flags & O_ACCMODE) != O_WRONLY};
	/* Before the kernel hears of it, and so before there can be anything dirty. */
	if (handle->writable)
		atomic_fetch_add(&file->writers, 1);
	atomic_fetch_add(&wrapper.handles, 1);
	fi->fh = (uintptr_t)handle;
	fi->keep_cache = wrapper.request->timeout > 0;
	fi->noflush = !handle->writable;
	return true;
}

static void open_snapshot(fuse_req_t req, struct snapshot *s, struct fuse_file_info *fi)
{
	if (is_writable(fi->flags)) {
		fuse_reply_err(req, EROFS);
	} else if (!snapshot_open(s)) {
		fuse_reply_err(req, ENOENT);
	} else {
		fi->keep_cache = 1;
		fi->noflush = 1;
		if (fuse_reply_open(req, fi) == -ENOENT)
			snapshot_release(s);
	}
}

static void open_file(fuse_req_t req, struct file *file, struct fuse_file_info *fi)
{
	int fd = open_below(file, fi->flags);

	if (fd < 0)
		reply_rc(req, fd);
	else if (!make_handle(file, fd, fi))
		fuse_reply_err(req, ENOMEM);
	else if (fuse_reply_open(req, fi) == -ENOENT)
		close_handle(file, handle_of(fi));
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct snapshot *s = snapshot_of(ino);
	struct file *file = file_of(ino);

	if (s)
		open_snapshot(req, s, fi);
	else if (file)
		open_file(req, file, fi);
	else
		control_open(req, node_of(ino), fi);
}

static void reply_created(fuse_req_t req, fuse_ino_t parent, int dir, const char *name, int fd,
			  struct fuse_file_info *fi)
{
	const double timeout = wrapper.request->timeout;
	int path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = path < 0 ? -errno : 0;
	struct fuse_entry_param entry = {.attr_timeout = timeout, .entry_timeout = timeout};
	struct file *file;

	if (!rc)
		rc = file_get(path, parent, name, &entry.attr, &file);
	if (rc) {
		close(fd);
		reply_rc(req, rc);
		return;
	}
	file_show(&entry.attr);
	entry.ino = (fuse_ino_t)(uintptr_t)file;
	if (!make_handle(file, fd, fi)) {
		file_forget(file, 1);
		fuse_reply_err(req, ENOMEM);
	} else if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
		close_handle(file, handle_of(fi));
		file_forget(file, 1);
	}
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	REACH at = directory_to_change(req, parent, name);
	int fd;

	if (at.fd < 0)
		return;
	caller_become(req);
	/* What is there already the kernel opens and does not make; whoever was faster is one of its own. */
	fd = openat(at.fd, name,
		    flags_below(fi->flags) | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | (fi->flags & O_EXCL), mode);
	fd = fd < 0 ? -errno : fd;
	caller_leave(req);
	if (fd < 0)
		reply_rc(req, fd);
	else
		reply_created(req, parent, at.fd, name, fd, fi);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct snapshot *s = snapshot_of(ino);
	struct file *file = file_of(ino);

	if (!s && !file) {
		control_release(req, fi);
		return;
	}
	if (s)
		snapshot_release(s);
	else
		close_handle(file, handle_of(fi));
	fuse_reply_err(req, 0);
}

/* Some file systems tell of errors when a descriptor is closed. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int fd = file_of(ino) ? dup(handle_of(fi)->fd) : -1;

	reply_rc(req, fd >= 0 && close(fd) ? -errno : 0);
}

static void read_snapshot(fuse_req_t req, struct snapshot *s, size_t size, off_t offset)
{
	char *bytes = (char *)malloc(size);
	ssize_t n = bytes ? snapshot_read(s, bytes, size, (uint64_t)offset) : -ENOMEM;

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, bytes, (size_t)n);
	free(bytes);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct snapshot *s = snapshot_of(ino);
	struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(size);

	if (s) {
		read_snapshot(req, s, size, offset);
	} else if (!file_of(ino)) {
		control_read(req, size, fi);
	} else {
		bytes.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		bytes.buf[0].fd = handle_of(fi)->fd;
		bytes.buf[0].pos = offset;
		fuse_reply_data(req, &bytes, 0);
	}
}

static void write_control(fuse_req_t req, struct fuse_bufvec *bytes, struct fuse_file_info *fi)
{
	char text[PATH_MAX + 64];
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(sizeof(text));
	ssize_t n;

	to.buf[0].mem = text;
	n = fuse_buf_size(bytes) > sizeof(text) ? -E2BIG : fuse_buf_copy(&to, bytes, 0);
	if (n < 0)
		reply_rc(req, (int)n);
	else
		control_write(req, text, (size_t)n, fi);
}

static ssize_t write_below(int fd, struct fuse_bufvec *bytes, off_t offset)
{
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(fuse_buf_size(bytes));

	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	to.buf[0].fd = fd;
	to.buf[0].pos = offset;
	return fuse_buf_copy(&to, bytes, 0);
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bytes, off_t offset, struct fuse_file_info *fi)
{
	size_t size = fuse_buf_size(bytes);
	struct file *file = file_of(ino);
	bool held = false;
	ssize_t n;

	if (!file) {
		write_control(req, bytes, fi);
		return;
	}
	atomic_fetch_add(&wrapper.writes, 1);
	n = change_begin(file, (uint64_t)offset, (uint64_t)offset + size);
	if (!n) {
		n = write_below(handle_of(fi)->fd, bytes, offset);
		held = fi->writepage && change_is_held(file, req, (uint64_t)offset, size, n);
		change_end(file);
	}
	if (held)
		return;
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* The file system below may share blocks. */
void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags)
{
	struct file *source = file_of(from), *target = file_of(to);
	ssize_t n;

	/* What is not a file below the kernel copies by reading. */
	if (!source || !target) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	n = change_begin(target, (uint64_t)to_offset, (uint64_t)to_offset + length);
	if (!n) {
		n = copy_file_range(handle_of(from_fi)->fd, &from_offset, handle_of(to_fi)->fd, &to_offset, length,
				    (unsigned)flags);
		n = n < 0 ? -errno : n;
		change_end(target);
	}
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct file *file = file_of(ino);
	uint64_t start = (uint64_t)offset, end = start + (uint64_t)length;
	int rc;

	if (!file) {
		fuse_reply_err(req, EROFS);
		return;
	}
	/* Bytes after the range move in some modes, which the kernel does not pass on today. */
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		end = INT64_MAX;
	if (mode & ~FALLOC_FL_KEEP_SIZE)
		rc = change_begin_zeros(file, start, end);
	else
		rc = change_begin(file, start, start);
	if (!rc) {
		rc = fallocate(handle_of(fi)->fd, mode, offset, length) ? -errno : 0;
		change_end(file);
	}
	reply_rc(req, rc);
}

/*
 * What the kernel has not written yet may be data where there is a hole below. So a file
 * that may be mapped for writing has none.
 */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	const struct file *file = file_of(ino);
	struct snapshot *s = snapshot_of(ino);
	off_t size = 0, at;
	struct stat st;

	if (s || (file && !atomic_load(&file->writers))) {
		at = s ? snapshot_seek(s, offset, whence) : lseek(handle_of(fi)->fd, offset, whence);
		if (at < 0)
			fuse_reply_err(req, errno);
		else
			fuse_reply_lseek(req, at);
		return;
	}
	if (file && !file_stat(file, &st))
		size = st.st_size;
	if (offset < 0 || offset >= size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, whence == SEEK_HOLE ? size : offset);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	int rc = 0;

	if (file_of(ino) && (data_only ? fdatasync(handle_of(fi)->fd) : fsync(handle_of(fi)->fd)))
		rc = -errno;
	reply_rc(req, rc);
}
