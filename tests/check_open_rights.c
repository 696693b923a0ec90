/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening where only reading is allowed, or not even that (PITFALLS 2). */
#include "config.h"

#include <sys/stat.h>

#define N 20123
#include "one_file.h"

static int open_it(void *arg)
{
	const struct {
		const char *path;
		int way;
	} *a = arg;
	struct view v = {0};
	int rc = view_try(a->way, a->path, 0, &v);

	if (rc)
		return rc;
	rc = view_is(&v, want, N) ? 0 : 1;
	view_close(&v);
	return rc;
}

static void read_only_file(int way, mode_t mode)
{
	struct {
		const char *path;
		int way;
	} arg = {"f", way};

	make("f");
	ck_assert_sys(chmod("f", mode));
	ck_assert_sys(chmod(".", 0555));
	int rc = test_as_user(65534, open_it, &arg);

	ck_assert_sys(chmod(".", 0755));
	/* Where no directory of the file system can be written, nothing can be shared. */
	if (way_source(way) == SNAPMAP_SOURCE_REFLINK && rc == -EACCES)
		return;
	ck_assert_int_eq(rc, 0);
	ck_assert(names_are(1));
}

START_TEST(test_open_in_a_directory_one_may_not_write)
{
	if (way_exists(_i))
		read_only_file(_i, 0444);
}
END_TEST

START_TEST(test_open_of_a_writable_file_of_another_in_such_a_directory)
{
	if (way_exists(_i))
		read_only_file(_i, 0666);
}
END_TEST

START_TEST(test_open_of_system_files)
{
	static const char *const paths[] = {"/etc/passwd", "/usr/bin/env", "/etc/../etc/group"};

	if (way_source(_i) == SNAPMAP_SOURCE_REFLINK)
		return;
	for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++) {
		size_t n;
		void *bytes = test_read_file(paths[p], &n);
		struct view v = {0};

		view_open(_i, paths[p], 0, &v);
		ck_assert(view_is(&v, bytes, n));
		view_close(&v);
		free(bytes);
	}
}
END_TEST

START_TEST(test_file_one_may_not_read)
{
	struct {
		const char *path;
		int way;
	} arg = {"f", _i};

	make("f");
	ck_assert_sys(chmod("f", 0));
	/* As root another user tries; the owner himself may not either. */
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), open_it, &arg), -EACCES);
	ck_assert_sys(mkdir("d", 0755));
	make("d/f");
	ck_assert_sys(chmod("d", 0600));
	arg.path = "d/f";
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), open_it, &arg), -EACCES);
	ck_assert_sys(chmod("d", 0700));
}
END_TEST

static int open_it_by_fd(void *arg)
{
	const int *a = arg;
	struct view v = {0};
	int rc = view_try_fd(a[0], a[1], 0, &v);

	if (rc)
		return rc;
	rc = view_is(&v, want, N) ? 0 : 1;
	view_close(&v);
	return rc ? rc : lseek(a[1], 0, SEEK_CUR) != 5;
}

/* A descriptor is a right of its own: it cannot be opened again, and its offset must stay. */
START_TEST(test_descriptor_of_a_file_one_may_not_open)
{
	int arg[2] = {_i, -1};

	if (!way_exists(_i))
		return;
	if (!test_is_root())
		test_skip("only root can become another user");
	make("f");
	arg[1] = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(lseek(arg[1], 5, SEEK_SET), 5);
	ck_assert_sys(chmod("f", 0600));
	ck_assert_sys(chmod(".", 0777));
	ck_assert_int_eq(test_as_user(65534, open_it_by_fd, arg), 0);
	ck_assert_sys(chmod(".", 0755));
	ck_assert_int_eq(lseek(arg[1], 0, SEEK_CUR), 5);
	close(arg[1]);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_open_in_a_directory_one_may_not_write, 0, WAYS);
	tcase_add_loop_test(tc, test_open_of_a_writable_file_of_another_in_such_a_directory, 0, WAYS);
	tcase_add_loop_test(tc, test_open_of_system_files, 0, 2);
	tcase_add_loop_test(tc, test_file_one_may_not_read, 0, 2);
	tcase_add_loop_test(tc, test_descriptor_of_a_file_one_may_not_open, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("open_rights");

	test_each_fs(s, "open_rights", add_tests);
	return s;
}
