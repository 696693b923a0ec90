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
 * @lock_fd: has the flock; -1: for reading, or lost
 * @uid, @gid: owner of what is new
 * @real_path: where the image is, from the root
 * @path: what errors call it
 */
struct minifs {
	pthread_rwlock_t lock;
	struct mfs fs;
	struct minifs_store store;
	struct snapmap *map;
	struct snapmap_mut *mut;
	atomic_uint users;
	atomic_bool closed;
	int lock_fd;
	uint32_t uid, gid;
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
int image_lock_again(struct minifs *fs);

#endif
