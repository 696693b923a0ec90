/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holes cost nothing (PITFALLS 6), and slow work can be watched and stopped
 * (PITFALLS 8).
 */
#include "config.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base.h"
#include "opening.h"

#define MIB ((size_t)1 << 20)

static bool tells_holes(void)
{
	return strcmp(test_fs()->name, "fuse") != 0;
}

/* 4 KiB of data in much more, at both ends and in the middle. */
static size_t make_sparse(void)
{
	size_t n = tells_holes() ? 256 * MIB : 48 * MIB;
	unsigned char page[4096];
	int fd = open("f", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	memset(page, 0x7e, sizeof(page));
	ck_assert_int_eq(pwrite(fd, page, 1, 5), 1);
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), (off_t)(n / 2)), sizeof(page));
	ck_assert_int_eq(pwrite(fd, page, 1, (off_t)n - 1), 1);
	ck_assert_sys(fsync(fd));
	close(fd);
	return n;
}

static void expect_sparse(const struct view *v, size_t n)
{
	ck_assert_uint_eq(v->size, n);
	ck_assert_uint_eq(v->data[5], 0x7e);
	ck_assert_uint_eq(v->data[4], 0);
	ck_assert_uint_eq(v->data[n / 2], 0x7e);
	ck_assert_uint_eq(v->data[n / 2 - 1], 0);
	ck_assert_uint_eq(v->data[n / 2 + 4096], 0);
	ck_assert_uint_eq(v->data[n - 1], 0x7e);
	ck_assert_uint_eq(v->data[n / 3], 0);
}

static int64_t free_bytes(const char *dir)
{
	struct statvfs s;

	ck_assert_sys(statvfs(dir, &s));
	return (int64_t)(s.f_bfree * s.f_frsize);
}

START_TEST(test_sparse_file_stays_sparse)
{
	struct view v = {0};
	struct stat st;

	if (!way_exists(_i))
		return;
	size_t n = make_sparse();

	int64_t before = free_bytes(".");

	view_open(_i, "f", 0, &v);
	expect_sparse(&v, n);
	/* Blocks of all kinds of size, and what one file system takes for itself. */
	ck_assert_uint_le(v.info.bytes_copied, MIB / 2);
	ck_assert_int_lt(before - free_bytes("."), 16 * (int64_t)MIB);
	if (v.mut) {
		/* And through a commit, of a file that grows as well. */
		((unsigned char *)snapmap_mut_data(v.mut))[n / 4] = 1;
		ck_assert_ok(snapmap_mut_resize(v.mut, 2 * n));
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		ck_assert_sys(stat("f", &st));
		ck_assert_int_eq(st.st_size, (off_t)(2 * n));
		ck_assert_int_lt(st.st_blocks * 512, 2 * (off_t)MIB);
	}
	view_close(&v);
}
END_TEST

/* A descriptor whose offset must stay cannot ask for holes: zeros are left out all the same. */
static int open_by_fd(void *arg)
{
	int *a = arg;
	struct view v = {0};
	int rc = view_try_fd(a[0], a[1], 0, &v);

	if (rc)
		return rc;
	rc = v.info.bytes_copied > MIB / 2 ? 1 : v.data[v.size / 2] != 0x7e || v.data[v.size / 3] ? 2 : 0;
	view_close(&v);
	return rc;
}

START_TEST(test_sparse_file_by_a_borrowed_descriptor)
{
	int arg[2] = {_i, -1};

	if (!test_is_root())
		test_skip("only root can become another user");
	make_sparse();
	ck_assert_sys(chmod("f", 0600));
	ck_assert_sys(truncate("f", (off_t)(40 * MIB)));
	int fd = open("f", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, "\x7e", 1, (off_t)(20 * MIB)), 1);
	arg[1] = fd;
	ck_assert_int_eq(test_as_user(65534, open_by_fd, arg), 0);
	close(fd);
}
END_TEST

