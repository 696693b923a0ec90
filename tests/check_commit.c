/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a commit does when nothing goes wrong. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define SIZE (5 * PAGE + 123)

static unsigned char *new_bytes(size_t n, uint64_t seed)
{
	unsigned char *bytes = malloc(n + 1);

	ck_assert(bytes != NULL);
	test_fill(bytes, n, seed);
	return bytes;
}

START_TEST(test_commit_publishes_the_edits_and_nothing_else)
{
	const struct way *w = way_at(_i);
	unsigned char *bytes = new_bytes(SIZE, 1);
	struct snapmap_info info;
	struct snapmap_mut *map;
	unsigned char *data;
	ino_t inode;

	if (w) {
		test_make_file("f", SIZE, 1);
		inode = inode_of("f");
		map = way_open(w, "f");
		data = snapmap_mut_data(map);
		data[0] = bytes[0] ^= 1;
		data[3 * PAGE + 7] = bytes[3 * PAGE + 7] ^= 1;
		ck_assert(!test_file_is("f", bytes, SIZE));
		data[SIZE - 1] = bytes[SIZE - 1] ^= 1;
		ck_ok(way_commit(w, &map, 0));
		ck_assert(test_file_is("f", bytes, SIZE));
		ck_assert_uint_eq(count_names("."), 1);
		ck_assert_int_eq(inode_of("f") == inode, way_keeps_inode(w));
		if (map) {
			ck_ok(snapmap_mut_get_info(map, &info));
			ck_assert_uint_eq(info.strategy, way_strategy(w));
			ck_assert(handle_is(map, bytes, SIZE));
		}
		snapmap_mut_close(map);
	}
	free(bytes);
}
END_TEST

/* Pitfall 12: FICLONE never shrinks its target. */
START_TEST(test_shrink_really_shrinks)
{
	static const size_t sizes[] = {2 * PAGE, PAGE + 904, 1, 0};
	const struct way *w = way_at(_i);
	unsigned char *bytes = new_bytes(SIZE, 2);
	struct stat st;

	for (size_t i = 0; w && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct snapmap_mut *map;

		test_make_file("f", SIZE, 2);
		map = way_open(w, "f");
		ck_ok(snapmap_mut_resize(map, sizes[i]));
		ck_ok(way_finish(w, map, 0));
		ck_assert_msg(test_file_is("f", bytes, sizes[i]), "size %zu", sizes[i]);
		ck_assert(!stat("f", &st));
		ck_assert_int_eq(st.st_size, (off_t)sizes[i]);
		ck_assert(sizes[i] || !st.st_blocks || !strcmp(test_fs()->name, "fuse"));
	}
	free(bytes);
}
END_TEST

START_TEST(test_shrink_with_edits_and_growth_shows_zeros_where_bytes_were)
{
	static const size_t sizes[] = {6 * PAGE, SIZE + 1, 9 * PAGE + 1, SIZE};
	const struct way *w = way_at(_i);
	unsigned char *bytes = calloc(1, 9 * PAGE + 1);

	for (size_t i = 0; w && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct snapmap_mut *map;

		test_make_file("f", SIZE, 3);
		memset(bytes, 0, 9 * PAGE + 1);
		test_fill(bytes, PAGE + 5, 3);
		map = way_open(w, "f");
		((char *)snapmap_mut_data(map))[2 * PAGE] = 'x'; /* is cut off again */
		ck_ok(snapmap_mut_resize(map, PAGE + 5));
		((unsigned char *)snapmap_mut_data(map))[PAGE] = bytes[PAGE] ^= 1;
		ck_ok(snapmap_mut_resize(map, sizes[i]));
		((unsigned char *)snapmap_mut_data(map))[sizes[i] - 1] = bytes[sizes[i] - 1] = 'y';
		ck_ok(way_finish(w, map, 0));
		ck_assert_msg(test_file_is("f", bytes, sizes[i]), "size %zu", sizes[i]);
	}
	free(bytes);
}
END_TEST

