/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of an image as struct snapmap_mut: edits, and their commit into the image. */
#include "config.h"

#include <sys/wait.h>

#include "minifs_mapping.h"

#define BIG ((size_t)300000)

static char *bytes_of(struct snapmap_mut *map)
{
	return (char *)snapmap_mut_data(map);
}

static int commit_with(struct snapmap_mut *map, uint32_t flags, uint32_t strategy)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .flags = flags, .strategy = strategy};

	return snapmap_mut_commit(map, &options);
}

static void ck_edits(struct snapmap_mut *map, const struct snapmap_range *wanted, size_t n)
{
	struct snapmap_range found[16];

	ck_is(snapmap_mut_dirty(map, found, 16), (long long)n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(found[i].offset, wanted[i].offset);
		ck_assert_uint_eq(found[i].length, wanted[i].length);
	}
}

/* A file of BIG bytes, in pieces, synced or partly so. */
static struct minifs *image_with_file(int kind)
{
	struct minifs *fs = new_image("i", IMAGE, 0);

	if (kind & 1)
		put_file_in_pieces(fs, "f", BIG, 1);
	else
		put_file(fs, "f", BIG, 1);
	if (kind & 2) {
		ck_ok(minifs_sync(fs));
		put_file(fs, "f", BLOCK * 5, 1);
	}
	return fs;
}

START_TEST(test_a_commit_is_seen_at_once_and_is_there_after_a_sync)
{
	struct minifs *fs = image_with_file(_i);
	struct snapmap_mut *map = edit_file(fs, "f");
	const struct snapmap_range edits[] = {{0, BLOCK}, {BIG / BLOCK * BLOCK, BIG % BLOCK}};
	char *wanted = (char *)malloc(BIG);
	struct snapmap_info info;

	test_fill(wanted, BIG, 1);
	ck_assert_uint_eq(snapmap_mut_size(map), BIG);
	ck_assert(!memcmp(bytes_of(map), wanted, BIG));
	ck_edits(map, NULL, 0);
	bytes_of(map)[7] = wanted[7] = (char)(wanted[7] ^ 1);
	bytes_of(map)[BIG - 1] = wanted[BIG - 1] = (char)(wanted[BIG - 1] ^ 1);
	/* No edit: it is what was there. */
	bytes_of(map)[9 * BLOCK] = wanted[9 * BLOCK];
	ck_edits(map, edits, 2);
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_edits(map, NULL, 0);
	ck_assert(file_is(fs, "f", wanted, BIG));
	ck_assert(!memcmp(bytes_of(map), wanted, BIG));
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_uint_eq(info.source, SNAPMAP_SOURCE_MINIFS);
	ck_assert_uint_eq(info.strategy, SNAPMAP_STRATEGY_IMAGE);
	ck_assert_str_eq(snapmap_strategy_name(info.strategy), "image");
	/* The handle goes on from there, also over a sync. */
	ck_ok(minifs_sync(fs));
	ck_assert(!memcmp(bytes_of(map), wanted, BIG));
	ck_edits(map, NULL, 0);
	bytes_of(map)[BLOCK * 20] = wanted[BLOCK * 20] = (char)(wanted[BLOCK * 20] ^ 1);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(file_is(fs, "f", wanted, BIG));
	finish_image(fs, "i");
	fs = open_image("i");
	ck_assert(file_is(fs, "f", wanted, BIG));
	minifs_close(fs);
	free(wanted);
}
END_TEST

START_TEST(test_without_a_sync_nothing_is_left)
{
	struct minifs *fs = image_with_file(0);
	struct snapmap_mut *map;

	ck_ok(minifs_sync(fs));
	map = edit_file(fs, "f");
	bytes_of(map)[0] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	minifs_close(fs);
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	minifs_close(fs);
}
END_TEST

