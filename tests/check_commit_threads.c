/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles of different threads are independent. Runs under the thread sanitizer too. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "committing.h"

#define THREADS 4
#define ROUNDS 25
#define SIZE ((size_t)20000)

struct worker {
	pthread_t thread;
	const struct way *way;
	char path[16];
	int successes, error;
	char sentence[300];
};

/* Each success counts one up. */
static void *count_up(void *arg)
{
	struct worker *w = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = w->way->source};
	struct snapmap_commit_options c = {
		.size = sizeof(c), .flags = SNAPMAP_COMMIT_NOSYNC, .strategy = w->way->strategy};

	for (int i = 0; i < ROUNDS && !w->error; i++) {
		struct snapmap_mut *map;
		int rc = snapmap_mut_open(w->path, &o, &map);

		if (!rc) {
			++*(int *)snapmap_mut_data(map);
			rc = snapmap_mut_commit(map, &c);
			snapmap_mut_close(map);
		}
		if (!rc) {
			w->successes++;
		} else {
			/* The sentence is this thread's own. */
			if (!strstr(snapmap_last_error(), w->path))
				rc = -EPROTO;
			w->error = rc == -EBUSY ? 0 : rc;
			snprintf(w->sentence, sizeof(w->sentence), "%s", snapmap_last_error());
		}
	}
	return NULL;
}

static void run(const struct way *way, bool same_file)
{
	struct worker workers[THREADS] = {0};
	int sum = 0;

	for (int i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		w->way = way;
		snprintf(w->path, sizeof(w->path), "file-%d", same_file ? 0 : i);
		test_make_file(w->path, SIZE, 1);
	}
	char *first = test_read_file("file-0", NULL);
	int start = *(int *)first;

	free(first);

	for (int i = 0; i < THREADS; i++)
		ck_assert(!pthread_create(&workers[i].thread, NULL, count_up, &workers[i]));
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (int i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];
		char *bytes = test_read_file(w->path, NULL);

		ck_assert_msg(!w->error, "%d: %s", w->error, w->sentence);
		sum += w->successes;
		if (!same_file)
			ck_assert_int_eq(*(int *)bytes, start + ROUNDS);
		else if (i == THREADS - 1)
			ck_assert_msg(*(int *)bytes == start + sum, "%d of %d commits", *(int *)bytes - start, sum);
		free(bytes);
	}
	ck_assert_uint_eq(count_names("."), same_file ? 1 : THREADS);
}

START_TEST(test_threads_commit_to_files_of_their_own)
{
	const struct way *w = way_at(_i);

	if (w && !w->closing)
		run(w, false);
}
END_TEST

START_TEST(test_threads_commit_to_one_file)
{
	const struct way *w = way_at(_i);

	if (w && !w->closing && strcmp(test_fs()->name, "fuse") != 0)
		run(w, true);
}
END_TEST

static void add_threads(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_threads_commit_to_files_of_their_own, 0, WAYS);
	tcase_add_loop_test(tc, test_threads_commit_to_one_file, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("commit threads");

	test_each_fs(s, "commit threads", add_threads);
	return s;
}
