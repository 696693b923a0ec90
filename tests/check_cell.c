/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cells: which snapshot readers get, while the file changes in every way. */
#include "config.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "segmenting.h"

static struct snapmap_cell *open_cell(const char *path)
{
	struct snapmap_cell *c;

	ck_ok(snapmap_cell_open(path, NULL, &c));
	return c;
}

static struct snapmap_cell_info info_of(struct snapmap_cell *c)
{
	struct snapmap_cell_info info;

	ck_ok(snapmap_cell_get_info(c, &info));
	return info;
}

static bool shows(struct snapmap_cell *c, const char *text)
{
	const struct snapmap *map = snapmap_cell_enter(c);
	bool same = snapmap_size(map) == strlen(text) && !memcmp(snapmap_data(map), text, strlen(text));

	snapmap_cell_leave(c);
	return same;
}

/* Time decides nothing but how long a failure takes. */
static void wait_until_shown(struct snapmap_cell *c, const char *text)
{
	for (int i = 0; i < 2000; i++) {
		if (shows(c, text))
			return;
		usleep(5000);
	}
	ck_abort_msg("\"%s\" does not appear; error %d", text, info_of(c).error);
}

static void write_text(const char *path, const char *text)
{
	test_write_file(path, text, strlen(text));
}

/* As a careful program does. */
static void replace(const char *path, const char *text)
{
	write_text("new", text);
	ck_assert(!rename("new", path));
}

START_TEST(test_what_readers_get)
{
	const struct snapmap *map, *again;
	struct snapmap_cell *c;

	write_text("f", "one");
	c = open_cell("f");
	ck_assert(shows(c, "one"));
	map = snapmap_cell_enter(c);
	replace("f", "two");
	ck_ok(snapmap_cell_refresh(c));
	/* Nested, a reader may get a newer one; what it had stays. */
	again = snapmap_cell_enter(c);
	ck_assert(!memcmp(snapmap_data(again), "two", 3));
	ck_assert(!memcmp(snapmap_data(map), "one", 3));
	snapmap_cell_leave(c);
	ck_assert(snapmap_size(map) == 3 && !memcmp(snapmap_data(map), "one", 3));
	ck_assert_uint_ge(info_of(c).waiting, 1);
	snapmap_cell_leave(c);
	for (int i = 0; i < 2000 && info_of(c).waiting; i++)
		usleep(5000);
	ck_assert_uint_eq(info_of(c).waiting, 0);
	ck_assert_uint_ge(info_of(c).published, 2);
	ck_ok(snapmap_cell_refresh(c));
	snapmap_cell_close(c);
}
END_TEST

START_TEST(test_the_path_is_followed)
{
	struct snapmap_cell *c;
	int fd;

	ck_assert(!mkdir("d", 0755) && !mkdir("e", 0755));
	write_text("d/f", "one");
	c = open_cell("d/f");
	/* Written in place. */
	fd = open_file("d/f", O_WRONLY);
	ck_assert(pwrite(fd, "2wo", 3, 0) == 3);
	close(fd);
	wait_until_shown(c, "2wo");
	fd = open_file("d/f", O_WRONLY | O_APPEND);
	ck_assert(write(fd, "+", 1) == 1);
	close(fd);
	wait_until_shown(c, "2wo+");
	/* Moved over. */
	replace("d/f", "three");
	wait_until_shown(c, "three");
	/* Deleted, and made anew. */
	ck_assert(!unlink("d/f"));
	usleep(30000);
	ck_assert(shows(c, "three"));
	write_text("d/f", "four");
	wait_until_shown(c, "four");
	/* The directory goes, and another comes. */
	write_text("e/f", "five");
	ck_assert(!rename("d", "x"));
	usleep(20000);
	ck_assert(shows(c, "four"));
	ck_assert(!rename("e", "d"));
	wait_until_shown(c, "five");
	replace("d/f", "six");
	wait_until_shown(c, "six");
	ck_ok(snapmap_cell_refresh(c));
	ck_assert_int_eq(info_of(c).error, 0);
	snapmap_cell_close(c);
}
END_TEST

