/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of files that nobody can change: what each way of opening must make of them. */
#ifndef SNAPMAP_TESTS_UNCHANGING_H
#define SNAPMAP_TESTS_UNCHANGING_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "committing.h"

#ifndef F_SEAL_EXEC /* Linux 6.3 */
#define F_SEAL_EXEC 0x0020
#endif
#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif

#define LARGE ((size_t)8 << 20)

static size_t page;

/* A call of the test itself. */
#define ck_sys(call) ck_assert_msg((call) >= 0, "%s: %s", #call, strerror(errno))

/* Sizes at which something could go wrong. */
#define SIZES 6
static inline size_t size_at(int i)
{
	const size_t sizes[SIZES] = {0, 1, page - 1, page, page + 1, LARGE};

	return sizes[i];
}

static const struct snapmap_options only = {.size = sizeof(only), .source = SNAPMAP_SOURCE_IMMUTABLE};

static inline struct snapmap_info info_of(const struct snapmap *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_get_info(map, &info));
	return info;
}

/* The bytes, and zeros up to the end of the last page. */
static inline bool map_is(const struct snapmap *map, const void *bytes, size_t n)
{
	const char *data = snapmap_data(map);

	if (snapmap_size(map) != n || (uintptr_t)data % page || memcmp(data, bytes, n))
		return false;
	for (size_t i = n; i % page; i++)
		if (data[i])
			return false;
	return true;
}

/* What /proc/self/maps says is mapped there. */
static const char *mapped_file(const void *address)
{
	static char line[PATH_MAX + 100];
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	int at;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		ck_assert_int_eq(sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &start, &end, &at), 2);
		if ((uintptr_t)address < start || (uintptr_t)address >= end)
			continue;
		fclose(f);
		line[strcspn(line, "\n")] = 0;
		return line + at;
	}
	fclose(f);
	return "";
}

static inline void expect_immutable(struct snapmap *map, const void *bytes, size_t n)
{
	struct snapmap_info info = info_of(map);

	ck_assert_msg(info.source == SNAPMAP_SOURCE_IMMUTABLE, "%zu bytes: %s", n, snapmap_source_name(info.source));
	ck_assert_uint_eq(info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	ck_assert_uint_eq(info.bytes_copied, 0);
	ck_assert_uint_eq(info.size, n);
	ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_NONE);
	ck_assert_int_eq(info.error, 0);
	ck_assert_str_eq(info.tried, "");
	ck_assert_msg(map_is(map, bytes, n), "%zu bytes: other bytes", n);
	ck_ok(snapmap_prefault(map, 0, n));
	/* The word of the library is not all there is: what is mapped is no copy. */
	ck_assert_ptr_null(strstr(mapped_file(snapmap_data(map)), "snapmap-copy"));
}

static inline void expect_other(struct snapmap *map, const void *bytes, size_t n)
{
	ck_assert_uint_ne(info_of(map).source, SNAPMAP_SOURCE_IMMUTABLE);
	ck_assert_msg(map_is(map, bytes, n), "other bytes");
}

/* Refused by name, with a reason and a way out. */
static inline void expect_refusal(int fd)
{
	struct snapmap *map = NULL;

	ck_fails(snapmap_open_fd(fd, &only, &map), -EOPNOTSUPP);
	ck_says("immutable: ");
	ck_says("ask for another source");
	ck_assert_ptr_null(map);
}

/* A child with nothing of the handle but what fork gave it. */
static inline void expect_in_child(struct snapmap **map, const void *bytes, size_t n)
{
	int go[2], status;
	char c;

	ck_sys(pipe2(go, O_CLOEXEC));
	pid_t pid = fork();

	ck_sys(pid);
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0 || !map_is(*map, bytes, n));
	}
	snapmap_close(*map);
	*map = NULL;
	close(go[0]);
	close(go[1]);
	ck_sys(waitpid(pid, &status, 0));
	ck_assert_msg(status == 0, "the child saw other bytes (status %x)", (unsigned)status);
}

/* Opens in each way there is, by path and by @fd. */
static inline void expect_all_ways(const char *path, int fd, const void *bytes, size_t n)
{
	static const uint32_t flags[] = {0, SNAPMAP_STRICT, SNAPMAP_POPULATE, SNAPMAP_INHERIT};
	struct snapmap *map;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		const struct snapmap_options o = {.size = sizeof(o), .flags = flags[i]};

		ck_ok(snapmap_open(path, &o, &map));
		expect_immutable(map, bytes, n);
		snapmap_close(map);
	}
	ck_ok(snapmap_open(path, &only, &map));
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	ck_sys(lseek(fd, 1, SEEK_SET));
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 1);
	expect_immutable(map, bytes, n);
	expect_in_child(&map, bytes, n);
}

/* An editable handle takes another source; edits stay with it. */
static inline void expect_editable(const char *path, const void *bytes, size_t n)
{
	struct snapmap_mut *map = NULL;

	ck_fails(snapmap_mut_open(path, &only, &map), -EOPNOTSUPP);
	ck_says("source");
	ck_ok(snapmap_mut_open(path, NULL, &map));
	ck_assert(handle_is(map, bytes, n));
	if (n)
		*(char *)snapmap_mut_data(map) ^= 1;
	ck_assert(!n || !handle_is(map, bytes, n));
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, bytes, n));
	snapmap_mut_close(map);
}

static inline void expect_probe(const char *path, bool immutable)
{
	struct snapmap_probe probe;

	ck_ok(snapmap_probe(path, &probe));
	ck_assert_uint_eq(probe.sources[0].id, SNAPMAP_SOURCE_IMMUTABLE);
	ck_assert_msg(!probe.sources[0].error == immutable, "%s: %s", path, probe.sources[0].reason);
	ck_assert_int_eq(probe.source == SNAPMAP_SOURCE_IMMUTABLE, immutable);
	ck_assert_uint_ne(probe.source_mut, SNAPMAP_SOURCE_IMMUTABLE);
}

static size_t fds;

static inline void before(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	fds = test_count_fds();
}

static inline void after(void)
{
	ck_assert_uint_eq(test_count_fds(), fds);
}

static inline void set_page(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
}

#endif
