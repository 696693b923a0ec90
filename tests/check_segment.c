/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading into a segment: what is read later is what was there at the call. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "segmenting.h"

#define SIZE (64 * PAGE)

/* ---- the file changes afterwards ---- */

static int overwrite(void *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	static char other[SIZE];

	memset(other, 0xcd, SIZE);
	return fd < 0 || pwrite(fd, other, SIZE, 0) != SIZE || close(fd);
}

static int cut(void *path)
{
	return truncate(path, PAGE + 5);
}

static int delete (void *path)
{
	return unlink(path);
}

static int replace(void *path)
{
	int fd = open("other", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 || write(fd, "other", 5) != 5 || close(fd) || rename("other", path);
}

START_TEST(test_bytes_are_those_of_the_call)
{
	static int (*const changes[])(void *) = {overwrite, cut, delete, replace};
	struct snapmap_segment *s = make_segment(_i % SEGMENT_WAYS, SIZE);
	char *base = snapmap_segment_base(s);
	bool deferred;
	int fd;

	test_make_file("f", SIZE, 1);
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	deferred = stats_of(s).reads_deferred;
	ck_assert(deferred || !must_defer(s));
	ck_assert(!deferred || stats_of(s).snapshots == 1);
	/* A page that was touched before, too. */
	ck_assert(is_filled(base + 9 * PAGE, PAGE, 1, 9 * PAGE));
	close(fd);
	alarm(30);
	ck_assert_int_eq(test_as_user(getuid(), changes[_i / SEGMENT_WAYS], (void *)(uintptr_t) "f"), 0);
	alarm(0);
	ck_assert(is_filled(base, SIZE, 1, 0));
	ck_assert_int_eq(stats_of(s).error, 0);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_any_address_and_offset)
{
	static const size_t places[][3] = {
		{0, 0, SIZE - 1},
		{100, 100, 30 * PAGE},
		{7, 0, 30 * PAGE},
		{PAGE - 1, 3 * PAGE + 1, 20 * PAGE + 5},
		{PAGE, 2 * PAGE, 9 * PAGE},
		{50, 60, 5 * PAGE},
		{1, 2, 100},
		{PAGE - 1, 5, 2},
	};
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s), *model = malloc(SIZE), *file = malloc(SIZE);
	int fd;

	test_make_file("f", SIZE, 2);
	test_fill(file, SIZE, 2);
	fd = open_file("f", O_RDONLY);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		size_t at = places[i][0], offset = places[i][1], n = places[i][2];

		memset(base, 'x', SIZE);
		memset(model, 'x', SIZE);
		if (n > SIZE - offset)
			n = SIZE - offset;
		memcpy(model + at, file + offset, n);
		ck_is(snapmap_segment_pread(s, fd, base + at, n, (int64_t)offset), n);
		ck_assert_msg(!memcmp(base, model, SIZE), "place %zu", i);
	}
	close(fd);
	free(model);
	free(file);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_end_of_file)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int fd;

	test_make_file("f", 10 * PAGE + 77, 3);
	fd = open_file("f", O_RDONLY);
	memset(base, 'x', SIZE);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), 10 * PAGE + 77);
	ck_assert(is_filled(base, 10 * PAGE + 77, 3, 0));
	/* Nothing behind it was touched. */
	ck_assert(base[10 * PAGE + 77] == 'x' && base[11 * PAGE] == 'x');
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 10 * PAGE + 77), 0);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, (int64_t)1 << 50), 0);
	ck_is(snapmap_segment_pread(s, fd, base, 0, 0), 0);
	ck_is(snapmap_segment_pread(s, fd, base, 20, 10 * PAGE + 70), 7);
	close(fd);
	test_write_file("empty", "", 0);
	fd = open_file("empty", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), 0);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* ---- what stands for what ---- */

