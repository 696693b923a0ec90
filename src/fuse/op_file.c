/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about the content of files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "server.h"

/*
 * The kernel need not ask: it opens and closes by itself from now on, keeps pages and
 * names, and holds the inode meanwhile.
 */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	char *bytes = (char *)malloc(size);
	ssize_t n =
		bytes ? minifs_ino_pread(server_of(req)->fs, inode_of(ino), bytes, size, (uint64_t)offset) : -ENOMEM;

	(void)fi;
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, bytes, (size_t)n);
	free(bytes);
}

static void reply_count(fuse_req_t req, ssize_t n)
{
	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	commits_note(&server_of(req)->commits);
	fuse_reply_write(req, (size_t)n);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	reply_count(req, minifs_ino_pwrite(server_of(req)->fs, inode_of(ino), bytes, size, (uint64_t)offset));
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags)
{
	(void)from_fi;
	(void)to_fi;
	if (flags)
		fuse_reply_err(req, EINVAL);
	else
		reply_count(req, minifs_ino_copy_range(server_of(req)->fs, inode_of(from), (uint64_t)from_offset,
						       inode_of(to), (uint64_t)to_offset, length));
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	uint32_t flags = mode & FALLOC_FL_KEEP_SIZE ? MINIFS_ALLOCATE_KEEP_SIZE : 0;

	(void)fi;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		flags |= MINIFS_ALLOCATE_PUNCH;
	if (mode & FALLOC_FL_ZERO_RANGE)
		flags |= MINIFS_ALLOCATE_ZERO;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		fuse_reply_err(req, EOPNOTSUPP);
	else
		reply_changed(req, minifs_ino_allocate(server_of(req)->fs, inode_of(ino), flags, (uint64_t)offset,
						       (uint64_t)length));
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	uint64_t found;
	int rc = minifs_ino_seek(server_of(req)->fs, inode_of(ino), (uint64_t)offset, whence, &found);

	(void)fi;
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_lseek(req, (off_t)found);
}

/* Also of a directory: a commit is of everything. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	(void)ino;
	(void)data_only;
	(void)fi;
	fuse_reply_err(req, -commits_wait(&server_of(req)->commits));
}
