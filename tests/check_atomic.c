/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfall 13: whoever looks sees all of a commit or nothing of it, whenever the committer dies. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define PAGES 48
#define SIZE (PAGES * PAGE)

/* Every page of the file carries the version. */
static void set_version(void *bytes, uint64_t version)
{
	for (size_t i = 0; i < SIZE / sizeof(version); i++)
		((uint64_t *)bytes)[i] = version;
}

/* The version of all bytes, or -1 for a mix. */
static long long version_of(const void *bytes, size_t n)
{
	const uint64_t *words = bytes;

	if (n != SIZE)
		return -1;
	for (size_t i = 1; i < SIZE / sizeof(*words); i++)
		if (words[i] != words[0])
			return -1;
	return (long long)words[0];
}

static void make_versioned(const char *path)
{
	static char bytes[SIZE];

	set_version(bytes, 0);
	test_write_file(path, bytes, SIZE);
}

static long long version_by_read(int fd)
{
	static char bytes[SIZE + 1];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	return n < 0 ? -1 : version_of(bytes, (size_t)n);
}

static long long version_by_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long long version = fd < 0 ? -1 : version_by_read(fd);

	close(fd);
	return version;
}

static long long version_by_library(const char *path)
{
	long long version;
	struct snapmap *map;

	ck_ok(snapmap_open(path, NULL, &map));
	version = version_of(snapmap_data(map), snapmap_size(map));
	snapmap_close(map);
	return version;
}

/* One new version after another; a failure ends the child with status 1. */
static void commit_versions(const struct way *w, int count)
{
	struct snapmap_options o = {.size = sizeof(o), .source = w->source};
	struct snapmap_commit_options c = {.size = sizeof(c), .flags = SNAPMAP_COMMIT_NOSYNC, .strategy = w->strategy};
	struct snapmap_mut *map = NULL;

	for (int i = 1; i <= count; i++) {
		if (!map && snapmap_mut_open("f", &o, &map))
			_exit(1);
		set_version(snapmap_mut_data(map), *(uint64_t *)snapmap_mut_data(map) + 1);
		if (i % 8 == 0)
			c.flags = 0;
		if (w->closing ? snapmap_mut_commit_and_close(map, &c) : snapmap_mut_commit(map, &c))
			_exit(1);
		if (w->closing)
			map = NULL;
	}
	_exit(0);
}

/* ---- a reader at any time ---- */

START_TEST(test_reader_never_sees_a_mix)
{
	const struct way *w = way_at(_i);
	long long seen = 0, version;
	int status, held, held_version;
	pid_t child, ended;

	/* Clone may show a mix, as its page of the manual says: AUTO does not take it. */
	if (!w || !way_is_atomic(w))
		return;
	/* Neither its rename nor a read of more than a few pages is one step. */
	if (!strcmp(test_fs()->name, "fuse"))
		skip_all_ways("the file system is not atomic itself");
	make_versioned("f");
	held = open("f", O_RDONLY | O_CLOEXEC);
	held_version = (int)version_by_read(held);
	child = fork();
	if (!child)
		commit_versions(w, 40);
	do {
		ended = waitpid(child, &status, WNOHANG);
		version = version_by_path("f");
		ck_assert_msg(version >= seen, "version %lld after %lld, by read", version, seen);
		seen = version;
		version = version_by_library("f");
		ck_assert_msg(version >= seen, "version %lld after %lld, by the library", version, seen);
		seen = version;
		/* Who had the file open stays on that version. */
		if (!way_keeps_inode(w))
			ck_assert_int_eq(version_by_read(held), held_version);
	} while (!ended);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_eq(version_by_path("f"), 40);
	close(held);
}
END_TEST

/* ---- death at any time ---- */

START_TEST(test_killed_at_random_leaves_one_version)
{
	const struct way *w = way_at(_i);
	uint64_t random = test_seed() + (uint64_t)_i;
	long long before = 0, version;

	if (!w || !way_is_atomic(w))
		return;
	/* There a private file has a name for a moment, which a kill may leave behind. */
	if (!test_fs()->tmpfile)
		skip_all_ways("no nameless files");
	make_versioned("f");
	for (int round = 0; round < 6; round++) {
		struct timespec delay = {.tv_nsec = (long)(test_random(&random) % 8000000)};
		struct snapmap_mut *map;
		pid_t child = fork();

		if (!child)
			commit_versions(w, 1 << 20);
		nanosleep(&delay, NULL);
		ck_assert(!kill(child, SIGKILL));
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
		version = version_by_path("f");
		ck_assert_msg(version >= before, "version %lld after %lld", version, before);
		ck_assert_int_eq(version_by_library("f"), version);
		before = version;
		/* The next who opens cleans up. */
		map = way_open(w, "f");
		snapmap_mut_close(map);
		ck_assert_uint_eq(count_names("."), 1);
	}
}
END_TEST

struct killing {
	const struct way *way;
	int at, count;
};

static int commit_once(void *arg)
{
	const struct killing *k = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = k->way->source};
	struct snapmap_commit_options c = {.size = sizeof(c), .strategy = k->way->strategy};
	struct snapmap_mut *map;
	int rc = snapmap_mut_open("f", &o, &map);

	if (rc)
		return rc;
	set_version(snapmap_mut_data(map), 1);
	watch_on();
	rc = k->way->closing ? snapmap_mut_commit_and_close(map, &c) : snapmap_mut_commit(map, &c);
	watch_off();
	if (rc || !k->way->closing)
		snapmap_mut_close(map);
	return rc;
}

static int die_at(void *arg, const struct seccomp_data *call)
{
	struct killing *k = arg;

	(void)call;
	if (k->count++ == k->at)
		kill(getpid(), SIGKILL);
	return 0;
}

/* Not at random, but before each single system call of a commit: also between link and rename. */
START_TEST(test_killed_before_any_system_call_leaves_one_version)
{
	const struct way *w = way_at(_i);
	bool killed = true, piled = false;
	int status;

	if (!w || !way_is_atomic(w))
		return;
	if (!test_fs()->tmpfile)
		skip_all_ways("no nameless files");
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	for (int n = 0; killed; n++) {
		struct killing k = {.way = w, .at = n};
		long long version;
		pid_t child;

		make_versioned("f");
		child = fork();
		if (!child)
			_exit(watch(commit_once, &k, die_at, &k) ? 1 : 0);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		killed = WIFSIGNALED(status);
		ck_assert_msg(killed || !WEXITSTATUS(status), "the commit fails");
		version = version_by_path("f");
		ck_assert_msg(version == 0 || version == 1, "a mix, killed before call %d", n);
		ck_assert(killed || version == 1);
		/* Pitfall 18: what is left is one name at most, and does not pile up. */
		ck_assert_uint_le(count_names("."), 2);
		piled |= count_names(".") == 2;
		if (n % 2) {
			/* Cleaned by the next commit ... */
			struct killing next = {.way = w, .at = -1};

			ck_assert_int_eq(commit_once(&next), 0);
			ck_assert_int_eq(version_by_path("f"), 1);
		} else {
			/* ... or as soon as somebody opens the file. */
			snapmap_mut_close(way_open(w, "f"));
		}
		ck_assert_msg(count_names(".") == 1, "left behind, killed before call %d", n);
	}
	ck_assert_msg(piled || way_keeps_inode(w), "no kill hit the time between link and rename");
}
END_TEST

static void add_atomic(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_reader_never_sees_a_mix, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_killed_at_random_leaves_one_version, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_killed_before_any_system_call_leaves_one_version, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("atomic");

	test_each_fs(s, "atomic", add_atomic);
	return s;
}
