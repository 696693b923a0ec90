/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening where the first choice does not work: other file systems, mounts, directories (PITFALLS 7). */
#include "config.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define N 20123
#include "one_file.h"

START_TEST(test_link_to_another_file_system)
{
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "tmpfs") ? "tmpfs" : "ext4");
	char path[4096];

	if (!other)
		test_skip("there is no second file system");
	if (way_source(_i) == SNAPMAP_SOURCE_REFLINK)
		return;
	snprintf(path, sizeof(path), "%s/elsewhere.%d", other->dir, (int)getpid());
	make(path);
	ck_assert_sys(symlink(path, "link"));
	expect_path(_i, "link");
	ck_assert_sys(unlink(path));
}
END_TEST

/* A private set of mounts for this test process. */
static bool own_mounts(void)
{
	return test_is_root() && !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Bind mounts of one file: the directory that the path names is on another file system. */
START_TEST(test_bind_mounted_file)
{
	char path[4096];
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "tmpfs") ? "tmpfs" : "ext4");

	if (!way_exists(_i))
		return;
	if (!other || !own_mounts())
		test_skip("needs root and two file systems");
	make("f");
	snprintf(path, sizeof(path), "%s/bound.%d", other->dir, (int)getpid());
	test_write_file(path, "x", 1);
	ck_assert_sys(mount("f", path, NULL, MS_BIND, NULL));
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK)
		expect_path(_i, path);
	ck_assert_sys(umount(path));
	/* On the same file system it may still be another mount, over which nothing is shared. */
	test_write_file("g", "x", 1);
	ck_assert_sys(mount("f", "g", NULL, MS_BIND, NULL));
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK)
		expect_path(_i, "g");
	ck_assert_sys(umount("g"));
	ck_assert_sys(unlink(path));
}
END_TEST

START_TEST(test_read_only_mount)
{
	if (!way_exists(_i))
		return;
	if (!own_mounts())
		test_skip("needs root");
	ck_assert_sys(mkdir("m", 0755));
	make("m/f");
	ck_assert_sys(mount("m", "m", NULL, MS_BIND, NULL));
	ck_assert_sys(mount(NULL, "m", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	ck_assert_int_eq(open("m/g", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
	ck_assert_int_eq(errno, EROFS);
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK)
		expect_path(_i, "m/f");
	ck_assert_sys(umount("m"));
}
END_TEST

/* An overlay whose upper layer is on this row and whose lower layer is elsewhere. */
START_TEST(test_overlay_over_two_file_systems)
{
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "xfs") ? "xfs" : "ext4");
	char lower[2048], path[4096], options[8192];
	struct view v = {0};

	if (!way_exists(_i))
		return;
	if (!other || !own_mounts())
		test_skip("needs root and two file systems");
	snprintf(lower, sizeof(lower), "%s/lower.%d", other->dir, (int)getpid());
	snprintf(path, sizeof(path), "%s/f", lower);
	ck_assert_sys(mkdir(lower, 0755));
	make(path);
	ck_assert_sys(mkdir("up", 0755));
	ck_assert_sys(mkdir("work", 0755));
	ck_assert_sys(mkdir("m", 0755));
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, test_dir(), test_dir());
	if (mount("overlay", "m", "overlay", 0, options)) {
		remove(path);
		rmdir(lower);
		test_skip("no overlay with its upper layer here: %s", strerror(errno));
	}
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK)
		expect_path(_i, "m/f");
	/* Opened below, then copied up by a writer: the snapshot stays. */
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK) {
		view_open(_i, "m/f", 0, &v);
		test_write_file("m/f", "new", 3);
		ck_assert(view_is(&v, want, N));
		view_close(&v);
	}
	ck_assert_sys(umount2("m", MNT_DETACH));
	ck_assert_sys(unlink(path));
	ck_assert_sys(rmdir(lower));
}
END_TEST

START_TEST(test_btrfs_nocow_file)
{
	unsigned flags = 0;

	if (!way_exists(_i))
		return;
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (strncmp(test_fs()->name, "btrfs", 5)) {
		close(fd);
		return;
	}
	ck_assert_sys(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NOCOW_FL;
	ck_assert_sys(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	make("f");
	if (way_source(_i) != SNAPMAP_SOURCE_REFLINK)
		expect_path(_i, "f");
}
END_TEST

/* The private file lies on the file's own file system, unless tmpdir says where a copy is to go. */
START_TEST(test_tmpdir_that_is_not_there)
{
	struct snapmap_options o = way_options(_i, 0);
	struct view v = {0};

	if (!way_exists(_i))
		return;
	make("f");
	o.tmpdir = "/nowhere/at/all";
	ck_assert_ok(view_try_with(_i, "f", &o, &v));
	ck_assert(view_is(&v, want, N));
	view_close(&v);
	o.tmpdir = "";
	ck_assert_ok(view_try_with(_i, "f", &o, &v));
	ck_assert(view_is(&v, want, N));
	view_close(&v);
	ck_assert(names_are(1));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_link_to_another_file_system, 0, 2);
	tcase_add_loop_test(tc, test_bind_mounted_file, 0, 2);
	tcase_add_loop_test(tc, test_read_only_mount, 0, 2);
	tcase_add_loop_test(tc, test_overlay_over_two_file_systems, 0, 2);
	tcase_add_loop_test(tc, test_btrfs_nocow_file, 0, WAYS);
	tcase_add_loop_test(tc, test_tmpdir_that_is_not_there, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("open_places");

	test_each_fs(s, "open_places", add_tests);
	return s;
}
