/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SNAPMAP_SPILL and room: edits that are more than memory, a disk that is full, and
 * where the work file goes.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "memory_limit.h"
#include "spilling.h"

/* --- where work files go */

/* 0 if a place on a disk is asked for, and that one is used. */
static int open_without_disks(const char *disk)
{
	struct snapmap_options o = spill_options(0, 0);
	const char *home = getenv("HOME");
	struct snapmap_mut *map;
	char link[100], path[500];
	int rc;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 1;
	o.tmpdir = disk;
	rc = snapmap_mut_open("file", &o, &map);
	if (rc)
		return 2;
	bytes_of(map)[0] = 'x';
	if (snapmap_mut_commit_and_close(map, NULL))
		return 3;
	o.tmpdir = NULL;
	unsetenv("TMPDIR");
	snprintf(link, sizeof(link), "%s", home ? home : "/");
	if (mount("none", "/var/tmp", "tmpfs", 0, NULL) || mount("none", "/tmp", "tmpfs", 0, NULL))
		return 4;
	if (setenv("HOME", "/tmp", 1) || !realpath(".", path))
		return 5;
	rc = snapmap_mut_open("file", &o, &map);
	if (rc != -EOPNOTSUPP)
		return 6;
	return strstr(snapmap_last_error(), "tmpdir") ? 0 : 7;
}

START_TEST(test_memory_is_no_place_to_spill_to)
{
	const struct test_fs *disk = test_fs_named("ext4");
	pid_t child;

	if (strcmp(test_fs()->name, "tmpfs"))
		return;
	if (!test_is_root() || !disk)
		test_skip("only root can hide all disks, and the row ext4 is needed");
	test_make_file("file", 10 * PAGE, 1);
	child = fork();
	if (!child)
		_exit(open_without_disks(disk->dir));
	ck_assert_int_eq(death(child), 0);
}
END_TEST

/* --- a full disk */

/* Stores into extents that are shared need room: without it they are signals, which the guard answers. */
START_TEST(test_guard_answers_a_full_disk)
{
	const size_t size = 4 * MIB;
	struct snapmap_mut *map;
	uint64_t hash;

	if (!test_fs()->reflink)
		test_skip("no reflink: the work file has its room already");
	test_make_file("file", size, 1);
	hash = test_hash_file("file");
	map = open_spilled("file", SNAPMAP_GUARD, 0);
	test_fill_disk(0);
	for (size_t at = 0; at < size && !error_of(map); at += PAGE)
		((volatile char *)bytes_of(map))[at]++;
	/* Room may have been left for all of it. */
	if (error_of(map)) {
		ck_assert_int_eq(error_of(map), -EIO);
		ck_fails(snapmap_mut_commit(map, NULL), -EIO);
		ck_fails(snapmap_mut_link(map, "other", NULL), -EIO);
	} else {
		test_note_skip("the disk was not full enough");
	}
	ck_assert(test_hash_file("file") == hash);
	snapmap_mut_close(map);
}
END_TEST

/* --- larger than memory */

#define MEMORY (32 * MIB)
#define HUGE_SIZE (192 * MIB)

static char new_byte(size_t at)
{
	return (char)(at / PAGE * 7 + 1);
}

static void make_huge(const char *path)
{
	char *piece = malloc(MIB);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	ck_assert_sys(fd);
	memset(piece, 'o', MIB);
	for (size_t at = 0; at < HUGE_SIZE; at += MIB)
		ck_assert_int_eq(write(fd, piece, MIB), (ssize_t)MIB);
	ck_assert_sys(fsync(fd));
	close(fd);
	free(piece);
}

static bool huge_is_edited(const char *path)
{
	char *piece = malloc(MIB);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool same = fd >= 0;

	for (size_t at = 0; same && at < HUGE_SIZE; at += MIB) {
		same = pread(fd, piece, MIB, (off_t)at) == (ssize_t)MIB;
		for (size_t i = 0; same && i < MIB; i++)
			same = piece[i] == (i % PAGE ? 'o' : new_byte(at + i));
	}
	same = same && lseek(fd, 0, SEEK_END) == (off_t)HUGE_SIZE;
	close(fd);
	free(piece);
	return same;
}

static void edit_huge(struct snapmap_mut *map)
{
	for (size_t at = 0; at < HUGE_SIZE; at += PAGE)
		bytes_of(map)[at] = new_byte(at);
}

/* @saved: where to save it, for a file on tmpfs, whose new version would be memory too. */
static int edit_with_little_memory(const struct memory_limit *limit, uint32_t flags, const char *saved)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = flags};
	struct snapmap_mut *map;
	int rc;

	if (!memory_limit_enter(limit))
		return 1;
	if (snapmap_mut_open("file", &o, &map))
		return 2;
	edit_huge(map);
	if (snapmap_mut_rollback(map) || bytes_of(map)[0] != 'o' || bytes_of(map)[HUGE_SIZE - PAGE] != 'o')
		return 3;
	edit_huge(map);
	rc = saved ? snapmap_mut_link(map, saved, NULL) : snapmap_mut_commit_and_close(map, NULL);
	if (rc)
		fprintf(stderr, "%s\n", snapmap_last_error());
	return rc ? 4 : 0;
}

/* See struct memory_limit for why there is more than one try. */
static int edit_in_child(const struct memory_limit *limit, uint32_t flags, const char *saved)
{
	int how = -SIGKILL;

	for (int tries = limit->throttles || !(flags & SNAPMAP_SPILL) ? 1 : 5; tries && how == -SIGKILL; tries--) {
		pid_t child = fork();

		if (!child) {
			prctl(PR_SET_DUMPABLE, 0);
			_exit(edit_with_little_memory(limit, flags, saved));
		}
		how = death(child);
	}
	return how;
}

/* 0: with the flag. 1: the control. */
START_TEST(test_edit_larger_than_memory)
{
	const char *saved = NULL, *why;
	const struct test_fs *disk = test_fs_named("ext4");
	struct memory_limit limit;
	char path[500];
	int how;

	if (TEST_SANITIZED)
		test_skip("the sanitizers need memory of their own");
	if (!test_is_root())
		test_skip("only root can limit memory");
	if (!memory_limit_open(MEMORY, &limit, &why))
		test_skip("%s", why);
	if (!strcmp(test_fs()->name, "tmpfs") && disk) {
		snprintf(path, sizeof(path), "%s/spill-saved", disk->dir);
		saved = path;
	}
	make_huge("file");
	how = edit_in_child(&limit, _i ? 0 : SNAPMAP_SPILL, saved);
	memory_limit_close(&limit);
	ck_assert_int_eq(how, _i ? -SIGKILL : 0);
	if (!_i)
		ck_assert(huge_is_edited(saved ? saved : "file"));
	if (!_i && saved)
		ck_assert_sys(unlink(saved));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_memory_is_no_place_to_spill_to);
	tcase_add_loop_test(tc, test_edit_larger_than_memory, 0, 2);
}

static void add_full(TCase *tc)
{
	tcase_add_test(tc, test_guard_answers_a_full_disk);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("spill_room");

	test_each_fs(s, "spill_room", add_tests);
	test_each_small_fs(s, "spill_room full", add_full);
	return s;
}
