/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the mini file system, one by one. */
#include "config.h"

#include "minifs_testing.h"

#include <pthread.h>
#include <sys/xattr.h>

START_TEST(test_what_was_synced_is_there_again)
{
	struct minifs *fs = new_image("i", 0, 0);

	ck_ok(minifs_mkdir(fs, "d", 0755));
	put_file(fs, "d/f", 10000, 1);
	finish_image(fs, "i");
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "/d/f", 10000, 1));
	ck_ok(minifs_unlink(fs, "d/f"));
	minifs_close(fs);
	ck_ok(minifs_open("i", MINIFS_RDONLY, &fs));
	ck_assert(file_is_filled(fs, "d/f", 10000, 1));
	ck_is(minifs_unlink(fs, "d/f"), -EROFS);
	ck_is(minifs_sync(fs), -EROFS);
	minifs_close(fs);
}
END_TEST

START_TEST(test_a_second_writer_is_refused)
{
	struct minifs *fs = new_image("i", 0, 0), *other;

	ck_is(minifs_open("i", 0, &other), -EBUSY);
	ck_assert(strstr(snapmap_last_error(), "somebody else has the image open"));
	ck_ok(minifs_mkdir(fs, "d", 0755));
	/* The lock follows the file to another inode. */
	ck_ok(minifs_sync(fs));
	ck_is(minifs_open("i", 0, &other), -EBUSY);
	ck_is(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL), -EBUSY);
	ck_ok(minifs_open("i", MINIFS_RDONLY, &other));
	ck_assert(exists(other, "d"));
	minifs_close(other);
	ck_ok(minifs_mkdir(fs, "e", 0755));
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	fs = open_image("i");
	ck_assert(exists(fs, "d") && exists(fs, "e"));
	minifs_close(fs);
}
END_TEST

START_TEST(test_a_writer_without_the_lock_is_a_conflict)
{
	struct minifs *fs = new_image("i", 0, 0);
	struct snapmap_mut *map;

	ck_ok(minifs_mkdir(fs, "d", 0755));
	ck_ok(snapmap_mut_open("i", NULL, &map));
	((char *)snapmap_mut_data(map))[5000] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_is(minifs_sync(fs), -EBUSY);
	minifs_close(fs);
}
END_TEST

