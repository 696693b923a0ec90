/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Damage of a mini file system: made by storing bytes, found, repaired, and gone then. */
#include "config.h"

#include "minifs_testing.h"

#include "backends/minifs/fs.h"
#include <minifs/ino.h>

#define INODE(n) (12288u + 256u * (n))
#define POINTER(n, i) (INODE(n) + 64u + 4u * (i))
#define GENERATION 60u
#define XATTR(n) (INODE(n) + 124u)

/*
 * The image that is damaged: directory 3 "d", file 4 "f" of 5000 bytes with an attribute,
 * symbolic link 5 "s", file 6 "d/g", and a clone of "f", which makes the counts.
 */
static void make_victim(void)
{
	struct minifs *fs = new_image("i", 0, 0);

	ck_ok(minifs_mkdir(fs, "d", 0755));
	put_file(fs, "f", 5000, 1);
	ck_ok(minifs_setxattr(fs, "f", "user.a", "v", 1, 0));
	ck_ok(minifs_symlink(fs, "f", "s"));
	put_file(fs, "d/g", 100, 2);
	ck_ok(minifs_clone(fs, "f", "c"));
	finish_image(fs, "i");
}

static uint32_t number_at(const uint8_t *image, uint32_t at)
{
	le32 n;

	memcpy(&n, image + at, sizeof(n));
	return get32(n);
}

static void put_number(uint8_t *image, uint32_t at, uint32_t value)
{
	le32 n = put32(value);

	memcpy(image + at, &n, sizeof(n));
}

static void seal(uint8_t *image, uint32_t ino)
{
	le32 number = put32(ino);

	put_number(image, INODE(ino) + 252, mfs_crc32c(mfs_crc32c(0, &number, 4), image + INODE(ino), 252));
}

/* Stores a number in an inode, with a checksum that is right. */
static void set(uint8_t *image, uint32_t ino, uint32_t at, uint32_t value)
{
	put_number(image, at, value);
	seal(image, ino);
}

static void super(uint8_t *image, uint32_t at, uint32_t value)
{
	put_number(image, at, value);
	put_number(image, 252, mfs_crc32c(0, image, 252));
}

#define ROOT_BLOCK (number_at(i, POINTER(2, 0)) * BLOCK)
#define D_BLOCK (number_at(i, POINTER(3, 0)) * BLOCK)

static const struct damage {
	const char *what;
	void (*make)(uint8_t *i);
	const char *sentence;
} * running;

#define DAMAGE(name, code)           \
	static void name(uint8_t *i) \
	{                            \
		code;                \
	}

DAMAGE(bad_super_crc, i[252] ^= 1)
DAMAGE(bad_mode, set(i, 4, INODE(4), 0170000))
DAMAGE(bad_crc, i[INODE(4) + 252] ^= 1)
DAMAGE(far_pointer, set(i, 4, POINTER(4, 1), 1000))
DAMAGE(taken_block, set(i, 4, POINTER(4, 1), number_at(i, POINTER(3, 0))))
DAMAGE(behind_end, set(i, 4, POINTER(4, 5), 60))
DAMAGE(bad_xattr, put_number(i, number_at(i, XATTR(4)) * BLOCK, 0xffffffff))
DAMAGE(no_target, set(i, 5, POINTER(5, 0), 0))
DAMAGE(bad_blocks, set(i, 4, INODE(4) + 24, 9))
DAMAGE(dirty_tail, i[number_at(i, POINTER(6, 0)) * BLOCK + 200] = 1)
DAMAGE(no_root, memset(i + INODE(2), 0, 256))
DAMAGE(hole, set(i, 3, POINTER(3, 0), 0))
DAMAGE(no_dots, i[D_BLOCK + 8] = 'x')
DAMAGE(bad_self, put_number(i, D_BLOCK, 4))
DAMAGE(bad_parent, put_number(i, D_BLOCK + 12, 3))
DAMAGE(bad_reclen, i[ROOT_BLOCK + 24 + 4] = 3)
DAMAGE(bad_name, i[ROOT_BLOCK + 24 + 8] = '/')
DAMAGE(same_name, i[ROOT_BLOCK + 36 + 8] = 'd')
DAMAGE(no_inode, put_number(i, ROOT_BLOCK + 36, 50))
DAMAGE(two_names, put_number(i, ROOT_BLOCK + 36, 3))
DAMAGE(freed_inode, i[BLOCK] &= 0xef)
DAMAGE(lost, put_number(i, D_BLOCK + 24, 0))
DAMAGE(bad_links, set(i, 4, INODE(4) + 12, 7))
DAMAGE(bad_orphans, super(i, 92, 4))
DAMAGE(bad_counts_inode, super(i, 88, 4))
DAMAGE(freed_block, i[2 * BLOCK] &= 0xfe)
DAMAGE(taken_bit, i[2 * BLOCK + 6] |= 0x80)
DAMAGE(padding, i[2 * BLOCK + 100] = 1)
DAMAGE(free_count, super(i, 72, 3))