START_TEST(test_links_that_lead_elsewhere)
{
	struct snapmap_cell *c;
	char absolute[PATH_MAX];

	ck_assert(!mkdir("v1", 0755) && !mkdir("v2", 0755) && !mkdir("etc", 0755));
	write_text("v1/f", "one");
	write_text("v2/f", "two");
	write_text("v2/g", "three");
	snprintf(absolute, sizeof(absolute), "%s/v2/g", test_dir());
	/* As configuration is put in place by several systems: a link to a link. */
	ck_assert(!symlink("../now/f", "etc/f") && !symlink("v1", "now"));
	c = open_cell("./etc/../etc//f");
	ck_assert(shows(c, "one"));
	ck_assert(!symlink("v2", "next") && !rename("next", "now"));
	wait_until_shown(c, "two");
	ck_assert(!symlink(absolute, "etc/next") && !rename("etc/next", "etc/f"));
	wait_until_shown(c, "three");
	replace("v2/g", "four");
	wait_until_shown(c, "four");
	/* A link to nothing, which comes later. */
	ck_assert(!symlink("later", "etc/next") && !rename("etc/next", "etc/f"));
	usleep(30000);
	ck_assert(shows(c, "four"));
	write_text("etc/later", "five");
	wait_until_shown(c, "five");
	/* A loop is no file. */
	ck_assert(!symlink("f", "etc/next") && !rename("etc/next", "etc/f"));
	ck_fails(snapmap_cell_refresh(c), -ELOOP);
	ck_assert(shows(c, "five"));
	ck_assert(!unlink("etc/f"));
	write_text("etc/f", "six");
	wait_until_shown(c, "six");
	snapmap_cell_close(c);
}
END_TEST

START_TEST(test_the_working_directory_moves)
{
	struct snapmap_cell *c;
	char back[PATH_MAX];

	snprintf(back, sizeof(back), "%s", test_dir());
	ck_assert(!mkdir("d", 0755));
	write_text("f", "one");
	c = open_cell("f");
	ck_assert(!chdir("d"));
	write_text("f", "wrong");
	write_text("../f", "two");
	wait_until_shown(c, "two");
	ck_assert(!chdir(back));
	snapmap_cell_close(c);
}
END_TEST

/* ---- what is not published ---- */

static int is_whole(void *arg, const struct snapmap *map)
{
	const char *p = snapmap_data(map);
	size_t n = snapmap_size(map);

	atomic_fetch_add((atomic_int *)arg, 1);
	return n && p[n - 1] == '.' ? 0 : n == 3 ? 7 : -EINVAL;
}

START_TEST(test_validation)
{
	atomic_int asked = 0;
	struct snapmap_options o = {.size = sizeof(o), .validate = is_whole, .validate_arg = &asked};
	struct snapmap_cell *c = NULL;

	write_text("f", "half");
	ck_fails(snapmap_cell_open("f", &o, &c), -EINVAL);
	ck_says("f");
	write_text("f", "hal");
	ck_fails(snapmap_cell_open("f", &o, &c), -EBADMSG);
	ck_assert(!c);
	write_text("f", "whole.");
	ck_ok(snapmap_cell_open("f", &o, &c));
	ck_assert_int_eq(asked, 3);
	/* Cut, and written in two parts. */
	int fd = open_file("f", O_WRONLY | O_TRUNC);
	ck_assert(write(fd, "an", 2) == 2);
	for (int i = 0; i < 2000 && !info_of(c).rejected; i++)
		usleep(2000);
	ck_assert_uint_gt(info_of(c).rejected, 0);
	ck_assert_int_eq(info_of(c).error, -EINVAL);
	ck_assert(shows(c, "whole."));
	ck_fails(snapmap_cell_refresh(c), -EINVAL);
	ck_assert(write(fd, "other.", 6) == 6);
	close(fd);
	wait_until_shown(c, "another.");
	ck_assert_int_eq(info_of(c).error, 0);
	snapmap_cell_close(c);
}
END_TEST

START_TEST(test_the_last_good_one_stays)
{
	struct snapmap_cell *c;
	struct snapmap_cell_info info;

	write_text("f", "good");
	c = open_cell("f");
	ck_assert(!unlink("f"));
	ck_fails(snapmap_cell_refresh(c), -ENOENT);
	ck_assert(shows(c, "good"));
	ck_assert(!mkdir("f", 0755));
	ck_fails(snapmap_cell_refresh(c), -EISDIR);
	ck_assert(shows(c, "good"));
	info = info_of(c);
	ck_assert(info.error == -EISDIR && info.failed >= 2 && info.published == 1);
	ck_assert(!rmdir("f"));
	write_text("f", "");
	wait_until_shown(c, "");
	snapmap_cell_close(c);
}
END_TEST

