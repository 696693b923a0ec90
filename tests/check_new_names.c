/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that get a name: created, saved elsewhere, or edited by a descriptor. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "committing.h"

#define SIZE ((size_t)20000)

static struct snapmap_mut *create(const char *path, mode_t mode)
{
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_create(path, mode, NULL, &map));
	ck_ok(snapmap_mut_resize(map, 5));
	memcpy(snapmap_mut_data(map), "hello", 5);
	return map;
}

/* ---- create ---- */

START_TEST(test_created_file_appears_with_its_first_commit)
{
	struct snapmap_mut *map = create("new", 0644);

	ck_assert_uint_eq(count_names("."), 0);
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(test_file_is("new", "hello", 5));
	ck_assert_uint_eq(count_names("."), 1);
	/* From then on it is a handle like any other. */
	/* FUSE touches the file once more, when it drops the temporary name that was open. */
	if (!strcmp(test_fs()->name, "fuse")) {
		snapmap_mut_close(map);
		return;
	}
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	memcpy(snapmap_mut_data(map), "H", 1);
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, "hello", 5));
	memcpy(snapmap_mut_data(map), "H", 1);
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("new", "Hello", 5));
	/* Closed without a commit it never was. */
	snapmap_mut_close(create("never", 0644));
	snapmap_mut_close(create("at once", 0644));
	ck_ok(snapmap_mut_commit_and_close(create("at once", 0644), NULL));
	ck_assert(test_file_is("at once", "hello", 5));
	ck_assert_uint_eq(count_names("."), 2);
}
END_TEST

START_TEST(test_created_file_may_be_empty)
{
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_create("new", 0600, NULL, &map));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("new", "", 0));
	ck_assert_uint_eq(mode_of("new"), 0600);
}
END_TEST

START_TEST(test_created_file_respects_the_umask)
{
	static const mode_t masks[] = {0, 022, 077, 0137};

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		struct snapmap_mut *map;

		umask(masks[i]);
		map = create("new", 0666);
		if (i % 2)
			ck_ok(snapmap_mut_commit_and_close(map, NULL));
		else
			ck_ok(snapmap_mut_commit(map, NULL));
		if (!(i % 2))
			snapmap_mut_close(map);
		ck_assert_msg(mode_of("new") == (0666 & ~masks[i]), "umask %o: %o", masks[i], mode_of("new"));
		ck_assert(!unlink("new"));
	}
	umask(022);
}
END_TEST

START_TEST(test_created_file_gets_the_default_list_of_its_directory)
{
	/* Version 2; user rw, user 12345 rw, group r, mask rw, others none. */
	static const unsigned char acl[] = {
		2, 0,	 0,    0,    1,	   0,	 6,    0, 0xff, 0xff, 0xff, 0xff, 2,	0,    6,
		0, 0x39, 0x30, 0,    0,	   4,	 0,    4, 0,	0xff, 0xff, 0xff, 0xff, 0x10, 0,
		6, 0,	 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,	0,    0xff, 0xff, 0xff, 0xff,
	};
	char wanted[64], got[64];
	ssize_t n;
	int fd;

	ck_assert(!mkdir("d", 0755));
	if (setxattr("d", "system.posix_acl_default", acl, sizeof(acl), 0))
		test_skip("no access control lists");
	fd = open("d/plain", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	close(fd);
	n = getxattr("d/plain", "system.posix_acl_access", wanted, sizeof(wanted));
	if (n <= 0)
		test_skip("no inherited access control lists");
	for (int closing = 0; closing < 2; closing++) {
		struct snapmap_mut *map = create("d/new", 0666);

		ck_ok(closing ? snapmap_mut_commit_and_close(map, NULL) : snapmap_mut_commit(map, NULL));
		if (!closing)
			snapmap_mut_close(map);
		ck_assert_int_eq(getxattr("d/new", "system.posix_acl_access", got, sizeof(got)), n);
		ck_assert(!memcmp(got, wanted, (size_t)n));
		ck_assert_uint_eq(mode_of("d/new"), mode_of("d/plain"));
		ck_assert(!unlink("d/new"));
	}
}
END_TEST

START_TEST(test_create_refuses_a_name_that_exists)
{
	struct snapmap_mut *map = NULL;

	test_write_file("f", "x", 1);
	ck_assert(!mkdir("d", 0755) && !symlink("f", "link"));
	ck_fails(snapmap_mut_create("f", 0644, NULL, &map), -EEXIST);
	ck_fails(snapmap_mut_create("d", 0644, NULL, &map), -EEXIST);
	ck_fails(snapmap_mut_create("link", 0644, NULL, &map), -EEXIST);
	ck_fails(snapmap_mut_create("no/such", 0644, NULL, &map), -ENOENT);
	ck_assert(!map);
	ck_assert(test_file_is("f", "x", 1));
}
END_TEST

START_TEST(test_name_that_appears_meanwhile_is_a_conflict)
{
	for (int closing = 0; closing < 2; closing++) {
		struct snapmap_mut *map = create("new", 0644);
		struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};

		test_write_file("new", "other", 5);
		ck_assert(!chmod("new", 0604));
		ck_fails(closing ? snapmap_mut_commit_and_close(map, NULL) : snapmap_mut_commit(map, NULL), -EBUSY);
		ck_assert(test_file_is("new", "other", 5));
		ck_assert(handle_is(map, "hello", 5));
		ck_assert_uint_eq(count_names("."), 1);
		ck_ok(closing ? snapmap_mut_commit_and_close(map, &force) : snapmap_mut_commit(map, &force));
		ck_assert(test_file_is("new", "hello", 5));
		ck_assert_uint_eq(mode_of("new"), 0604);
		if (!closing)
			snapmap_mut_close(map);
		ck_assert(!unlink("new"));
	}
}
END_TEST

