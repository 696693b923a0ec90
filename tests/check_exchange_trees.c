/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit by exchange of files with many extents, which XFS keeps in trees: it must ask for
 * nothing that the kernel cannot end, or not after a crash.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define SIZE ((size_t)300000)

#define need_exchange()                                     \
	do {                                                \
		if (!test_fs()->exchange)                   \
			test_skip("no exchange of blocks"); \
	} while (0)

static int commit_by(struct snapmap_mut *map, uint32_t strategy)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .strategy = strategy};

	return snapmap_mut_commit(map, &o);
}

static uint32_t strategy_of(struct snapmap_mut *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_mut_get_info(map, &info));
	return info.strategy;
}

static struct snapmap_mut *open_mut(const char *path)
{
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_open(path, NULL, &map));
	return map;
}

/* ---- about as many extents as fit into the inode ---- */

/* A file of @extents blocks, each behind a hole; then all of them, or the first @edits, are edited. */
static int commit_whole_extents(size_t extents, size_t edits, uint32_t strategy, uint32_t *ret_strategy)
{
	struct snapmap_mut *map;
	int fd, rc;

	fd = open("e", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	/* First, or else there would be blocks set aside in between. */
	ck_assert(!ftruncate(fd, (off_t)((2 * extents + 1) * PAGE)));
	for (size_t i = 0; i < extents; i++)
		ck_assert_int_eq(pwrite(fd, "old", 3, (off_t)(2 * i * PAGE)), 3);
	ck_assert(!fsync(fd));
	close(fd);
	map = open_mut("e");
	for (size_t i = 0; i < edits; i++)
		memcpy((char *)snapmap_mut_data(map) + 2 * i * PAGE, "new", 3);
	rc = commit_by(map, strategy);
	*ret_strategy = strategy_of(map);
	snapmap_mut_close(map);
	return rc;
}

/*
 * Extents that fit into an inode of 512 bytes without attributes. With one more, each
 * exchange of a whole one takes a block in log recovery, which has set only a few aside.
 */
#define FIT ((size_t)21)

START_TEST(test_what_log_recovery_could_not_finish_is_replaced)
{
	uint32_t by;

	need_exchange();
	ck_assert_int_eq(commit_whole_extents(FIT + 1, FIT + 1, SNAPMAP_STRATEGY_EXCHANGE, &by), -EOPNOTSUPP);
	ck_assert(strstr(snapmap_last_error(), "crash") != NULL);
	ck_ok(commit_whole_extents(FIT + 1, FIT + 1, SNAPMAP_STRATEGY_AUTO, &by));
	ck_assert_uint_eq(by, SNAPMAP_STRATEGY_REPLACE);
	/* Few of them, or at another number of extents */
	ck_ok(commit_whole_extents(FIT + 1, 3, SNAPMAP_STRATEGY_EXCHANGE, &by));
	ck_ok(commit_whole_extents(FIT, FIT, SNAPMAP_STRATEGY_EXCHANGE, &by));
	ck_ok(commit_whole_extents(FIT + 9, FIT + 9, SNAPMAP_STRATEGY_EXCHANGE, &by));
}
END_TEST

/* ---- far more of them ---- */

/*
 * The kernel (Linux 6.18) shuts the file system down if an exchange needs more new blocks
 * for the two trees than it has set aside, which are some eight. A file that was written
 * from front to back has only full blocks there: each new extent can need one.
 */
#define LEAF ((size_t)251) /* extents in a block of 4 KiB */

/* A file of extents of @length pages, and as long a hole behind each. */
static unsigned char *write_stripes(size_t extents, size_t length)
{
	size_t size = 2 * extents * length * PAGE, got;
	char *bytes = malloc(length * PAGE);
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	memset(bytes, 1, length * PAGE);
	/* First, or else there would be blocks set aside in between. */
	ck_assert(fd >= 0 && !ftruncate(fd, (off_t)size));
	for (size_t i = 0; i < extents; i++)
		ck_assert_int_eq(pwrite(fd, bytes, length * PAGE, (off_t)(2 * i * length * PAGE)),
				 (ssize_t)(length * PAGE));
	ck_assert(!fsync(fd));
	close(fd);
	free(bytes);
	bytes = test_read_file("f", &got);
	ck_assert_uint_eq(got, size);
	return (unsigned char *)bytes;
}

/* @length pages from @page on, in the handle and in what is expected. */
static void edit(struct snapmap_mut *map, unsigned char *bytes, size_t page, size_t length, int byte)
{
	memset((char *)snapmap_mut_data(map) + page * PAGE, byte, length * PAGE);
	if (bytes)
		memset(bytes + page * PAGE, byte, length * PAGE);
}

/* One edit of @length pages for each block of the tree, the first at @first. */
static void edit_each_leaf(struct snapmap_mut *map, unsigned char *bytes, size_t stripe, size_t first, size_t length,
			   int byte)
{
	size_t pages = snapmap_mut_size(map) / PAGE;

	for (size_t i = first; i + length < pages; i += 2 * LEAF * stripe)
		edit(map, bytes, i, length, byte);
}

static void file_system_lives(void)
{
	int fd = open("lives", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert(fd >= 0 && write(fd, "x", 1) == 1 && !fsync(fd));
	close(fd);
	unlink("lives");
}

static void commit_full_trees(size_t stripe, size_t first, size_t length)
{
	unsigned char *bytes = write_stripes(8000, stripe);
	struct snapmap_mut *map = open_mut("f");

	for (size_t i = 0; i < 3; i++) {
		edit_each_leaf(map, bytes, stripe, first + 40 * stripe * i, length, (int)(2 + i));
		ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
		ck_assert(test_file_is("f", bytes, snapmap_mut_size(map)));
		file_system_lives();
	}
	snapmap_mut_close(map);
	free(bytes);
}

START_TEST(test_full_trees_get_extents_in_holes)
{
	need_exchange();
	commit_full_trees(1, 1, 1);
}
END_TEST

START_TEST(test_full_trees_get_extents_across_holes)
{
	need_exchange();
	commit_full_trees(1, 1, 4);
}
END_TEST

START_TEST(test_full_trees_get_parts_of_extents)
{
	need_exchange();
	commit_full_trees(3, 1, 1);
	ck_assert(!unlink("f"));
	commit_full_trees(3, 2, 5);
}
END_TEST

/* What a commit prepares in the file before it finds the conflict is no change of it. */
START_TEST(test_conflict_over_full_trees_leaves_the_file)
{
	struct snapmap_mut *map, *late;
	unsigned char *bytes;

	need_exchange();
	bytes = write_stripes(4000, 1);
	map = open_mut("f");
	late = open_mut("f");
	edit_each_leaf(map, bytes, 1, 1, 1, 2);
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	edit_each_leaf(late, NULL, 1, 3, 1, 3);
	ck_fails(commit_by(late, SNAPMAP_STRATEGY_EXCHANGE), -EBUSY);
	ck_assert(test_file_is("f", bytes, snapmap_mut_size(map)));
	edit_each_leaf(map, bytes, 1, 5, 1, 4);
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	ck_assert(test_file_is("f", bytes, snapmap_mut_size(map)));
	snapmap_mut_close(late);
	snapmap_mut_close(map);
	free(bytes);
	file_system_lives();
}
END_TEST

/* All kinds of edits, in a file that has many extents and gets more. */
START_TEST(test_random_edits_of_full_trees)
{
	uint64_t random = test_seed();
	unsigned char *bytes;
	struct snapmap_mut *map;
	size_t pages;

	need_exchange();
	bytes = write_stripes(4000, 2);
	map = open_mut("f");
	pages = snapmap_mut_size(map) / PAGE;
	for (int i = 0; i < 12; i++) {
		size_t edits = 1 + test_random(&random) % 300;

		for (size_t k = 0; k < edits; k++) {
			size_t length = 1 + test_random(&random) % 6;

			edit(map, bytes, test_random(&random) % (pages - length), length, 2 + i);
		}
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert(test_file_is("f", bytes, snapmap_mut_size(map)));
	}
	snapmap_mut_close(map);
	free(bytes);
	file_system_lives();
}
END_TEST

static void add_trees(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_what_log_recovery_could_not_finish_is_replaced);
	tcase_add_test(tc, test_full_trees_get_extents_in_holes);
	tcase_add_test(tc, test_full_trees_get_extents_across_holes);
	tcase_add_test(tc, test_full_trees_get_parts_of_extents);
	tcase_add_test(tc, test_conflict_over_full_trees_leaves_the_file);
	tcase_add_test(tc, test_random_edits_of_full_trees);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("exchange_trees");

	test_each_fs(s, "exchange_trees", add_trees);
	return s;
}
