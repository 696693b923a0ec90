/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of files behind snapfs, by the protocol and by the library. */
#include "config.h"

#include "instants.h"

#include <snapmap.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

START_TEST(test_snapshot_stays)
{
	const size_t n = (size_t)1 << 20;
	struct stat st, original;
	int fd, snapshot;
	uint64_t hash;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", n);
	hash = hash_of(fd);
	ck_sys(fstat(fd, &original));
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_assert_uint_eq(state_of(snapshot).kept, 0);
	ck_assert_int_eq(pwrite(fd, "changed", 7, 5000), 7);
	ck_assert_uint_eq(state_of(snapshot).kept, PAGE);
	ck_assert_int_eq(pwrite(fd, "again", 5, 5000), 5);
	ck_assert_uint_eq(state_of(snapshot).kept, PAGE);
	ck_sys(ftruncate(fd, 100));
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)n), 1);
	ck_run(0, "mv m/f m/g && echo other >m/f && rm m/g");
	ck_assert_uint_eq(hash_of(snapshot), hash);
	close(fd);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	ck_sys(fstat(snapshot, &st));
	ck_assert_int_eq(st.st_mtim.tv_nsec, original.st_mtim.tv_nsec);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0400);
	/* By descriptor again, but for reading only. */
	ck_run(0, "cmp /proc/%d/fd/%d /proc/%d/fd/%d", getpid(), snapshot, getpid(), snapshot);
	close(snapshot);
	unmount_wrapper();
}
END_TEST

static uint64_t bytes_free(void)
{
	struct statvfs st;

	ck_sys(statvfs("l", &st));
	return (uint64_t)st.f_bfree * st.f_frsize;
}

/* Neither what was kept nor a file that was deleted stays, while the kernel still knows the snapshots. */
START_TEST(test_room_comes_back)
{
	const uint64_t n = (uint64_t)8 << 20;
	uint64_t before;

	need_mounts();
	if (!strncmp(test_fs()->name, "btrfs", 5))
		test_skip("it gives room back when it likes");
	mount_wrapper("");
	ck_run(0, "echo x >m/first && sync -f l");
	before = bytes_free();
	for (int i = 0; i < 3; i++) {
		int fd = make_and_open("m/f", n), snapshot = take_snapshot(fd, 0, SNAPFS_ALL);

		ck_sys(ftruncate(fd, (off_t)n / 2));
		ck_run(0, "mv m/first m/f && cp m/f m/first");
		close(fd);
		close(snapshot);
	}
	ck_run(0, "sync -f l");
	ck_soon(bytes_free() + n / 4 >= before);
	unmount_wrapper();
}
END_TEST