/* A burst of changes is not as many snapshots. */
START_TEST(test_bursts)
{
	struct timespec begin, end;
	struct snapmap_cell *c;
	uint64_t ms;
	char text[20];

	write_text("f", "0");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	c = open_cell("f");
	for (int i = 1; i <= 500; i++) {
		snprintf(text, sizeof(text), "%d", i);
		replace("f", text);
	}
	wait_until_shown(c, "500");
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (uint64_t)((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
	/* There are 10 ms of rest before each, however slow this machine is. */
	ck_assert_uint_le(info_of(c).published, 2 + ms / 10);
	snapmap_cell_close(c);
}
END_TEST

/* ---- many readers, and a file that never rests ---- */

#define SIZE 20000

struct readers {
	struct snapmap_cell *c;
	atomic_bool stop;
	atomic_int wrong;
	_Atomic uint64_t reads, changes;
};

/* One snapshot has one letter all over. */
static void *read_on(void *arg)
{
	struct readers *r = arg;
	char last = 0;

	while (!atomic_load(&r->stop)) {
		const struct snapmap *map = snapmap_cell_enter(r->c), *inner;
		const char *p = snapmap_data(map);
		size_t n = snapmap_size(map);
		char first = p[0];

		inner = snapmap_cell_enter(r->c);
		for (size_t i = 0; i < n; i += 97)
			if (p[i] != first)
				atomic_fetch_add(&r->wrong, 1);
		if (n != SIZE || p[n - 1] != first || snapmap_size(inner) != SIZE)
			atomic_fetch_add(&r->wrong, 1);
		snapmap_cell_leave(r->c);
		if (p[n / 2] != first)
			atomic_fetch_add(&r->wrong, 1);
		snapmap_cell_leave(r->c);
		atomic_fetch_add(&r->changes, last != first);
		last = first;
		atomic_fetch_add(&r->reads, 1);
	}
	return NULL;
}

START_TEST(test_many_readers)
{
	struct readers r = {0};
	pthread_t threads[8];
	char *bytes = malloc(SIZE);
	struct timespec begin, now;

	memset(bytes, 'a', SIZE);
	test_write_file("f", bytes, SIZE);
	r.c = open_cell("f");
	for (int i = 0; i < 8; i++)
		ck_assert(!pthread_create(&threads[i], NULL, read_on, &r));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 1;; i++) {
		memset(bytes, 'a' + i % 26, SIZE);
		test_write_file("new", bytes, SIZE);
		ck_assert(!rename("new", "f"));
		if (i % 3)
			ck_ok(snapmap_cell_refresh(r.c));
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec >= 2)
			break;
	}
	r.stop = true;
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(r.wrong, 0);
	ck_assert_uint_gt(r.changes, 8);
	snapmap_cell_close(r.c);
	free(bytes);
}
END_TEST

/* A fork in the middle of a read, while old snapshots wait for that very reader. */
START_TEST(test_forks_while_reading)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_INHERIT};
	struct snapmap_cell *c;
	char text[20] = "0", before[20];
	int status;

	write_text("f", text);
	ck_ok(snapmap_cell_open("f", &o, &c));
	for (int i = 1; i < 60; i++) {
		const struct snapmap *map = snapmap_cell_enter(c), *inner = snapmap_cell_enter(c);
		pid_t pid;

		strcpy(before, text);
		snprintf(text, sizeof(text), "%d", i);
		replace("f", text);
		ck_ok(snapmap_cell_refresh(c));
		if (i % 2)
			usleep(1000); /* the cell's thread waits by now */
		pid = fork();
		if (!pid) {
			bool good = !memcmp(snapmap_data(map), before, strlen(before)) &&
				    !memcmp(snapmap_data(inner), before, strlen(before));

			alarm(30);
			snapmap_cell_leave(c);
			snapmap_cell_leave(c);
			good = good && shows(c, text) && snapmap_cell_refresh(c) == -ESTALE;
			snapmap_cell_close(c);
			_exit(!good);
		}
		ck_assert(!memcmp(snapmap_data(map), before, strlen(before)));
		ck_assert(waitpid(pid, &status, 0) == pid);
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "%x", status);
		ck_assert(!memcmp(snapmap_data(map), before, strlen(before)));
		snapmap_cell_leave(c);
		ck_assert(!memcmp(snapmap_data(map), before, strlen(before)));
		snapmap_cell_leave(c);
	}
	snapmap_cell_close(c);
}
END_TEST

/* Each is a reader, and has what others wait for: forks, trees (whose end waits for threads), cells. */
static void *fork_on(void *arg)
{
	struct readers *r = arg;
	int status;

	while (!atomic_load(&r->stop)) {
		const struct snapmap *map = snapmap_cell_enter(r->c);
		char first = *(const char *)snapmap_data(map);
		struct snapmap_tree *t;
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			atomic_fetch_add(&r->wrong, 1);
		if (snapmap_tree_open(".", NULL, &t))
			atomic_fetch_add(&r->wrong, 1);
		else
			snapmap_tree_close(t);
		if (*(const char *)snapmap_data(map) != first)
			atomic_fetch_add(&r->wrong, 1);
		snapmap_cell_leave(r->c);
		atomic_fetch_add(&r->reads, 1);
	}
	return NULL;
}

