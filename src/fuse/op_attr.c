/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests about attributes. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "server.h"

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int rc = minifs_ino_stat(server_of(req)->fs, inode_of(ino), &st);

	(void)fi;
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, SERVER_TIMEOUT);
}

static uint32_t what_to_set(int to_set)
{
	static const struct {
		int theirs;
		uint32_t ours;
	} flags[] = {
		{FUSE_SET_ATTR_MODE, MINIFS_SET_MODE},	     {FUSE_SET_ATTR_UID, MINIFS_SET_UID},
		{FUSE_SET_ATTR_GID, MINIFS_SET_GID},	     {FUSE_SET_ATTR_SIZE, MINIFS_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, MINIFS_SET_ATIME},     {FUSE_SET_ATTR_MTIME, MINIFS_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, MINIFS_SET_ATIME}, {FUSE_SET_ATTR_MTIME_NOW, MINIFS_SET_MTIME},
		{FUSE_SET_ATTR_CTIME, MINIFS_SET_CTIME},
	};
	uint32_t what = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (to_set & flags[i].theirs)
			what |= flags[i].ours;
	return what;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	static const struct timespec now = {.tv_nsec = UTIME_NOW};
	const struct minifs_change change = {
		.what = what_to_set(to_set),
		.mode = attr->st_mode,
		.uid = attr->st_uid,
		.gid = attr->st_gid,
		.size = (uint64_t)attr->st_size,
		.atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? &now : &attr->st_atim,
		.mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? &now : &attr->st_mtim,
		.ctime = &attr->st_ctim,
	};
	struct stat st;
	struct server *server = server_of(req);
	int rc = change_begin(server, inode_of(ino));

	(void)fi;
	if (!rc) {
		rc = minifs_ino_set(server->fs, inode_of(ino), &change, &st);
		change_end(server, req, inode_of(ino), NULL);
	}
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	commits_note(&server->commits, CHANGE_BYTES);
	fuse_reply_attr(req, &st, SERVER_TIMEOUT);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct minifs_space space;
	int rc = minifs_statfs(server_of(req)->fs, &space);
	struct statvfs st;

	(void)ino;
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	st = (struct statvfs){
		.f_bsize = space.block_size,
		.f_frsize = space.block_size,
		.f_blocks = space.blocks,
		.f_bfree = space.free_blocks,
		.f_bavail = space.free_blocks,
		.f_files = space.inodes,
		.f_ffree = space.free_inodes,
		.f_favail = space.free_inodes,
		.f_namemax = 255,
	};
	fuse_reply_statfs(req, &st);
}

/* What the kernel does not look at must not seem to work: access control lists. */
static bool is_kept(const char *name)
{
	return strncmp(name, "system.", 7) != 0;
}

/* @rc: how long it is, or an error; asked with a @size of 0 only that is told. */
static void reply_value(fuse_req_t req, ssize_t rc, const char *value, size_t size)
{
	if (rc < 0)
		fuse_reply_err(req, (int)-rc);
	else if (!size)
		fuse_reply_xattr(req, (size_t)rc);
	else
		fuse_reply_buf(req, value, (size_t)rc);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *value = size ? (char *)malloc(size) : NULL;
	ssize_t rc = -ENOMEM;

	if (!is_kept(name))
		rc = -EOPNOTSUPP;
	else if (value || !size)
		rc = minifs_ino_getxattr(server_of(req)->fs, inode_of(ino), name, value, size);
	reply_value(req, rc, value, size);
	free(value);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	int rc = is_kept(name) ? commits_make_room(&server_of(req)->commits) : -EOPNOTSUPP;

	if (!rc)
		rc = minifs_ino_setxattr(server_of(req)->fs, inode_of(ino), name, value, size, flags);
	reply_changed(req, rc);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *list = size ? (char *)malloc(size) : NULL;
	ssize_t rc = list || !size ? minifs_ino_listxattr(server_of(req)->fs, inode_of(ino), list, size) : -ENOMEM;

	reply_value(req, rc, list, size);
	free(list);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	reply_changed(req,
		      is_kept(name) ? minifs_ino_removexattr(server_of(req)->fs, inode_of(ino), name) : -EOPNOTSUPP);
}
