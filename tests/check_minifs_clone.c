/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clones: blocks are shared by files, copied when one of them is written to, and given back. */
#include "config.h"

#include "minifs_mapping.h"

#include "backends/minifs/format.h"
#include "backends/minifs/fs.h"

#define BIG ((size_t)6 << 20) /* with a double indirect block */
#define POINTER_BLOCKS 3

static uint64_t blocks_of(struct minifs *fs, const char *path)
{
	return (uint64_t)stat_of(fs, path).st_blocks / 8;
}

/* The first clone also makes the inode of counts. */
static struct minifs *image_that_has_cloned(uint64_t bytes, uint32_t flags)
{
	struct minifs *fs = new_image("i", bytes, flags);

	put_file(fs, "first", 10, 1);
	ck_ok(minifs_clone(fs, "first", "second"));
	ck_ok(minifs_unlink(fs, "first"));
	ck_ok(minifs_unlink(fs, "second"));
	return fs;
}

START_TEST(test_a_clone_takes_only_blocks_of_pointers)
{
	struct minifs *fs = image_that_has_cloned(2 * IMAGE, 0);
	uint64_t before, used;

	put_file(fs, "f", BIG, 1);
	ck_ok(minifs_clone(fs, "f", "warm"));
	before = free_blocks(fs);
	ck_ok(minifs_clone(fs, "f", "g"));
	used = before - free_blocks(fs);
	ck_assert_uint_eq(used, POINTER_BLOCKS);
	ck_assert_uint_eq(blocks_of(fs, "f"), BIG / BLOCK + POINTER_BLOCKS);
	ck_assert_uint_eq(blocks_of(fs, "g"), blocks_of(fs, "f"));
	ck_assert(file_is_filled(fs, "g", BIG, 1));
	ck_ok(minifs_unlink(fs, "g"));
	ck_assert_uint_eq(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_write_copies_the_blocks_it_changes)
{
	struct minifs *fs = image_that_has_cloned(2 * IMAGE, 0);
	char *wanted = (char *)malloc(BIG);
	uint64_t before;

	test_fill(wanted, BIG, 1);
	put_file(fs, "f", BIG, 1);
	ck_ok(minifs_clone(fs, "f", "g"));
	before = free_blocks(fs);
	/* One whole block, and one in part, which are far from each other. */
	memset(wanted + 5 * BLOCK, 'x', BLOCK);
	wanted[BIG - 10] = 'y';
	ck_is(minifs_pwrite(fs, "g", wanted + 5 * BLOCK, BLOCK, 5 * BLOCK), BLOCK);
	ck_is(minifs_pwrite(fs, "g", "y", 1, BIG - 10), 1);
	ck_assert_uint_eq(before - free_blocks(fs), 2);
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	ck_assert(file_is(fs, "g", wanted, BIG));
	/* Its own now: no more are taken. */
	ck_is(minifs_pwrite(fs, "g", "z", 1, BIG - 11), 1);
	ck_assert_uint_eq(before - free_blocks(fs), 2);
	ck_ok(minifs_unlink(fs, "f"));
	wanted[BIG - 11] = 'z';
	ck_assert(file_is(fs, "g", wanted, BIG));
	finish_image(fs, "i");
	free(wanted);
}
END_TEST

START_TEST(test_a_cut_leaves_the_other_file)
{
	struct minifs *fs = image_that_has_cloned(2 * IMAGE, 0);

	put_file(fs, "f", BIG, 1);
	ck_ok(minifs_clone(fs, "f", "g"));
	/* In the last block that is left there are zeros behind the end, but not in the other's. */
	ck_ok(minifs_truncate(fs, "g", 20 * BLOCK + 9));
	ck_ok(minifs_truncate(fs, "g", BIG));
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	ck_ok(minifs_unlink(fs, "g"));
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	finish_image(fs, "i");
}
END_TEST

/* A model of two files as bytes, and clones of ranges between them at random. */
START_TEST(test_clones_of_ranges_at_random)
{
	enum {
		N = 1300
	};
	struct minifs *fs = new_image("i", 3 * IMAGE, 0);
	static const char *const names[] = {"f", "g"};
	uint64_t random = test_seed();
	char *model[2] = {(char *)malloc(N * BLOCK), (char *)malloc(N * BLOCK)};

	for (int k = 0; k < 2; k++) {
		put_file(fs, names[k], N * BLOCK, (uint64_t)k);
		test_fill(model[k], N * BLOCK, (uint64_t)k);
	}
	for (int i = 0; i < 120; i++) {
		int from = (int)(test_random(&random) % 2), to = (int)(test_random(&random) % 2);
		size_t n = 1 + test_random(&random) % 600, a = test_random(&random) % (N - n),
		       b = test_random(&random) % (N - n);
		bool meet = from == to && a < b + n && b < a + n;
		int rc = minifs_clone_range(fs, names[from], a * BLOCK, names[to], b * BLOCK, n * BLOCK);

		ck_assert_int_eq(rc, meet ? -EINVAL : 0);
		if (!meet)
			memcpy(model[to] + b * BLOCK, model[from] + a * BLOCK, n * BLOCK);
		ck_is(minifs_pwrite(fs, names[to], "!", 1, b * BLOCK + 5), 1);
		model[to][b * BLOCK + 5] = '!';
		if (i % 30 == 0)
			ck_ok(minifs_sync(fs));
	}
	for (int k = 0; k < 2; k++) {
		ck_assert(file_is(fs, names[k], model[k], N * BLOCK));
		free(model[k]);
	}
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_holes_stay_holes)
{
	struct minifs *fs = image_that_has_cloned(IMAGE, 0);

	ck_ok(minifs_create(fs, "f", 0644));
	ck_is(minifs_pwrite(fs, "f", "x", 1, 2000 * BLOCK), 1);
	ck_ok(minifs_clone(fs, "f", "g"));
	ck_assert_uint_eq(blocks_of(fs, "g"), blocks_of(fs, "f"));
	ck_assert_uint_lt(blocks_of(fs, "g"), 5);
	ck_assert_int_eq(stat_of(fs, "g").st_size, 2000 * BLOCK + 1);
	put_file(fs, "g", 100 * BLOCK, 3);
	ck_ok(minifs_clone_range(fs, "f", 0, "g", 0, 100 * BLOCK));
	ck_assert_uint_lt(blocks_of(fs, "g"), 5);
	finish_image(fs, "i");
}
END_TEST

/* Without room for all there is nothing of it. */
START_TEST(test_a_full_image_refuses_a_clone)
{
	struct minifs *fs = image_that_has_cloned(2 * IMAGE, 0);
	static char bytes[BLOCK];
	uint64_t at = 0;

	put_file(fs, "f", BIG, 1);
	ck_ok(minifs_create(fs, "filler", 0644));
	while (free_blocks(fs) > 1) {
		ck_is(minifs_pwrite(fs, "filler", bytes, BLOCK, at), BLOCK);
		at += BLOCK;
	}
	ck_is(minifs_clone(fs, "f", "g"), -ENOSPC);
	ck_assert(!exists(fs, "g"));
	ck_assert_uint_le(free_blocks(fs), 1);
	ck_assert(file_is_filled(fs, "f", BIG, 1));
	finish_image(fs, "i");
}
END_TEST

/* ---- counts that reach their end ---- */

/* Blocks of the image where the counts are, in the file. */
static size_t counts_at(const unsigned char *image)
{
	const struct disk_super *super = (const struct disk_super *)image;
	const struct disk_inode *inode = (const struct disk_inode *)(image + (size_t)get32(super->inode_table) * BLOCK +
								     (size_t)get32(super->counts_inode) * 256);

	return (size_t)get32(inode->pointers[0]) * BLOCK;
}

static void set_counts(uint16_t from, uint16_t to)
{
	size_t n;
	unsigned char *image = (unsigned char *)test_read_file("i", &n);
	le16 *counts = (le16 *)(image + counts_at(image));

	for (size_t i = 0; i < BLOCK / 2; i++)
		if (get16(counts[i]) == from)
			counts[i] = put16(to);
	test_write_file("i", image, n);
	free(image);
}

START_TEST(test_a_count_that_is_full_stays_so)
{
	struct minifs *fs = image_that_has_cloned(IMAGE, 0);
	uint64_t before;
	size_t n = 5 * BLOCK;

	put_file(fs, "f", n, 1);
	ck_ok(minifs_clone(fs, "f", "g"));
	finish_image(fs, "i");
	set_counts(1, 0xfffe);
	fs = open_image("i");
	before = free_blocks(fs);
	/* The last one that can be shared. */
	ck_ok(minifs_clone(fs, "f", "h"));
	ck_assert_uint_eq(free_blocks(fs), before);
	/* From now on they are copied. */
	ck_ok(minifs_clone(fs, "f", "copy"));
	ck_assert_uint_eq(free_blocks(fs), before - 5);
	ck_is(minifs_pwrite(fs, "h", "x", 1, 0), 1);
	ck_assert_uint_eq(free_blocks(fs), before - 6);
	ck_assert(file_is_filled(fs, "f", n, 1) && file_is_filled(fs, "g", n, 1) && file_is_filled(fs, "copy", n, 1));
	/* Never freed, for nobody knows how many there are. */
	ck_ok(minifs_unlink(fs, "f"));
	ck_ok(minifs_unlink(fs, "g"));
	ck_ok(minifs_unlink(fs, "h"));
	ck_ok(minifs_unlink(fs, "copy"));
	ck_assert_uint_eq(free_blocks(fs), before);
	/* Which is no damage, but a repair frees them. */
	finish_image(fs, "i");
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL));
	fs = open_image("i");
	ck_assert_uint_eq(free_blocks(fs), before + 5);
	minifs_close(fs);
}
END_TEST