START_TEST(test_a_store_makes_the_page_private)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	struct snapmap_segment_stats st;
	int fd;

	test_make_file("f", SIZE, 4);
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	st = stats_of(s);
	if (!st.reads_deferred) {
		close(fd);
		snapmap_segment_destroy(s);
		test_skip("not deferred here");
	}
	ck_assert_uint_eq(st.bytes_standing, SIZE);
	base[3 * PAGE + 5] ^= 1;
	*(volatile char *)(base + 10 * PAGE) = base[10 * PAGE]; /* the same, but stored */
	/* A store by the kernel. */
	ck_is(pread(fd, base + 20 * PAGE + 1, 10, 20 * PAGE + 1), 10);
	ck_assert_uint_eq(stats_of(s).bytes_standing, SIZE - 3 * PAGE);
	base[3 * PAGE + 5] ^= 1;
	ck_assert(is_filled(base, SIZE, 4, 0));
	ck_assert_uint_eq(stats_of(s).bytes_standing, SIZE - 3 * PAGE);
	/* Read again, it stands for the file again. */
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	st = stats_of(s);
	ck_assert_uint_eq(st.bytes_standing, SIZE);
	ck_assert_uint_eq(st.snapshots, 1);
	/* With the last page the snapshot goes. */
	for (size_t i = 0; i < 32; i++)
		base[i * PAGE] = 'y';
	ck_ok(snapmap_segment_zero(s, base + 32 * PAGE, 31 * PAGE));
	st = stats_of(s);
	ck_assert_uint_eq(st.bytes_standing, PAGE);
	ck_assert_uint_eq(st.snapshots, 1);
	base[SIZE - 1] = 'y';
	st = stats_of(s);
	ck_assert_uint_eq(st.bytes_standing, 0);
	ck_assert_uint_eq(st.snapshots, 0);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_a_read_replaces_whole_pages_only)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int one, two;

	test_make_file("1", SIZE, 5);
	test_make_file("2", SIZE, 6);
	one = open_file("1", O_RDONLY);
	two = open_file("2", O_RDONLY);
	ck_is(snapmap_segment_pread(s, one, base, SIZE, 0), SIZE);
	base[8 * PAGE + 1] = 'z';
	/* Congruent, so that it is deferred in every way. */
	ck_is(snapmap_segment_pread(s, two, base + 4 * PAGE + 100, 20 * PAGE, 100), 20 * PAGE);
	ck_assert(is_filled(base, 4 * PAGE + 100, 5, 0));
	ck_assert(is_filled(base + 4 * PAGE + 100, 20 * PAGE, 6, 100));
	ck_assert(is_filled(base + 24 * PAGE + 100, SIZE - 24 * PAGE - 100, 5, 24 * PAGE + 100));
	ck_assert(stats_of(s).snapshots == 2 || !must_defer(s));
	ck_is(snapmap_segment_pread(s, two, base, SIZE, 0), SIZE);
	ck_assert(stats_of(s).snapshots == 1 || !must_defer(s));
	ck_assert(is_filled(base, SIZE, 6, 0));
	close(one);
	close(two);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_zero_loads_nothing)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int fd;

	test_make_file("f", SIZE, 7);
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	ck_ok(snapmap_segment_zero(s, base + 2 * PAGE, 40 * PAGE));
	ck_assert_uint_eq(stats_of(s).bytes_loaded, 0);
	ck_ok(snapmap_segment_zero(s, base + 100, 10));
	ck_ok(snapmap_segment_zero(s, base + 50 * PAGE - 3, 2 * PAGE + 6));
	ck_ok(snapmap_segment_zero(s, base + 60 * PAGE - 3, 6));
	ck_ok(snapmap_segment_zero(s, base, 0));
	ck_assert(is_zero(base + 2 * PAGE, 40 * PAGE) && is_zero(base + 100, 10));
	ck_assert(is_zero(base + 50 * PAGE - 3, 2 * PAGE + 6) && is_zero(base + 60 * PAGE - 3, 6));
	ck_assert(is_filled(base, 100, 7, 0) && is_filled(base + 110, 2 * PAGE - 110, 7, 110));
	ck_assert(is_filled(base + 42 * PAGE, 8 * PAGE - 3, 7, 42 * PAGE));
	ck_assert(is_filled(base + 52 * PAGE + 3, 8 * PAGE - 6, 7, 52 * PAGE + 3));
	ck_assert(is_filled(base + 60 * PAGE + 3, 4 * PAGE - 3, 7, 60 * PAGE + 3));
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_reads_of_one_unchanged_file_share_a_snapshot)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	size_t fds = 0;
	int fd, writer;

	if (test_fs()->served) {
		snapmap_segment_destroy(s);
		test_skip("the server is asked each time: it is not known whether the file changed");
	}
	test_make_file("f", SIZE, 8);
	fd = open_file("f", O_RDONLY);
	for (size_t at = 0; at < SIZE; at += 8 * PAGE) {
		ck_is(snapmap_segment_pread(s, fd, base + at, 8 * PAGE, (int64_t)at), 8 * PAGE);
		ck_assert(!at || test_count_fds() == fds);
		fds = test_count_fds();
	}
	if (must_defer(s) && strcmp(test_fs()->name, "tmpfs"))
		ck_assert_uint_eq(stats_of(s).snapshots, 1);
	/* Not once it has changed. */
	writer = open_file("f", O_WRONLY);
	ck_is(pwrite(writer, "changed", 7, 0), 7);
	close(writer);
	ck_is(snapmap_segment_pread(s, fd, base + 32 * PAGE, 8 * PAGE, 0), 8 * PAGE);
	ck_assert(!memcmp(base + 32 * PAGE, "changed", 7));
	ck_assert(is_filled(base, 32 * PAGE, 8, 0) && is_filled(base + 40 * PAGE, 24 * PAGE, 8, 40 * PAGE));
	/* Many small ones. */
	for (size_t at = 0; at < SIZE; at += 64)
		ck_is(snapmap_segment_pread(s, fd, base + at, 64, (int64_t)at), 64);
	memcpy(base, "changed", 7);
	ck_assert(test_file_is("f", base, SIZE));
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* ---- as read(2) ---- */

