/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files share that implement include/minifs.h. */
#ifndef SNAPMAP_MINIFS_IMAGE_H
#define SNAPMAP_MINIFS_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backends/minifs/fs.h"

struct snapmap;
struct snapmap_mut;

/**
 * struct minifs - an image, and the handle that holds its bytes
 * @lock: shared by who reads, exclusive for who changes something or commits
 * @store: the bytes of @map or @mut
 * @map: opened for reading
 * @mut: opened for writing
 * @users: it lives until the last one: who opened it, and each mapping of a file of it
 * @closed: by who opened it
 * @in_place: @mut is the file itself, and has the lock
 * @exchanges: blocks of it can be exchanged
 * @in_memory: a page of it that is only read takes room
 * @lock_fd: has the lock otherwise; -1: for reading, or lost
 * @holds: taken, with @lock shared at least, for the table of inodes that are held
 * @owner: of what is new
 * @real_path: where the image is, from the root; if @lock_fd is used
 * @path: what errors call it
 */
struct minifs {
	pthread_rwlock_t lock;
	struct mfs fs;
	struct minifs_store store;
	struct snapmap *map;
	struct snapmap_mut *mut;
	bool in_place, exchanges, in_memory;
	atomic_uint users;
	atomic_bool closed;
	int lock_fd;
	pthread_mutex_t holds;
	struct mfs_owner owner;
	char *real_path;
	char path[];
};

/* minifs.c. These give -EINVAL if something is NULL; the second also -EROFS. */
int image_enter(struct minifs *fs, const void *argument);
int image_enter_change(struct minifs *fs, const void *argument);
void image_leave(struct minifs *fs);
/* Ends the transaction: @rc, a count or an error, or why it could not be finished. */
ssize_t image_leave_change(struct minifs *fs, ssize_t rc);
/* One more user, and one less. */
void image_keep(struct minifs *fs);
void image_let_go(struct minifs *fs);
/* Has a sentence made; returns @rc. */
int image_fail(const struct minifs *fs, int rc, const char *what, const char *path);

/* A file by its path, or, if that is NULL, by its number. minifs_attr.c */
struct image_which {
	const char *path;
	uint64_t ino;
	bool nofollow;
};
int image_find(const struct minifs *fs, const struct image_which *which, struct mfs_inode *ret);
/* Changes the inode, and stores it, in one transaction. */
typedef int image_edit(struct minifs *fs, struct mfs_inode *inode, const void *arg);
int image_change(struct minifs *fs, const struct image_which *which, image_edit *edit, const void *arg,
		 const char *what);
/* minifs_ino.c: ends the transaction, and holds the inode if that succeeded */
struct minifs_entry;
int image_leave_held(struct minifs *fs, int rc, const struct mfs_inode *inode, struct minifs_entry *ret);
int image_set_time(const struct timespec *time, int64_t *ret);
/* minifs_file.c */
struct minifs_file;
struct minifs *image_of_file(const struct minifs_file *file, uint32_t *ret_ino);

/* minifs_open.c: opening with the lock, and all of it again for a check */
struct image_request {
	const char *path;
	bool writable;
	bool any_crc; /* to be repaired */
};
int image_open_at(const struct image_request *request, struct minifs **ret);

/* minifs_host.c: the file under an image that is open for writing */
int host_open(struct minifs *fs);
int host_lock_again(struct minifs *fs);
extern const struct minifs_store_ops host_ops;

#endif