START_TEST(test_snapshots_share_what_is_kept)
{
	int fd, s[3];
	uint64_t hash;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	hash = hash_of(fd);
	s[0] = take_snapshot(fd, 0, SNAPFS_ALL);
	s[1] = take_snapshot(fd, 0, SNAPFS_ALL);
	s[2] = take_snapshot(fd, 10 * PAGE, PAGE);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	ck_assert_int_eq(pwrite(fd, "x", 1, 10 * PAGE), 1);
	ck_assert_uint_eq(state_of(s[0]).kept, 0);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	ck_assert_uint_eq(state_of(s[2]).kept, PAGE);
	close(s[2]);
	ck_soon(state_of(s[1]).kept == 2 * PAGE);
	close(s[1]);
	ck_soon(state_of(s[0]).kept == 2 * PAGE);
	ck_assert_uint_eq(hash_of(s[0]), hash);
	s[1] = take_snapshot(fd, 0, SNAPFS_ALL);
	hash = hash_of(s[1]);
	ck_assert_int_eq(pwrite(fd, "y", 1, 0), 1);
	ck_assert_uint_eq(state_of(s[0]).kept, 2 * PAGE);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	close(s[0]);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	ck_assert_uint_eq(hash_of(s[1]), hash);
	close(s[1]);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_ranges_and_errors)
{
	struct snapfs_snapshot s;
	int fd, write_only, snapshot;

	need_mounts();
	mount_wrapper("");
	check_ranges();
	fd = open_in("m/f", O_RDONLY);
	write_only = open_in("m/f", O_WRONLY);
	ck_fails(ask_for(write_only, 0, SNAPFS_ALL, &s), EBADF);
	close(write_only);
	/* For reading only, and nothing about it can be changed. */
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	ck_fails(open_snapshot("l", &s), ENOENT);
	snapshot = open_snapshot("m", &s);
	ck_fails(write(snapshot, "x", 1), EBADF);
	ck_fails(fchmod(snapshot, 0644), EROFS);
	ck_fails(ftruncate(snapshot, 0), EINVAL);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

static int snapshots_of_a_user(void *arg)
{
	const struct snapfs_snapshot *roots = (const struct snapfs_snapshot *)arg;
	int fd = open("m/f", O_RDONLY), snapshot;
	char byte;

	if (open_snapshot("m", roots) >= 0 || errno != EACCES)
		return 1;
	snapshot = try_snapshot(fd, 0, SNAPFS_ALL);
	if (snapshot < 0 || pread(snapshot, &byte, 1, 0) != 1 || byte != '0')
		return 2;
	if (run("echo 'snapshot 0 - secret' >m/.snapfs/control") == 0 || run("cat m/.snapfs/control") ||
	    strncmp(out, "error 13 ", 9) != 0)
		return 3;
	if (run("echo 'snapshot 2 3 /f' >m/.snapfs/control && cat m/$(cat m/.snapfs/control)") ||
	    strcmp(out, "234") != 0)
		return 4;
	return 0;
}

START_TEST(test_users_ask)
{
	struct snapfs_snapshot s;
	int fd;

	need_mounts();
	mount_wrapper("");
	test_write_file("m/f", "0123456789", 10);
	test_write_file("m/secret", "x", 1);
	ck_run(0, "chmod 644 m/f && chmod 600 m/secret && chmod 755 .");
	fd = open_in("m/f", O_RDONLY);
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	ck_assert_int_eq(test_as_user(NOBODY, snapshots_of_a_user, &s), 0);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_control_file)
{
	need_mounts();
	mount_wrapper("");
	test_write_file("m/f", "0123456789", 10);
	ck_run(0, "exec 3<>m/.snapfs/control && echo 'snapshot 0 - f' >&3 && read -r path <&3 && exec 4<m/$path && "
		  "echo changed >m/f && cat <&4");
	ck_assert_str_eq(out, "0123456789");
	ck_run(0, "echo 'snapshot 1 2 f' >m/.snapfs/control; cat m/$(cat m/.snapfs/control)");
	ck_assert_str_eq(out, "ha");
	ck_run(0, "echo 'snapshot x - f' >m/.snapfs/control 2>/dev/null; cat m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 22 ", 9), "%s", out);
	ck_run(0, "mkdir m/d && mkfifo m/d/p; echo 'snapshot 0 - d/p' >m/.snapfs/control 2>/dev/null; cat "
		  "m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 95 ", 9), "%s", out);
	ck_run(0, "echo 'snapshot 0 - none' >m/.snapfs/control 2>/dev/null; cat m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 2 ", 8), "%s", out);
	unmount_wrapper();
}
END_TEST

