/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening in many threads: every source and kind of handle, one file and many, and one handle for all. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>

#include "opening.h"

#define THREADS 6
#define N 50123

struct job {
	pthread_t thread;
	int number;
	int line; /* where something was wrong */
	int fd;	  /* one descriptor for all */
	const struct snapmap *shared;
	char why[300];
};

static unsigned char want[N];

#define EXPECT(what)                                                                      \
	do {                                                                              \
		if (!(what)) {                                                            \
			job->line = __LINE__;                                             \
			snprintf(job->why, sizeof(job->why), "%s", snapmap_last_error()); \
			return NULL;                                                      \
		}                                                                         \
	} while (0)

static int count_calls(void *arg, uint64_t done, uint64_t total)
{
	int *calls = arg;

	(void)done;
	(void)total;
	return ++*calls == 2;
}

static void *open_all_ways(void *arg)
{
	struct job *job = arg;
	uint64_t random = test_seed() + (uint64_t)job->number;

	for (int i = 0; i < 24; i++) {
		int way = (int)(test_random(&random) % WAYS), calls = 0;
		struct snapmap_options o = way_options(way, 0);
		struct view v = {0};
		char name[16];

		if (!way_exists(way))
			continue;
		snprintf(name, sizeof(name), "f%d", (int)(test_random(&random) % 3));
		if (i % 3 == 0) {
			EXPECT(!view_try_fd(way, job->fd, 0, &v));
		} else if (i % 3 == 1) {
			o.progress = count_calls;
			o.progress_arg = &calls;
			int rc = view_try_with(way, name, &o, &v);

			EXPECT(rc == 0 || rc == -ECANCELED);
			if (rc)
				continue;
		} else {
			EXPECT(!view_try(way, name, i % 2 ? SNAPMAP_POPULATE : 0, &v));
		}
		EXPECT(view_is(&v, want, N));
		if (v.mut) {
			unsigned char *p = snapmap_mut_data(v.mut);

			p[4096 * (size_t)job->number] ^= 1;
			EXPECT(snapmap_mut_dirty(v.mut, NULL, 0) == 1);
			EXPECT(!snapmap_mut_resize(v.mut, 2 * N));
			EXPECT(!snapmap_mut_rollback(v.mut));
			view_look(&v);
			EXPECT(view_is(&v, want, N));
		}
		EXPECT(!memcmp(snapmap_data(job->shared), want, N));
		EXPECT(!snapmap_prefault(job->shared, (uint64_t)i, 1000));
		view_close(&v);
		EXPECT(snapmap_open("missing", NULL, &v.map) == -ENOENT);
	}
	return NULL;
}

START_TEST(test_threads_open_all_ways)
{
	static struct job jobs[THREADS];
	struct snapmap *shared;

	test_fill(want, N, test_seed());
	test_write_file("f0", want, N);
	test_write_file("f1", want, N);
	test_write_file("f2", want, N);
	ck_assert_ok(snapmap_open("f0", NULL, &shared));
	int fd = open("f1", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(lseek(fd, 1234, SEEK_SET), 1234);
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){.number = i, .fd = fd, .shared = shared};
		ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, open_all_ways, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(jobs[i].thread, NULL);
	for (int i = 0; i < THREADS; i++)
		ck_assert_msg(!jobs[i].line, "thread %d in line %d: %s", i, jobs[i].line, jobs[i].why);
	ck_assert_msg(lseek(fd, 0, SEEK_CUR) == 1234, "the shared file offset moved");
	close(fd);
	snapmap_close(shared);
	ck_assert(names_are(3));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_threads_open_all_ways);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("open_threads");

	test_each_fs(s, "open_threads", add_tests);
	return s;
}