START_TEST(test_handle_goes_on_as_a_snapshot_of_what_was_committed)
{
	const struct way *w = way_at(_i);
	unsigned char *bytes = new_bytes(SIZE, 4);

	if (w && !w->closing) {
		struct snapmap_mut *map;
		unsigned char *data;

		test_make_file("f", SIZE, 4);
		map = way_open(w, "f");
		data = snapmap_mut_data(map);
		data[PAGE] = bytes[PAGE] ^= 1;
		ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
		ck_ok(way_commit(w, &map, 0));
		ck_assert_ptr_eq(snapmap_mut_data(map), data);
		ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
		data[PAGE] ^= 2;
		data[0] ^= 2;
		ck_ok(snapmap_mut_resize(map, PAGE + 1));
		ck_ok(snapmap_mut_rollback(map));
		ck_assert(handle_is(map, bytes, SIZE));
		/* The handle's own file, not the published one, lies below. */
		data = snapmap_mut_data(map);
		data[2 * PAGE] ^= 4;
		ck_assert(test_file_is("f", bytes, SIZE));
		bytes[2 * PAGE] ^= 4;
		ck_ok(way_commit(w, &map, 0));
		ck_assert(test_file_is("f", bytes, SIZE));
		/* What others do to the file later does not show. */
		test_write_file("f", "other", 5);
		ck_ok(snapmap_mut_rollback(map));
		ck_assert(handle_is(map, bytes, SIZE));
		snapmap_mut_close(map);
	}
	free(bytes);
}
END_TEST

START_TEST(test_a_hundred_commits_equal_a_model)
{
	const struct way *w = way_at(_i);
	size_t capacity = 24 * PAGE, size = SIZE;
	unsigned char *model = calloc(1, capacity), *committed = calloc(1, capacity);
	size_t committed_size = SIZE;
	uint64_t random = test_seed() + (uint64_t)_i;
	struct snapmap_mut *map;

	if (w) {
		test_make_file("f", SIZE, 5);
		test_fill(model, SIZE, 5);
		memcpy(committed, model, capacity);
		map = way_open(w, "f");
		for (int round = 0; round < 100; round++) {
			for (uint64_t edits = test_random(&random) % 5; edits; edits--) {
				size_t at, n;

				if (test_random(&random) % 4 == 0) {
					size_t to = test_random(&random) % capacity;

					if (test_random(&random) % 3 == 0)
						to &= ~(PAGE - 1);
					ck_ok(snapmap_mut_resize(map, to));
					if (to < size)
						memset(model + to, 0, size - to);
					size = to;
				}
				if (!size)
					continue;
				at = test_random(&random) % size;
				n = test_random(&random) % (size - at) % (2 * PAGE) + 1;
				test_fill(model + at, n, random);
				memcpy((char *)snapmap_mut_data(map) + at, model + at, n);
			}
			if (test_random(&random) % 8 == 0) {
				ck_ok(snapmap_mut_rollback(map));
				memcpy(model, committed, capacity);
				size = committed_size;
			} else {
				ck_ok(way_commit(w, &map, test_random(&random) % 4 ? SNAPMAP_COMMIT_NOSYNC : 0));
				ck_assert_msg(test_file_is("f", model, size), "round %d", round);
				memcpy(committed, model, capacity);
				committed_size = size;
			}
			if (!map)
				map = way_open(w, "f");
			ck_assert_msg(handle_is(map, model, size), "round %d", round);
			ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
		}
		snapmap_mut_close(map);
		ck_assert_uint_eq(count_names("."), 1);
	}
	free(model);
	free(committed);
}
END_TEST

START_TEST(test_commit_without_edits_touches_nothing)
{
	const struct way *w = way_at(_i);
	struct stat before, after;
	struct snapmap_mut *map;

	if (!w)
		return;
	test_make_file("f", SIZE, 6);
	map = way_open(w, "f");
	ck_assert(!stat("f", &before));
	ck_ok(way_finish(w, map, 0));
	ck_assert(!stat("f", &after));
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	/* It still looks for a conflict. */
	map = way_open(w, "f");
	test_write_file("f", "other", 5);
	ck_fails(way_commit(w, &map, 0), -EBUSY);
	ck_assert(test_file_is("f", "other", 5));
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_edits_that_were_undone_by_hand_are_still_committed)
{
	const struct way *w = way_at(_i);
	unsigned char *bytes = new_bytes(SIZE, 7);
	struct snapmap_mut *map;

	if (w) {
		test_make_file("f", SIZE, 7);
		map = way_open(w, "f");
		ck_ok(snapmap_mut_resize(map, 1));
		ck_ok(snapmap_mut_resize(map, SIZE));
		memcpy(snapmap_mut_data(map), bytes, SIZE);
		ck_ok(way_finish(w, map, 0));
		ck_assert(test_file_is("f", bytes, SIZE));
	}
	free(bytes);
}
END_TEST