START_TEST(test_directories_count_their_links)
{
	struct minifs *fs = new_image("i", 0, 0);

	ck_ok(minifs_mkdir(fs, "a", 01777));
	ck_ok(minifs_mkdir(fs, "a/b", 0700));
	ck_ok(minifs_mkdir(fs, "c", 0700));
	ck_assert_uint_eq(stat_of(fs, "a").st_mode, S_IFDIR | 01777);
	ck_assert_uint_eq(stat_of(fs, "a").st_nlink, 3);
	ck_assert_uint_eq(stat_of(fs, "/").st_nlink, 4);
	ck_assert_uint_eq(stat_of(fs, "a/b/..").st_ino, stat_of(fs, "a").st_ino);
	ck_assert_uint_eq(stat_of(fs, "../..").st_ino, 2);
	ck_ok(minifs_rename(fs, "a/b", "c/b"));
	ck_assert_uint_eq(stat_of(fs, "a").st_nlink, 2);
	ck_assert_uint_eq(stat_of(fs, "c").st_nlink, 3);
	ck_assert_uint_eq(stat_of(fs, "c/b/..").st_ino, stat_of(fs, "c").st_ino);
	ck_is(minifs_rmdir(fs, "c"), -ENOTEMPTY);
	ck_is(minifs_rmdir(fs, "c/."), -EINVAL);
	ck_is(minifs_rmdir(fs, "/"), -EBUSY);
	ck_is(minifs_unlink(fs, "c"), -EISDIR);
	ck_ok(minifs_rmdir(fs, "c/b"));
	ck_ok(minifs_rmdir(fs, "c"));
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_rename_keeps_the_tree_a_tree)
{
	struct minifs *fs = new_image("i", 0, 0);

	ck_ok(minifs_mkdir(fs, "a", 0755));
	ck_ok(minifs_mkdir(fs, "a/b", 0755));
	ck_ok(minifs_mkdir(fs, "a/b/c", 0755));
	put_file(fs, "f", 10, 1);
	put_file(fs, "g", 20, 2);
	ck_is(minifs_rename(fs, "a", "a/b/c/d"), -EINVAL);
	ck_is(minifs_rename(fs, "a", "a"), 0);
	ck_is(minifs_rename(fs, "a/b/c", "a"), -ENOTEMPTY);
	ck_is(minifs_rename(fs, "a", "f"), -ENOTDIR);
	ck_is(minifs_rename(fs, "f", "a"), -EISDIR);
	ck_is(minifs_rename(fs, "x", "y"), -ENOENT);
	ck_is(minifs_rename(fs, "/", "y"), -EBUSY);
	ck_is(minifs_rename(fs, "f/", "y"), -ENOTDIR);
	ck_ok(minifs_rename(fs, "f", "g"));
	ck_assert(file_is_filled(fs, "g", 10, 1));
	ck_ok(minifs_link(fs, "g", "h"));
	ck_ok(minifs_rename(fs, "g", "h"));
	ck_assert(exists(fs, "g") && exists(fs, "h"));
	ck_ok(minifs_mkdir(fs, "e", 0755));
	ck_ok(minifs_rename(fs, "a", "e"));
	ck_assert(exists(fs, "e/b/c"));
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_links_lead_to_files)
{
	struct minifs *fs = new_image("i", 0, 0);
	char target[20], longer[5000];

	put_file(fs, "f", 10, 1);
	ck_ok(minifs_link(fs, "f", "g"));
	ck_assert_uint_eq(stat_of(fs, "g").st_nlink, 2);
	ck_ok(minifs_symlink(fs, "/g", "s"));
	ck_assert(file_is_filled(fs, "s", 10, 1));
	ck_is(minifs_readlink(fs, "s", target, sizeof(target)), 2);
	ck_is(minifs_readlink(fs, "f", target, sizeof(target)), -EINVAL);
	ck_assert(S_ISLNK(stat_of(fs, "s").st_mode));
	ck_ok(minifs_symlink(fs, "loop", "loop"));
	ck_is(minifs_pread(fs, "loop", target, 1, 0), -ELOOP);
	ck_is(minifs_symlink(fs, "", "empty"), -ENOENT);
	memset(longer, 'x', sizeof(longer));
	longer[4096] = 0;
	ck_is(minifs_symlink(fs, longer, "long"), -ENAMETOOLONG);
	longer[256] = 0;
	ck_is(minifs_create(fs, longer, 0644), -ENAMETOOLONG);
	longer[255] = 0;
	ck_ok(minifs_create(fs, longer, 0644));
	ck_is(minifs_link(fs, "/", "r"), -EPERM);
	ck_is(minifs_create(fs, "f/x", 0644), -ENOTDIR);
	ck_is(minifs_create(fs, "no/x", 0644), -ENOENT);
	ck_is(minifs_create(fs, "f", 0644), -EEXIST);
	ck_ok(minifs_unlink(fs, "f"));
	ck_assert(file_is_filled(fs, "s", 10, 1));
	finish_image(fs, "i");
}
END_TEST

/* As on Linux. */
START_TEST(test_a_slash_behind_a_link_is_no_way_to_what_it_leads_to)
{
	struct minifs *fs = new_image("i", 0, 0);

	ck_ok(minifs_mkdir(fs, "dir", 0755));
	ck_ok(minifs_create(fs, "file", 0644));
	ck_ok(minifs_symlink(fs, "dir", "link"));
	ck_ok(minifs_symlink(fs, "nothing", "dangling"));
	ck_is(minifs_rmdir(fs, "link/"), -ENOTDIR);
	ck_is(minifs_unlink(fs, "link/"), -ENOTDIR);
	ck_is(minifs_unlink(fs, "file/"), -ENOTDIR);
	ck_is(minifs_rename(fs, "link/", "x"), -ENOTDIR);
	ck_is(minifs_rename(fs, "dir", "link/"), -ENOTDIR);
	ck_is(minifs_mkdir(fs, "dangling/", 0755), -EEXIST);
	ck_is(minifs_mkdir(fs, "file/", 0755), -EEXIST);
	ck_assert(!exists(fs, "nothing") && exists(fs, "dir"));
	/* But for looking, and on the way. */
	ck_assert(S_ISDIR(stat_of(fs, "link/").st_mode));
	ck_ok(minifs_create(fs, "link/new", 0644));
	ck_assert(exists(fs, "dir/new"));
	finish_image(fs, "i");
}
END_TEST

