/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapfs: a directory served to the kernel as it is, by a program that sees each change
 * before it is made, and so can keep the bytes that snapshots still stand for.
 *
 * Locks, in this order: the lock of a file; the table of files, the list of snapshots,
 * the users and the jobs, each for itself and last.
 */
#ifndef SNAPMAP_WRAPPER_H
#define SNAPMAP_WRAPPER_H

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <snapmap/snapfs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "src/fuse/daemon.h"
#include "src/fuse/freezer.h"
#include "src/fuse/protocol.h"
#include "src/fuse/words.h"

/* How long the kernel may keep answers, in seconds: nobody else changes what is below. */
#define WRAPPER_TIMEOUT 1e8

#define BLOCK ((uint64_t)4096) /* bytes that are kept at once */
#define NO_SLOT UINT64_MAX     /* of a block of zeros */

/* What the command line says. */
struct request {
	struct words words;
	char lower[4096], directory[4096];
	uint64_t most_snapshots, most_kept; /* of a user; 0: the default */
	double timeout;
	bool writeback, writer_fails;
};

/* What a number of the kernel's stands for: the first member of each. */
enum kind {
	KIND_FILE,
	KIND_SNAPSHOT,
	KIND_CONTROL_DIR,
	KIND_CONTROL
};
struct node {
	enum kind kind;
};

struct snapshot;
struct asking;

/**
 * struct kept - a block that the file has no longer
 * @block: its number in the file
 * @slot: its number in the file of kept bytes, or NO_SLOT: zeros
 * @latest: the latest snapshot that needs it
 * @older: of the same block, for earlier snapshots
 * @next, @link: in the list of @latest
 */
struct kept {
	uint64_t block, slot;
	struct snapshot *latest;
	struct kept *older, *next, **link;
};

/**
 * struct history - what snapshots of a file need
 * @fd: the file, open for reading
 * @kept_fd: of kept bytes; -1: there are none yet
 * @slots: how many the file of kept bytes has
 * @spare: slots that are free, @spares of them
 * @blocks: a tree of struct kept, by blocks
 * @newest: snapshot
 */
struct history {
	int fd, kept_fd;
	uint64_t slots, *spare;
	size_t spares, spare_capacity;
	void *blocks;
	struct snapshot *newest;
};

/**
 * struct file - a file below that the kernel knows, or that has snapshots
 * @dev, @ino: name it
 * @fd: opened as a path only; -1: there are too many, and it is opened by its handle
 * @handle: see open_by_handle_at(2), or NULL
 * @gone: another file has its number now
 * @found: how the kernel found it, if it has to be asked to forget it; with the lock of those
 * @refs: lookups of the kernel and holds of ours; with the lock of the table
 * @lock: shared by who changes bytes that no snapshot needs, exclusive to keep bytes and
 *	to take snapshots
 * @history: NULL: no snapshots
 * @holding: NULL, or writes of pages are answered later; with @lock
 * @writers: descriptors that are open for writing
 * @askings, @queued: who waits for a snapshot until no page is dirty; with the lock of
 *	the freezer
 */
struct file {
	struct node node;
	dev_t dev;
	ino_t ino;
	int fd;
	struct file_handle *handle;
	struct found *found;
	bool gone;
	mode_t type;
	uint64_t refs;
	pthread_rwlock_t lock;
	struct history *history;
	struct holding *holding;
	atomic_uint writers;
	struct asking *askings;
	bool queued;
};

/* Somebody who has snapshots; with the lock of the users. */
struct user {
	uid_t uid;
	uint64_t snapshots, kept;
	char answer[128];
	struct user *next;
};

/**
 * struct snapshot - of a range of a file
 * @home: its file, held until nobody has the snapshot open
 * @file: the same; NULL: it is no more. With the lock of the file
 * @newer, @older: of the same file
 * @number: counts all snapshots
 * @offset, @size: the range, which the file had
 * @kept: blocks of which this is the latest snapshot that needs them
 * @kept_bytes: by those
 * @times: of the file
 * @lookups, @opens, @alive, @waiting, @next_waiting: with the lock of the list
 * @lost: bytes could not be kept
 */