START_TEST(test_empty_file_grows)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;

	if (!w)
		return;
	test_write_file("f", "", 0);
	map = way_open(w, "f");
	ck_ok(snapmap_mut_resize(map, 3));
	memcpy(snapmap_mut_data(map), "abc", 3);
	ck_ok(way_finish(w, map, 0));
	ck_assert(test_file_is("f", "abc", 3));
}
END_TEST

/* Promise 3: what is not crash-atomic must be asked for by its name. */
START_TEST(test_automatic_choice_never_takes_clone)
{
	struct snapmap_mut *map;
	struct snapmap_info info;
	ino_t inode;

	test_make_file("f", SIZE, 8);
	inode = inode_of("f");
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_uint_ne(info.strategy, SNAPMAP_STRATEGY_CLONE);
	ck_assert_int_eq(inode_of("f") == inode, test_fs()->exchange);
	/* Nor where the automatic ones must refuse. */
	ck_assert(!link("f", "g"));
	snapmap_mut_close(map);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((char *)snapmap_mut_data(map))[0] ^= 1;
	if (test_fs()->exchange)
		ck_ok(snapmap_mut_commit(map, NULL));
	else
		ck_fails(snapmap_mut_commit(map, NULL), -EMLINK);
	ck_assert_uint_eq(inode_of("f"), inode_of("g"));
	snapmap_mut_close(map);
}
END_TEST

/* ---- arguments ---- */

START_TEST(test_bad_arguments_are_refused_and_nothing_changes)
{
	struct snapmap_commit_options wrong[] = {
		{.size = 0},
		{.size = sizeof(wrong[0]) - 1},
		{.size = sizeof(wrong[0]) + 8},
		{.size = sizeof(wrong[0]), .flags = 1u << 3},
		{.size = sizeof(wrong[0]), .flags = 1u << 31},
		{.size = sizeof(wrong[0]), .strategy = SNAPMAP_STRATEGY_IMAGE + 1},
		{.size = sizeof(wrong[0]), .strategy = UINT32_MAX},
	};
	uint64_t hash;
	struct snapmap_mut *map;

	test_make_file("f", SIZE, 9);
	hash = test_hash_file("f");
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((char *)snapmap_mut_data(map))[0] ^= 1;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_fails(snapmap_mut_commit(map, &wrong[i]), -EINVAL);
		ck_fails(snapmap_mut_commit_and_close(map, &wrong[i]), -EINVAL);
		ck_fails(snapmap_mut_link(map, "g", &wrong[i]), -EINVAL);
	}
	ck_fails(snapmap_mut_link(map, NULL, NULL), -EINVAL);
	ck_fails(snapmap_mut_commit(NULL, NULL), -EINVAL);
	ck_fails(snapmap_mut_commit_and_close(NULL, NULL), -EINVAL);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(count_names("."), 1);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
}
END_TEST

START_TEST(test_strategy_that_is_not_there_is_not_supported)
{
	static const uint32_t absent[] = {SNAPMAP_STRATEGY_EXCHANGE, SNAPMAP_STRATEGY_JOURNAL, SNAPMAP_STRATEGY_CLONE};
	struct snapmap_probe probe;
	struct snapmap_mut *map;

	test_make_file("f", SIZE, 10);
	ck_ok(snapmap_probe("f", &probe));
	ck_ok(snapmap_mut_open("f", NULL, &map));
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		struct snapmap_commit_options o = {.size = sizeof(o), .strategy = absent[i]};
		bool works = false;

		for (size_t k = 0; k < probe.nstrategies; k++)
			works |= probe.strategies[k].id == absent[i] && !probe.strategies[k].error;
		((char *)snapmap_mut_data(map))[0] ^= 1;
		if (works)
			ck_ok(snapmap_mut_commit(map, &o));
		else
			ck_fails(snapmap_mut_commit(map, &o), -EOPNOTSUPP);
	}
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_strategies_have_names)
{
	ck_assert_str_eq(snapmap_strategy_name(SNAPMAP_STRATEGY_AUTO), "auto");
	ck_assert_str_eq(snapmap_strategy_name(SNAPMAP_STRATEGY_EXCHANGE), "exchange");
	ck_assert_str_eq(snapmap_strategy_name(SNAPMAP_STRATEGY_REPLACE), "replace");
	ck_assert_str_eq(snapmap_strategy_name(SNAPMAP_STRATEGY_CLONE), "clone");
	ck_assert_str_eq(snapmap_strategy_name(SNAPMAP_STRATEGY_JOURNAL), "journal");
	ck_assert_str_eq(snapmap_strategy_name(99), "unknown");
}
END_TEST