/* Blocks that a mapping keeps are free, but not to be had: names have to do with the places that there are. */
static void make_names(struct minifs *fs, int from, int to, int *ret)
{
	char name[300];

	for (*ret = from; *ret < to; ++*ret) {
		int rc;

		snprintf(name, sizeof(name), "d/%0200d", *ret);
		rc = minifs_link(fs, "f", name);
		if (rc) {
			ck_is(rc, -ENOSPC);
			return;
		}
	}
}

START_TEST(test_places_of_names_are_used_while_blocks_are_kept)
{
	struct minifs *fs = new_image("i", 2 << 20, 0);
	struct snapmap *map;
	char name[300], block[BLOCK] = {1};
	uint64_t at = 0;
	int made;

	ck_ok(minifs_mkdir(fs, "d", 0755));
	ck_ok(minifs_create(fs, "f", 0644));
	put_file(fs, "kept", 10 * BLOCK, 1);
	make_names(fs, 0, 700, &made);
	ck_assert_int_eq(made, 700);
	ck_ok(minifs_create(fs, "ballast", 0644));
	while (minifs_pwrite(fs, "ballast", block, BLOCK, at) == BLOCK)
		at += BLOCK;
	ck_ok(minifs_map(fs, "kept", NULL, &map));
	ck_ok(minifs_unlink(fs, "kept"));
	for (int i = 100; i < 121; i++) {
		snprintf(name, sizeof(name), "d/%0200d", i);
		ck_ok(minifs_unlink(fs, name));
	}
	make_names(fs, 700, 721, &made);
	ck_assert_int_eq(made, 721);
	snapmap_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_holes_are_zeros)
{
	static const char zeros[3 * BLOCK];
	struct minifs *fs = new_image("i", 0, 0);
	char bytes[3 * BLOCK];
	uint64_t before = free_blocks(fs);

	ck_ok(minifs_create(fs, "f", 0644));
	ck_ok(minifs_truncate(fs, "f", 4144 * 1024));
	ck_is(minifs_truncate(fs, "f", 4144 * 1024 + 1), -EFBIG);
	ck_is(minifs_pwrite(fs, "f", "x", 1, 4144 * 1024), -EFBIG);
	ck_is(minifs_pwrite(fs, "f", "xy", 2, 4144 * 1024 - 1), 1);
	ck_assert_uint_eq(before - free_blocks(fs), 2);
	ck_ok(minifs_truncate(fs, "f", 0));
	ck_assert_uint_eq(before, free_blocks(fs));
	memset(bytes, 'x', sizeof(bytes));
	ck_is(minifs_pwrite(fs, "f", bytes, sizeof(bytes), 0), sizeof(bytes));
	ck_ok(minifs_truncate(fs, "f", 100));
	ck_ok(minifs_truncate(fs, "f", sizeof(bytes)));
	ck_is(minifs_pread(fs, "f", bytes, sizeof(bytes), 0), sizeof(bytes));
	ck_assert(bytes[99] == 'x' && !memcmp(bytes + 100, zeros, sizeof(bytes) - 100));
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_full_image_refuses_and_changes_nothing)
{
	struct minifs *fs = new_image("i", 0, 0);
	char *bytes = (char *)malloc(300 * 1024);
	struct minifs_space before, after;
	char name[300];
	int made = 0;

	test_fill(bytes, 300 * 1024, 1);
	put_file(fs, "f", 5000, 2);
	ck_ok(minifs_statfs(fs, &before));
	ck_is(minifs_pwrite(fs, "f", bytes, 300 * 1024, 100), -ENOSPC);
	ck_ok(minifs_statfs(fs, &after));
	ck_assert_uint_eq(before.free_blocks, after.free_blocks);
	ck_assert(file_is_filled(fs, "f", 5000, 2));
	ck_assert_int_eq(stat_of(fs, "f").st_size, 5000);
	ck_ok(minifs_create(fs, "g", 0644));
	ck_is(minifs_pwrite(fs, "g", bytes, 52 * BLOCK, 0), 52 * BLOCK);
	ck_assert_uint_eq(free_blocks(fs), 0);
	ck_is(minifs_mkdir(fs, "d", 0755), -ENOSPC);
	ck_is(minifs_symlink(fs, "f", "s"), -ENOSPC);
	ck_assert(!exists(fs, "d") && !exists(fs, "s"));
	/* There is room for names, until the directory has to grow. */
	memset(name, 'n', 250);
	do
		snprintf(name + 250, 20, "%d", made);
	while (!minifs_create(fs, name, 0644) && ++made);
	ck_is(minifs_create(fs, name, 0644), -ENOSPC);
	ck_assert_int_ge(made, 10);
	finish_image(fs, "i");
	free(bytes);
}
END_TEST