START_TEST(test_readers_that_fork_and_wait)
{
	struct readers r = {0};
	pthread_t threads[4];
	char text[20];

	write_text("f", "a");
	r.c = open_cell("f");
	for (int i = 0; i < 4; i++)
		ck_assert(!pthread_create(&threads[i], NULL, fork_on, &r));
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "%c", 'a' + i % 26);
		replace("f", text);
		ck_ok(snapmap_cell_refresh(r.c));
		usleep(5000);
	}
	r.stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(r.wrong, 0);
	ck_assert_uint_gt(r.reads, 4);
	snapmap_cell_close(r.c);
}
END_TEST

/* Several, of which one is read while another is opened, refreshed and closed. */
START_TEST(test_cells_within_cells)
{
	struct snapmap_cell *a, *b;
	size_t fds = test_count_fds();

	write_text("f", "one");
	a = open_cell("f");
	for (int i = 0; i < 700; i++) {
		snapmap_cell_enter(a);
		b = open_cell("f");
		ck_assert(shows(b, "one"));
		if (i % 100 == 0)
			replace("f", "one");
		ck_ok(snapmap_cell_refresh(b));
		snapmap_cell_close(b);
		snapmap_cell_leave(a);
	}
	snapmap_cell_close(a);
	test_settle_fds(fds);
}
END_TEST

START_TEST(test_bad_input)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = 1u << 31};
	struct snapmap_cell *c = (struct snapmap_cell *)0x1;
	struct snapmap_cell_info info;

	write_text("f", "x");
	ck_fails(snapmap_cell_open(NULL, NULL, &c), -EINVAL);
	ck_fails(snapmap_cell_open("f", NULL, NULL), -EINVAL);
	ck_fails(snapmap_cell_open("f", &o, &c), -EINVAL);
	ck_fails(snapmap_cell_open("none", NULL, &c), -ENOENT);
	ck_fails(snapmap_cell_open(".", NULL, &c), -EISDIR);
	ck_assert_ptr_eq(c, (void *)0x1);
	ck_fails(snapmap_cell_refresh(NULL), -EINVAL);
	ck_fails(snapmap_cell_get_info(NULL, &info), -EINVAL);
	snapmap_cell_close(NULL);
}
END_TEST

/* Without inotify the file is looked at now and then. */
START_TEST(test_without_watches)
{
	struct rlimit limit, few;
	struct snapmap_cell *c;
	size_t fds = test_count_fds();
	int rc;

	write_text("f", "one");
	ck_assert(!getrlimit(RLIMIT_NOFILE, &limit));
	for (rlim_t n = 3; n < 30; n++) {
		few = (struct rlimit){n, limit.rlim_max};
		ck_assert(!setrlimit(RLIMIT_NOFILE, &few));
		rc = snapmap_cell_open("f", NULL, &c);
		ck_assert(!setrlimit(RLIMIT_NOFILE, &limit));
		if (!rc) {
			ck_assert(shows(c, "one"));
			if (!info_of(c).watched) {
				replace("f", "two");
				wait_until_shown(c, "two");
				replace("f", "one");
			}
			snapmap_cell_close(c);
		}
		test_settle_fds(fds);
		ck_assert_uint_eq(test_count_fds(), fds);
	}
}
END_TEST

START_TEST(test_nothing_is_left)
{
	size_t fds = 0, maps = 0;

	write_text("f", "one");
	for (int i = 0; i < 30; i++) {
		struct snapmap_cell *c = open_cell("f");

		replace("f", "two");
		ck_ok(snapmap_cell_refresh(c));
		snapmap_cell_close(c);
		if (!i) {
			fds = test_count_fds();
			maps = test_count_maps();
		}
	}
	test_settle_fds(fds);
	ck_assert_uint_le(test_count_fds(), fds);
	ck_assert_uint_le(test_count_maps(), maps + 20);
	ck_assert_uint_eq(test_count_names("."), 1);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_what_readers_get);
	tcase_add_test(tc, test_the_path_is_followed);
	tcase_add_test(tc, test_links_that_lead_elsewhere);
	tcase_add_test(tc, test_the_working_directory_moves);
	tcase_add_test(tc, test_validation);
	tcase_add_test(tc, test_the_last_good_one_stays);
	tcase_add_test(tc, test_bursts);
	tcase_add_test(tc, test_many_readers);
	if (TEST_CHILD_HAS_THREADS) {
		tcase_add_test(tc, test_forks_while_reading);
		tcase_add_test(tc, test_readers_that_fork_and_wait);
	}
	tcase_add_test(tc, test_cells_within_cells);
	tcase_add_test(tc, test_bad_input);
	tcase_add_test(tc, test_without_watches);
	tcase_add_test(tc, test_nothing_is_left);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cell");

	test_each_fs(s, "cell", add);
	return s;
}
