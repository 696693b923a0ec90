/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Point in time (promise 2): under a live writer, whatever claims to be one state
 * of the file was one.
 *
 * The writers stamp the whole file with a number, version by version, so that a
 * state which never existed can be told from one that did. A fuzzy snapshot may
 * hold anything; it has only to say so.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "opening.h"

#define PAGE ((size_t)4096)
#define ROUNDS 12

static void nap(long microseconds)
{
	nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

/* Two words of a version in each page. */
static void fill_version(unsigned char *buf, size_t n, uint64_t version)
{
	for (size_t at = 0; at < n; at += PAGE / 2)
		memcpy(buf + at, &version, sizeof(version));
}

static uint64_t word(const struct view *v, size_t page, size_t half)
{
	uint64_t w;

	memcpy(&w, v->data + page * PAGE + half * PAGE / 2, sizeof(w));
	return w;
}

static bool is_one_version(const struct view *v)
{
	uint64_t first = word(v, 0, 0);

	for (size_t page = 0; page < v->size / PAGE; page++)
		if (word(v, page, 0) != first || word(v, page, 1) != first)
			return false;
	return true;
}

/* A writer that goes from the first page to the last: at any instant the file is new up to some place, then old. */
static bool is_one_instant(const struct view *v)
{
	uint64_t last = word(v, 0, 0), first = last;

	for (size_t page = 0; page < v->size / PAGE; page++)
		for (size_t half = 0; half < 2; half++) {
			uint64_t w = word(v, page, half);

			if (w > last || w + 1 < first)
				return false;
			last = w;
		}
	return true;
}

/* Opens again and again while @work runs; @good judges what claims to be a point in time. */
static void watch(int way, size_t n, void (*work)(void *), bool (*good)(const struct view *))
{
	unsigned char *bytes = calloc(1, n);
	struct worker w;
	int rc;

	if (row_is_slow() && way_edits(way)) {
		free(bytes);
		return;
	}
	fill_version(bytes, n, 1);
	test_write_file("f", bytes, n);
	free(bytes);
	worker_start(work, &n, &w);
	/* A file system that never lets anything be proved is asked less often. */
	for (int i = 0; i < (row_is_slow() ? 1 : ROUNDS); i++) {
		struct view v = {0};
		bool strict = i % 3 == 2, clone;

		rc = view_try(way, "f", strict ? SNAPMAP_STRICT : 0, &v);
		ck_assert_msg(rc == 0 || (strict && rc == -EBUSY), "%d: %s", rc, snapmap_last_error());
		if (rc) {
			ck_assert_msg(!test_fs()->reflink || way_source(way) == SNAPMAP_SOURCE_COPY,
				      "a clone is always a point in time: %s", snapmap_last_error());
			continue;
		}
		clone = v.info.source == SNAPMAP_SOURCE_REFLINK;
		ck_assert(!strict || v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME);
		ck_assert(!clone || v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME);
		if (v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME)
			ck_assert_msg(good(&v), "round %d: a state that never existed, said to be a point in time (%s)",
				      i, clone ? "reflink" : "copy");
		view_close(&v);
		nap(i % 4 * 300);
	}
	worker_stop(&w);
}

/* --- PITFALLS 5: write(2) */

static void write_versions(void *arg)
{
	size_t n = *(size_t *)arg;
	unsigned char *bytes = calloc(1, n);
	int fd = open("f", O_RDWR | O_CLOEXEC);

	for (uint64_t version = 2;; version++) {
		fill_version(bytes, n, version);
		if (pwrite(fd, bytes, n, 0) != (ssize_t)n)
			_exit(1);
		/* Pauses let some copies be made between two versions, and some begin within one. */
		nap((long)(version % 5) * 400);
	}
}

START_TEST(test_copy_under_a_live_writer)
{
	if (way_exists(_i))
		watch(_i, (size_t)1 << 20, write_versions, is_one_version);
}
END_TEST

/* The same, opening the file anew for each version, so that leases are to be had in between. */
static void reopen_and_write_versions(void *arg)
{
	size_t n = *(size_t *)arg;
	unsigned char *bytes = calloc(1, n);

	for (uint64_t version = 2;; version++) {
		int fd = open("f", O_RDWR | O_CLOEXEC);

		fill_version(bytes, n, version);
		if (pwrite(fd, bytes, n, 0) != (ssize_t)n)
			_exit(1);
		close(fd);
		nap((long)(version % 3) * 700);
	}
}

START_TEST(test_copy_under_a_writer_that_comes_and_goes)
{
	if (way_exists(_i))
		watch(_i, (size_t)256 << 10, reopen_and_write_versions, is_one_version);
}
END_TEST

/* --- PITFALLS 5 and 20: stores through a shared mapping, into pages that are dirty already */

static void store_versions(void *arg)
{
	size_t n = *(size_t *)arg;
	int fd = open("f", O_RDWR | O_CLOEXEC);
	unsigned char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd); /* the mapping alone must be noticed */
	if (p == MAP_FAILED)
		_exit(1);
	for (uint64_t version = 2;; version++)
		for (size_t at = 0; at < n; at += PAGE / 2)
			atomic_store((_Atomic uint64_t *)(void *)(p + at), version);
}