START_TEST(test_what_cannot_be_told_is_data)
{
	uint64_t start, stop;
	int ends[2];

	/* Of a pipe nothing can be told. */
	ck_assert_sys(pipe2(ends, O_CLOEXEC));
	sparse_next_data(ends[0], 100, 3000, &start, &stop);
	ck_assert_uint_eq(start, 100);
	ck_assert_uint_eq(stop, 3000);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* --- progress and cancel */

struct watch {
	uint64_t last, total;
	int calls;
	int stop_at; /* number of the call that says stop, 0 for none */
	bool backwards, beyond;
};

static int watch_it(void *arg, uint64_t done, uint64_t total)
{
	struct watch *w = arg;

	w->calls++;
	w->backwards |= done < w->last;
	w->beyond |= done > total;
	w->last = done;
	w->total = total;
	return w->calls == w->stop_at;
}

/* Over an overlay a clone is one step: what lies below decides whether pieces of it would be safe. */
static int calls_expected(int way)
{
	return way_source(way) == SNAPMAP_SOURCE_REFLINK && !strncmp(test_fs()->name, "overlay", 7) ? 1 : 3;
}

/* Large enough for several calls: data for a copy, holes for a clone in pieces. */
static size_t make_large(int way)
{
	size_t n = way_source(way) == SNAPMAP_SOURCE_COPY || !test_fs()->reflink ? 36 * MIB : 700 * MIB;

	if (n == 36 * MIB) {
		test_make_file("f", n, test_seed());
	} else {
		test_make_file("f", 100000, test_seed());
		ck_assert_sys(truncate("f", (off_t)n));
	}
	return n;
}

START_TEST(test_progress_is_told)
{
	struct snapmap_options o = way_options(_i, 0);
	struct view v = {0};
	struct watch w = {0};

	if (!way_exists(_i))
		return;
	size_t n = make_large(_i);

	o.progress = watch_it;
	o.progress_arg = &w;
	ck_assert_ok(view_try_with(_i, "f", &o, &v));
	ck_assert_uint_eq(v.size, n);
	ck_assert_int_ge(w.calls, calls_expected(_i));
	ck_assert_uint_eq(w.total, n);
	ck_assert(!w.backwards);
	ck_assert(!w.beyond);
	view_close(&v);
}
END_TEST

START_TEST(test_cancel_leaves_nothing)
{
	struct snapmap_options o = way_options(_i, 0);
	struct watch w = {.stop_at = 1};
	struct view v = {0};
	uint64_t hash;

	if (!way_exists(_i))
		return;
	make_large(_i);
	hash = way_source(_i) == SNAPMAP_SOURCE_COPY ? test_hash_file("f") : 0;
	o.progress = watch_it;
	o.progress_arg = &w;
	size_t fds = test_count_fds(), maps = count_file_maps();
	int cancelled = 0;

	for (; w.stop_at < 100; w.stop_at++) {
		w.calls = 0;
		w.last = 0;
		int rc = view_try_with(_i, "f", &o, &v);

		if (!rc) {
			ck_assert_int_lt(w.calls, w.stop_at);
			view_close(&v);
			break;
		}
		ck_assert_int_eq(rc, -ECANCELED);
		ck_assert_msg(w.calls == w.stop_at, "called again after it said stop");
		ck_assert(strstr(snapmap_last_error(), "'f'") && strstr(snapmap_last_error(), "stop"));
		ck_assert_uint_eq(test_count_fds(), fds);
		ck_assert_uint_eq(count_file_maps(), maps);
		cancelled++;
	}
	ck_assert_int_ge(cancelled, calls_expected(_i));
	ck_assert(names_are(1));
	ck_assert(!hash || test_hash_file("f") == hash);
}
END_TEST

/* Also a small file can be stopped, whatever serves it. */
START_TEST(test_cancel_of_a_small_file)
{
	struct snapmap_options o = way_options(_i, 0);
	struct watch w = {.stop_at = 1};
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_make_file("f", 10000, 1);
	o.progress = watch_it;
	o.progress_arg = &w;
	ck_assert_int_eq(view_try_with(_i, "f", &o, &v), -ECANCELED);
	ck_assert(names_are(1));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_sparse_file_stays_sparse, 2, WAYS);
	tcase_add_loop_test(tc, test_sparse_file_by_a_borrowed_descriptor, 4, WAYS);
	tcase_add_test(tc, test_what_cannot_be_told_is_data);
	tcase_add_loop_test(tc, test_progress_is_told, 2, WAYS);
	tcase_add_loop_test(tc, test_cancel_leaves_nothing, 2, WAYS);
	tcase_add_loop_test(tc, test_cancel_of_a_small_file, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("sparse");

	test_each_fs(s, "sparse", add_tests);
	return s;
}