START_TEST(test_quota)
{
	struct snapfs_snapshot s;
	int fd, snapshot, more;

	need_mounts();
	mount_wrapper("-o snapshots=2,kept=64K");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	more = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_fails(ask_for(fd, 0, SNAPFS_ALL, &s), EDQUOT);
	close(more);
	ck_soon((more = try_snapshot(fd, 0, PAGE)) >= 0);
	close(more);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)i * PAGE), 1);
	ck_assert_uint_eq(state_of(snapshot).kept, 16 * PAGE);
	ck_assert_uint_eq(state_of(snapshot).flags, 0);
	ck_fails(ask_for(fd, 0, SNAPFS_ALL, &s), EDQUOT);
	/* One more, and it is lost, loudly. */
	ck_assert_int_eq(pwrite(fd, "x", 1, 16 * PAGE), 1);
	ck_assert_uint_eq(state_of(snapshot).flags, SNAPFS_LOST);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_fails(pread(snapshot, &s, 1, 0), EIO);
	close(snapshot);
	ck_soon((snapshot = try_snapshot(fd, 0, SNAPFS_ALL)) >= 0);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_many_snapshots)
{
	enum {
		MANY = 300
	};
	int fd, s[MANY];
	char byte;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)16 * PAGE);
	for (int i = 0; i < MANY; i++) {
		byte = (char)i;
		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(i % 16) * PAGE), 1);
		s[i] = take_snapshot(fd, 0, SNAPFS_ALL);
	}
	ck_run(0, "rm m/f");
	for (int i = 0; i < MANY; i += 2)
		close(s[i]);
	for (int i = 1; i < MANY; i += 2)
		for (int k = 0; k < 16 && k <= i; k++) {
			ck_assert_int_eq(pread(s[i], &byte, 1, (off_t)k * PAGE), 1);
			ck_assert_int_eq((unsigned char)byte, (unsigned char)(i - (i - k) % 16));
		}
	for (int i = 1; i < MANY; i += 2)
		close(s[i]);
	close(fd);
	unmount_wrapper();
}
END_TEST

/* Resident memory of a process, in bytes. */
static uint64_t memory_of(pid_t pid)
{
	ck_run(0, "sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/%d/status", (int)pid);
	return strtoull(out, NULL, 10) * 1024;
}

START_TEST(test_memory)
{
	enum {
		MANY = 10000
	};
	static int s[MANY];
	struct rlimit limit;
	uint64_t idle, many;
	pid_t pid;
	int fd;

	need_mounts();
	ck_sys(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	ck_sys(setrlimit(RLIMIT_NOFILE, &limit));
	if (TEST_SANITIZED || limit.rlim_max < MANY + 100)
		test_skip("memory of a sanitizer, or not so many descriptors");
	pid = wrap_in_foreground("");
	idle = memory_of(pid);
	fd = make_and_open("m/f", (size_t)64 << 20);
	for (int i = 0; i < MANY; i++)
		s[i] = take_snapshot(fd, 0, i % 2 ? SNAPFS_ALL : PAGE);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	many = memory_of(pid);
	for (int i = 0; i < MANY; i++)
		close(s[i]);
	close(fd);
	unmount_wrapper();
	ck_assert_int_eq(wait_for(pid), 0);
	printf("%s: %llu bytes when idle, %llu with %d snapshots\n", test_fs()->name, (unsigned long long)idle,
	       (unsigned long long)many, MANY);
	ck_assert_uint_le(idle, 20 << 20);
	ck_assert_uint_le(many, 100 << 20);
}
END_TEST

/* --- one instant */

START_TEST(test_one_instant_beside_stores)
{
	need_mounts();
	mount_wrapper("");
	check_instants(200);
	unmount_wrapper();
}
END_TEST

START_TEST(test_one_instant_beside_collected_writes)
{
	need_mounts();
	mount_wrapper("-o writeback");
	check_instants(100);
	unmount_wrapper();
}
END_TEST

START_TEST(test_stores_are_in_it)
{
	const size_t size = (size_t)4000 * PAGE;
	int fd, snapshot;
	char *map, *seen;

	need_mounts();
	mount_wrapper("");
	fd = open_in("m/f", O_RDWR | O_CREAT);
	ck_sys(ftruncate(fd, (off_t)size));
	map = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	test_fill(map, size, 7);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	memset(map, 1, size);
	seen = (char *)mmap(NULL, size, PROT_READ, MAP_SHARED, snapshot, 0);
	ck_assert_ptr_ne(seen, MAP_FAILED);
	ck_sys(msync(map, size, MS_SYNC));
	test_fill(map, size, 7);
	ck_assert(!memcmp(map, seen, size));
	munmap(seen, size);
	munmap(map, size);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

/* --- the library */

START_TEST(test_library_falls_back)
{
	struct snapmap_info info;
	struct snapmap *maps[2];

	need_mounts();
	mount_wrapper("-o snapshots=1");
	test_make_file("m/f", 100000, 1);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(snapmap_open("m/f", NULL, &maps[i]), 0);
		ck_assert_int_eq(snapmap_get_info(maps[i], &info), 0);
		ck_assert_uint_eq(info.source, i ? SNAPMAP_SOURCE_COPY : SNAPMAP_SOURCE_SNAPFS);
	}
	/* What was tried is told. */
	ck_assert_msg(strstr(info.tried, "snapfs"), "tried: %s", info.tried);
	test_make_file("m/f", 100000, 2);
	ck_assert_uint_ne(test_hash(snapmap_data(maps[0]), 100000), test_hash_file("m/f"));
	snapmap_close(maps[0]);
	snapmap_close(maps[1]);
	unmount_wrapper();
}
END_TEST

/* What a segment reads is a snapshot, and no copy of the file. */
START_TEST(test_segment_copies_nothing)
{
	const size_t n = (size_t)16 << 20, part = (size_t)1 << 20;
	struct snapmap_segment *segment;
	uint64_t before;
	char *bytes;
	int fd;

	need_mounts();
	if (!strncmp(test_fs()->name, "btrfs", 5))
		test_skip("it tells of room when it likes");
	mount_wrapper("");
	fd = make_and_open("m/f", n);
	ck_run(0, "sync -f l");
	before = bytes_free();
	ck_assert_int_eq(snapmap_segment_create(part, NULL, &segment), 0);
	bytes = (char *)snapmap_segment_base(segment);
	ck_assert_int_eq(snapmap_segment_pread(segment, fd, bytes, part, (int64_t)part), part);
	ck_assert_uint_ge(bytes_free() + part, before);
	ck_assert_int_eq(pwrite(fd, "changed", 7, (off_t)part), 7);
	ck_assert_uint_ge(bytes_free() + 2 * part, before);
	ck_assert_int_ne(memcmp(bytes, "changed", 7), 0);
	snapmap_segment_destroy(segment);
	close(fd);
	unmount_wrapper();
}
END_TEST

/* A server of another user need not keep what it promises. */
static int map_of_a_user(void *arg)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_SNAPFS};
	struct snapmap *map;
	int fd, rc;

	(void)arg;
	if (snapmap_open("m/f", &options, &map))
		return 1;
	snapmap_close(map);
	/* While it is open for writing the kernel is asked about it, which a user's server does by a name. */
	fd = open("m/f", O_RDWR | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, "more", 4, 0) != 4)
		return 2;
	if (snapmap_open("m/f", &options, &map))
		return 3;
	rc = memcmp(snapmap_data(map), "more", 4) ? 4 : 0;
	snapmap_close(map);
	close(fd);
	return rc;
}

