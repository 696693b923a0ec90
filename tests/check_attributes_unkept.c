/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfall 14: what a commit could not keep is an error that says so, and the file stays as it was. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "committing.h"

#define SIZE ((size_t)20000)
#define OTHER 12345u

/* Runs in a child that is another user than the file's owner. */
struct attempt {
	const struct way *way;
	const char *path;
	uint32_t flags;
	const char *says;
};

static int attempt(void *arg)
{
	const struct attempt *a = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = a->way->source};
	struct snapmap_commit_options c = {.size = sizeof(c), .flags = a->flags, .strategy = a->way->strategy};
	struct snapmap_mut *map;
	char edited;
	int rc = snapmap_mut_open(a->path, &o, &map);

	if (rc)
		return 1;
	edited = ((char *)snapmap_mut_data(map))[100] ^= 1;
	rc = snapmap_mut_commit(map, &c);
	if (rc && (!strstr(snapmap_last_error(), a->says) || ((char *)snapmap_mut_data(map))[100] != edited ||
		   snapmap_mut_dirty(map, NULL, 0) != 1))
		return 2;
	snapmap_mut_close(map);
	return rc;
}

START_TEST(test_owner_that_cannot_be_kept_is_an_error)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = "keep the owner"};
	struct stat before, after;
	uint64_t hash;

	if (!test_is_root())
		skip_all_ways("only root can give files away");
	if (!w || way_keeps_inode(w))
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chown("f", OTHER, 65534) && !chmod("f", 0666) && !chmod(".", 0777));
	hash = test_hash_file("f");
	ck_assert(!stat("f", &before));
	ck_assert_int_eq(test_as_user(65534, attempt, &a), -EPERM);
	ck_assert(!chown("f", 65534, OTHER));
	a.says = "keep the group";
	ck_assert_int_eq(test_as_user(65534, attempt, &a), -EPERM);
	ck_assert(!stat("f", &after));
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* What replacing cannot do, writing into the file can. */
START_TEST(test_clone_keeps_an_owner_that_replace_could_not)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = ""};
	struct stat st;

	if (!test_is_root())
		skip_all_ways("only root can give files away");
	if (!w || !way_keeps_inode(w))
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0666) && !chmod(".", 0777));
	ck_assert_int_eq(test_as_user(65534, attempt, &a), 0);
	ck_assert(!stat("f", &st));
	ck_assert_uint_eq(st.st_uid, 0);
}
END_TEST

START_TEST(test_read_only_file_is_not_replaced)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = ""};
	uint64_t hash;

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0444) && !chmod(".", 0777));
	hash = test_hash_file("f");
	if (test_is_root())
		ck_assert(!chown("f", 65534, 65534));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), attempt, &a), -EACCES);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(mode_of("f"), 0444);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_read_only_directory_is_named_as_the_reason)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "d/f", .says = "directory"};
	uint64_t hash;

	if (!w || way_keeps_inode(w))
		return;
	ck_assert(!mkdir("d", 0777));
	test_make_file("d/f", SIZE, 1);
	ck_assert(!chmod("d/f", 0666) && !chmod("d", 0555));
	hash = test_hash_file("d/f");
	if (test_is_root())
		ck_assert(!chown("d/f", 65534, 65534));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), attempt, &a), -EACCES);
	ck_assert_uint_eq(test_hash_file("d/f"), hash);
	ck_assert_uint_eq(count_names("d"), 1);
	ck_assert(!chmod("d", 0755));
}
END_TEST

START_TEST(test_immutable_file_is_not_replaced)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;
	int fd, flags;
	uint64_t hash;
	int rc;

	if (!test_is_root())
		skip_all_ways("only root can make a file immutable");
	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	hash = test_hash_file("f");
	fd = open("f", O_RDONLY | O_CLOEXEC);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) || (flags |= FS_IMMUTABLE_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags))) {
		close(fd);
		skip_all_ways("no flag for immutable files");
	}
	map = way_open(w, "f");
	((char *)snapmap_mut_data(map))[100] ^= 1;
	rc = way_commit(w, &map, 0);
	snapmap_mut_close(map);
	flags &= ~FS_IMMUTABLE_FL;
	ck_assert(!ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	ck_assert_msg(rc == -EPERM || rc == -EACCES, "%d", rc);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_owner_that_cannot_be_kept_is_an_error, 0, WAYS);
	tcase_add_loop_test(tc, test_clone_keeps_an_owner_that_replace_could_not, 0, WAYS);
	tcase_add_loop_test(tc, test_read_only_file_is_not_replaced, 0, WAYS);
	tcase_add_loop_test(tc, test_read_only_directory_is_named_as_the_reason, 0, WAYS);
	tcase_add_loop_test(tc, test_immutable_file_is_not_replaced, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("attributes_unkept");

	test_each_fs(s, "attributes_unkept", add_tests);
	return s;
}
