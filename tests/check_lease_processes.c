/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files mapped under a lease, and other processes: children of a fork, and other users. */
#include "config.h"

#include <sys/stat.h>

#include "leasing.h"

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

START_TEST(test_child_that_touches_gets_a_fault)
{
	struct snapmap *map;

	need_leases();
	make("f");
	map = open_one("f");
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(((const volatile unsigned char *)snapmap_data(map))[N / 2] == want[N / 2] ? 1 : 2);
	}
	ck_assert_int_eq(wait_for(pid), 1000 + SIGSEGV);
	ck_assert(is_right(map));
	snapmap_close(map);
}
END_TEST

/* The child asks the handle, closes it, and opens files itself, also the same one. */
static int child_life(struct snapmap *map)
{
	struct snapmap_info info;
	struct snapmap *own;

	if (snapmap_get_info(map, &info) || info.lease != SNAPMAP_LEASE_LOST || info.error >= 0)
		return 1;
	if (snapmap_prefault(map, 0, 1) >= 0)
		return 2;
	if (snapmap_open("f", NULL, &own) || snapmap_get_info(own, &info) || info.lease != SNAPMAP_LEASE_HELD)
		return 3;
	snapmap_close(map);
	if (!is_right(own))
		return 4;
	snapmap_close(own);
	return 0;
}

START_TEST(test_child_goes_on_by_itself)
{
	struct snapmap *map;

	need_leases();
	if (TEST_SANITIZED)
		test_skip("the sanitizers do not follow a child that starts threads");
	make("f");
	map = open_one("f");
	pid_t pid = fork();

	if (!pid)
		_exit(child_life(map));
	ck_assert_int_eq(wait_for(pid), 0);
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_HELD);
	have_it_spoiled("f");
	ck_assert(is_right(map));
	snapmap_close(map);
}
END_TEST

/* A child that lives on must not keep the parent's lease, for which nobody would answer. */
START_TEST(test_child_does_not_keep_the_lease)
{
	int end[2];

	need_leases();
	make("f");
	ck_assert_sys(pipe2(end, O_CLOEXEC));
	struct snapmap *map = open_one("f");
	pid_t pid = fork();

	if (!pid) {
		char byte;

		close(end[1]);
		_exit(read(end[0], &byte, 1) != 0);
	}
	snapmap_close(map);
	have_it_spoiled("f");
	close(end[1]);
	ck_assert_int_eq(wait_for(pid), 0);
	close(end[0]);
}
END_TEST

START_TEST(test_inherited_bytes_outlive_the_parent)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_INHERIT};
	struct snapmap *map;
	char result;
	int go[2], done[2];

	make("f");
	ck_assert_sys(pipe2(go, O_CLOEXEC));
	ck_assert_sys(pipe2(done, O_CLOEXEC));
	pid_t parent = fork();

	if (!parent) {
		if (snapmap_open("f", &o, &map))
			_exit(1);
		if (!fork()) {
			char byte;

			close(go[1]);
			if (read(go[0], &byte, 1) == 0 && is_right(map))
				(void)!write(done[1], "y", 1);
			_exit(0);
		}
		_exit(0);
	}
	ck_assert_int_eq(wait_for(parent), 0);
	have_it_spoiled("f");
	close(go[1]);
	close(done[1]);
	ck_assert_msg(read(done[0], &result, 1) == 1 && result == 'y', "the child's bytes changed");
	close(go[0]);
	close(done[0]);
}
END_TEST

/* --- other users */

static int open_as_other(void *path)
{
	struct snapmap_info info;
	struct snapmap *map;
	int rc = snapmap_open(path, NULL, &map);

	if (rc)
		return 1;
	snapmap_get_info(map, &info);
	rc = !is_right(map) || info.lease != SNAPMAP_LEASE_NONE;
	snapmap_close(map);
	return rc ? 2 : 0;
}

START_TEST(test_file_of_another_user)
{
	if (!test_is_root())
		test_skip("only root can become another user");
	make("f");
	ck_assert_sys(chmod("f", 0644));
	ck_assert_int_eq(test_as_user(65534, open_as_other, (void *)(uintptr_t) "f"), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_child_that_touches_gets_a_fault);
	tcase_add_test(tc, test_child_goes_on_by_itself);
	tcase_add_test(tc, test_child_does_not_keep_the_lease);
	tcase_add_test(tc, test_inherited_bytes_outlive_the_parent);
	tcase_add_test(tc, test_file_of_another_user);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_processes");

	test_each_fs(s, "lease_processes", add_tests);
	return s;
}