/* ---- of the whole image ---- */

START_TEST(test_the_whole_image_is_cloned_while_it_is_in_use)
{
	struct minifs *fs = new_image("i", IMAGE, 0), *copy;
	struct snapmap_info info;
	struct snapmap *map;

	put_file(fs, "f", 100000, 1);
	ck_ok(minifs_sync(fs));
	put_file(fs, "f", 100000, 2);
	ck_ok(snapmap_open("i", NULL, &map));
	ck_ok(snapmap_get_info(map, &info));
	/* Nothing is copied where extents can be shared. */
	if (test_fs()->reflink)
		ck_assert_uint_eq(info.bytes_copied, 0);
	ck_ok(minifs_sync(fs));
	put_file(fs, "f", 100000, 3);
	ck_ok(minifs_sync(fs));
	test_write_file("copy", snapmap_data(map), snapmap_size(map));
	snapmap_close(map);
	ck_clean("copy");
	ck_ok(minifs_open("copy", MINIFS_RDONLY, &copy));
	ck_assert(file_is_filled(copy, "f", 100000, 1));
	minifs_close(copy);
	finish_image(fs, "i");
}
END_TEST

static void add_clone(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_a_clone_takes_only_blocks_of_pointers);
	tcase_add_test(tc, test_a_write_copies_the_blocks_it_changes);
	tcase_add_test(tc, test_a_cut_leaves_the_other_file);
	tcase_add_test(tc, test_clones_of_ranges_at_random);
	tcase_add_test(tc, test_holes_stay_holes);
	tcase_add_test(tc, test_a_full_image_refuses_a_clone);
	tcase_add_test(tc, test_a_count_that_is_full_stays_so);
	tcase_add_test(tc, test_the_whole_image_is_cloned_while_it_is_in_use);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs clone");

	test_each_fs(s, "clone", add_clone);
	return s;
}
