/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Full file systems (PITFALLS 10): opening finds another place or says so, and no
 * load or store ever answers with SIGBUS.
 */
#include "config.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "opening.h"

#define N ((size_t)3 << 20)

static unsigned char *make(const char *path, size_t n)
{
	unsigned char *bytes = malloc(n);

	test_fill(bytes, n, test_seed());
	test_write_file(path, bytes, n);
	return bytes;
}

static void touch_all(const struct view *v)
{
	for (size_t at = 0; at < v->size; at += 4096)
		(void)((const volatile unsigned char *)v->data)[at];
}

/* --- opening when nothing is left */

START_TEST(test_open_when_the_disk_is_full)
{
	struct view v = {0};
	unsigned char *bytes = make("f", N);

	test_fill_disk(0);
	size_t names = test_count_names("."), fds = test_count_fds(), maps = count_file_maps();

	for (int way = 0; way < WAYS; way++) {
		if (!way_exists(way))
			continue;
		int rc = view_try(way, "f", 0, &v);

		if (way_source(way) == SNAPMAP_SOURCE_REFLINK && rc) {
			/* Even sharing takes some room for itself. */
			ck_assert_msg(rc == -ENOSPC, "%d: %s", rc, snapmap_last_error());
			ck_assert(strstr(snapmap_last_error(), "space"));
		} else {
			ck_assert_msg(rc == 0, "way %d: %d: %s", way, rc, snapmap_last_error());
			ck_assert(view_is(&v, bytes, N));
			view_close(&v);
		}
		ck_assert_uint_eq(test_count_fds(), fds);
		ck_assert_uint_eq(count_file_maps(), maps);
		ck_assert_uint_eq(test_count_names("."), names);
	}
	ck_assert(test_file_is("f", bytes, N));
	free(bytes);
}
END_TEST

/* There is room for half of it: the copy is begun, and has to go elsewhere. */
START_TEST(test_copy_when_there_is_room_for_half)
{
	struct view v = {0};
	struct statvfs s;

	unsigned char *bytes = make("f", N);

	test_fill_disk(N / 2);
	size_t names = test_count_names(".");

	ck_assert_sys(statvfs(".", &s));
	view_open(4 + _i, "f", 0, &v);
	ck_assert(view_is(&v, bytes, N));
	ck_assert_uint_eq(v.info.source, SNAPMAP_SOURCE_COPY);
	view_close(&v);
	ck_assert_uint_eq(test_count_names("."), names);
	free(bytes);
}
END_TEST

/* --- a handle whose disk fills up afterwards */

START_TEST(test_stores_when_the_disk_is_full)
{
	struct view v = {0};

	if (!way_exists(_i))
		return;
	unsigned char *bytes = make("f", N), *edited = malloc(2 * N);

	view_open(_i, "f", 0, &v);
	test_fill_disk(0);
	/* Every page, and as many behind. */
	ck_assert_ok(snapmap_mut_resize(v.mut, 2 * N));
	memset(edited, 0x5a, 2 * N);
	memset(snapmap_mut_data(v.mut), 0x5a, 2 * N);
	view_look(&v);
	ck_assert(view_is(&v, edited, 2 * N));
	int rc = snapmap_mut_commit(v.mut, NULL);

	if (rc) {
		ck_assert_msg(rc == -ENOSPC, "%d: %s", rc, snapmap_last_error());
		ck_assert(strstr(snapmap_last_error(), "space"));
		ck_assert(test_file_is("f", bytes, N));
		view_look(&v);
		ck_assert_msg(view_is(&v, edited, 2 * N), "the failed commit lost edits");
		ck_assert_ok(snapmap_mut_rollback(v.mut));
		view_look(&v);
		ck_assert(view_is(&v, bytes, N));
	} else {
		ck_assert(test_file_is("f", edited, 2 * N));
	}
	/* With room again everything goes on. */
	ck_assert_sys(unlink("ballast"));
	ck_assert_ok(snapmap_mut_resize(v.mut, 2 * N));
	memset(snapmap_mut_data(v.mut), 0x5b, 2 * N);
	memset(edited, 0x5b, 2 * N);
	rc = snapmap_mut_commit(v.mut, NULL);
	ck_assert_msg(rc == 0, "%d: %s", rc, snapmap_last_error());
	ck_assert(test_file_is("f", edited, 2 * N));
	view_close(&v);
	free(bytes);
	free(edited);
}
END_TEST

