/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mount.minifs: an image served to the kernel. Nobody else can change the image while it
 * is mounted, so the kernel may keep what it was told for good, and open and close files
 * without asking: what it knows of it holds, by the counts of lookups.
 */
#ifndef SNAPMAP_SERVER_H
#define SNAPMAP_SERVER_H

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <minifs.h>
#include <minifs/ino.h>
#include <pthread.h>
#include <snapmap/snapfs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "control.h"
#include "daemon.h"
#include "loop.h"
#include "words.h"

/* How long the kernel may keep answers, in seconds. */
#define SERVER_TIMEOUT 1e8

/* What the command line says. */
struct request {
	struct words words;
	const char *image, *directory;
	unsigned commit; /* seconds between commits, 0: only when asked */
	uint64_t dirty;	 /* bytes that may wait for a commit, 0: as memory allows */
	bool writeback;
};

/**
 * struct commits - commits of one image, which its users share
 * @changed: something was changed since the last commit began
 * @waiting: bytes in memory that changes since then have taken, about
 * @limit: how many may; then who writes makes a commit first
 * @started, @finished: how many commits
 * @running: one that has started has not finished
 * @stop: the thread that commits now and then is to end
 * @pause: seconds before one that nobody has asked for, by how long the last one took
 * @result: of the last one that finished
 */
struct commits {
	struct minifs *fs;
	pthread_mutex_t lock;
	pthread_cond_t done, wake;
	pthread_t thread;
	time_t seconds;
	bool changed, running, stop, threaded;
	uint64_t waiting, limit;
	uint64_t started, finished;
	time_t pause;
	int result;
};

/**
 * struct ending - who waits for the end
 * @fd: of a socket; -1: none
 */
struct ending {
	struct control_ending name;
	int fd;
};

/**
 * struct server - an image that is served
 * @writes: how many requests of that kind have come
 * @changes: shared by changes of content, exclusive to take a snapshot
 * @holding: NULL, or where answers to writes of pages of @held_ino go; with that lock
 */
struct server {
	struct minifs *fs;
	atomic_uint_fast64_t writes;
	struct commits commits;
	struct ending ending;
	bool writeback, read_only;
	struct fuse_session *session;
	pthread_rwlock_t changes;
	struct holding *holding;
	uint64_t held_ino;
};

/* What is wanted of a snapshot, and who wants it. */
struct wish {
	uint64_t ino, offset, length;
	uid_t uid;
};

/* A page that the kernel has written, and what it is answered. */
struct page_write {
	uint64_t offset;
	size_t size;
	ssize_t answer;
};

static inline struct server *server_of(fuse_req_t req)
{
	return (struct server *)fuse_req_userdata(req);
}

/* The kernel's number for the root is another one. */
static inline uint64_t inode_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? MINIFS_ROOT_INO : ino;
}

/* options.c: -1 to go on, else the exit status */
int request_read(int argc, char **argv, struct request *ret);

/* commits.c */
/* Begins; a thread commits as the request says. 0 or a negative errno. */
int commits_start(struct commits *commits, struct minifs *fs, const struct request *request);
/* After a change that took about @bytes of memory, and before the kernel hears of it. */
void commits_note(struct commits *commits, uint64_t bytes);
/* Before a change that takes memory: commits if too much of it is taken. 0, or why that failed. */
int commits_make_room(struct commits *commits);
/* Returns once what was changed before the call is durable; who comes meanwhile shares the next commit. */
int commits_wait(struct commits *commits);
/* Ends the thread, and commits. */
int commits_finish(struct commits *commits);

/* ending.c */
void ending_start(struct ending *ending);
/* Those who wait get @rc, a negative errno or 0. */
void ending_tell(struct ending *ending, int rc);

/* asked.c */
/* A file by the name that we open it with. */
bool asked_lookup(const struct server *server, const char *name, struct minifs_entry *ret);
/* False: it is none of ours. */
bool asked_ioctl(fuse_req_t req, uint64_t ino, unsigned command, const void *in, size_t in_size, size_t out_size);
/* What changes the content of a file stands between these. 0 or -EROFS, then without the end. */
int change_begin(struct server *server, uint64_t ino);
/* True: the request is answered later. @page: NULL if it was no page of the kernel's. */
bool change_end(struct server *server, fuse_req_t req, uint64_t ino, const struct page_write *page);

/* snapshots.c */
/* While nothing changes. 0 or a negative errno. */
int snapshot_make(struct server *server, const struct wish *wish, struct snapfs_snapshot *ret);
bool snapshot_is(uint64_t ino);
/* By the name in any directory; held once more. */
bool snapshot_lookup(struct server *server, fuse_ino_t parent, const char *name, struct minifs_entry *ret);
/* The kernel has forgotten some of its lookups; before they are given back. */
void snapshot_forget(struct server *server, uint64_t ino, uint64_t n);
/* Ends those that nobody opened; true: more may follow. */
bool snapshots_expire(struct server *server);
/* 0 or -ENOTTY. */
int snapshot_state(uint64_t ino, struct snapfs_state *ret);

/* operations.c */
/* Memory that a change takes which is not of content: some blocks. */
#define CHANGE_BYTES 16384
extern const struct fuse_lowlevel_ops server_operations;
/* Answers a change: its error, or success. */
void reply_changed(fuse_req_t req, int rc);
/* What op_names.c, op_file.c and op_attr.c are for. */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
	       unsigned flags);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *argument, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
