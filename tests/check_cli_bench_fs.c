/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap bench --make-fs": what it makes, and that nothing of it stays, however it ends. */
#include "config.h"

#include "benching.h"

START_TEST(test_make_fs_is_for_root)
{
	if (test_is_root())
		test_skip("this is root");
	ck_run(1, "snapmap bench --quick --make-fs=tmpfs");
	ck_error("only root can make file systems");
}
END_TEST

/*
 * Loop devices with images in this test's directory, which other runs on the machine
 * have not. Of the path only the end is sure, once the mount that it began with is gone.
 */
static bool has_loop_devices(void)
{
	char line[4400];

	snprintf(line, sizeof(line), "cat /sys/block/loop*/loop/backing_file 2>/dev/null | grep -qF '%s/#'",
		 strrchr(test_dir(), '/'));
	return system(line) == 0;
}

/* A device goes when its last user has, which the kernel does on its own. */
static void check_nothing_mounted(const char *mounts_before)
{
	for (int i = 0; i < 1000 && has_loop_devices(); i++)
		usleep(10000);
	ck_assert(!has_loop_devices());
	ck_run(0, "cat /proc/self/mountinfo");
	ck_assert_str_eq(out, mounts_before);
}

/* Those of the rows here that the program can make, too; the kernel may not have all. */
static const char *const makeable[] = {"xfs-exchange", "btrfs", "ext4", "overlay", "tmpfs"};

static size_t list_makeable(char *list, size_t n)
{
	size_t count = 0, used = 0;

	for (size_t i = 0; i < sizeof(makeable) / sizeof(makeable[0]); i++)
		if (test_fs_named(makeable[i]))
			used += (size_t)snprintf(list + used, n - used, "%s%s", count++ ? "," : "", makeable[i]);
	return count;
}

/* The start of a command line with @option; false if the running test is not the one that does this. */
static bool can_make(const char *option, char *line, size_t n)
{
	char list[128];

	if (!test_is_root() || strcmp(test_fs()->name, "tmpfs") != 0 || !test_fs_named("ext4"))
		return false;
	list_makeable(list, sizeof(list));
	snprintf(line, n, "snapmap bench %s --make-fs=%s", option, list);
	return true;
}

static void check_made(const char *line)
{
	char list[128];
	json_t *root, *place;
	size_t i;

	ck_run(0, "%s --quick --rounds=5 --filter=edit-size --sizes=128K --json=r.json", line);
	ck_assert_uint_eq(count_names("."), 1);
	root = load("r.json");
	ck_assert_uint_eq(json_array_size(array_of(root, "places")), list_makeable(list, sizeof(list)));
	json_array_foreach (array_of(root, "places"), i, place) {
		const char *name = text_of(place, "name"), *type = text_of(place, "type");

		ck_assert_msg(!strncmp(name, type, strlen(type)) || !strncmp(type, "overlay", 7), "%s: %s", name, type);
		ck_assert_int_eq(strstr(text_of(place, "features"), "exchange") != NULL, !strcmp(name, "xfs-exchange"));
	}
	json_array_foreach (array_of(root, "cells"), i, place)
		check_cell(place, 5);
	json_decref(root);
}

START_TEST(test_make_fs)
{
	static const char *const options[] = {"--images=.", ""};
	char line[256], *mounts;

	if (!can_make("", line, sizeof(line)))
		test_skip("as root, on one file system");
	ck_run(0, "cat /proc/self/mountinfo");
	mounts = strdup(out);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		can_make(options[i], line, sizeof(line));
		check_made(line);
		check_nothing_mounted(mounts);
	}
	free(mounts);
}
END_TEST

/* Until a loop device is there. */
static void wait_for_mount(pid_t pid)
{
	while (!has_loop_devices()) {
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
}

/* At whatever moment: while file systems are made, or later, while something is measured. */
START_TEST(test_make_fs_is_gone_however_it_ends)
{
	static const int signals[] = {SIGKILL, SIGINT, SIGTERM, SIGKILL, SIGKILL};
	uint64_t random = test_seed();
	char line[512], *mounts;

	if (!can_make("--rounds=10000 --filter=open-size --images=.", line, sizeof(line)))
		test_skip("as root, on one file system");
	ck_run(0, "cat /proc/self/mountinfo");
	mounts = strdup(out);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int end;
		pid_t pid = start(line, &end);

		wait_for_mount(pid);
		usleep((useconds_t)(test_random(&random) % 2000000));
		/* SIGKILL only for the program itself: what it started has to end by itself. */
		ck_assert_int_eq(kill(signals[i] == SIGKILL ? pid : -pid, signals[i]), 0);
		ck_assert_int_eq(wait_for(pid), 128 + signals[i]);
		close(end);
		check_nothing_mounted(mounts);
		ck_assert_uint_eq(count_names("."), 0);
	}
	free(mounts);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_make_fs_is_for_root);
	tcase_add_test(tc, test_make_fs);
	tcase_add_test(tc, test_make_fs_is_gone_however_it_ends);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli_bench_fs");

	test_each_fs(s, "cli_bench_fs", add_tests);
	return s;
}