START_TEST(test_copy_under_a_shared_mapping)
{
	if (way_exists(_i))
		watch(_i, (size_t)128 << 10, store_versions, is_one_instant);
}
END_TEST

/* --- rename: each version is a file of its own */

static void rename_versions(void *arg)
{
	size_t n = *(size_t *)arg;
	unsigned char *bytes = calloc(1, n);

	for (uint64_t version = 2;; version++) {
		int fd = open("g", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		fill_version(bytes, n, version);
		if (write(fd, bytes, n) != (ssize_t)n)
			_exit(1);
		close(fd);
		if (rename("g", "f"))
			_exit(1);
	}
}

START_TEST(test_every_replaced_version_is_whole)
{
	/* On FUSE a rename over an open file leaves the name missing for a moment. */
	if (way_exists(_i) && !row_is_slow())
		watch(_i, (size_t)64 << 10, rename_versions, is_one_version);
}
END_TEST

/* --- shrinking while it is copied: the progress function does it, so that it surely happens */

struct meddler {
	void (*meddle)(void);
	bool always; /* at each call, not only at the second */
	int calls;
	pid_t child;
};

static void meddler_wait(struct meddler *m)
{
	if (m->child && waitpid(m->child, NULL, 0) != m->child)
		abort();
	m->child = 0;
}

/*
 * Another process makes the change. Where the copy holds a lease it has to wait
 * for us, so it is given some time, but not waited for.
 */
static int meddle(void *arg, uint64_t done, uint64_t total)
{
	struct meddler *m = arg;

	if (done > total)
		abort();
	if (m->calls++ != 1 && !m->always)
		return 0;
	meddler_wait(m);
	m->child = fork();
	if (!m->child) {
		m->meddle();
		_exit(0);
	}
	for (int i = 0; i < 20; i++) {
		if (waitpid(m->child, NULL, WNOHANG) == m->child) {
			m->child = 0;
			break;
		}
		nap(500);
	}
	return 0;
}

static void cut(void)
{
	if (truncate("f", 3 << 20))
		_exit(1);
}

#define CUT_SIZE 100

/* Two changes, with a state of its own between them. */
static void cut_and_grow(void)
{
	if (truncate("f", CUT_SIZE) || truncate("f", 12 << 20))
		_exit(1);
}

static void grow(void)
{
	if (truncate("f", (40 << 20) + 5))
		_exit(1);
}

static void store(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	if (pwrite(fd, "changed", 7, 12345) != 7)
		_exit(1);
}

static void store_twice(void)
{
	store();
	store();
}

static void (*const meddlers[])(void) = {cut, cut_and_grow, grow, store, store_twice};
#define MEDDLERS ((int)(sizeof(meddlers) / sizeof(meddlers[0])))

/*
 * The file changes after part of it was copied. Without STRICT the call has to
 * succeed and to say what it is worth; with it, to try again or to refuse.
 */
START_TEST(test_file_changes_within_the_copy)
{
	static const size_t size = 12 << 20;
	unsigned char *first = malloc(size);
	int way = 4 + _i % 2;

	if (row_is_slow() && way_edits(way)) {
		free(first);
		return;
	}
	test_fill(first, size, test_seed());
	for (int strict = 0; strict < 2; strict++) {
		struct meddler m = {.meddle = meddlers[_i / 2], .always = meddlers[_i / 2] == store_twice};
		struct snapmap_options o = way_options(way, strict ? SNAPMAP_STRICT : 0);
		struct view v = {0};
		size_t n;
		int rc;

		test_write_file("f", first, size);
		o.progress = meddle;
		o.progress_arg = &m;
		rc = view_try_with(way, "f", &o, &v);
		meddler_wait(&m);
		ck_assert_int_ge(m.calls, 2);
		if (rc) {
			ck_assert_msg(strict && rc == -EBUSY, "%d: %s", rc, snapmap_last_error());
			ck_assert(strstr(snapmap_last_error(), "'f'") &&
				  strstr(snapmap_last_error(), "without the strict flag"));
			continue;
		}
		if (m.always)
			ck_assert_uint_eq(v.info.consistency, SNAPMAP_CONSISTENCY_FUZZY);
		if (v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME) {
			void *now = test_read_file("f", &n);

			ck_assert_msg(view_is(&v, now, n) || view_is(&v, first, size) ||
					      (m.meddle == cut_and_grow && view_is(&v, first, CUT_SIZE)),
				      "neither before nor after, nor between");
			free(now);
		}
		ck_assert(!strict || v.info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME);
		for (size_t at = 0; at < v.size; at += PAGE)
			(void)((const volatile unsigned char *)v.data)[at];
		view_close(&v);
	}
	free(first);
}
END_TEST

/* A clone in pieces has the same duty. */
static void cut_large(void)
{
	if (truncate("f", 4096 + 17))
		_exit(1);
}

static void store_far(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	/* Before what was cloned and behind it. */
	if (pwrite(fd, "one", 3, 0) != 3 || pwrite(fd, "two", 3, (off_t)500 << 20) != 3)
		_exit(1);
}

START_TEST(test_file_changes_within_a_clone_in_pieces)
{
	static void (*const large_meddlers[])(void) = {cut_large, store_far};
	struct meddler m = {.meddle = large_meddlers[_i / 2]};
	struct snapmap_options o = way_options(2 + _i % 2, 0);
	struct view v = {0};

	if (!test_fs()->reflink)
		return;
	test_write_file("f", "first", 5);
	ck_assert_sys(truncate("f", (off_t)600 << 20));
	o.progress = meddle;
	o.progress_arg = &m;
	ck_assert_ok(view_try_with(2 + _i % 2, "f", &o, &v));
	meddler_wait(&m);
	ck_assert_uint_eq(v.info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	if (m.calls < 2 || v.size == (size_t)600 << 20) {
		/* All of the change, or nothing of it. */
		bool one = !memcmp(v.data, "one", 3);
		bool two = v.size > (size_t)500 << 20 && !memcmp(v.data + ((size_t)500 << 20), "two", 3);

		ck_assert(m.meddle == store_far || m.calls < 2);
		ck_assert_msg(one == two, "half of the change");
	} else {
		ck_assert_uint_eq(v.size, 4096 + 17);
	}
	view_close(&v);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_copy_under_a_live_writer, 2, WAYS);
	tcase_add_loop_test(tc, test_copy_under_a_writer_that_comes_and_goes, 2, WAYS);
	tcase_add_loop_test(tc, test_copy_under_a_shared_mapping, 2, WAYS);
	tcase_add_loop_test(tc, test_every_replaced_version_is_whole, 4, WAYS);
	tcase_add_loop_test(tc, test_file_changes_within_the_copy, 0, 2 * MEDDLERS);
	tcase_add_loop_test(tc, test_file_changes_within_a_clone_in_pieces, 0, 4);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("consistency");

	test_each_fs(s, "consistency", add_tests);
	return s;
}