START_TEST(test_read_moves_the_offset)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int fd;

	test_make_file("f", 30 * PAGE + 5, 9);
	fd = open_file("f", O_RDONLY);
	ck_is(lseek(fd, PAGE, SEEK_SET), PAGE);
	ck_is(snapmap_segment_read(s, fd, base, 10 * PAGE), 10 * PAGE);
	ck_is(lseek(fd, 0, SEEK_CUR), 11 * PAGE);
	ck_assert(is_filled(base, 10 * PAGE, 9, PAGE));
	ck_is(snapmap_segment_read(s, fd, base, SIZE), 19 * PAGE + 5);
	ck_is(lseek(fd, 0, SEEK_CUR), 30 * PAGE + 5);
	ck_is(snapmap_segment_read(s, fd, base, SIZE), 0);
	ck_is(lseek(fd, 0, SEEK_CUR), 30 * PAGE + 5);
	ck_assert(is_filled(base, 19 * PAGE + 5, 9, 11 * PAGE));
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

static void *write_to(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 5; i++)
		if (write(fd, "12345", 5) != 5)
			return NULL;
	return NULL;
}

static void on_alarm(int signal)
{
	(void)signal;
}

START_TEST(test_pipes_and_sockets)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	struct sigaction act = {.sa_handler = on_alarm};
	char *base = snapmap_segment_base(s);
	int fds[2];
	pthread_t thread;

	ck_assert(!pipe2(fds, O_CLOEXEC));
	ck_is(write(fds[1], "hello", 5), 5);
	ck_is(snapmap_segment_read(s, fds[0], base + PAGE - 2, SIZE - PAGE), 5);
	ck_assert(!memcmp(base + PAGE - 2, "hello", 5));
	ck_is(snapmap_segment_pread(s, fds[0], base, SIZE, 0), -ESPIPE);
	ck_is(snapmap_segment_write(s, fds[1], base + PAGE - 1, 4), 4);
	ck_is(snapmap_segment_pwrite(s, fds[1], base, 4, 0), -ESPIPE);
	ck_is(snapmap_segment_read(s, fds[0], base, 100), 4);
	ck_assert(!memcmp(base, "ello", 4));
	/* Interrupted. */
	sigaction(SIGALRM, &act, NULL);
	alarm(1);
	ck_is(snapmap_segment_read(s, fds[0], base, 100), -EINTR);
	close(fds[0]);
	close(fds[1]);
	ck_assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	pthread_create(&thread, NULL, write_to, &fds[0]);
	for (size_t got = 0; got < 25;) {
		ssize_t n = snapmap_segment_read(s, fds[1], base + 10 * PAGE + got, SIZE - 11 * PAGE);

		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	pthread_join(thread, NULL);
	ck_assert(!memcmp(base + 10 * PAGE, "1234512345123451234512345", 25));
	close(fds[0]);
	close(fds[1]);
	ck_assert_uint_ge(stats_of(s).reads_plain, 3);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_what_read_refuses)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int fd;

	test_make_file("f", SIZE, 10);
	ck_is(snapmap_segment_pread(s, -1, base, SIZE, 0), -EBADF);
	ck_is(snapmap_segment_read(s, 1000, base, 5), -EBADF);
	fd = open_file("f", O_WRONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), -EBADF);
	ck_is(snapmap_segment_read(s, fd, base, 1), -EBADF);
	close(fd);
	fd = open_file("f", O_PATH);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), -EBADF);
	close(fd);
	fd = open_file(".", O_RDONLY | O_DIRECTORY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), -EISDIR);
	ck_is(snapmap_segment_pread(s, fd, base, 5, 0), -EISDIR);
	ck_is(snapmap_segment_read(s, fd, base, SIZE), -EISDIR);
	close(fd);
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, -1), -EINVAL);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, INT64_MAX - 5), -EINVAL);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE + 1, 0), -EFAULT);
	ck_is(snapmap_segment_pread(s, fd, base + 1, SIZE, 0), -EFAULT);
	ck_is(snapmap_segment_pread(s, fd, base - 1, 1, 0), -EFAULT);
	ck_is(snapmap_segment_pread(s, fd, NULL, 1, 0), -EFAULT);
	ck_is(snapmap_segment_pread(NULL, fd, base, 1, 0), -EINVAL);
	ck_is(snapmap_segment_pwrite(s, fd, base, 1, 0), -EBADF);
	ck_is(snapmap_segment_write(s, fd, base, 1), -EBADF);
	ck_is(snapmap_segment_zero(s, base + SIZE, 1), -EFAULT);
	ck_is(snapmap_segment_get_stats(s, NULL), -EINVAL);
	close(fd);
	snapmap_segment_destroy(s);
	snapmap_segment_destroy(NULL);
}
END_TEST