static int create_as(void *arg)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_create(arg, 0644, NULL, &map);

	if (!rc)
		snapmap_mut_close(map);
	return rc;
}

START_TEST(test_create_in_a_directory_that_may_not_be_written)
{
	char name[] = "d/new";

	ck_assert(!mkdir("d", 0555));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), create_as, name), -EACCES);
	ck_assert_uint_eq(count_names("d"), 0);
	ck_assert(!chmod("d", 0755));
}
END_TEST

/* ---- link ---- */

START_TEST(test_link_saves_the_edits_and_leaves_the_handle)
{
	const struct way *w = way_at(_i);
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	unsigned char old[SIZE], new[SIZE];
	struct snapmap_mut *map;

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0640));
	test_fill(old, SIZE, 1);
	memcpy(new, old, SIZE);
	map = way_open(w, "f");
	((unsigned char *)snapmap_mut_data(map))[100] = new[100] ^= 1;
	ck_ok(snapmap_mut_link(map, "g", NULL));
	ck_ok(snapmap_mut_link(map, "d/g", NULL));
	ck_assert(test_file_is("g", new, SIZE) && test_file_is("d/g", new, SIZE));
	ck_assert_uint_eq(mode_of("g"), 0640);
	ck_assert(test_file_is("f", old, SIZE));
	ck_assert(handle_is(map, new, SIZE));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	/* An existing name is taken on request only. */
	test_write_file("h", "other", 5);
	ck_fails(snapmap_mut_link(map, "h", NULL), -EEXIST);
	ck_assert(test_file_is("h", "other", 5));
	ck_ok(snapmap_mut_link(map, "h", &force));
	ck_assert(test_file_is("h", new, SIZE));
	ck_fails(snapmap_mut_link(map, "d", &force), -EISDIR);
	ck_fails(snapmap_mut_link(map, "no/such", NULL), -ENOENT);
	ck_assert_uint_eq(count_names("."), 4);
	/* And what was saved has a life of its own. */
	test_write_file("g", "x", 1);
	ck_assert(handle_is(map, new, SIZE));
	ck_ok(way_finish(w, map, 0));
	ck_assert(test_file_is("f", new, SIZE));
}
END_TEST

START_TEST(test_link_to_another_file_system)
{
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "xfs") ? "xfs" : "tmpfs");
	struct snapmap_mut *map;
	unsigned char new[SIZE];
	char path[4200];

	if (!other)
		test_skip("no second file system");
	snprintf(path, sizeof(path), "%s/linked.%d", other->dir, (int)getpid());
	test_make_file("f", SIZE, 1);
	test_fill(new, SIZE, 1);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((unsigned char *)snapmap_mut_data(map))[100] = new[100] ^= 1;
	ck_ok(snapmap_mut_link(map, path, NULL));
	ck_assert(test_file_is(path, new, SIZE));
	ck_assert(!unlink(path));
	snapmap_mut_close(map);
}
END_TEST

