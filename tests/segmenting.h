/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of segments. They run in a loop over ways, and as root and as nobody: way 0 is
 * the pager where this user may have it, way 1 is mappings by the kernel.
 */
#ifndef SNAPMAP_TESTS_SEGMENTING_H
#define SNAPMAP_TESTS_SEGMENTING_H

#include <errno.h>
#include <fcntl.h>
#include <snapmap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "committing.h"

#define SEGMENT_WAYS 2
#define PAGE ((size_t)4096)

#define ck_is(call, value)                                                                          \
	do {                                                                                        \
		long long ck_rc = (long long)(call);                                                \
		ck_assert_msg(ck_rc == (long long)(value), "%s = %lld, not %lld: %s", #call, ck_rc, \
			      (long long)(value), snapmap_last_error());                            \
	} while (0)

static inline struct snapmap_segment *make_segment(int way, size_t size)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = way ? SNAPMAP_INHERIT : 0};
	struct snapmap_segment *s;

	ck_ok(snapmap_segment_create(size, &o, &s));
	return s;
}

static inline struct snapmap_segment_stats stats_of(struct snapmap_segment *s)
{
	struct snapmap_segment_stats st;

	ck_ok(snapmap_segment_get_stats(s, &st));
	return st;
}

static inline bool is_paged(struct snapmap_segment *s)
{
	return stats_of(s).way == SNAPMAP_SEGMENT_PAGER;
}

/* Whether reading a file that nobody writes to is deferred here. False: not known. */
static inline bool must_defer(struct snapmap_segment *s)
{
	const char *name = test_fs()->name;

	return test_fs()->reflink ||
	       (is_paged(s) && (!strncmp(name, "ext4", 4) || !strncmp(name, "tmpfs", 5)) && getuid() == geteuid());
}

static inline int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static inline bool is_filled(const void *p, size_t n, uint64_t seed, size_t from)
{
	char *wanted = malloc(from + n + 1);
	bool same;

	test_fill(wanted, from + n, seed);
	same = !memcmp(p, wanted + from, n);
	free(wanted);
	return same;
}

static inline bool is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

#endif