static void bad_count(uint8_t *i)
{
	uint32_t counts = number_at(i, POINTER(number_at(i, 88), 0)) * BLOCK;

	i[counts + 2 * (number_at(i, POINTER(4, 0)) - 8)] = 0;
}

static const struct damage damages[] = {
	{"super crc", bad_super_crc, "checksum of the superblock"},
	{"mode", bad_mode, "inode 4 is damaged"},
	{"crc", bad_crc, "checksum of inode 4"},
	{"far pointer", far_pointer, "out of range"},
	{"taken block", taken_block, "belongs to something else"},
	{"behind end", behind_end, "blocks behind its end"},
	{"xattr", bad_xattr, "extended attributes of inode 4"},
	{"no target", no_target, "symbolic link in inode 5"},
	{"blocks", bad_blocks, "inode 4 has 3 blocks, not 9"},
	{"tail", dirty_tail, "bytes behind its end"},
	{"no root", no_root, "no root directory"},
	{"hole", hole, "directory 3 has a hole"},
	{"no dots", no_dots, "does not begin with itself"},
	{"self", bad_self, "'.' in directory 3"},
	{"parent", bad_parent, "'..' in directory 3"},
	{"reclen", bad_reclen, "damaged in its block 0"},
	{"name", bad_name, "a name that cannot be"},
	{"same name", same_name, "'d' twice"},
	{"no inode", no_inode, "leads to no inode"},
	{"two names", two_names, "leads to what cannot have it"},
	{"freed inode", freed_inode, "inode 4 is used, but marked as free"},
	{"lost", lost, "nothing leads to inode 6"},
	{"links", bad_links, "inode 4 has 1 names, not 7"},
	{"orphans", bad_orphans, "list of deleted files"},
	{"counts inode", bad_counts_inode, "inode of the reference counts"},
	{"count", bad_count, "1 reference counts are wrong"},
	{"freed block", freed_block, "1 blocks are used, but marked as free"},
	{"taken bit", taken_bit, "1 blocks are free, but marked as used"},
	{"padding", padding, "bits set behind its end"},
	{"free count", free_count, "are free, not 3"},
};

static void make_damage(const struct damage *damage)
{
	struct snapmap_mut *map;

	make_victim();
	ck_ok(snapmap_mut_open("i", NULL, &map));
	damage->make((uint8_t *)snapmap_mut_data(map));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
}

START_TEST(test_each_damage_is_found_and_repaired)
{
	for (size_t n = 0; n < sizeof(damages) / sizeof(damages[0]); n++) {
		struct minifs_check_result result = {0};
		char problems[4000] = "";
		int rc;

		running = &damages[n];
		unlink("i");
		make_damage(running);
		rc = minifs_check("i", 0, print_problem, problems, &result);
		ck_assert_msg(rc == -EUCLEAN && result.found && !result.repaired, "%s: %d", running->what, rc);
		ck_assert_msg(strstr(problems, running->sentence), "%s: %s", running->what, problems);
		rc = minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, &result);
		ck_assert_msg(!rc && result.repaired == result.found, "%s: %d: %s", running->what, rc,
			      snapmap_last_error());
		ck_clean("i");
	}
}
END_TEST

START_TEST(test_what_lost_its_name_is_kept)
{
	struct minifs *fs;

	make_damage(&(struct damage){"hole", hole, NULL});
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL));
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "lost+found/#6", 100, 2));
	ck_assert(file_is_filled(fs, "f", 5000, 1));
	minifs_close(fs);
}
END_TEST

/* Damages the image after a file of that name was made. */
START_TEST(test_what_lost_its_name_is_kept_beside_a_file_of_the_directory_s_name)
{
	struct snapmap_mut *map;
	struct minifs *fs;

	make_victim();
	fs = open_image("i");
	ck_ok(minifs_create(fs, "lost+found", 0644));
	finish_image(fs, "i");
	ck_ok(snapmap_mut_open("i", NULL, &map));
	hole((uint8_t *)snapmap_mut_data(map));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL));
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "lost+found.1/#6", 100, 2));
	ck_assert(S_ISREG(stat_of(fs, "lost+found").st_mode));
	finish_image(fs, "i");
}
END_TEST