START_TEST(test_inodes_run_out)
{
	struct minifs *fs = new_image("i", 0, 0);
	char name[20];

	for (int i = 0; i < 77; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_ok(minifs_create(fs, name, 0600));
	}
	ck_is(minifs_create(fs, "more", 0600), -ENOSPC);
	ck_ok(minifs_unlink(fs, "f0"));
	ck_ok(minifs_create(fs, "more", 0600));
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_a_deleted_file_that_is_open_stays)
{
	struct minifs *fs = new_image("i", 0, 0);
	struct minifs_file *file, *again;
	uint64_t before = free_blocks(fs);
	struct stat st;
	char bytes[100];

	put_file(fs, "f", 9000, 1);
	ck_ok(minifs_file_open(fs, "f", &file));
	ck_ok(minifs_file_open(fs, "f", &again));
	ck_is(minifs_file_open(fs, "/", &again), -EISDIR);
	ck_ok(minifs_unlink(fs, "f"));
	ck_ok(minifs_file_stat(file, &st));
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_is(minifs_file_pwrite(file, "hello", 5, 20000), 5);
	ck_is(minifs_file_pread(file, bytes, 100, 20000), 5);
	ck_ok(minifs_file_truncate(file, 10));
	minifs_file_close(again);
	ck_ok(minifs_file_stat(file, &st));
	ck_assert_int_eq(st.st_size, 10);
	/* Synced while it is there: the next opener frees it. */
	ck_ok(minifs_sync(fs));
	ck_clean("i");
	minifs_file_close(file);
	ck_assert_uint_eq(free_blocks(fs), before);
	minifs_close(fs);
	fs = open_image("i");
	ck_assert_uint_eq(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_attributes_are_kept)
{
	struct timespec times[2] = {{.tv_sec = -5, .tv_nsec = 7}, {.tv_nsec = UTIME_OMIT}};
	struct minifs *fs = new_image("i", 0, 0);
	struct stat st;
	char buf[5000];

	put_file(fs, "f", 10, 1);
	ck_ok(minifs_chmod(fs, "f", 06755));
	ck_ok(minifs_chown(fs, "f", 0, 12, (gid_t)-1));
	ck_ok(minifs_utimens(fs, "f", 0, times));
	st = stat_of(fs, "f");
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0755);
	ck_assert_uint_eq(st.st_uid, 12);
	ck_assert_uint_eq(st.st_gid, getegid());
	ck_assert(st.st_atim.tv_sec == -5 && st.st_atim.tv_nsec == 7 && st.st_mtim.tv_sec > 1000000000);
	ck_is(minifs_getxattr(fs, "f", "user.a", buf, 10), -ENODATA);
	ck_ok(minifs_setxattr(fs, "f", "user.a", "one", 3, 0));
	ck_ok(minifs_setxattr(fs, "f", "user.bc", "", 0, XATTR_CREATE));
	ck_is(minifs_setxattr(fs, "f", "user.a", "x", 1, XATTR_CREATE), -EEXIST);
	ck_is(minifs_setxattr(fs, "f", "user.n", "x", 1, XATTR_REPLACE), -ENODATA);
	ck_ok(minifs_setxattr(fs, "f", "user.a", "three", 5, XATTR_REPLACE));
	ck_is(minifs_getxattr(fs, "f", "user.a", buf, 4), -ERANGE);
	ck_is(minifs_getxattr(fs, "f", "user.a", buf, 0), 5);
	ck_is(minifs_getxattr(fs, "f", "user.a", buf, 10), 5);
	ck_assert(!memcmp(buf, "three", 5));
	ck_is(minifs_listxattr(fs, "f", buf, sizeof(buf)), 15);
	ck_assert(!memcmp(buf, "user.bc\0user.a", 15));
	memset(buf, 'v', sizeof(buf));
	ck_is(minifs_setxattr(fs, "f", "user.big", buf, 4090, 0), -ENOSPC);
	ck_is(minifs_getxattr(fs, "f", "user.bc", buf, 0), 0);
	ck_ok(minifs_removexattr(fs, "f", "user.a"));
	ck_ok(minifs_removexattr(fs, "f", "user.bc"));
	ck_is(minifs_removexattr(fs, "f", "user.bc"), -ENODATA);
	ck_assert_int_eq(stat_of(fs, "f").st_blocks, 8);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_large_directories_have_an_index)
{
	enum {
		NAMES = 20000
	};
	struct minifs *fs = new_image("i", 64 << 20, 0);
	struct minifs_dirent entries[100];
	uint64_t before = free_blocks(fs), cursor = 0;
	char name[40];
	ssize_t n, all = 0;

	ck_ok(minifs_mkdir(fs, "d", 0755));
	ck_ok(minifs_create(fs, "f", 0644));
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "d/%d-%d", i, i % 1000);
		ck_ok(minifs_link(fs, "f", name));
	}
	for (int i = 0; i < NAMES; i += 2) {
		snprintf(name, sizeof(name), "d/%d-%d", i, i % 1000);
		ck_ok(minifs_unlink(fs, name));
	}
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "d/%d-%d", i, i % 1000);
		ck_assert_int_eq(exists(fs, name), i % 2);
	}
	ck_ok(minifs_sync(fs));
	ck_clean("i");
	while ((n = minifs_readdir(fs, "d", &cursor, entries, 100)) > 0)
		all += n;
	ck_is(n, 0);
	ck_assert_int_eq(all, NAMES / 2 + 2);
	for (int i = 1; i < NAMES; i += 2) {
		snprintf(name, sizeof(name), "d/%d-%d", i, i % 1000);
		ck_ok(minifs_unlink(fs, name));
	}
	ck_ok(minifs_rmdir(fs, "d"));
	ck_assert_uint_eq(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_names_that_stay_are_listed_once)
{
	struct minifs *fs = new_image("i", 0, 0);
	struct minifs_dirent entries[3];
	int seen[40] = {0};
	char name[20];
	uint64_t cursor = 0;
	ssize_t n;

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%d", i);
		ck_ok(minifs_create(fs, name, 0600));
	}
	for (int i = 1; (n = minifs_readdir(fs, "", &cursor, entries, 3)) > 0 || n == -ENOENT; i += 2) {
		if (n == -ENOENT)
			n = minifs_readdir(fs, "/", &cursor, entries, 3);
		if (!n)
			break;
		while (n-- > 0)
			if (entries[n].name[0] != '.')
				seen[atoi(entries[n].name)]++;
		snprintf(name, sizeof(name), "%d", i);
		if (i < 40)
			ck_ok(minifs_unlink(fs, name));
	}
	for (int i = 0; i < 40; i += 2)
		ck_assert_int_eq(seen[i], 1);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_large_files_use_all_levels)
{
	const uint64_t places[] = {0,	       12 * BLOCK,   1036ull * BLOCK - 1, 1036ull * BLOCK,
				   5ull << 30, 100ull << 30, 3ull << 40};
	struct minifs *fs = new_image("i", 4 << 20, 0);
	uint64_t before = free_blocks(fs);
	char byte;

	ck_ok(minifs_create(fs, "f", 0644));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		ck_is(minifs_pwrite(fs, "f", &"abcdefg"[i], 1, places[i]), 1);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		ck_is(minifs_pread(fs, "f", &byte, 1, places[i]), 1);
		ck_assert_int_eq(byte, "abcdefg"[i]);
	}
	ck_ok(minifs_sync(fs));
	ck_clean("i");
	for (size_t i = sizeof(places) / sizeof(places[0]); i-- > 0;) {
		ck_ok(minifs_truncate(fs, "f", places[i]));
		ck_assert_int_eq(stat_of(fs, "f").st_size, (off_t)places[i]);
	}
	ck_assert_uint_eq(free_blocks(fs), before);
	finish_image(fs, "i");
}
END_TEST

