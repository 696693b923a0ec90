/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening: by every kind of path and descriptor, wherever reading is allowed. */
#include "config.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define N 20123
#include "one_file.h"

/* --- PITFALLS 1 */

START_TEST(test_open_of_a_bare_name)
{
	if (!way_exists(_i))
		return;
	make("file.dat");
	expect_path(_i, "file.dat");
	expect_path(_i, "./file.dat");
	ck_assert(names_are(1));
}
END_TEST

START_TEST(test_open_of_odd_paths)
{
	char longest[256], path[4096], *p = path;

	if (!way_exists(_i))
		return;
	memset(longest, 'n', 255);
	longest[255] = 0;
	make(longest);
	expect_path(_i, longest);
	ck_assert_sys(mkdir("d", 0755));
	make("d/f");
	expect_path(_i, "d//f");
	expect_path(_i, "d/../d/./f");
	snprintf(path, sizeof(path), "%s/d/f", test_dir());
	expect_path(_i, path);
	/* Just below PATH_MAX. */
	for (int i = 0; i < 681; i++)
		p = stpcpy(p, "d//../");
	strcpy(p, "d/f");
	ck_assert_uint_lt(strlen(path), 4096);
	expect_path(_i, path);
}
END_TEST

/* --- descriptors and links */

START_TEST(test_open_by_every_kind_of_descriptor)
{
	static const int kinds[] = {O_RDONLY, O_RDWR, O_PATH, O_RDONLY | O_NONBLOCK, O_RDWR | O_APPEND};

	if (!way_exists(_i))
		return;
	make("f");
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		int fd = open("f", kinds[k] | O_CLOEXEC);

		ck_assert_sys(fd);
		if (kinds[k] != O_PATH)
			ck_assert_int_eq(lseek(fd, 777, SEEK_SET), 777);
		expect_fd(_i, fd);
		if (kinds[k] != O_PATH)
			ck_assert_msg(lseek(fd, 0, SEEK_CUR) == 777, "the file offset moved");
		ck_assert_msg(fcntl(fd, F_GETFL) >= 0, "the descriptor was closed");
		close(fd);
	}
}
END_TEST

