/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file of bytes that are known: define N, its size, before. */
#ifndef SNAPMAP_TESTS_ONE_FILE_H
#define SNAPMAP_TESTS_ONE_FILE_H

#include "opening.h"

static unsigned char want[N];

static inline void make(const char *path)
{
	test_fill(want, N, test_seed());
	test_write_file(path, want, N);
}

static inline bool is_right(const struct snapmap *map)
{
	return snapmap_size(map) == N && !memcmp(snapmap_data(map), want, N);
}

static inline void expect_path(int way, const char *path)
{
	struct view v = {0};

	view_open(way, path, 0, &v);
	ck_assert_msg(view_is(&v, want, N), "%s: other bytes", path);
	ck_assert_uint_eq((uintptr_t)v.data % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
	ck_assert_uint_eq(v.info.size, N);
	view_close(&v);
}

static inline void expect_fd(int way, int fd)
{
	struct view v = {0};

	view_open_fd(way, fd, 0, &v);
	ck_assert(view_is(&v, want, N));
	view_close(&v);
}

/* An edit can be committed, if it is a handle for editing. */
static inline void expect_good(struct view *v, const char *path)
{
	ck_assert(view_is(v, want, N));
	if (v->mut) {
		*(unsigned char *)snapmap_mut_data(v->mut) ^= 1;
		ck_assert_msg(snapmap_mut_commit(v->mut, NULL) == 0, "opened, but cannot commit: %s",
			      snapmap_last_error());
		want[0] ^= 1;
		ck_assert(test_file_is(path, want, N));
	}
}

#endif
