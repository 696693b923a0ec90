/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the mini file system share. */
#ifndef SNAPMAP_MINIFS_TESTING_H
#define SNAPMAP_MINIFS_TESTING_H

#include <errno.h>
#include <fcntl.h>
#include <minifs.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

#define BLOCK 4096

#define ck_ok(call)                                                                     \
	do {                                                                            \
		long long rc_ = (call);                                                 \
		ck_assert_msg(rc_ >= 0, #call ": %lld: %s", rc_, snapmap_last_error()); \
	} while (0)

#define ck_is(call, wanted)                                                                           \
	do {                                                                                          \
		long long rc_ = (call), wanted_ = (wanted);                                           \
		ck_assert_msg(rc_ == wanted_, #call ": %lld, not %lld; last error: %s", rc_, wanted_, \
			      snapmap_last_error());                                                  \
	} while (0)

static inline void make_image(const char *path, uint64_t bytes, uint32_t flags)
{
	struct minifs_format_options options = {.size = sizeof(options), .flags = flags, .bytes = bytes};

	ck_ok(minifs_format(path, &options));
}

static inline struct minifs *open_image(const char *path)
{
	struct minifs *fs;

	ck_ok(minifs_open(path, 0, &fs));
	return fs;
}

/* A new image, open. */
static inline struct minifs *new_image(const char *path, uint64_t bytes, uint32_t flags)
{
	make_image(path, bytes, flags);
	return open_image(path);
}

static inline void print_problem(void *arg, const char *sentence)
{
	snprintf((char *)arg + strlen((char *)arg), 4000 - strlen((char *)arg), "%s\n", sentence);
}

static inline void ck_clean(const char *path)
{
	char problems[4000] = "";
	struct minifs_check_result result = {0};
	int rc = minifs_check(path, 0, print_problem, problems, &result);

	ck_assert_msg(!rc && !result.found, "%d: %s\n%s", rc, snapmap_last_error(), problems);
}

/* Syncs, closes, and looks for damage. */
static inline void finish_image(struct minifs *fs, const char *path)
{
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	ck_clean(path);
}

static inline uint64_t free_blocks(struct minifs *fs)
{
	struct minifs_space space;

	ck_ok(minifs_statfs(fs, &space));
	return space.free_blocks;
}

static inline struct stat stat_of(struct minifs *fs, const char *path)
{
	struct stat st;

	ck_ok(minifs_stat(fs, path, MINIFS_NOFOLLOW, &st));
	return st;
}

static inline bool exists(struct minifs *fs, const char *path)
{
	struct stat st;

	return !minifs_stat(fs, path, MINIFS_NOFOLLOW, &st);
}

/* A file of @n bytes as test_fill() makes them. */
static inline void put_file(struct minifs *fs, const char *path, size_t n, uint64_t seed)
{
	char *bytes = (char *)malloc(n + 1);

	test_fill(bytes, n, seed);
	if (!exists(fs, path))
		ck_ok(minifs_create(fs, path, 0644));
	ck_is(minifs_pwrite(fs, path, bytes, n, 0), (long long)n);
	free(bytes);
}

static inline bool file_is(struct minifs *fs, const char *path, const void *bytes, size_t n)
{
	char *found = (char *)malloc(n + 1);
	bool same = minifs_pread(fs, path, found, n + 1, 0) == (ssize_t)n && !memcmp(found, bytes, n);

	free(found);
	return same;
}

static inline bool file_is_filled(struct minifs *fs, const char *path, size_t n, uint64_t seed)
{
	char *bytes = (char *)malloc(n + 1);
	bool same;

	test_fill(bytes, n, seed);
	same = file_is(fs, path, bytes, n);
	free(bytes);
	return same;
}

#endif