START_TEST(test_write_only_descriptor_is_refused)
{
	struct view v = {0};

	make("f");
	int fd = open("f", O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(view_try_fd(_i, fd, 0, &v), -EBADF);
	ck_assert_ptr_nonnull(strstr(snapmap_last_error(), "reading"));
	close(fd);
	ck_assert_int_eq(view_try_fd(_i, fd, 0, &v), -EBADF);
	ck_assert_int_eq(view_try_fd(_i, -1, 0, &v), -EBADF);
}
END_TEST

START_TEST(test_open_through_links)
{
	char path[4096];

	if (!way_exists(_i))
		return;
	ck_assert_sys(mkdir("d", 0755));
	ck_assert_sys(mkdir("e", 0755));
	make("d/f");
	ck_assert_sys(symlink("d/f", "one"));
	ck_assert_sys(symlink("../one", "e/two"));
	ck_assert_sys(symlink("e/two", "three"));
	snprintf(path, sizeof(path), "%s/three", test_dir());
	ck_assert_sys(symlink(path, "four"));
	ck_assert_sys(symlink("d", "dir"));
	ck_assert_sys(link("d/f", "hard"));
	expect_path(_i, "one");
	expect_path(_i, "e/two");
	expect_path(_i, "three");
	expect_path(_i, "four");
	expect_path(_i, "dir/f");
	expect_path(_i, "hard");
}
END_TEST

START_TEST(test_open_through_proc)
{
	char path[64];

	if (!way_exists(_i))
		return;
	make("f");
	int fd = open("f", O_RDONLY | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect_path(_i, path);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	expect_path(_i, path);
	ck_assert_sys(symlink(path, "link"));
	expect_path(_i, "link");

	int saved = fcntl(0, F_DUPFD_CLOEXEC, 3);

	dup2(fd, 0);
	expect_path(_i, "/dev/stdin");
	dup2(saved, 0);
	close(saved);
	close(fd);
}
END_TEST

/* The text of a link in /proc is no path: "f (deleted)" may be another file. */
START_TEST(test_open_of_a_deleted_file)
{
	char path[64];
	int fd;

	if (!way_exists(_i))
		return;
	make("f");
	fd = open("f", O_RDWR | O_CLOEXEC);
	ck_assert_sys(unlink("f"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect_fd(_i, fd);
	expect_path(_i, path);
	test_write_file("f (deleted)", "another", 7);
	expect_fd(_i, fd);
	expect_path(_i, path);
	test_write_file("f", "another", 7);
	expect_fd(_i, fd);
	expect_path(_i, path);
	close(fd);
}
END_TEST

START_TEST(test_open_of_memory_files)
{
	if (way_source(_i) == SNAPMAP_SOURCE_REFLINK)
		return;
	test_fill(want, N, test_seed());
	int fd = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_sys(fd);
	ck_assert_int_eq(write(fd, want, N), N);
	expect_fd(_i, fd);
	ck_assert_sys(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	expect_fd(_i, fd);
	close(fd);
}
END_TEST

START_TEST(test_nofollow_refuses_links)
{
	struct view v = {0};

	if (!way_exists(_i))
		return;
	make("f");
	ck_assert_sys(symlink("f", "link"));
	ck_assert_sys(symlink("nothing", "dangling"));
	ck_assert_sys(symlink(".", "dir"));
	ck_assert_int_eq(view_try(_i, "link", SNAPMAP_NOFOLLOW, &v), -ELOOP);
	ck_assert_ptr_nonnull(strstr(snapmap_last_error(), "'link'"));
	ck_assert_int_eq(view_try(_i, "dangling", SNAPMAP_NOFOLLOW, &v), -ELOOP);
	ck_assert_int_eq(view_try(_i, "dangling", 0, &v), -ENOENT);
	/* Only the last part of the path counts. */
	view_open(_i, "dir/f", SNAPMAP_NOFOLLOW, &v);
	ck_assert(view_is(&v, want, N));
	view_close(&v);
}
END_TEST

static void swap_file_and_link(void *arg)
{
	(void)arg;
	for (;;)
		renameat2(AT_FDCWD, "x", AT_FDCWD, "link", RENAME_EXCHANGE);
}

/* Whoever may exchange the file for a link between two looks must not be followed. */
START_TEST(test_nofollow_holds_in_a_race)
{
	struct worker w;
	struct view v = {0};

	if (!way_exists(_i))
		return;
	make("x");
	test_write_file("secret", "secret", 6);
	ck_assert_sys(symlink("secret", "link"));
	if (renameat2(AT_FDCWD, "x", AT_FDCWD, "link", RENAME_EXCHANGE))
		test_skip("names cannot be exchanged here");
	worker_start(swap_file_and_link, NULL, &w);
	for (int i = 0; i < 300; i++) {
		int rc = view_try(_i, "x", SNAPMAP_NOFOLLOW, &v);

		if (rc) {
			ck_assert_msg(rc == -ELOOP || rc == -ENOENT, "%d: %s", rc, snapmap_last_error());
			continue;
		}
		ck_assert_msg(view_is(&v, want, N), "the link was followed");
		view_close(&v);
	}
	worker_stop(&w);
}
END_TEST

/* --- PITFALLS 3 */

#define RACE_LARGE 60123
#define RACE_SMALL 10000

static void toggle_size(void *arg)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);
	const unsigned char *all = arg;

	for (;;) {
		if (ftruncate(fd, RACE_SMALL))
			_exit(1);
		if (pwrite(fd, all + RACE_SMALL, RACE_LARGE - RACE_SMALL, RACE_SMALL) < 0)
			_exit(1);
	}
}

START_TEST(test_size_changes_while_opening)
{
	unsigned char *all = malloc(RACE_LARGE);
	struct worker w;
	struct view v = {0};

	if (!way_exists(_i)) {
		free(all);
		return;
	}
	test_fill(all, RACE_LARGE, test_seed());
	test_write_file("f", all, RACE_LARGE);
	worker_start(toggle_size, all, &w);
	for (int i = 0; i < (row_is_slow() ? 1 : 12); i++) {
		/* Every size is a good one: a race is no reason to fail. */
		view_open(_i, "f", 0, &v);
		ck_assert_uint_ge(v.size, RACE_SMALL);
		ck_assert_uint_le(v.size, RACE_LARGE);
		ck_assert_uint_eq(v.info.size, v.size);
		if (v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME)
			ck_assert_msg(!memcmp(v.data, all, v.size), "the bytes do not go with the size");
		else
			ck_assert(!memcmp(v.data, all, RACE_SMALL));
		ck_assert(view_ends_in_zeros(&v));
		/* A clone is made in an instant, whoever writes. */
		if (way_source(_i) != SNAPMAP_SOURCE_COPY && test_fs()->reflink)
			ck_assert_msg(v.info.source != SNAPMAP_SOURCE_COPY, "copied: %s", v.info.tried);
		view_close(&v);
	}
	worker_stop(&w);
	free(all);
}
END_TEST

/* --- PITFALLS 7 */

/* Which source serves which row: nothing slower than what is to be had. */
START_TEST(test_automatic_choice_is_the_best_there_is)
{
	struct view v = {0};

	if (way_source(_i) != SNAPMAP_SOURCE_AUTO)
		return;
	make("f");
	view_open(_i, "f", 0, &v);
	ck_assert_uint_eq(v.info.source, best_source(way_edits(_i)));
	ck_assert_uint_eq(v.info.bytes_copied,
			  v.info.source == SNAPMAP_SOURCE_COPY || (test_fs()->served && v.mut) ? N : 0);
	ck_assert_str_ne(v.info.file_system, "");
	ck_assert_msg(v.info.source != SNAPMAP_SOURCE_COPY || strstr(v.info.tried, "reflink"), "tried: %s",
		      v.info.tried);
	ck_assert_int_eq(v.info.error, 0);
	ck_assert_uint_eq(v.info.lease,
			  v.info.source == SNAPMAP_SOURCE_LEASE ? SNAPMAP_LEASE_HELD : SNAPMAP_LEASE_NONE);
	view_close(&v);
}
END_TEST

/* A file that nobody writes is always a point in time where changes can be seen. */
START_TEST(test_quiet_file_is_a_point_in_time)
{
	struct view v = {0};
	int rc;

	if (!way_exists(_i))
		return;
	make("f");
	rc = view_try(_i, "f", SNAPMAP_STRICT, &v);
	if (!strcmp(test_fs()->name, "fuse") || (test_fs()->served && way_source(_i) == SNAPMAP_SOURCE_COPY)) {
		/* Changes may be made behind such a file system's back. */
		ck_assert_int_eq(rc, -EBUSY);
		view_open(_i, "f", 0, &v);
		ck_assert_uint_eq(v.info.consistency, SNAPMAP_CONSISTENCY_FUZZY);
	} else {
		ck_assert_msg(rc == 0, "%d: %s", rc, snapmap_last_error());
		ck_assert_uint_eq(v.info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	}
	ck_assert(view_is(&v, want, N));
	view_close(&v);
}
END_TEST

START_TEST(test_populate_and_prefault)
{
	size_t sizes[] = {0, 1, 4095, 4096, 4097, N};
	struct view v = {0};

	if (!way_exists(_i))
		return;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		size_t n = sizes[k];

		test_make_file("f", n, 1);
		view_open(_i, "f", SNAPMAP_POPULATE, &v);
		ck_assert_uint_eq(v.size, n);
#define prefault(offset, length) \
	(v.map ? snapmap_prefault(v.map, offset, length) : snapmap_mut_prefault(v.mut, offset, length))
		ck_assert_int_eq(prefault(0, n), 0);
		ck_assert_int_eq(prefault(0, 0), 0);
		ck_assert_int_eq(prefault(n, 0), 0);
		ck_assert_int_eq(prefault(n / 2, n - n / 2), 0);
		ck_assert_int_eq(prefault(n ? n - 1 : 0, n ? 1 : 0), 0);
		ck_assert_int_eq(prefault(n, 1), -EINVAL);
		ck_assert_ptr_nonnull(strstr(snapmap_last_error(), "'f'"));
		ck_assert_int_eq(prefault(0, n + 1), -EINVAL);
		ck_assert_int_eq(prefault(n + 1, 0), -EINVAL);
		ck_assert_int_eq(prefault(1, UINT64_MAX), -EINVAL);
		ck_assert_int_eq(prefault(UINT64_MAX, UINT64_MAX), -EINVAL);
		ck_assert_int_eq(prefault(UINT64_MAX - 4095, 4096), -EINVAL);
		view_close(&v);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_open_of_a_bare_name, 0, WAYS);
	tcase_add_loop_test(tc, test_open_of_odd_paths, 0, WAYS);
	tcase_add_loop_test(tc, test_open_by_every_kind_of_descriptor, 0, WAYS);
	tcase_add_loop_test(tc, test_write_only_descriptor_is_refused, 0, 2);
	tcase_add_loop_test(tc, test_open_through_links, 0, WAYS);
	tcase_add_loop_test(tc, test_open_through_proc, 0, WAYS);
	tcase_add_loop_test(tc, test_open_of_a_deleted_file, 0, WAYS);
	tcase_add_loop_test(tc, test_open_of_memory_files, 0, WAYS);
	tcase_add_loop_test(tc, test_nofollow_refuses_links, 0, WAYS);
	tcase_add_loop_test(tc, test_nofollow_holds_in_a_race, 0, 2);
	tcase_add_loop_test(tc, test_size_changes_while_opening, 0, WAYS);
	tcase_add_loop_test(tc, test_automatic_choice_is_the_best_there_is, 0, 2);
	tcase_add_loop_test(tc, test_quiet_file_is_a_point_in_time, 0, WAYS);
	tcase_add_loop_test(tc, test_populate_and_prefault, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("open");

	test_each_fs(s, "open", add_tests);
	return s;
}