START_TEST(test_a_commit_takes_blocks_for_the_edits_only)
{
	struct minifs *fs = image_with_file(2);
	struct snapmap_mut *map = edit_file(fs, "f");
	uint64_t before = free_blocks(fs);

	for (size_t i = 0; i < 7; i++)
		bytes_of(map)[i * 8 * BLOCK] ^= 1;
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_eq(free_blocks(fs), before);
	snapmap_mut_close(map);
	ck_assert_uint_eq(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

/* What happens to the file meanwhile, and is a conflict. */
static void change(struct minifs *fs, int what)
{
	switch (what) {
	case 0:
		ck_is(minifs_pwrite(fs, "f", "x", 1, 100), 1);
		break;
	case 1:
		ck_ok(minifs_truncate(fs, "f", BIG + 1));
		break;
	case 2:
		ck_ok(minifs_unlink(fs, "f"));
		put_file(fs, "f", 100, 2);
		break;
	case 3:
		put_file(fs, "other", BIG, 2);
		ck_ok(minifs_rename(fs, "other", "f"));
		break;
	default:
		ck_ok(minifs_unlink(fs, "f"));
	}
}

START_TEST(test_a_file_that_was_changed_is_a_conflict)
{
	struct minifs *fs = image_with_file(_i % 4);
	char *wanted = (char *)malloc(BIG);
	struct snapmap_mut *map;
	int what = _i / 4;

	test_fill(wanted, BIG, 1);
	map = edit_file(fs, "f");
	bytes_of(map)[5] = wanted[5] = (char)(wanted[5] ^ 1);
	change(fs, what);
	ck_is(snapmap_mut_commit(map, NULL), -EBUSY);
	ck_assert(strstr(snapmap_last_error(), "SNAPMAP_COMMIT_FORCE"));
	ck_assert(!memcmp(bytes_of(map), wanted, BIG));
	if (what == 4) {
		ck_is(commit_with(map, SNAPMAP_COMMIT_FORCE, 0), -ENOENT);
	} else {
		ck_ok(commit_with(map, SNAPMAP_COMMIT_FORCE, 0));
		ck_assert(file_is(fs, "f", wanted, BIG));
		ck_ok(minifs_sync(fs));
		ck_assert(!memcmp(bytes_of(map), wanted, BIG));
		ck_edits(map, NULL, 0);
		bytes_of(map)[9] = wanted[9] = (char)(wanted[9] ^ 1);
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert(file_is(fs, "f", wanted, BIG));
	}
	snapmap_mut_close(map);
	finish_image(fs, "i");
	free(wanted);
}
END_TEST

START_TEST(test_other_changes_are_none)
{
	struct minifs *fs = image_with_file(0);
	struct snapmap_mut *map;

	ck_ok(minifs_mkdir(fs, "d", 0755));
	ck_ok(minifs_rename(fs, "f", "d/f"));
	map = edit_file(fs, "d/f");
	bytes_of(map)[5] ^= 1;
	ck_ok(minifs_chmod(fs, "d/f", 0600));
	ck_ok(minifs_clone(fs, "d/f", "g"));
	ck_ok(minifs_link(fs, "d/f", "h"));
	/* The handle remembers the directory, not its path. */
	ck_ok(minifs_rename(fs, "d", "e"));
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(file_is_filled(fs, "g", BIG, 1));
	ck_assert(!file_is_filled(fs, "h", BIG, 1));
	ck_assert_uint_eq(stat_of(fs, "e/f").st_mode & 07777, 0600);
	snapmap_mut_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_two_handles_of_one_file_are_a_conflict)
{
	struct minifs *fs = image_with_file(0);
	struct snapmap_mut *one = edit_file(fs, "f"), *two = edit_file(fs, "f");

	bytes_of(one)[0] ^= 1;
	bytes_of(two)[BLOCK] ^= 1;
	ck_ok(snapmap_mut_commit(one, NULL));
	ck_is(snapmap_mut_commit(two, NULL), -EBUSY);
	snapmap_mut_close(two);
	snapmap_mut_close(one);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_file_without_a_name_is_edited_by_its_descriptor)
{
	struct minifs *fs = image_with_file(0);
	uint64_t before = free_blocks(fs);
	struct minifs_file *file;
	struct snapmap_mut *map;
	char first;

	ck_ok(minifs_file_open(fs, "f", &file));
	ck_ok(minifs_file_map_mut(file, NULL, &map));
	ck_ok(minifs_unlink(fs, "f"));
	bytes_of(map)[0] = 'x';
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_is(minifs_file_pread(file, &first, 1, 0), 1);
	ck_assert_int_eq(first, 'x');
	minifs_file_close(file);
	bytes_of(map)[0] = 'y';
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_le(free_blocks(fs), before);
	snapmap_mut_close(map);
	ck_assert_uint_gt(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

/* ---- sizes ---- */

START_TEST(test_growth_is_zeros_and_a_cut_is_a_cut)
{
	static const size_t steps[][3] = {
		{BIG + 50000, 0, 0},
		{5, BIG + 7, 0},
		{0, 3 * BLOCK, 0},
		{BLOCK, BLOCK * 2, 10},
		{BIG - 1, BIG + 5000, BIG - 4000},
		{0, 0, 0},
		{70 * BLOCK + 1, 4000000, BIG},
	};
	size_t n = BIG, at = 0;
	char *wanted = (char *)calloc(1, 5000000);

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct minifs *fs = image_with_file(_i);
		struct snapmap_mut *map = edit_file(fs, "f");

		memset(wanted, 0, 5000000);
		test_fill(wanted, BIG, 1);
		for (n = BIG, at = 0; at < 3 && (!at || steps[i][at]); at++) {
			size_t to = steps[i][at];

			if (to < n)
				memset(wanted + to, 0, n - to);
			ck_ok(snapmap_mut_resize(map, to));
			n = to;
			/* Behind the end, where it must not come back as growth. */
			if (n % BLOCK)
				bytes_of(map)[n] = 'x';
			if (n > 3)
				bytes_of(map)[n - 2] = wanted[n - 2] = 'y';
			ck_assert(!memcmp(bytes_of(map), wanted, n));
		}
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert(file_is(fs, "f", wanted, n));
		ck_edits(map, NULL, 0);
		ck_ok(minifs_truncate(fs, "f", n + 100));
		ck_assert(file_is(fs, "f", wanted, n + 100));
		snapmap_mut_close(map);
		finish_image(fs, "i");
		ck_assert(!unlink("i"));
	}
	free(wanted);
}
END_TEST

START_TEST(test_rollback_gives_the_file_back)
{
	static const size_t sizes[] = {BIG, BIG + 100000, BIG - 1, BLOCK + 3, 0};
	struct minifs *fs = image_with_file(_i);
	char *wanted = (char *)malloc(BIG);
	struct snapmap_mut *map;

	test_fill(wanted, BIG, 1);
	map = edit_file(fs, "f");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(bytes_of(map) + 2 * BLOCK, 'x', 100);
		bytes_of(map)[BIG - 1] ^= 1;
		ck_ok(snapmap_mut_resize(map, sizes[i]));
		if (sizes[i])
			bytes_of(map)[sizes[i] - 1] ^= 1;
		if (i % 2)
			ck_ok(snapmap_mut_resize(map, BIG / 2));
		ck_ok(snapmap_mut_rollback(map));
		ck_assert_uint_eq(snapmap_mut_size(map), BIG);
		ck_assert(!memcmp(bytes_of(map), wanted, BIG));
		ck_edits(map, NULL, 0);
	}
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	snapmap_mut_close(map);
	finish_image(fs, "i");
	free(wanted);
}
END_TEST

/* ---- failures ---- */

START_TEST(test_a_full_image_leaves_all_as_it_was)
{
	static char bytes[BLOCK];
	struct minifs *fs = image_with_file(2);
	struct snapmap_mut *map = edit_file(fs, "f");
	char *wanted = (char *)malloc(BIG);
	uint64_t left, at = 0;

	ck_ok(minifs_create(fs, "filler", 0644));
	while (free_blocks(fs) > 12) {
		ck_is(minifs_pwrite(fs, "filler", bytes, BLOCK, at), BLOCK);
		at += BLOCK;
	}
	left = free_blocks(fs);
	memcpy(wanted, bytes_of(map), BIG);
	for (size_t i = 0; i < BIG; i += BLOCK)
		bytes_of(map)[i] = wanted[i] = (char)(wanted[i] ^ 1);
	ck_is(snapmap_mut_commit(map, NULL), -ENOSPC);
	ck_assert(strstr(snapmap_last_error(), "full"));
	ck_assert_uint_eq(free_blocks(fs), left);
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	ck_assert(!memcmp(bytes_of(map), wanted, BIG));
	ck_ok(minifs_sync(fs));
	ck_clean("i");
	ck_ok(minifs_unlink(fs, "filler"));
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(file_is(fs, "f", wanted, BIG));
	snapmap_mut_close(map);
	finish_image(fs, "i");
	free(wanted);
}
END_TEST

/* ---- blocks that a commit lets go ---- */

/* All that is free gets bytes of another file, in the image too. */
static void use_all_blocks(struct minifs *fs)
{
	char bytes[BLOCK];
	uint64_t at = 0;

	memset(bytes, 'S', sizeof(bytes));
	ck_ok(minifs_create(fs, "secret", 0600));
	while (minifs_pwrite(fs, "secret", bytes, sizeof(bytes), at) == (ssize_t)sizeof(bytes))
		at += sizeof(bytes);
	ck_assert_uint_gt(at, 0);
	ck_ok(minifs_sync(fs));
}

/* A file of @n bytes of @byte in an image that was opened anew, and its handle. */
static struct snapmap_mut *edit_synced(size_t n, int byte, struct minifs **ret)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	char *bytes = (char *)malloc(n);

	memset(bytes, byte, n);
	ck_ok(minifs_create(fs, "f", 0644));
	ck_is(minifs_pwrite(fs, "f", bytes, n, 0), (long long)n);
	free(bytes);
	finish_image(fs, "i");
	*ret = open_image("i");
	return edit_file(*ret, "f");
}

static bool are_all(const char *bytes, size_t n, int byte)
{
	return bytes[0] == byte && !memcmp(bytes, bytes + 1, n - 1);
}

START_TEST(test_what_was_cut_does_not_show_the_blocks_of_others)
{
	struct minifs *fs;
	struct snapmap_mut *map = edit_synced(2 * (size_t)BLOCK, 'A', &fs);

	ck_ok(snapmap_mut_resize(map, 5000));
	ck_ok(snapmap_mut_commit(map, NULL));
	use_all_blocks(fs);
	ck_assert(are_all(bytes_of(map), 5000, 'A'));
	ck_ok(minifs_unlink(fs, "secret"));
	bytes_of(map)[4999] = 'B';
	ck_ok(snapmap_mut_commit(map, NULL));
	bytes_of(map)[4999] = 'A';
	ck_assert(are_all(bytes_of(map), 5000, 'A'));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_ok(minifs_sync(fs));
	ck_is(stat_of(fs, "f").st_size, 5000);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_zeros_stay_zeros_after_overwriting)
{
	struct minifs *fs;
	struct snapmap_mut *map = edit_synced(3 * (size_t)BLOCK, 0, &fs);

	ck_is(minifs_pwrite(fs, "f", "x", 1, 0), 1);
	ck_ok(commit_with(map, SNAPMAP_COMMIT_FORCE, SNAPMAP_STRATEGY_AUTO));
	use_all_blocks(fs);
	ck_assert(are_all(bytes_of(map), 3 * (size_t)BLOCK, 0));
	snapmap_mut_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_child_keeps_what_it_saw)
{
	struct minifs *fs;
	struct snapmap_mut *map = edit_synced(2 * (size_t)BLOCK, 'A', &fs);
	int go[2], status;
	pid_t child;

	ck_assert(!pipe2(go, O_CLOEXEC));
	child = fork();
	if (!child) {
		char byte;

		close(go[1]);
		/* Closed when the parent is done. */
		_exit(read(go[0], &byte, 1) || !are_all(bytes_of(map), 2 * (size_t)BLOCK, 'A'));
	}
	close(go[0]);
	memset(bytes_of(map), 'B', 2 * (size_t)BLOCK);
	ck_ok(snapmap_mut_commit(map, NULL));
	use_all_blocks(fs);
	close(go[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	snapmap_mut_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_size_that_cannot_be_is_refused)
{
	struct minifs *fs = new_image("i", 0, 0);
	struct snapmap_mut *map;

	put_file(fs, "f", 10000, 1);
	map = edit_file(fs, "f");
	ck_ok(snapmap_mut_resize(map, (size_t)5 << 20));
	ck_is(snapmap_mut_commit(map, NULL), -EFBIG);
	ck_assert(file_is_filled(fs, "f", 10000, 1));
	ck_ok(snapmap_mut_rollback(map));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_arguments)
{
	struct minifs *fs = image_with_file(0);
	struct snapmap_options options = {.size = sizeof(options)};
	struct snapmap_mut *map;
	size_t fds;

	ck_is(minifs_map_mut(NULL, "f", NULL, &map), -EINVAL);
	ck_is(minifs_map_mut(fs, NULL, NULL, &map), -EINVAL);
	ck_is(minifs_map_mut(fs, "f", NULL, NULL), -EINVAL);
	ck_is(minifs_file_map_mut(NULL, NULL, &map), -EINVAL);
	ck_is(minifs_map_mut(fs, "g", NULL, &map), -ENOENT);
	ck_is(minifs_map_mut(fs, "/", NULL, &map), -EISDIR);
	options.flags = SNAPMAP_SPILL;
	ck_is(minifs_map_mut(fs, "f", &options, &map), -EOPNOTSUPP);
	options.flags = SNAPMAP_GUARD | SNAPMAP_POPULATE;
	options.source = SNAPMAP_SOURCE_REFLINK;
	ck_is(minifs_map_mut(fs, "f", &options, &map), -EOPNOTSUPP);
	options.source = SNAPMAP_SOURCE_MINIFS;
	fds = test_count_fds();
	ck_ok(minifs_map_mut(fs, "f", &options, &map));
	ck_assert_uint_eq(test_count_fds(), fds);
	bytes_of(map)[0] ^= 1;
	ck_is(commit_with(map, 0, SNAPMAP_STRATEGY_REPLACE), -EOPNOTSUPP);
	ck_is(snapmap_mut_link(map, "g", NULL), -EOPNOTSUPP);
	ck_ok(commit_with(map, SNAPMAP_COMMIT_NOSYNC, SNAPMAP_STRATEGY_IMAGE));
	ck_ok(minifs_sync(fs));
	/* Without an image nothing could be made durable. */
	bytes_of(map)[0] ^= 1;
	minifs_close(fs);
	ck_is(snapmap_mut_commit(map, NULL), -ESTALE);
	snapmap_mut_close(map);
	ck_ok(minifs_open("i", MINIFS_RDONLY, &fs));
	ck_is(minifs_map_mut(fs, "f", NULL, &map), -EROFS);
	minifs_close(fs);
}
END_TEST

/* ---- at random ---- */

static void random_step(struct minifs *fs, struct snapmap_mut *map, char *wanted, size_t *n, uint64_t *random)
{
	size_t at = *n ? test_random(random) % *n : 0, to;

	switch (test_random(random) % 6) {
	case 0:
		to = test_random(random) % 400000;
		if (to < *n)
			memset(wanted + to, 0, *n - to);
		ck_ok(snapmap_mut_resize(map, to));
		*n = to;
		break;
	case 1:
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert(file_is(fs, "f", wanted, *n));
		break;
	case 2:
		ck_ok(minifs_sync(fs));
		break;
	case 3:
		ck_ok(snapmap_mut_commit(map, NULL));
		to = *n;
		ck_ok(snapmap_mut_resize(map, at));
		if (at)
			bytes_of(map)[at - 1] ^= 1;
		ck_ok(snapmap_mut_resize(map, to / 2 + 5));
		ck_ok(snapmap_mut_rollback(map));
		break;
	default:
		for (size_t i = at; i < at + 9000 && i < *n; i++)
			bytes_of(map)[i] = wanted[i] = (char)test_random(random);
	}
	ck_assert_uint_eq(snapmap_mut_size(map), *n);
	ck_assert(!memcmp(bytes_of(map), wanted, *n));
}

START_TEST(test_edits_at_random)
{
	struct minifs *fs = image_with_file(_i);
	struct snapmap_mut *map = edit_file(fs, "f");
	char *wanted = (char *)calloc(1, 500000);
	uint64_t random = test_seed() + (uint64_t)_i;
	size_t n = BIG;

	test_fill(wanted, BIG, 1);
	for (int i = 0; i < 150; i++)
		random_step(fs, map, wanted, &n, &random);
	snapmap_mut_close(map);
	finish_image(fs, "i");
	free(wanted);
}
END_TEST

static void add_map_mut(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_a_commit_is_seen_at_once_and_is_there_after_a_sync, 0, 4);
	tcase_add_test(tc, test_without_a_sync_nothing_is_left);
	tcase_add_test(tc, test_a_commit_takes_blocks_for_the_edits_only);
	tcase_add_loop_test(tc, test_a_file_that_was_changed_is_a_conflict, 0, 20);
	tcase_add_test(tc, test_other_changes_are_none);
	tcase_add_test(tc, test_two_handles_of_one_file_are_a_conflict);
	tcase_add_test(tc, test_a_file_without_a_name_is_edited_by_its_descriptor);
	tcase_add_loop_test(tc, test_growth_is_zeros_and_a_cut_is_a_cut, 0, 4);
	tcase_add_loop_test(tc, test_rollback_gives_the_file_back, 0, 4);
	tcase_add_test(tc, test_a_full_image_leaves_all_as_it_was);
	tcase_add_test(tc, test_what_was_cut_does_not_show_the_blocks_of_others);
	tcase_add_test(tc, test_zeros_stay_zeros_after_overwriting);
	tcase_add_test(tc, test_a_child_keeps_what_it_saw);
	tcase_add_test(tc, test_a_size_that_cannot_be_is_refused);
	tcase_add_test(tc, test_arguments);
	tcase_add_loop_test(tc, test_edits_at_random, 0, 4);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs map_mut");

	test_each_fs(s, "map_mut", add_map_mut);
	return s;
}
