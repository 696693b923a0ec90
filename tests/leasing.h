/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of leases: a file of known bytes, and somebody who writes to it. */
#ifndef SNAPMAP_TESTS_LEASING_H
#define SNAPMAP_TESTS_LEASING_H

#define N ((size_t)300000)
#include "one_file.h"

static inline uint32_t lease_of(struct snapmap *map)
{
	struct snapmap_info info;

	ck_assert_ok(snapmap_get_info(map, &info));
	return info.lease;
}

static inline struct snapmap *open_one(const char *path)
{
	struct snapmap *map;

	ck_assert_ok(snapmap_open(path, NULL, &map));
	ck_assert_uint_eq(snapmap_size(map), N);
	return map;
}

static inline int spoil(void *path)
{
	static unsigned char other[N];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	memset(other, 0xab, N);
	if (fd < 0 || pwrite(fd, other, N, 0) != (ssize_t)N || ftruncate(fd, 0))
		return 1;
	return close(fd);
}

/* Another process writes. It gets through well before the kernel would take the lease away. */
static inline void have_it_spoiled(const char *path)
{
	alarm(20);
	ck_assert_int_eq(test_as_user(getuid(), spoil, (void *)(uintptr_t)path), 0);
	alarm(0);
}

#define need_leases()                                \
	do {                                         \
		if (!row_leases())                   \
			test_skip("no leases here"); \
	} while (0)

#endif