static int link_as(void *arg)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(arg, NULL, &map);

	if (rc)
		return rc;
	((unsigned char *)snapmap_mut_data(map))[100] ^= 1;
	rc = snapmap_mut_link(map, "saved", NULL);
	snapmap_mut_close(map);
	return rc;
}

START_TEST(test_link_of_a_file_of_root_belongs_to_the_caller)
{
	char name[] = "f";
	struct stat st;

	if (!test_is_root())
		test_skip("only root can be two users");
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 06755) && !chmod(".", 0777));
	ck_assert_int_eq(test_as_user(65534, link_as, name), 0);
	ck_assert(!stat("saved", &st));
	ck_assert_uint_eq(st.st_uid, 65534);
	ck_assert_uint_eq(st.st_gid, 65534);
	/* Rights of root are not given to somebody else's bytes. */
	ck_assert_uint_eq(mode_of("saved"), 0755);
}
END_TEST

/* ---- by a descriptor ---- */

START_TEST(test_descriptor_is_committed_to_its_name)
{
	const struct way *w = way_at(_i);
	struct snapmap_options o = {.size = sizeof(o)};
	unsigned char new[SIZE];
	struct snapmap_mut *map;
	int fd;

	if (!w)
		return;
	o.source = w->source;
	ck_assert(!mkdir("d", 0755));
	test_make_file("f", SIZE, 1);
	test_fill(new, SIZE, 1);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	/* It follows the file, not the name. */
	ck_assert(!rename("f", "d/moved"));
	test_write_file("f", "innocent", 8);
	ck_ok(snapmap_mut_open_fd(fd, &o, &map));
	((unsigned char *)snapmap_mut_data(map))[100] = new[100] ^= 1;
	ck_ok(way_finish(w, map, 0));
	ck_assert(test_file_is("d/moved", new, SIZE));
	ck_assert(test_file_is("f", "innocent", 8));
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
}
END_TEST

START_TEST(test_file_without_a_name_can_be_saved)
{
	const struct way *w = way_at(_i);
	struct snapmap_options o = {.size = sizeof(o)};
	unsigned char new[SIZE], got[SIZE];
	struct snapmap_mut *map;
	int fd;

	if (!w)
		return;
	o.source = w->source;
	test_make_file("f", SIZE, 1);
	test_fill(new, SIZE, 1);
	fd = open("f", O_RDWR | O_CLOEXEC);
	ck_assert(!unlink("f"));
	ck_ok(snapmap_mut_open_fd(fd, &o, &map));
	((unsigned char *)snapmap_mut_data(map))[100] = new[100] ^= 1;
	if (way_keeps_inode(w)) {
		ck_ok(way_commit(w, &map, 0));
		ck_assert_int_eq(pread(fd, got, SIZE, 0), (ssize_t)SIZE);
		ck_assert(!memcmp(got, new, SIZE));
	} else if (strcmp(test_fs()->name, "fuse")) {
		/* FUSE gives it a hidden name. */
		ck_fails(way_commit(w, &map, 0), -ENOENT);
		ck_says("save it");
		ck_assert(handle_is(map, new, SIZE));
	}
	if (map)
		ck_ok(snapmap_mut_link(map, "saved", NULL));
	if (map)
		ck_assert(test_file_is("saved", new, SIZE));
	ck_assert(!exists("f"));
	snapmap_mut_close(map);
	close(fd);
}
END_TEST

static void add_new_names(TCase *tc)
{
	tcase_add_test(tc, test_created_file_appears_with_its_first_commit);
	tcase_add_test(tc, test_created_file_may_be_empty);
	tcase_add_test(tc, test_created_file_respects_the_umask);
	tcase_add_test(tc, test_created_file_gets_the_default_list_of_its_directory);
	tcase_add_test(tc, test_create_refuses_a_name_that_exists);
	tcase_add_test(tc, test_name_that_appears_meanwhile_is_a_conflict);
	tcase_add_test(tc, test_create_in_a_directory_that_may_not_be_written);
	tcase_add_loop_test(tc, test_link_saves_the_edits_and_leaves_the_handle, 0, WAYS);
	tcase_add_test(tc, test_link_to_another_file_system);
	tcase_add_test(tc, test_link_of_a_file_of_root_belongs_to_the_caller);
	tcase_add_loop_test(tc, test_descriptor_is_committed_to_its_name, 0, WAYS);
	tcase_add_loop_test(tc, test_file_without_a_name_can_be_saved, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("new names");

	test_each_fs(s, "new names", add_new_names);
	return s;
}