/* Of a name that is there already, by chance or by design. */
START_TEST(test_what_lost_its_name_gets_another_one)
{
	struct snapmap_mut *map;
	struct minifs *fs;

	make_victim();
	fs = open_image("i");
	ck_ok(minifs_mkdir(fs, "lost+found", 0700));
	ck_ok(minifs_create(fs, "lost+found/#6", 0644));
	ck_ok(minifs_create(fs, "lost+found/#6.1", 0644));
	finish_image(fs, "i");
	ck_ok(snapmap_mut_open("i", NULL, &map));
	hole((uint8_t *)snapmap_mut_data(map));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL));
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "lost+found/#6.2", 100, 2));
	ck_assert(stat_of(fs, "lost+found/#6").st_size == 0 && stat_of(fs, "lost+found/#6.1").st_size == 0);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_full_image_is_repaired_as_far_as_it_goes)
{
	struct minifs_check_result result;
	struct snapmap_mut *map;
	struct minifs *fs;
	char problems[4000] = "";
	uint8_t *i;

	make_victim();
	fs = open_image("i");
	put_file(fs, "filler", free_blocks(fs) * BLOCK / 2, 3);
	for (char name[] = "A"; free_blocks(fs) && name[0] <= 'Z'; name[0]++)
		put_file(fs, name, BLOCK, 4);
	ck_assert_uint_eq(free_blocks(fs), 0);
	finish_image(fs, "i");
	ck_ok(snapmap_mut_open("i", NULL, &map));
	i = (uint8_t *)snapmap_mut_data(map);
	lost(i);
	bad_links(i);
	free_count(i);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_is(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, &result), -EUCLEAN);
	ck_assert(result.found == 3 && result.repaired == 2);
	ck_is(minifs_check("i", 0, print_problem, problems, &result), -EUCLEAN);
	ck_assert_msg(result.found == 1 && strstr(problems, "nothing leads to inode 6"), "%s", problems);
	fs = open_image("i");
	ck_ok(minifs_unlink(fs, "filler"));
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, &result));
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "lost+found/#6", 100, 2));
	minifs_close(fs);
}
END_TEST

/* Sentences go to terminals. */
START_TEST(test_names_in_sentences_are_only_read)
{
	struct snapmap_mut *map;
	char problems[4000] = "";
	uint8_t *i;

	make_victim();
	ck_ok(snapmap_mut_open("i", NULL, &map));
	i = (uint8_t *)snapmap_mut_data(map);
	i[ROOT_BLOCK + 24 + 8] = '\033';
	put_number(i, ROOT_BLOCK + 24, 50);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_is(minifs_check("i", 0, print_problem, problems, NULL), -EUCLEAN);
	ck_assert_msg(strstr(problems, "'?' in directory 2 leads to no inode") && !strchr(problems, '\033'), "%s",
		      problems);
}
END_TEST

/* An inode that is cleared and used again is not the one that it was. */
START_TEST(test_a_repair_keeps_generations)
{
	struct stat st;
	struct minifs *fs;
	uint32_t before;
	struct snapmap_mut *map;
	uint8_t *i;

	make_victim();
	ck_ok(snapmap_mut_open("i", NULL, &map));
	i = (uint8_t *)snapmap_mut_data(map);
	set(i, 4, INODE(4) + GENERATION, 1000);
	bad_mode(i);
	before = number_at(i, INODE(4) + GENERATION);
	ck_assert_uint_eq(before, 1000);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_ok(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL));
	fs = open_image("i");
	for (int n = 0; n < 70; n++) {
		char name[16];
		struct minifs_entry entry;

		snprintf(name, sizeof(name), "new%d", n);
		ck_ok(minifs_create(fs, name, 0644));
		st = stat_of(fs, name);
		if (st.st_ino != 4)
			continue;
		ck_ok(minifs_ino_lookup(fs, MINIFS_ROOT_INO, name, &entry));
		ck_assert_uint_gt(entry.generation, before);
		minifs_close(fs);
		return;
	}
	ck_abort_msg("inode 4 was not used again");
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_each_damage_is_found_and_repaired);
	tcase_add_test(tc, test_what_lost_its_name_is_kept);
	tcase_add_test(tc, test_what_lost_its_name_gets_another_one);
	tcase_add_test(tc, test_a_full_image_is_repaired_as_far_as_it_goes);
	tcase_add_test(tc, test_names_in_sentences_are_only_read);
	tcase_add_test(tc, test_a_repair_keeps_generations);
	tcase_add_test(tc, test_what_lost_its_name_is_kept_beside_a_file_of_the_directory_s_name);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs_fsck");

	test_each_fs(s, "minifs_fsck", add);
	return s;
}
