/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes that a server tells (odd_fs.c): those that are none, and those that are not yet the kernel's. */
#include "config.h"

#include <pthread.h>

#include "opening.h"
#include "serving.h"

#define SIZE ((size_t)300 << 10)

/* For reading and editing, by themselves and by copies, by name and by descriptor. */
static const int ways[] = {0, 1, 4, 5};
#define N ((int)(sizeof(ways) / sizeof(ways[0])))

static int open_it(int i, const char *path, struct view *ret)
{
	int fd, rc;

	if (i < N)
		return view_try(ways[i], path, 0, ret);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_sys(fd);
	rc = view_try_fd(ways[i - N], fd, 0, ret);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
	return rc;
}

#define need_server() serving_need(serving_start(), "odd_fs", serving_stop)

START_TEST(test_made_up_content_is_refused)
{
	struct view v;

	need_server();
	test_make_file("below/made-up", SIZE, 1);
	ck_assert_int_eq(open_it(_i, "fuse/made-up", &v), -EOPNOTSUPP);
	ck_assert(strstr(snapmap_last_error(), "read it instead"));
	serving_stop();
}
END_TEST

static void *cut(void *arg)
{
	return (void *)(intptr_t)truncate((const char *)arg, 0);
}

static void *hurry_up(void *arg)
{
	(void)arg;
	usleep(300000);
	serving_switch(".slow", false);
	return NULL;
}

/* The server has cut the file already, and the kernel still reads what it had. */
START_TEST(test_file_that_is_being_cut)
{
	struct stat st = {.st_size = 1};
	pthread_t cutter, hurry;
	void *failed;
	struct view v;

	need_server();
	test_make_file("fuse/f", SIZE, 1);
	serving_switch(".slow", true);
	ck_assert(!pthread_create(&cutter, NULL, cut, (void *)(uintptr_t) "fuse/f"));
	for (int i = 0; i < 10000 && st.st_size; i++) {
		usleep(1000);
		ck_assert_sys(stat("below/f", &st));
	}
	ck_assert_int_eq(st.st_size, 0);
	ck_assert(!pthread_create(&hurry, NULL, hurry_up, NULL));
	ck_assert_ok(open_it(_i, "fuse/f", &v));
	ck_assert_uint_eq(v.size, 0);
	view_close(&v);
	pthread_join(hurry, NULL);
	pthread_join(cutter, &failed);
	ck_assert_ptr_null(failed);
	serving_stop();
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("served");
	TCase *tc = tcase_create("odd sizes");

	tcase_add_loop_test(tc, test_made_up_content_is_refused, 0, 2 * N);
	tcase_add_loop_test(tc, test_file_that_is_being_cut, 0, 2 * N);
	suite_add_tcase(s, tc);
	return s;
}
