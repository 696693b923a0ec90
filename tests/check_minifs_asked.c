/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A mounted mini file system gives snapshots of its files to who asks, as snapfs does. */
#include "config.h"

#include "instants.h"

#include <snapmap.h>

static unsigned long blocks_free(void)
{
	ck_run(0, "stat -f -c %%f m");
	return strtoul(out, NULL, 10);
}

START_TEST(test_snapshot_stays)
{
	const size_t n = (size_t)1 << 20;
	unsigned long before;
	uint64_t hash;
	int fd, snapshot;

	need_mounts();
	mount_new("8M");
	test_make_file("m/f", n, 1);
	fd = open_in("m/f", O_RDWR);
	hash = hash_of(fd);
	before = blocks_free();
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	/* Blocks are shared: only those that point to them are taken. */
	ck_assert_uint_ge(blocks_free() + 8, before);
	ck_assert_uint_eq(state_of(snapshot).size, n);
	ck_assert_int_eq(pwrite(fd, "changed", 7, 5000), 7);
	ck_sys(ftruncate(fd, 100));
	ck_run(0, "rm m/f");
	close(fd);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	/* Nobody changes it, root neither. */
	ck_run(1, "dd if=/dev/zero of=/proc/%d/fd/%d conv=notrunc bs=1 count=1", getpid(), snapshot);
	ck_fails(fchmod(snapshot, 0666), EROFS);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	ck_run(0, "ls -A m");
	ck_assert_str_eq(out, "");
	close(snapshot);
	ck_soon(blocks_free() >= before);
	unmount_image();
}
END_TEST

START_TEST(test_ranges_and_errors)
{
	need_mounts();
	mount_new("8M");
	check_ranges();
	unmount_image();
}
END_TEST

START_TEST(test_one_instant_beside_stores)
{
	need_mounts();
	mount_new("64M -i 2000");
	check_instants(100);
	unmount_image();
}
END_TEST

START_TEST(test_one_instant_beside_collected_writes)
{
	need_mounts();
	ck_run(0, "mkfs.minifs -q i 64M -i 2000 && mkdir -p m");
	mount_image("-o writeback");
	check_instants(100);
	unmount_image();
}
END_TEST

/* What was taken and never closed is no part of the image after a crash. */
START_TEST(test_crash_leaves_no_snapshot)
{
	unsigned long before;
	pid_t pid;
	int fd, snapshot;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 8M && mkdir -p m");
	pid = mount_in_foreground("commit=1");
	test_make_file("m/f", 300000, 1);
	fd = open_in("m/f", O_RDWR);
	ck_sys(fsync(fd));
	before = blocks_free();
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	ck_sys(fsync(fd));
	close(fd);
	ck_sys(kill(pid, SIGKILL));
	ck_assert_int_eq(wait_for(pid), 128 + SIGKILL);
	close(snapshot);
	ck_run(0, "umount -l m");
	mount_image("");
	/* A block of the table of counts stays. */
	ck_assert_uint_ge(blocks_free() + 1, before);
	unmount_image();
}
END_TEST

static int map_as_user(void *arg)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_SNAPFS};
	struct snapmap *map;
	int rc = snapmap_open("m/f", &options, &map);

	(void)arg;
	if (rc)
		return 1;
	rc = test_hash(snapmap_data(map), snapmap_size(map)) == test_hash_file("m/f") ? 0 : 2;
	snapmap_close(map);
	return rc;
}

START_TEST(test_library_finds_it)
{
	struct snapmap_info info;
	struct snapmap *map;
	uint64_t hash;

	need_mounts();
	mount_new("8M");
	test_make_file("m/f", 300000, 3);
	hash = test_hash_file("m/f");
	ck_run(0, "chmod 755 . m && chmod 644 m/f");
	ck_assert_int_eq(test_as_user(NOBODY, map_as_user, NULL), 0);
	ck_assert_int_eq(snapmap_open("m/f", NULL, &map), 0);
	ck_assert_int_eq(snapmap_get_info(map, &info), 0);
	ck_assert_uint_eq(info.source, SNAPMAP_SOURCE_SNAPFS);
	ck_assert_uint_eq(info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	test_make_file("m/f", 300000, 4);
	ck_assert_uint_eq(test_hash(snapmap_data(map), snapmap_size(map)), hash);
	snapmap_close(map);
	unmount_image();
}
END_TEST

static void add_asked(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_snapshot_stays);
	tcase_add_test(tc, test_ranges_and_errors);
	tcase_add_test(tc, test_one_instant_beside_stores);
	tcase_add_test(tc, test_one_instant_beside_collected_writes);
	tcase_add_test(tc, test_crash_leaves_no_snapshot);
	tcase_add_test(tc, test_library_finds_it);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs asked");

	test_each_fs(s, "asked", add_asked);
	return s;
}
