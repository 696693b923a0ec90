/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfall 14: the names that lead to a file, symbolic and hard links, are what they were after a commit. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "committing.h"

#define SIZE ((size_t)20000)
#define OTHER 12345u

START_TEST(test_symbolic_link_stays_and_its_file_changes)
{
	static const struct {
		const char *target, *link;
	} links[] = {
		{"f", "relative"},  {"relative", "chain"}, {"chain", "longer chain"},
		{"../f", "d/down"}, {"d/down", "back"},
	};
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	char target[4200];

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		ck_assert(!symlink(links[i].target, links[i].link));
		ck_ok(way_edit(w, links[i].link, 0));
		bytes[100] ^= 1;
		ck_assert_msg(test_file_is("f", bytes, SIZE), "%s", links[i].link);
		memset(target, 0, sizeof(target));
		ck_assert(readlink(links[i].link, target, sizeof(target) - 1) > 0);
		ck_assert_str_eq(target, links[i].target);
	}
	snprintf(target, sizeof(target), "%s/f", test_dir());
	ck_assert(!symlink(target, "absolute"));
	ck_ok(way_edit(w, "absolute", 0));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(count_names("d"), 1);
}
END_TEST

START_TEST(test_symbolic_link_to_another_file_system)
{
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "xfs") ? "xfs" : "tmpfs");
	char path[4200];
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;
	int fd;

	if (!other)
		test_skip("no second file system");
	snprintf(path, sizeof(path), "%s/link-target.XXXXXX", other->dir);
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	test_fill(bytes, SIZE, 1);
	test_make_file(path, SIZE, 1);
	ck_assert(!symlink(path, "f"));
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((unsigned char *)snapmap_mut_data(map))[100] = bytes[100] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is(path, bytes, SIZE));
	ck_assert_uint_eq(count_names("."), 1);
	ck_assert(!unlink(path));
}
END_TEST

START_TEST(test_hard_link_is_refused_with_the_choices)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;

	if (!w || way_keeps_inode(w))
		return;
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	if (link("f", "g"))
		skip_all_ways("no hard links");
	map = way_open(w, "f");
	((char *)snapmap_mut_data(map))[100] ^= 1;
	ck_fails(way_commit(w, &map, 0), -EMLINK);
	ck_says("SNAPMAP_COMMIT_BREAK_LINKS");
	ck_says("clone");
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(inode_of("f"), inode_of("g"));
	ck_assert_uint_eq(count_names("."), 2);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_fails(way_commit(w, &map, SNAPMAP_COMMIT_FORCE), -EMLINK);
	/* On request the names part. */
	ck_ok(way_finish(w, map, SNAPMAP_COMMIT_BREAK_LINKS));
	ck_assert(test_file_is("g", bytes, SIZE));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
}
END_TEST

START_TEST(test_clone_keeps_all_names)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];

	if (!w || !way_keeps_inode(w))
		return;
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	ck_assert(!link("f", "g"));
	ck_ok(way_edit(w, "f", 0));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(inode_of("f"), inode_of("g"));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_symbolic_link_stays_and_its_file_changes, 0, WAYS_TOO);
	tcase_add_test(tc, test_symbolic_link_to_another_file_system);
	tcase_add_loop_test(tc, test_hard_link_is_refused_with_the_choices, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_clone_keeps_all_names, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("links");

	test_each_fs(s, "links", add_tests);
	return s;
}