struct worker {
	struct minifs *fs;
	int number, failed;
};

static void *work(void *arg)
{
	struct worker *w = (struct worker *)arg;
	char name[40], other[40], bytes[6000];

	for (int i = 0; i < 300 && !w->failed; i++) {
		snprintf(name, sizeof(name), "%d-%d", w->number, i % 3);
		snprintf(other, sizeof(other), "%d-other", w->number);
		memset(bytes, i, sizeof(bytes));
		w->failed |= minifs_create(w->fs, name, 0600) != 0;
		w->failed |= minifs_pwrite(w->fs, name, bytes, sizeof(bytes), 0) != sizeof(bytes);
		w->failed |= minifs_clone(w->fs, name, other) != 0;
		w->failed |= !file_is(w->fs, other, bytes, sizeof(bytes));
		w->failed |= i % 50 == 0 && minifs_sync(w->fs);
		w->failed |= minifs_unlink(w->fs, name) || minifs_unlink(w->fs, other);
	}
	return NULL;
}

START_TEST(test_threads_share_an_image)
{
	struct worker workers[4];
	pthread_t threads[4];
	struct minifs *fs = new_image("i", 0, 0);

	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){.fs = fs, .number = i};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(workers[i].failed, 0);
	}
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_bad_calls_are_refused)
{
	struct minifs_format_options options = {.size = 3};
	struct minifs *fs;
	struct stat st;

	ck_is(minifs_format(NULL, NULL), -EINVAL);
	ck_is(minifs_format("i", &options), -EINVAL);
	options = (struct minifs_format_options){.size = sizeof(options), .bytes = 5000};
	ck_is(minifs_format("i", &options), -EINVAL);
	options.bytes = 7 * BLOCK;
	ck_is(minifs_format("i", &options), -EINVAL);
	ck_assert_int_eq(access("i", F_OK), -1);
	make_image("i", 0, 0);
	ck_is(minifs_format("i", NULL), -EEXIST);
	ck_is(minifs_open("i", 8, &fs), -EINVAL);
	ck_is(minifs_open("none", 0, &fs), -ENOENT);
	test_make_file("noise", 100000, 1);
	ck_is(minifs_open("noise", 0, &fs), -EINVAL);
	ck_assert(strstr(snapmap_last_error(), "not an image"));
	fs = open_image("i");
	ck_is(minifs_stat(fs, "", 0, &st), -ENOENT);
	ck_is(minifs_stat(fs, NULL, 0, &st), -EINVAL);
	ck_is(minifs_stat(NULL, "f", 0, &st), -EINVAL);
	ck_is(minifs_mkdir(NULL, "f", 0), -EINVAL);
	minifs_close(fs);
	minifs_close(NULL);
	minifs_file_close(NULL);
	make_image("i", 1 << 20, MINIFS_FORMAT_FORCE);
	ck_clean("i");
}
END_TEST

