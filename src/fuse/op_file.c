/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about the content of files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "server.h"

/*
 * Where both offsets are the same within a block blocks are shared, which costs next to
 * nothing; else bytes are copied, during which nobody else gets an answer. The caller
 * goes on where a reply ends.
 */
#define BLOCK 4096
#define SHARED_MOST ((size_t)1 << 30)
#define COPIED_MOST ((size_t)64 << 20)
#define FILLED_MOST ((uint64_t)64 << 20)

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

/* @n: of bytes, or an error; each takes memory if they were @stored */
static void reply_count(fuse_req_t req, ssize_t n, bool stored)
{
	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	commits_note(&server_of(req)->commits, CHANGE_BYTES + (stored ? (uint64_t)n : 0));
	fuse_reply_write(req, (size_t)n);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct page_write page = {.offset = (uint64_t)offset, .size = size};
	struct server *server = server_of(req);
	bool held = false;
	ssize_t n;

	atomic_fetch_add(&server->writes, 1);
	n = commits_make_room(&server->commits);
	if (!n)
		n = change_begin(server, inode_of(ino));
	if (!n) {
		n = minifs_ino_pwrite(server->fs, inode_of(ino), bytes, size, (uint64_t)offset);
		page.answer = n;
		held = change_end(server, req, inode_of(ino), fi->writepage ? &page : NULL);
	}
	if (!held)
		reply_count(req, n, true);
	else if (n > 0)
		commits_note(&server->commits, CHANGE_BYTES + (uint64_t)n);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags)
{
	bool shared = (from_offset ^ to_offset) % BLOCK == 0;
	size_t most = shared ? SHARED_MOST : COPIED_MOST;
	ssize_t n = flags ? -EINVAL : commits_make_room(&server_of(req)->commits);

	(void)from_fi;
	(void)to_fi;
	if (!n)
		n = change_begin(server_of(req), inode_of(to));
	if (!n) {
		n = minifs_ino_copy_range(server_of(req)->fs, inode_of(from), (uint64_t)from_offset, inode_of(to),
					  (uint64_t)to_offset, length < most ? length : most);
		change_end(server_of(req), req, inode_of(to), NULL);
	}
	reply_count(req, n, !shared);
}

/* Whether so many blocks can be there at all: what a request lacks is told before a part of it is done. */
static int check_room(const struct server *server, const struct stat *st, uint64_t end, uint64_t length)
{
	struct minifs_space space;
	int rc = minifs_statfs(server->fs, &space);

	if (rc || !S_ISREG(st->st_mode))
		return rc;
	if (end > space.size_max)
		return -EFBIG;
	return length / BLOCK > space.free_blocks + (uint64_t)st->st_blocks / (BLOCK / 512) ? -ENOSPC : 0;
}

/* New blocks are zeros in memory until a commit, so a lot is done bit by bit, or not at all. */
static int fill(struct server *server, uint64_t ino, uint32_t flags, uint64_t offset, uint64_t length)
{
	struct minifs_change back = {.what = MINIFS_SET_SIZE};
	struct stat st;
	int rc = minifs_ino_stat(server->fs, ino, &st);

	if (!rc)
		rc = check_room(server, &st, offset + length, length);
	while (!rc && length) {
		uint64_t n = length < FILLED_MOST ? length : FILLED_MOST;

		rc = commits_make_room(&server->commits);
		if (!rc)
			rc = minifs_ino_allocate(server->fs, ino, flags, offset, n);
		if (rc)
			break;
		commits_note(&server->commits, n);
		offset += n;
		length -= n;
	}
	back.size = (uint64_t)st.st_size;
	if (rc && offset > back.size && !(flags & MINIFS_ALLOCATE_KEEP_SIZE))
		minifs_ino_set(server->fs, ino, &back, NULL);
	return rc;
}

static int allocate(struct server *server, uint64_t ino, int mode, uint64_t offset, uint64_t length)
{
	uint32_t flags = mode & FALLOC_FL_KEEP_SIZE ? MINIFS_ALLOCATE_KEEP_SIZE : 0;

	if (mode & FALLOC_FL_ZERO_RANGE)
		flags |= MINIFS_ALLOCATE_ZERO;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return minifs_ino_allocate(server->fs, ino, flags | MINIFS_ALLOCATE_PUNCH, offset, length);
	return fill(server, ino, flags, offset, length);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct server *server = server_of(req);
	int rc = change_begin(server, inode_of(ino));

	(void)fi;
	if (!rc) {
		rc = allocate(server, inode_of(ino), mode, (uint64_t)offset, (uint64_t)length);
		change_end(server, req, inode_of(ino), NULL);
	}
	reply_changed(req, rc);
}

/*
 * Data that the kernel has not written back yet, of mappings or of cached writes, we do
 * not know of: a hole here may be data there, and who skips it makes a wrong copy. So the
 * kernel is to take all for data, unless nobody can write.
 */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	const struct server *server = server_of(req);
	uint64_t found;
	int rc = -ENOSYS;

	(void)fi;
	if (server->read_only)
		rc = minifs_ino_seek(server->fs, inode_of(ino), (uint64_t)offset, whence, &found);
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