START_TEST(test_what_create_refuses)
{
	struct snapmap_options o = {.size = sizeof(o)};
	struct snapmap_segment *s = NULL;

	ck_is(snapmap_segment_create(0, NULL, &s), -EINVAL);
	ck_is(snapmap_segment_create(PAGE, NULL, NULL), -EINVAL);
	ck_is(snapmap_segment_create(SIZE_MAX, NULL, &s), -EFBIG);
	ck_is(snapmap_segment_create((size_t)1 << 60, NULL, &s), -EFBIG);
	o.flags = SNAPMAP_SPILL;
	ck_is(snapmap_segment_create(PAGE, &o, &s), -EINVAL);
	o.flags = 0;
	o.source = SNAPMAP_SOURCE_COPY;
	ck_is(snapmap_segment_create(PAGE, &o, &s), -EINVAL);
	o.size = 1;
	ck_is(snapmap_segment_create(PAGE, &o, &s), -EINVAL);
	ck_assert_ptr_null(s);
	/* Only address space. */
	ck_ok(snapmap_segment_create((size_t)1 << 44, NULL, &s));
	((char *)snapmap_segment_base(s))[((size_t)1 << 44) - 1] = 1;
	ck_assert_uint_eq(snapmap_segment_size(s), (size_t)1 << 44);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_direct_descriptors)
{
	struct snapmap_segment *s = make_segment(_i, SIZE);
	char *base = snapmap_segment_base(s);
	int fd;

	test_make_file("f", SIZE, 11);
	fd = open("f", O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		snapmap_segment_destroy(s);
		test_skip("no O_DIRECT");
	}
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	ck_assert(is_filled(base, SIZE, 11, 0));
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* While it is open for writing it can be shared, but not leased. */
START_TEST(test_no_snapshot_is_a_plain_read)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_STRICT | (_i ? SNAPMAP_INHERIT : 0)};
	struct snapmap_segment *s = make_segment(_i, SIZE), *strict;
	char *base = snapmap_segment_base(s);
	struct snapmap_segment_stats st;
	ssize_t rc;
	int fd;

	test_make_file("f", SIZE, 12);
	fd = open_file("f", O_RDWR);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	st = stats_of(s);
	ck_assert_uint_eq(st.reads_deferred + st.reads_plain, 1);
	ck_assert(!st.reads_plain == !st.refused[0]);
	ck_assert(test_fs()->reflink || test_fs()->served ? st.reads_deferred : st.reads_plain);
	ck_is(pwrite(fd, "new", 3, 0), 3);
	ck_assert(is_filled(base, SIZE, 12, 0));
	ck_ok(snapmap_segment_create(SIZE, &o, &strict));
	rc = snapmap_segment_pread(strict, fd, snapmap_segment_base(strict), SIZE, 0);
	ck_assert_msg(rc == (st.reads_deferred ? (ssize_t)SIZE : -EBUSY), "%zd: %s", rc, snapmap_last_error());
	/* What is small enough is none. */
	ck_is(snapmap_segment_pread(strict, fd, snapmap_segment_base(strict), 100, 0), 100);
	snapmap_segment_destroy(strict);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* Files of others, that one may only read. */