START_TEST(test_run_by_a_user)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_SNAPFS};
	struct snapmap *map;

	need_mounts();
	if (run("command -v fusermount3"))
		test_skip("without fusermount3 only root mounts");
	let_user_mount();
	ck_run(0, "chmod 755 . && mkdir l m && chown %d l m", NOBODY);
	ck_run(0, AS_USER "snapfs l m");
	ck_run(0, AS_USER "sh -c 'echo text >m/f && cat l/f'");
	ck_assert_int_eq(test_as_user(NOBODY, map_of_a_user, NULL), 0);
	/* Others do not even see it, root included. */
	ck_assert_int_lt(snapmap_open("m/f", &options, &map), 0);
	ck_run(0, "umount m");
	wait_for_wrapper();
}
END_TEST

static void add_snapshots(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_snapshot_stays);
	tcase_add_test(tc, test_room_comes_back);
	tcase_add_test(tc, test_snapshots_share_what_is_kept);
	tcase_add_test(tc, test_ranges_and_errors);
	tcase_add_test(tc, test_users_ask);
	tcase_add_test(tc, test_control_file);
	tcase_add_test(tc, test_quota);
	tcase_add_test(tc, test_many_snapshots);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_one_instant_beside_stores);
	tcase_add_test(tc, test_one_instant_beside_collected_writes);
	tcase_add_test(tc, test_stores_are_in_it);
	tcase_add_test(tc, test_library_falls_back);
	tcase_add_test(tc, test_segment_copies_nothing);
	tcase_add_test(tc, test_run_by_a_user);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs");

	test_each_fs(s, "snapshots", add_snapshots);
	return s;
}
