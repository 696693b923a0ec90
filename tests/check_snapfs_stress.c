/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles of files behind snapfs, while other processes do to the files whatever can be done:
 * no byte changes. Short here, long by "make stress".
 */
#include "config.h"

#include <pthread.h>

#include "opening.h"
#include "stress.h"

#define SIZE ((size_t)600 << 10)
#define FILES 3
#define THREADS 4

#define need_server()                                     \
	do {                                              \
		if (!test_fs()->served)                   \
			test_skip("not behind a server"); \
	} while (0)

static bool is(const void *data, size_t size, const void *wanted)
{
	uint64_t reads = 0;

	return size == SIZE && stress_same(data, wanted, SIZE, &reads);
}

/* One act after the other, with handles of all kinds on the file. */
static void act_once(struct attacker *attacker, int act, const char *wanted)
{
	struct snapmap_mut *mut;
	struct snapmap *map, *by_fd;
	int fd;

	test_write_file("f", wanted, SIZE);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_ok(snapmap_open("f", NULL, &map));
	ck_assert_ok(snapmap_open_fd(fd, NULL, &by_fd));
	ck_assert_ok(snapmap_mut_open("f", NULL, &mut));
	attacker_order(attacker, act, "f");
	while (!attacker_is_done(attacker))
		ck_assert_msg(is(snapmap_data(map), snapmap_size(map), wanted), "changed by %s", stress_acts[act].name);
	ck_assert_msg(is(snapmap_data(map), snapmap_size(map), wanted), "changed by %s", stress_acts[act].name);
	ck_assert_msg(is(snapmap_data(by_fd), snapmap_size(by_fd), wanted), "changed by %s", stress_acts[act].name);
	ck_assert_msg(is(snapmap_mut_data(mut), snapmap_mut_size(mut), wanted), "changed by %s", stress_acts[act].name);
	snapmap_mut_close(mut);
	snapmap_close(by_fd);
	snapmap_close(map);
	close(fd);
	unlink("f");
}

START_TEST(test_nothing_that_is_done_shows)
{
	struct attacker attacker;
	uint64_t random = test_seed(), end = stress_end(2);
	char *wanted;

	need_server();
	wanted = (char *)malloc(SIZE);
	ck_assert(!attacker_start(&attacker));
	for (int i = 0; i < stress_act_count || stress_now() < end; i++) {
		test_fill(wanted, SIZE, test_random(&random));
		act_once(&attacker, i % stress_act_count, wanted);
	}
	attacker_stop(&attacker);
	free(wanted);
}
END_TEST

struct reader {
	pthread_t thread;
	uint64_t random, end, opens;
	const char *failed;
};

/* What it was when it was opened it is until it is closed. */
static void *read_and_read(void *arg)
{
	struct reader *r = (struct reader *)arg;

	while (stress_now() < r->end && !r->failed) {
		struct snapmap_info info;
		struct snapmap *map;
		char path[8];
		uint64_t hash;

		snprintf(path, sizeof(path), "f%d", (int)(test_random(&r->random) % FILES));
		if (snapmap_open(path, NULL, &map)) {
			r->failed = snapmap_last_error();
			break;
		}
		r->opens++;
		hash = test_hash(snapmap_data(map), snapmap_size(map));
		for (int i = 0; i < 3; i++)
			if (test_hash(snapmap_data(map), snapmap_size(map)) != hash)
				r->failed = "bytes changed";
		if (snapmap_get_info(map, &info) || info.error)
			r->failed = "a sticky error";
		snapmap_close(map);
	}
	return NULL;
}

START_TEST(test_writers_never_show)
{
	struct reader readers[THREADS] = {0};
	struct writers writers;

	need_server();
	for (int i = 0; i < FILES; i++) {
		char path[8];

		snprintf(path, sizeof(path), "f%d", i);
		test_make_file(path, SIZE, (uint64_t)i);
	}
	ck_assert(!writers_start(&writers, 4, FILES, SIZE, test_seed()));
	for (int i = 0; i < THREADS; i++) {
		readers[i].random = test_seed() + (uint64_t)i;
		readers[i].end = stress_end(3);
		ck_assert(!pthread_create(&readers[i].thread, NULL, read_and_read, &readers[i]));
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(readers[i].thread, NULL);
	ck_assert_uint_gt(atomic_load(&writers.shared->writes), 0);
	writers_stop(&writers);
	for (int i = 0; i < THREADS; i++) {
		ck_assert_msg(!readers[i].failed, "%s", readers[i].failed);
		ck_assert_uint_gt(readers[i].opens, 0);
	}
}
END_TEST

static void add_stress(TCase *tc)
{
	tcase_set_timeout(tc, 60 + 2 * stress_seconds(3));
	tcase_add_test(tc, test_nothing_that_is_done_shows);
	tcase_add_test(tc, test_writers_never_show);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs stress");

	test_each_fs(s, "stress", add_stress);
	return s;
}