static int read_others(void *arg)
{
	struct snapmap_segment *s;
	int fd = open("f", O_RDONLY | O_CLOEXEC);

	(void)arg;
	if (fd < 0 || snapmap_segment_create(SIZE, NULL, &s))
		return 1;
	if (snapmap_segment_pread(s, fd, snapmap_segment_base(s), SIZE, 0) != (ssize_t)SIZE)
		return 2;
	if (!is_filled(snapmap_segment_base(s), SIZE, 13, 0))
		return 3;
	snapmap_segment_destroy(s);
	return close(fd);
}

START_TEST(test_another_user)
{
	test_make_file("f", SIZE, 13);
	ck_assert(!chmod("f", 0644) && !chmod(".", 0755));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : getuid(), read_others, NULL), 0);
}
END_TEST

/* Nothing is left: the harness looks at descriptors, this at mappings. */
START_TEST(test_nothing_is_left)
{
	size_t maps = 0;

	test_make_file("f", SIZE, 14);
	for (int i = 0; i < 5; i++) {
		struct snapmap_segment *s = make_segment(_i, SIZE);
		int fd = open_file("f", O_RDONLY);
		char *base = snapmap_segment_base(s);

		for (size_t at = 0; at < 16 * PAGE; at += PAGE)
			ck_is(snapmap_segment_pread(s, fd, base + at, SIZE - at, 0), SIZE - at);
		ck_assert(is_filled(base + 15 * PAGE, SIZE - 15 * PAGE, 14, 0));
		base[5] = 1;
		snapmap_segment_destroy(s);
		close(fd);
		if (i == 1)
			maps = test_count_maps();
	}
	ck_assert_uint_le(test_count_maps(), maps + 2);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_bytes_are_those_of_the_call, 0, 4 * SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_any_address_and_offset, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_end_of_file, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_a_store_makes_the_page_private, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_a_read_replaces_whole_pages_only, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_zero_loads_nothing, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_reads_of_one_unchanged_file_share_a_snapshot, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_read_moves_the_offset, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_pipes_and_sockets, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_what_read_refuses, 0, SEGMENT_WAYS);
	tcase_add_test(tc, test_what_create_refuses);
	tcase_add_loop_test(tc, test_direct_descriptors, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_no_snapshot_is_a_plain_read, 0, SEGMENT_WAYS);
	tcase_add_test(tc, test_another_user);
	tcase_add_loop_test(tc, test_nothing_is_left, 0, SEGMENT_WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("segment");

	test_each_fs(s, "segment", add);
	return s;
}
