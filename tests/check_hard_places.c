/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File systems that make a promise hard to keep: times in whole seconds, writers
 * that never pause, memory that is full.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapmap.h"
#include "testing.h"

#define PAGE ((size_t)4096)

/* ---- whole seconds ---- */

static void overwrite(const char *path, char byte)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, &byte, 1, 0), 1);
	close(fd);
}

/* A change of the same size in the same second as the snapshot leaves the same times. */
START_TEST(test_change_within_a_whole_second_is_a_conflict)
{
	const char *dir = getenv("SNAPMAP_TEST_SECONDS");
	char path[256];

	if (!dir)
		test_skip("no file system with times in whole seconds");
	snprintf(path, sizeof(path), "%s/file-%d", dir, getpid());
	for (int i = 0; i < 5; i++) {
		struct snapmap_mut *map;

		test_write_file(path, "old", 3);
		ck_assert_int_eq(snapmap_mut_open(path, NULL, &map), 0);
		overwrite(path, 'F');
		((char *)snapmap_mut_data(map))[1] = 'x';
		ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EBUSY);
		snapmap_mut_close(map);
	}
	unlink(path);
}
END_TEST

START_TEST(test_handle_commits_again_and_again_within_a_whole_second)
{
	const char *dir = getenv("SNAPMAP_TEST_SECONDS");
	struct snapmap_mut *map;
	char path[256];

	if (!dir)
		test_skip("no file system with times in whole seconds");
	snprintf(path, sizeof(path), "%s/again-%d", dir, getpid());
	test_write_file(path, "old", 3);
	ck_assert_int_eq(snapmap_mut_open(path, NULL, &map), 0);
	for (char c = 'a'; c < 'e'; c++) {
		((char *)snapmap_mut_data(map))[1] = c;
		ck_assert_int_eq(snapmap_mut_commit(map, NULL), 0);
	}
	overwrite(path, 'F');
	((char *)snapmap_mut_data(map))[1] = 'x';
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EBUSY);
	snapmap_mut_close(map);
	unlink(path);
}
END_TEST

/* ---- a writer that never pauses ---- */

struct storm {
	volatile uint64_t *first, *last;
	atomic_bool stop;
};

/* At every moment the last page is at most one step behind the first. */
static void *storm(void *arg)
{
	struct storm *s = (struct storm *)arg;

	for (uint64_t i = 1; !s->stop; i++) {
		*s->first = i;
		*s->last = i;
	}
	return NULL;
}

#define STORM_SIZE (512 * PAGE)

/* Stores through a shared mapping: each page faults anew after a write-out, in the middle of our look. */
START_TEST(test_stores_that_never_pause_are_not_called_a_point_in_time)
{
	struct snapmap_options options = {
		.size = sizeof(options),
		.source = SNAPMAP_SOURCE_COPY,
		.flags = SNAPMAP_STRICT,
	};
	struct storm s = {0};
	pthread_t thread;
	char *shared;
	int fd;

	test_make_file("file", STORM_SIZE, 1);
	fd = open("file", O_RDWR | O_CLOEXEC);
	shared = (char *)mmap(NULL, STORM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(shared != MAP_FAILED);
	s.first = (uint64_t *)(void *)shared;
	s.last = (uint64_t *)(void *)(shared + STORM_SIZE - PAGE);
	*s.first = *s.last = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, storm, &s), 0);
	for (int i = 0; i < 10; i++) {
		struct snapmap *map;
		int rc = snapmap_open("file", &options, &map);

		if (!rc) {
			const char *p = (const char *)snapmap_data(map);
			uint64_t first = *(const uint64_t *)(const void *)p;
			uint64_t last = *(const uint64_t *)(const void *)(p + STORM_SIZE - PAGE);

			ck_assert_uint_le(first - last, 1);
			snapmap_close(map);
		} else {
			ck_assert_int_eq(rc, -EBUSY);
		}
	}
	s.stop = true;
	pthread_join(thread, NULL);
	munmap(shared, STORM_SIZE);
	close(fd);
}
END_TEST

