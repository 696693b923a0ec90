/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left when snapfs is killed or ended, or has no room to keep bytes. */
#include "config.h"

#include "wrapping.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define PAGE 4096

START_TEST(test_killed_server_loses_nothing)
{
	struct snapfs_snapshot s;
	int fd, snapshot;
	char byte;
	pid_t pid;

	need_mounts();
	pid = wrap_in_foreground("");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	ck_assert_int_eq(pwrite(fd, "changed", 7, 5000), 7);
	ck_sys(kill(pid, SIGKILL));
	ck_assert_int_eq(wait_for(pid), 128 + SIGKILL);
	ck_fails(pwrite(fd, "x", 1, 0), ENOTCONN);
	ck_fails(open("m/f", O_RDONLY), ENOTCONN);
	ck_fails(pread(snapshot, &byte, 1, 6 * PAGE), ENOTCONN);
	close(snapshot);
	close(fd);
	ck_run(0, "umount -l m && dd if=l/f bs=1 skip=5000 count=7 status=none");
	ck_assert_str_eq(out, "changed");
	/* Something that a server without nameless files would have left. */
	ck_run(0, "echo x >l/.snapfs/kept-0");
	mount_wrapper("");
	ck_assert(file_says("l/.snapfs/lock", ""));
	unmount_wrapper();
}
END_TEST

#define WRITERS 3
#define SLOTS 500

/* Numbers go round in a file, and those that were written are told. */
static void write_numbers(int number, atomic_ulong *told, bool snapshots)
{
	char path[8];
	int fd;

	snprintf(path, sizeof(path), "m/f%d", number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	for (uint64_t n = 1; fd >= 0; n++) {
		if (pwrite(fd, &n, sizeof(n), (off_t)(n % SLOTS) * PAGE) != sizeof(n))
			break;
		*told = n;
		if (snapshots && n % 50 == 0)
			close(try_snapshot(fd, 0, SNAPFS_ALL));
	}
	_exit(0);
}

/* All that a write(2) returned for is below. */
static void check_numbers(int number, uint64_t told)
{
	char path[8];
	int fd;

	snprintf(path, sizeof(path), "l/f%d", number);
	fd = open_in(path, O_RDONLY);
	for (uint64_t n = told < SLOTS ? 1 : told - SLOTS + 1; n <= told; n++) {
		uint64_t found = 0;

		ck_assert_int_eq(pread(fd, &found, sizeof(found), (off_t)(n % SLOTS) * PAGE), sizeof(found));
		/* The next one round may have come, and not been told. */
		ck_assert_msg(found == n || found == n + SLOTS, "%llu instead of %llu of %llu",
			      (unsigned long long)found, (unsigned long long)n, (unsigned long long)told);
	}
	close(fd);
}

START_TEST(test_killed_in_the_middle)
{
	atomic_ulong *told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t random = test_seed();

	need_mounts();
	for (int round = 0; round < 6; round++) {
		pid_t server = wrap_in_foreground(""), writers[WRITERS];

		memset(told, 0, PAGE);
		for (int i = 0; i < WRITERS; i++) {
			writers[i] = fork();
			if (!writers[i])
				write_numbers(i, &told[i], i > 0);
		}
		while (!told[0] || !told[1] || !told[2])
			usleep(1000);
		usleep((useconds_t)(test_random(&random) % 60000));
		ck_sys(kill(server, SIGKILL));
		ck_assert_int_eq(wait_for(server), 128 + SIGKILL);
		for (int i = 0; i < WRITERS; i++)
			ck_assert_int_eq(wait_for(writers[i]), 0);
		ck_run(0, "umount -l m");
		for (int i = 0; i < WRITERS; i++)
			check_numbers(i, told[i]);
	}
	mount_wrapper("");
	unmount_wrapper();
	munmap(told, PAGE);
}
END_TEST

START_TEST(test_signal_writes_stores)
{
	const size_t size = (size_t)64 * PAGE;
	char *map;
	pid_t pid;
	int fd;

	need_mounts();
	pid = wrap_in_foreground("");
	fd = make_and_open("m/f", size);
	map = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	memset(map, 7, size);
	ck_sys(kill(pid, SIGTERM));
	ck_assert_int_eq(wait_for(pid), 0);
	munmap(map, size);
	close(fd);
	map = (char *)test_read_file("l/f", NULL);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(map[i], 7);
	free(map);
	run("umount -l m");
}
END_TEST

START_TEST(test_unmount_is_busy_while_snapshots_are_open)
{
	int fd, snapshot;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", 100);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	close(fd);
	ck_assert_int_ne(run("umount m"), 0);
	close(snapshot);
	unmount_wrapper();
}
END_TEST

/* --- a full disk */

static void fill_up(void)
{
	test_fill_disk(0);
}

START_TEST(test_full_disk_loses_the_snapshot)
{
	int fd, snapshot;
	char byte;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)2000 * PAGE);
	ck_sys(fsync(fd));
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	fill_up();
	for (int i = 0; i < 2000; i++) {
		ssize_t n = pwrite(fd, "x", 1, (off_t)i * PAGE);

		/* On btrfs the writer itself wants space. */
		ck_assert(n == 1 || (n < 0 && errno == ENOSPC));
	}
	ck_assert_uint_eq(state_of(snapshot).flags, SNAPFS_LOST);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_fails(pread(snapshot, &byte, 1, 1999 * PAGE), EIO);
	close(snapshot);
	close(fd);
	ck_run(0, "rm -f ballast");
	unmount_wrapper();
}
END_TEST

START_TEST(test_full_disk_stops_the_writer)
{
	uint64_t hash;
	int fd, snapshot, stopped = 0;

	need_mounts();
	mount_wrapper("-o full=writer");
	fd = make_and_open("m/f", (size_t)2000 * PAGE);
	ck_sys(fsync(fd));
	hash = hash_of(fd);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	fill_up();
	for (int i = 0; i < 2000; i++) {
		ssize_t n = pwrite(fd, "x", 1, (off_t)i * PAGE);

		ck_assert(n == 1 || (n < 0 && errno == ENOSPC));
		stopped += n < 0;
	}
	ck_assert_int_gt(stopped, 0);
	ck_assert_uint_eq(state_of(snapshot).flags, 0);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	close(snapshot);
	close(fd);
	ck_run(0, "rm -f ballast");
	unmount_wrapper();
}
END_TEST

static void add_end(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_killed_server_loses_nothing);
	tcase_add_test(tc, test_killed_in_the_middle);
	tcase_add_test(tc, test_signal_writes_stores);
	tcase_add_test(tc, test_unmount_is_busy_while_snapshots_are_open);
}

static void add_full(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_full_disk_loses_the_snapshot);
	tcase_add_test(tc, test_full_disk_stops_the_writer);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs failures");

	test_each_fs(s, "end", add_end);
	test_each_small_fs(s, "full", add_full);
	return s;
}