/* ---- promise 9 ---- */

static void on_signal(int sig)
{
	(void)sig;
}

START_TEST(test_process_is_left_as_it_was)
{
	const struct way *w = way_at(_i);
	struct sigaction action = {.sa_handler = on_signal}, before[NSIG] = {{.sa_flags = 0}}, now;
	char cwd[4096], cwd_after[4096];
	sigset_t mask, mask_after;
	struct snapmap_mut *map;

	if (!w)
		return;
	ck_assert(getcwd(cwd, sizeof(cwd)) != NULL);
	umask(027);
	sigaction(SIGIO, &action, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, NULL, &before[sig]);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	ck_assert(!sigprocmask(SIG_BLOCK, &mask, NULL) && !sigprocmask(SIG_SETMASK, NULL, &mask));
	test_make_file("f", SIZE, 11);
	map = way_open(w, "f");
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_ok(snapmap_mut_link(map, "g", NULL));
	ck_ok(way_finish(w, map, 0));
	ck_assert_int_eq(umask(022), 027);
	ck_assert_str_eq(getcwd(cwd_after, sizeof(cwd_after)), cwd);
	ck_assert(!sigprocmask(SIG_SETMASK, NULL, &mask_after));
	for (int sig = 1; sig < NSIG; sig++)
		ck_assert_int_eq(sigismember(&mask, sig), sigismember(&mask_after, sig));
	for (int sig = 1; sig < NSIG; sig++) {
		if (!sigaction(sig, NULL, &now))
			ck_assert(now.sa_handler == before[sig].sa_handler);
	}
}
END_TEST

START_TEST(test_nothing_is_leaked)
{
	const struct way *w = way_at(_i);
	size_t fds, maps;

	if (!w)
		return;
	/* The first round may set up what stays, such as memory of the C library. */
	for (int round = 0; round < 3; round++) {
		struct snapmap_mut *map;

		if (round == 1) {
			fds = test_count_fds();
			maps = test_count_maps();
		}
		test_make_file("f", SIZE, 12);
		map = way_open(w, "f");
		((char *)snapmap_mut_data(map))[0] ^= 1;
		ck_ok(snapmap_mut_resize(map, SIZE + 100 * PAGE));
		ck_ok(snapmap_mut_resize(map, SIZE - PAGE));
		ck_ok(way_finish(w, map, 0));
	}
	test_settle_fds(fds);
	test_settle_maps(maps);
	ck_assert_uint_eq(test_count_fds(), fds);
	/* The C library keeps stacks of threads that have ended, one for each that there was at once. */
	ck_assert_uint_le(test_count_maps(),
			  maps + (w->source == SNAPMAP_SOURCE_LEASE || w->source == SNAPMAP_SOURCE_SNAPFS ? 6 : 0));
}
END_TEST

static void add_commit(TCase *tc)
{
	tcase_add_loop_test(tc, test_commit_publishes_the_edits_and_nothing_else, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_shrink_really_shrinks, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_shrink_with_edits_and_growth_shows_zeros_where_bytes_were, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_handle_goes_on_as_a_snapshot_of_what_was_committed, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_a_hundred_commits_equal_a_model, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_commit_without_edits_touches_nothing, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_edits_that_were_undone_by_hand_are_still_committed, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_empty_file_grows, 0, WAYS_TOO);
	tcase_add_test(tc, test_automatic_choice_never_takes_clone);
	tcase_add_test(tc, test_bad_arguments_are_refused_and_nothing_changes);
	tcase_add_test(tc, test_strategy_that_is_not_there_is_not_supported);
	tcase_add_test(tc, test_strategies_have_names);
	tcase_add_loop_test(tc, test_process_is_left_as_it_was, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_nothing_is_leaked, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("commit");

	test_each_fs(s, "commit", add_commit);
	return s;
}
