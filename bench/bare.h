/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What baselines are made of: the shortest sequences of system calls for what the
 * library does, with nothing looked at and nothing kept. All return 0, a descriptor,
 * or a negative errno.
 */
#ifndef SNAPMAP_BENCH_BARE_H
#define SNAPMAP_BENCH_BARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Has what takes long give up, with -ECANCELED, once @stopped says so. */
void bare_stop_when(bool (*stopped)(void));

/* @rc, or if that is negative, -errno. */
int bare_check(int rc);

/* A nameless file in @dir that cannot be given a name. */
int bare_private(const char *dir);
/* FICLONE; copy_file_range() to the end. */
int bare_clone(int from, int to);
int bare_copy(int from, int to);
/* A nameless file in @dir with the content of @path, made by one of the two above. */
int bare_image(const char *dir, const char *path, int (*make)(int from, int to));

int bare_map(int fd, uint64_t size, int protection, int flags, char **ret);
int bare_read_all(int fd, char *buffer, uint64_t size);
int bare_write_all(int fd, const char *data, uint64_t size);
int bare_write_pages(int fd, const char *base, const uint64_t *pages, unsigned count);
/* Gives @fd, which has none, the name @path at once; flushes the directory. */
int bare_publish(int fd, const char *dir, const char *path);
/* Has @temporary take the name @path; flushes the directory. */
int bare_rename(const char *temporary, const char *dir, const char *path);

#endif