struct snapshot {
	struct node node;
	struct file *home, *file;
	struct snapshot *newer, *older;
	uint64_t number, offset, size;
	struct kept *kept;
	atomic_uint_fast64_t kept_bytes;
	struct user *user;
	gid_t gid;
	struct timespec times[3];
	uint64_t lookups;
	unsigned opens;
	bool alive;
	atomic_bool lost;
	struct timespec born;
	struct snapshot *next_waiting, **waiting;
	char token[SNAPFS_TOKEN_SIZE];
};

/* What is wanted of a snapshot, and who wants it. */
struct wish {
	uint64_t offset, length;
	uid_t uid;
	gid_t gid;
};

/* An open file of the kernel's. */
struct handle {
	int fd;
	bool writable, readable;
};

/* An open directory; @position is where the kernel goes on, if it does not seek. */
struct listing {
	pthread_mutex_t lock;
	int fd;
	off_t position;
	size_t used, at;
	char buffer[32768] __attribute__((aligned(8)));
};

struct wrapper {
	struct fuse_session *session;
	struct file root;
	int area; /* for temporary files; -1: none, the directory cannot be written to */
	int lock;
	const struct request *request;
	uint64_t most_snapshots, most_kept;
	atomic_uint_fast64_t writes;
	atomic_uint handles; /* that the kernel has */
	bool as_root;
};
extern struct wrapper wrapper;

static inline struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &wrapper.root.node : (struct node *)(uintptr_t)ino;
}

static inline struct file *file_of(fuse_ino_t ino)
{
	struct node *node = node_of(ino);

	return node->kind == KIND_FILE ? (struct file *)(void *)node : NULL;
}

static inline struct snapshot *snapshot_of(fuse_ino_t ino)
{
	struct node *node = node_of(ino);

	return node->kind == KIND_SNAPSHOT ? (struct snapshot *)(void *)node : NULL;
}

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* request.c: WORDS_GO_ON, or the exit status */
int request_read(int argc, char **argv, struct request *ret);

/* area.c: -1, or an exit status after a message */
int area_open(void);
/* A file without a name. A descriptor or a negative errno. */
int area_file(void);

/* forgetting.c: where each file that the kernel knows needs a descriptor */
/* After the file was added. */
void forgetting_add(struct file *file, fuse_ino_t parent, const char *name);
void forgetting_remove(struct file *file);
/* There are many: asks the kernel to forget some of those that are known for longest. */
void forgetting_begin(void);

/* files.c */
/*
 * The file of a descriptor that was opened as a path, which is taken over; held once. @parent
 * and @name: where the kernel found it; 0: it did not. 0 or a negative errno.
 */
int file_get(int fd, fuse_ino_t parent, const char *name, struct stat *st, struct file **ret);
void file_hold(struct file *file);
void file_forget(struct file *file, uint64_t n);
/* A descriptor that leads to the file, or a negative errno; until the end of the block. */
struct reach {
	int fd;
	bool temporary;
};
struct reach file_reach(const struct file *file);
void file_reach_end(struct reach *reach);
#define REACH __attribute__((cleanup(file_reach_end))) struct reach
/* How many files may keep a descriptor, and whether others can be opened by handles. */
void files_start(void);
/* Opens it anew. A descriptor or a negative errno. */
int file_open(const struct file *file, int flags);
/* A path that leads to it, for calls that take no descriptor. */
struct file_path {
	char text[40];
};
struct file_path file_path(int fd);
/* As the kernel is to see it. */
int file_stat(const struct file *file, struct stat *ret);
void file_show(struct stat *st);

/* caller.c: making files as the caller's */
void caller_begin_thread(void);
void caller_become(fuse_req_t req);
void caller_leave(fuse_req_t req);
/* Opens a path beneath the root for reading, with no more rights than the caller has. */
int caller_open(fuse_req_t req, const char *path);

