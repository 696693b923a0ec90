/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many threads at once: handles are independent, errors belong to their thread. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapmap.h"
#include "testing.h"

#define PAGE ((size_t)4096)
#define THREADS 8
#define ROUNDS 20
#define SIZE (20 * PAGE + 7)

struct worker {
	pthread_t thread;
	int number;
	int rc; /* first thing that went wrong, as a line number */
	char why[300];
};

#define EXPECT(what)                                                                  \
	do {                                                                          \
		if (!(what)) {                                                        \
			w->rc = __LINE__;                                             \
			snprintf(w->why, sizeof(w->why), "%s", snapmap_last_error()); \
			return NULL;                                                  \
		}                                                                     \
	} while (0)

static void run(void *(*work)(void *))
{
	struct worker workers[THREADS] = {{0}};

	for (int i = 0; i < THREADS; i++) {
		workers[i].number = i;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (int i = 0; i < THREADS; i++)
		ck_assert_msg(!workers[i].rc, "thread %d failed in line %d: %s", i, workers[i].rc, workers[i].why);
}

static bool is_filled(const char *p, size_t n, uint64_t seed)
{
	char *wanted = (char *)malloc(n);
	bool same;

	test_fill(wanted, n, seed);
	same = !memcmp(p, wanted, n);
	free(wanted);
	return same;
}

static void *read_one_file(void *arg)
{
	struct worker *w = (struct worker *)arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct snapmap_info info;
		struct snapmap *map;

		EXPECT(!snapmap_open("file", NULL, &map));
		EXPECT(snapmap_size(map) == SIZE && is_filled((const char *)snapmap_data(map), SIZE, 1));
		EXPECT(!snapmap_get_info(map, &info));
		snapmap_close(map);
	}
	return NULL;
}

START_TEST(test_threads_read_one_file)
{
	test_make_file("file", SIZE, 1);
	run(read_one_file);
}
END_TEST

static void *edit_own_file(void *arg)
{
	struct worker *w = (struct worker *)arg;
	struct snapmap_mut *map;
	char name[32];

	snprintf(name, sizeof(name), "file-%d", w->number);
	EXPECT(!snapmap_mut_create(name, 0644, NULL, &map));
	for (int i = 1; i <= ROUNDS / 2; i++) {
		const struct snapmap_commit_options options = {.size = sizeof(options), .flags = SNAPMAP_COMMIT_NOSYNC};
		size_t n = (size_t)i * 5000;

		EXPECT(!snapmap_mut_resize(map, n));
		test_fill(snapmap_mut_data(map), n, (uint64_t)i);
		EXPECT(!snapmap_mut_commit(map, &options));
		EXPECT(is_filled((const char *)snapmap_mut_data(map), n, (uint64_t)i));
	}
	snapmap_mut_close(map);
	return NULL;
}

START_TEST(test_threads_edit_files_of_their_own)
{
	/* libfuse keeps a second name of an open file for a while; taking that away is a change. */
	if (!test_fs()->tmpfile)
		test_skip("a new file there changes once more after its first commit");
	run(edit_own_file);
	for (int i = 0; i < THREADS; i++) {
		char name[32], *bytes;
		size_t n;

		snprintf(name, sizeof(name), "file-%d", i);
		bytes = (char *)test_read_file(name, &n);
		ck_assert_uint_eq(n, ROUNDS / 2 * 5000);
		ck_assert(is_filled(bytes, n, ROUNDS / 2));
		free(bytes);
	}
}
END_TEST

static atomic_int successes;

/* Adds one to the number in the file; whoever is too late tries again. */
static void *count_up(void *arg)
{
	struct worker *w = (struct worker *)arg;

	for (int i = 0; i < 5; i++) {
		for (;;) {
			const struct snapmap_commit_options options = {
				.size = sizeof(options),
				.flags = SNAPMAP_COMMIT_NOSYNC,
			};
			struct snapmap_mut *map;
			int rc = snapmap_mut_open("counter", NULL, &map);

			EXPECT(!rc);
			++*(uint64_t *)snapmap_mut_data(map);
			rc = snapmap_mut_commit(map, &options);
			snapmap_mut_close(map);
			if (!rc)
				break;
			EXPECT(rc == -EBUSY);
		}
		successes++;
	}
	return NULL;
}

START_TEST(test_threads_that_edit_one_file_lose_no_update)
{
	uint64_t count = 0, *bytes;

	test_write_file("counter", &count, sizeof(count));
	successes = 0;
	run(count_up);
	bytes = (uint64_t *)test_read_file("counter", NULL);
	ck_assert_uint_eq(*bytes, (uint64_t)successes);
	ck_assert_uint_eq(*bytes, THREADS * 5);
	free(bytes);
}
END_TEST

static void *fail_in_own_way(void *arg)
{
	struct worker *w = (struct worker *)arg;
	char name[32];

	snprintf(name, sizeof(name), "missing-%d", w->number);
	for (int i = 0; i < ROUNDS * 10; i++) {
		struct snapmap *map;

		EXPECT(snapmap_open(name, NULL, &map) == -ENOENT);
		EXPECT(strstr(snapmap_last_error(), name));
	}
	return NULL;
}

START_TEST(test_each_thread_has_an_error_of_its_own)
{
	run(fail_in_own_way);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_threads_read_one_file);
	tcase_add_test(tc, test_threads_edit_files_of_their_own);
	tcase_add_test(tc, test_threads_that_edit_one_file_lose_no_update);
	tcase_add_test(tc, test_each_thread_has_an_error_of_its_own);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("threads");

	test_each_fs(s, "threads", add);
	return s;
}
