/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commits of scattered pages do not make a file fall into ever more extents (PITFALLS 19). */
#include "config.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

static uint64_t extents_of(const char *path)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET, .fm_flags = FIEMAP_FLAG_SYNC};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert(fd >= 0 && !ioctl(fd, FS_IOC_FIEMAP, &map));
	close(fd);
	return map.fm_mapped_extents;
}

/* @edits random pages, @commits times. */
static void commit_scattered(size_t size, size_t edits, int commits, bool reopen)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = SNAPMAP_COMMIT_NOSYNC};
	unsigned char *want = malloc(size);
	uint64_t random = test_seed();
	struct snapmap_mut *map = NULL;

	test_fill(want, size, 1);
	for (int i = 0; i < commits; i++) {
		if (!map)
			ck_ok(snapmap_mut_open("f", NULL, &map));
		for (size_t k = 0; k < edits; k++) {
			size_t at = (size_t)(test_random(&random) % (size / PAGE)) * PAGE + 7;

			((unsigned char *)snapmap_mut_data(map))[at] = ++want[at];
		}
		ck_ok(reopen ? snapmap_mut_commit_and_close(map, &o) : snapmap_mut_commit(map, &o));
		if (reopen)
			map = NULL;
	}
	snapmap_mut_close(map);
	ck_assert(test_file_is("f", want, size));
	free(want);
}

/* The bound of cluster.c: 2,048, two for each edit of a commit, and one for 128 KiB or 16 KiB. */
static void check_bound(size_t size, size_t edits, int commits, bool reopen)
{
	uint64_t bound = 2048 + 2 * edits + size / (edits <= 16 ? 128 << 10 : 16 << 10), extents;

	if (!test_fs()->reflink || !strncmp(test_fs()->name, "overlay", 7))
		test_skip("each commit writes the whole file");
	test_make_file("f", size, 1);
	commit_scattered(size, edits, commits, reopen);
	extents = extents_of("f");
	ck_assert_msg(extents <= bound, "%ju extents, the bound is %ju", (uintmax_t)extents, (uintmax_t)bound);
}

/* Each second page gets a place of its own: that of the same page of a clone. */
static void cut_to_pieces(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), keep = open("pieces", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char page[PAGE];

	ck_assert(fd >= 0 && keep >= 0 && !ioctl(keep, FICLONE, fd));
	for (size_t at = 0; at < size; at += 2 * PAGE) {
		ck_assert_int_eq(pread(fd, page, PAGE, (off_t)at), PAGE);
		ck_assert_int_eq(pwrite(fd, page, PAGE, (off_t)at), PAGE);
	}
	ck_assert(!fsync(fd) && !ioctl(keep, FICLONE, fd));
	close(fd);
	close(keep);
}

START_TEST(test_many_edits_of_one_handle)
{
	check_bound(48 * MIB, 1000, 12, false);
}
END_TEST

START_TEST(test_many_edits_of_many_handles)
{
	check_bound(48 * MIB, 1000, 12, true);
}
END_TEST

START_TEST(test_few_edits)
{
	/* As many commits as make more extents than the bound if nothing is done about it. */
	check_bound(32 * MIB, 16, 240, false);
}
END_TEST

/* Fewer with each commit, but not all of them at the cost of one. */
START_TEST(test_file_that_comes_in_pieces)
{
	const size_t size = 32 * MIB, pieces = size / PAGE;
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = SNAPMAP_COMMIT_NOSYNC};
	uint64_t random = test_seed(), before, after;
	struct snapmap_mut *map;

	if (!test_fs()->exchange)
		test_skip("no exchange of blocks");
	test_make_file("f", size, 1);
	cut_to_pieces("f", size);
	before = extents_of("f");
	ck_assert_uint_ge(before, pieces / 2);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	for (int i = 0; i < 20; i++) {
		for (int k = 0; k < 16; k++)
			++((unsigned char *)snapmap_mut_data(map))[test_random(&random) % pieces * PAGE];
		ck_ok(snapmap_mut_commit(map, &o));
		after = extents_of("f");
		/* By chance the clusters chosen are all in one piece already. */
		ck_assert_msg(before < after + 256, "from %ju to %ju", (uintmax_t)before, (uintmax_t)after);
		ck_assert_msg(after < before + 2 * 16, "from %ju to %ju", (uintmax_t)before, (uintmax_t)after);
		before = after;
	}
	ck_assert_uint_lt(after + 256, extents_of("pieces"));
	snapmap_mut_close(map);
}
END_TEST

/* What lies around the edits is not made real where it is a hole. */
START_TEST(test_holes_stay_holes)
{
	const size_t size = 64 * MIB, step = 4 * PAGE;
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = SNAPMAP_COMMIT_NOSYNC};
	struct snapmap_mut *map;
	struct stat before, after;
	int fd;

	if (!test_fs()->reflink)
		test_skip("each commit writes the whole file");
	fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	for (size_t at = 0; at < size; at += step)
		ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)at), 1);
	ck_assert(!ftruncate(fd, (off_t)size) && !fsync(fd) && !fstat(fd, &before));
	close(fd);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	for (int i = 0; i < 3; i++) {
		for (size_t at = 0; at < size; at += 64 * step)
			++((unsigned char *)snapmap_mut_data(map))[at];
		ck_ok(snapmap_mut_commit(map, &o));
	}
	snapmap_mut_close(map);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert(!fsync(fd) && !fstat(fd, &after));
	close(fd);
	ck_assert_int_le(after.st_blocks, before.st_blocks + before.st_blocks / 8);
}
END_TEST

static void add_fragments(TCase *tc)
{
	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, test_many_edits_of_one_handle);
	tcase_add_test(tc, test_many_edits_of_many_handles);
	tcase_add_test(tc, test_few_edits);
	tcase_add_test(tc, test_file_that_comes_in_pieces);
	tcase_add_test(tc, test_holes_stay_holes);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("fragments");

	test_each_fs(s, "fragments", add_fragments);
	return s;
}