/* ---- full memory ---- */

static size_t read_all(const char *p, size_t n)
{
	size_t nonzero = 0;

	for (size_t i = 0; i < n; i += PAGE)
		nonzero += p[i] != 0;
	return nonzero;
}

/* A hole of a file in memory takes a page when it is read, and there is none left: that would be SIGBUS. */
START_TEST(test_holes_made_by_growth_can_be_read_when_the_disk_is_full)
{
	struct snapmap_mut *map;
	char *p;

	ck_assert_int_eq(snapmap_mut_create("file", 0644, NULL, &map), 0);
	ck_assert_int_eq(snapmap_mut_resize(map, 8 << 20), 0);
	p = (char *)snapmap_mut_data(map);
	p[0] = 'x';
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), 0);
	test_fill_disk(0);
	ck_assert_uint_eq(read_all(p, 8 << 20), 1);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_reserved_space_can_be_read_when_the_disk_is_full)
{
	struct snapmap_mut *map;
	int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fallocate(fd, 0, 0, 8 << 20)) {
		close(fd);
		test_skip("no fallocate");
	}
	close(fd);
	ck_assert_int_eq(snapmap_mut_open("file", NULL, &map), 0);
	test_fill_disk(0);
	ck_assert_uint_eq(read_all((char *)snapmap_mut_data(map), 8 << 20), 0);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_holes_can_be_read_when_the_disk_is_full)
{
	struct snapmap *map;

	test_write_file("file", "x", 1);
	ck_assert_int_eq(truncate("file", 8 << 20), 0);
	ck_assert_int_eq(snapmap_open("file", NULL, &map), 0);
	test_fill_disk(0);
	ck_assert_uint_eq(read_all((const char *)snapmap_data(map), 8 << 20), 1);
	snapmap_close(map);
}
END_TEST

/* ---- a name that somebody else takes ---- */

/* The handle of a new file goes on after a conflict, and the file gets the mode it was made with. */
START_TEST(test_new_file_keeps_its_mode_after_a_conflict)
{
	const struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	struct snapmap_mut *map;
	struct stat st;
	mode_t mask = umask(022);

	ck_assert_int_eq(snapmap_mut_create("new", 0664, NULL, &map), 0);
	ck_assert_int_eq(snapmap_mut_resize(map, 3), 0);
	memcpy(snapmap_mut_data(map), "abc", 3);
	test_write_file("new", "other", 5);
	ck_assert_int_eq(snapmap_mut_commit_and_close(map, NULL), -EBUSY);
	ck_assert_int_eq(snapmap_mut_link(map, "saved", NULL), 0);
	ck_assert_int_eq(stat("saved", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0644);
	unlink("new");
	ck_assert_int_eq(snapmap_mut_commit(map, &force), 0);
	ck_assert_int_eq(stat("new", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0644);
	ck_assert(test_file_is("new", "abc", 3));
	snapmap_mut_close(map);
	umask(mask);
}
END_TEST

static void add_any(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_stores_that_never_pause_are_not_called_a_point_in_time);
	tcase_add_test(tc, test_new_file_keeps_its_mode_after_a_conflict);
}

static void add_small(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_holes_made_by_growth_can_be_read_when_the_disk_is_full);
	tcase_add_test(tc, test_reserved_space_can_be_read_when_the_disk_is_full);
	tcase_add_test(tc, test_holes_can_be_read_when_the_disk_is_full);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("hard places");
	TCase *tc = tcase_create("once");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_change_within_a_whole_second_is_a_conflict);
	tcase_add_test(tc, test_handle_commits_again_and_again_within_a_whole_second);
	suite_add_tcase(s, tc);
	test_each_fs(s, "any", add_any);
	test_each_small_fs(s, "small", add_small);
	return s;
}