/* In memory a hole that is read takes a page, which a full file system does not have. */
START_TEST(test_holes_are_read_when_the_disk_is_full)
{
	struct view v[WAYS] = {0}, later = {0};

	test_write_file("f", "first", 5);
	ck_assert_sys(truncate("f", (off_t)N));
	for (int way = 0; way < WAYS; way++)
		if (way_exists(way))
			view_open(way, "f", 0, &v[way]);
	test_fill_disk(0);
	for (int way = 0; way < WAYS; way++) {
		if (!way_exists(way))
			continue;
		touch_all(&v[way]);
		ck_assert(!memcmp(v[way].data, "first", 5));
		if (!view_try(way, "f", 0, &later)) {
			touch_all(&later);
			view_close(&later);
		}
		view_close(&v[way]);
	}
}
END_TEST

/* Growth that was committed is a hole of the image. */
START_TEST(test_committed_growth_is_read_when_the_disk_is_full)
{
	struct view v = {0};

	if (!way_exists(_i))
		return;
	unsigned char *bytes = make("f", 10000);

	view_open(_i, "f", 0, &v);
	ck_assert_ok(snapmap_mut_resize(v.mut, N));
	((unsigned char *)snapmap_mut_data(v.mut))[N - 1] = 1;
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	test_fill_disk(0);
	view_look(&v);
	touch_all(&v);
	ck_assert(!memcmp(v.data, bytes, 10000));
	ck_assert_uint_eq(v.data[N / 2], 0);
	ck_assert_uint_eq(v.data[N - 1], 1);
	/* And may be stored into. */
	memset(snapmap_mut_data(v.mut), 3, N);
	ck_assert_ok(snapmap_mut_rollback(v.mut));
	touch_all(&v);
	view_close(&v);
	free(bytes);
}
END_TEST

START_TEST(test_new_file_is_read_when_the_disk_is_full)
{
	struct view v = {0};

	ck_assert_ok(snapmap_mut_create("g", 0644, NULL, &v.mut));
	ck_assert_ok(snapmap_mut_resize(v.mut, N));
	((unsigned char *)snapmap_mut_data(v.mut))[5] = 1;
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	test_fill_disk(0);
	view_look(&v);
	touch_all(&v);
	memset(snapmap_mut_data(v.mut), 7, N);
	ck_assert_uint_eq(v.size, N);
	view_close(&v);
}
END_TEST

/* A borrowed descriptor: zeros are left out of the copy, which becomes sparse although the file is not. */
static int open_fill_and_read(void *arg)
{
	const int *a = arg;
	struct view v = {0};
	int rc = view_try_fd(a[0], a[1], 0, &v);

	if (rc)
		return rc;
	test_fill_disk(0);
	touch_all(&v);
	view_close(&v);
	return 0;
}

START_TEST(test_copy_by_a_borrowed_descriptor_is_read_when_the_disk_is_full)
{
	static const unsigned char zeros[N];
	int arg[2] = {4 + _i, -1};

	if (!test_is_root())
		test_skip("only root can become another user");
	test_write_file("f", zeros, N);
	ck_assert_sys(chmod("f", 0600));
	ck_assert_sys(chmod(".", 0777));
	arg[1] = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(test_as_user(65534, open_fill_and_read, arg), 0);
	close(arg[1]);
}
END_TEST

/* A cancelled or failed copy gives its room back. */
static int stop_at_end(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	return done >= total / 2;
}

START_TEST(test_cancelled_copy_gives_its_room_back)
{
	struct snapmap_options o = way_options(4 + _i, 0);
	struct view v = {0};
	struct statvfs before, after;

	free(make("f", 10 * N));
	o.progress = stop_at_end;
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	syncfs(fd);
	ck_assert_sys(statvfs(".", &before));
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(view_try_with(4 + _i, "f", &o, &v), -ECANCELED);
	syncfs(fd);
	close(fd);
	ck_assert_sys(statvfs(".", &after));
	/* Eight times half of it would be four times the file, more than there is room for slack. */
	ck_assert_uint_lt(before.f_bfree * before.f_frsize, after.f_bfree * after.f_frsize + 20 * N);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_open_when_the_disk_is_full);
	tcase_add_loop_test(tc, test_copy_when_there_is_room_for_half, 0, 2);
	for (int way = 1; way < WAYS; way += 2) {
		tcase_add_loop_test(tc, test_stores_when_the_disk_is_full, way, way + 1);
		tcase_add_loop_test(tc, test_committed_growth_is_read_when_the_disk_is_full, way, way + 1);
	}
	tcase_add_test(tc, test_holes_are_read_when_the_disk_is_full);
	tcase_add_test(tc, test_new_file_is_read_when_the_disk_is_full);
	tcase_add_loop_test(tc, test_copy_by_a_borrowed_descriptor_is_read_when_the_disk_is_full, 0, 2);
	tcase_add_loop_test(tc, test_cancelled_copy_gives_its_room_back, 0, 2);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("full");

	test_each_small_fs(s, "full", add_tests);
	return s;
}