START_TEST(test_a_sparse_image_costs_what_is_in_it)
{
	struct minifs *fs;
	struct stat st;

	if (!strcmp(test_fs()->name, "fuse") || test_fs()->served)
		test_skip("a commit copies, and reads all of the image for it");
	make_image("i", UINT64_C(1) << 40, 0);
	ck_assert_int_eq(stat("i", &st), 0);
	ck_assert_int_eq(st.st_size, INT64_C(1) << 40);
	ck_assert_int_le(st.st_blocks * 512, 1 << 20);
	fs = open_image("i");
	put_file(fs, "f", 100000, 1);
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "f", 100000, 1));
	minifs_close(fs);
	ck_assert_int_eq(stat("i", &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 2 << 20);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_what_was_synced_is_there_again);
	tcase_add_test(tc, test_a_second_writer_is_refused);
	tcase_add_test(tc, test_a_writer_without_the_lock_is_a_conflict);
	tcase_add_test(tc, test_directories_count_their_links);
	tcase_add_test(tc, test_rename_keeps_the_tree_a_tree);
	tcase_add_test(tc, test_links_lead_to_files);
	tcase_add_test(tc, test_a_slash_behind_a_link_is_no_way_to_what_it_leads_to);
	tcase_add_test(tc, test_places_of_names_are_used_while_blocks_are_kept);
	tcase_add_test(tc, test_holes_are_zeros);
	tcase_add_test(tc, test_a_full_image_refuses_and_changes_nothing);
	tcase_add_test(tc, test_inodes_run_out);
	tcase_add_test(tc, test_a_deleted_file_that_is_open_stays);
	tcase_add_test(tc, test_attributes_are_kept);
	tcase_add_test(tc, test_large_directories_have_an_index);
	tcase_add_test(tc, test_names_that_stay_are_listed_once);
	tcase_add_test(tc, test_large_files_use_all_levels);
	tcase_add_test(tc, test_threads_share_an_image);
	tcase_add_test(tc, test_bad_calls_are_refused);
	tcase_add_test(tc, test_a_sparse_image_costs_what_is_in_it);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs");

	test_each_fs(s, "minifs", add);
	return s;
}
