/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The harness itself: what the other tests rely on. */
#include "config.h"

#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

START_TEST(test_runs_in_an_empty_directory_of_its_own)
{
	char cwd[4096];

	ck_assert_str_eq(getcwd(cwd, sizeof(cwd)), test_dir());
	ck_assert_uint_eq(test_count_names("."), 0);
	ck_assert_int_eq(strncmp(cwd, test_fs()->dir, strlen(test_fs()->dir)), 0);
}
END_TEST

START_TEST(test_file_helpers_agree)
{
	static char want[100001];
	size_t n;

	test_fill(want, sizeof(want), test_seed());
	test_make_file("f", sizeof(want), test_seed());
	ck_assert(test_file_is("f", want, sizeof(want)));
	ck_assert(!test_file_is("f", want, sizeof(want) - 1));
	ck_assert_uint_eq(test_hash_file("f"), test_hash(want, sizeof(want)));
	free(test_read_file("f", &n));
	ck_assert_uint_eq(n, sizeof(want));
}
END_TEST

START_TEST(test_counts_see_a_leak)
{
	size_t fds = test_count_fds(), maps = test_count_maps();
	long page = sysconf(_SC_PAGESIZE);

	test_make_file("f", (size_t)page, 1);
	int fd = open("f", O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE, fd, 0);

	ck_assert(p != MAP_FAILED);
	ck_assert_uint_eq(test_count_fds(), fds + 1);
	ck_assert_uint_eq(test_count_maps(), maps + 1);
	munmap(p, (size_t)page);
	close(fd);
	ck_assert_uint_eq(test_count_maps(), maps);
}
END_TEST

static int create_file(void *name)
{
	int fd = open((const char *)name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : close(fd);
}

START_TEST(test_another_user_may_look_but_not_write)
{
	char name[] = "f";

	if (!test_is_root())
		test_skip("only root can become another user");
	ck_assert_int_eq(test_as_user(65534, create_file, name), -EACCES);
	ck_assert_int_eq(test_as_user(0, create_file, name), 0);
}
END_TEST

/* The rows are what their names say; the tests of the library rely on it. */
START_TEST(test_rows_have_the_features_of_their_names)
{
	const char *name = test_fs()->name;

	if (!strncmp(name, "xfs", 3) || !strncmp(name, "btrfs", 5) || !strncmp(name, "overlay-xfs", 11))
		ck_assert(test_fs()->reflink && test_fs()->tmpfile);
	if (!strncmp(name, "ext4", 4) || !strncmp(name, "tmpfs", 5))
		ck_assert(!test_fs()->reflink && test_fs()->tmpfile);
	if (!strncmp(name, "fuse", 4))
		ck_assert(!test_fs()->reflink && !test_fs()->tmpfile);
}
END_TEST

START_TEST(test_a_full_disk_is_full)
{
	char byte[4096] = "x";

	test_fill_disk(1 << 20);
	test_fill_disk(0);
	int fd = open("g", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; fd >= 0 && i < 4096; i++)
		if (write(fd, byte, sizeof(byte)) != (ssize_t)sizeof(byte))
			break;
	ck_assert_int_eq(errno, ENOSPC);
	if (fd >= 0)
		close(fd);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_runs_in_an_empty_directory_of_its_own);
	tcase_add_test(tc, test_file_helpers_agree);
	tcase_add_test(tc, test_counts_see_a_leak);
	tcase_add_test(tc, test_another_user_may_look_but_not_write);
	tcase_add_test(tc, test_rows_have_the_features_of_their_names);
}

static void add_small_tests(TCase *tc)
{
	tcase_add_test(tc, test_rows_have_the_features_of_their_names);
	tcase_add_test(tc, test_a_full_disk_is_full);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("testing");

	test_each_fs(s, "harness", add_tests);
	test_each_small_fs(s, "harness", add_small_tests);
	return s;
}