/* history.c; all with the lock of the file, exclusive unless it says shared */
/* Shared. */
bool history_needs(const struct file *file, uint64_t start, uint64_t end);
/* Keeps what snapshots need of the range. 0, or why the change must not be made. */
int history_keep(struct file *file, uint64_t start, uint64_t end);
/* The same where there is data, for what makes zeros of it. */
int history_keep_data(struct file *file, uint64_t start, uint64_t end);
/* Shared. Bytes of a snapshot, within its size. 0 or a negative errno. */
int history_read(const struct snapshot *s, char *to, size_t size, uint64_t offset);
/* Shared. Where data or a hole is next, as lseek(2); all is data if bytes are kept. */
off_t history_seek(const struct snapshot *s, off_t offset, int whence);
int history_add(struct file *file, struct snapshot *s);
void history_remove(struct snapshot *s);

/* change.c: what changes the bytes of a file stands between these; 0, or a negative errno with no lock held */
int change_begin(struct file *file, uint64_t start, uint64_t end);
int change_begin_zeros(struct file *file, uint64_t start, uint64_t end);
void change_end(struct file *file);
/* Within; true: the answer is given later. */
bool change_is_held(struct file *file, fuse_req_t req, uint64_t offset, size_t size, ssize_t answer);

/* snapshots.c */
/* With the lock of the file, exclusive. 0 or a negative errno. */
int snapshot_make(struct file *file, const struct wish *wish, struct snapfs_snapshot *ret);
/* What a token stands for, with one lookup more; NULL: nothing. */
struct snapshot *snapshot_lookup(const char *token);
bool snapshot_open(struct snapshot *s);
void snapshot_release(struct snapshot *s);
void snapshot_forget(struct snapshot *s, uint64_t n);
void snapshot_stat(const struct snapshot *s, struct stat *ret);
ssize_t snapshot_read(struct snapshot *s, char *to, size_t size, uint64_t offset);
/* As lseek(2), with -1 and errno. */
off_t snapshot_seek(struct snapshot *s, off_t offset, int whence);
void snapshot_state(const struct snapshot *s, struct snapfs_state *ret);
/* Removes those that nobody opened; how many may follow. */
bool snapshots_expire(void);

/* users.c */
/* The user, with a snapshot more. 0, -EDQUOT, -ENOMEM. */
int user_enter(uid_t uid, struct user **ret);
void user_leave(struct user *user);
/* -EDQUOT, unless @forced. */
int user_charge(struct user *user, uint64_t bytes, bool forced);
void user_discharge(struct user *user, uint64_t bytes);
void user_answer(uid_t uid, const char *text);
void user_last_answer(uid_t uid, char ret[128]);

/* freeze.c */
/* Answers, now or later. @done gets the result; it is called without locks. */
void freeze_ask(struct file *file, const struct wish *wish,
		void (*done)(void *arg, int rc, const struct snapfs_snapshot *snapshot), void *arg);
/* The file by the name that a helper opens it with, or NULL; held. */
struct file *freeze_lookup(const char *name);

/* control.c */
extern struct node control_dir, control_file;
void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr(fuse_req_t req, const struct node *node);
void control_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi);
void control_read(fuse_req_t req, size_t size, struct fuse_file_info *fi);
void control_write(fuse_req_t req, const char *text, size_t size, struct fuse_file_info *fi);
void control_release(fuse_req_t req, struct fuse_file_info *fi);
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *argument, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size);

/* operations.c and op_*.c */
extern const struct fuse_lowlevel_ops wrapper_operations;
void reply_rc(fuse_req_t req, int rc);
void reply_entry(fuse_req_t req, struct file *file, struct stat *st);
/* The directory, if it is one of those below and the name is not ours; else answers, and a negative errno. */
struct reach directory_to_change(fuse_req_t req, fuse_ino_t ino, const char *name);
bool is_ours(fuse_ino_t parent, const char *name);

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

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bytes, off_t offset, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
