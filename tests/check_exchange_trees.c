/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit by exchange of files with many extents, which XFS keeps in trees: it must ask for
 * nothing that the kernel cannot end, or not after a crash.
 */
#include "config.h"

#include "exchanging.h"

/* ---- about as many extents as fit into the inode ---- */

/* A file of @extents pages, each behind a hole; then all of them, or the first @edits, are edited. */
static int commit_whole_extents(size_t extents, size_t edits, uint32_t strategy, uint32_t *ret_strategy)
{
	struct snapmap_mut *map;
	int rc;

	free(write_stripes(extents, 1));
	map = open_mut("f");
	for (size_t i = 0; i < edits; i++)
		edit_pages(map, NULL, 2 * i, 1, 2);
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
 * for the two trees than it has set aside, which are some eight.
 */
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

			edit_pages(map, bytes, test_random(&random) % (pages - length), length, 2 + i);
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
