/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles under a lease, and editable ones, while other processes do to their files
 * whatever can be done: no byte changes and no store is lost. Short here, long by
 * "make stress".
 */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/resource.h>

#include "opening.h"
#include "stress.h"

#define THREADS 3
#define MANY_THREADS 8
#define A_LONG_WAIT ((uint64_t)20 * 1000000000) /* a break that was missed, and no busy machine */

struct job {
	pthread_t thread;
	int number;
	uint64_t random, end;
	uint64_t reads, opens, breaks, stores;
	struct attacker attacker;
	int way;
	unsigned files, slots; /* of test_many() */
	bool patient;
	bool left; /* a thread of the library may still be at the file */
	const struct writing *writing;
	int line; /* where something was wrong */
	char why[300];
};

#define EXPECT(what)                                                                                 \
	do {                                                                                         \
		if (!(what)) {                                                                       \
			job->line = __LINE__;                                                        \
			snprintf(job->why, sizeof(job->why), "%s: %s", #what, snapmap_last_error()); \
			return false;                                                                \
		}                                                                                    \
	} while (0)

static void run_jobs(struct job *jobs, int count, void *(*work)(void *))
{
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, work, &jobs[i]), 0);
	for (int i = 0; i < count; i++)
		pthread_join(jobs[i].thread, NULL);
}

/* A thread of the library may have to close the descriptor of a handle that was closed in the middle of a break. */
static void settle(size_t fds)
{
	uint64_t limit = stress_now() + A_LONG_WAIT;

	while (test_count_fds() != fds && stress_now() < limit)
		usleep(1000);
}

static void report(const char *what, const struct job *jobs, int count)
{
	uint64_t reads = 0, opens = 0, breaks = 0, stores = 0;

	for (int i = 0; i < count; i++) {
		ck_assert_msg(!jobs[i].line, "%s: thread %d in line %d: %s", what, i, jobs[i].line, jobs[i].why);
		reads += jobs[i].reads;
		opens += jobs[i].opens;
		breaks += jobs[i].breaks;
		stores += jobs[i].stores;
	}
	printf("%s, %s: %" PRIu64 " words read, %" PRIu64 " opens, %" PRIu64 " breaks, %" PRIu64 " stores\n",
	       test_fs()->name, what, reads, opens, breaks, stores);
}

/* --- readers */

#define LARGE ((size_t)3 << 20)

static size_t some_size(uint64_t *random)
{
	static const size_t sizes[] = {1, 4096, 45678, 200000, LARGE};

	return sizes[test_random(random) % (sizeof(sizes) / sizeof(sizes[0]))];
}

static uint32_t lease_of(const struct snapmap *map)
{
	struct snapmap_info info;

	return snapmap_get_info(map, &info) || info.error ? SNAPMAP_LEASE_LOST : info.lease;
}

/* The writer goes on a moment before the handle is told. */
static uint32_t lease_after_break(const struct snapmap *map)
{
	uint64_t limit = stress_now() + A_LONG_WAIT;

	while (lease_of(map) == SNAPMAP_LEASE_HELD && stress_now() < limit)
		usleep(100);
	return lease_of(map);
}

/* A few handles of one file, and somebody who acts on it while they are read. */
static bool read_under_attack(struct job *job, const unsigned char *want, size_t n, const char *name)
{
	struct snapmap *maps[3] = {NULL};
	int count = 1 + (int)(test_random(&job->random) % 3);
	int act = (int)(test_random(&job->random) % (unsigned)stress_act_count);
	bool leaves = test_random(&job->random) % 8 == 0;

	EXPECT(!stress_write(name, O_CREAT | O_TRUNC, want, n));
	for (int i = 0; i < count; i++, job->opens++) {
		EXPECT(!snapmap_open(name, NULL, &maps[i]));
		EXPECT(snapmap_size(maps[i]) == n);
		EXPECT(lease_of(maps[i]) == (row_leases() ? SNAPMAP_LEASE_HELD : SNAPMAP_LEASE_NONE) || job->left);
	}
	if (test_random(&job->random) & 1)
		EXPECT(stress_same(snapmap_data(maps[0]), want, n / 2, &job->reads));
	attacker_order(&job->attacker, act, name);
	for (bool done = false; !done && !leaves;) {
		done = attacker_is_done(&job->attacker);
		for (int i = 0; i < count; i++)
			EXPECT(stress_same(snapmap_data(maps[i]), want, n, &job->reads));
	}
	for (int i = 0; i < count; i++) {
		bool broken = stress_acts[act].breaks && !leaves;
		uint32_t lease = broken ? lease_after_break(maps[i]) : lease_of(maps[i]);

		EXPECT(lease != SNAPMAP_LEASE_LOST && !(broken && lease == SNAPMAP_LEASE_HELD));
		job->breaks += lease == SNAPMAP_LEASE_IMAGED;
		snapmap_close(maps[i]);
	}
	attacker_wait(&job->attacker);
	job->left = leaves || !stress_acts[act].breaks;
	return true;
}

static void *read_on(void *arg)
{
	struct job *job = arg;
	unsigned char *want = malloc(LARGE);
	char name[24];

	snprintf(name, sizeof(name), "r%d", job->number);
	do {
		size_t n = some_size(&job->random);

		test_fill(want, n, test_random(&job->random));
		if (!read_under_attack(job, want, n, name))
			break;
	} while (stress_now() < job->end);
	free(want);
	return NULL;
}

START_TEST(test_readers)
{
	struct job jobs[THREADS] = {{0}};
	size_t fds = test_count_fds();

	test_make_file("other", 100000, 3);
	for (int i = 0; i < THREADS; i++) {
		jobs[i].number = i;
		jobs[i].random = test_seed() + (uint64_t)i * 1000;
		ck_assert_int_eq(attacker_start(&jobs[i].attacker), 0);
	}
	for (int i = 0; i < THREADS; i++)
		jobs[i].end = stress_end(0.6);
	run_jobs(jobs, THREADS, read_on);
	for (int i = 0; i < THREADS; i++)
		attacker_stop(&jobs[i].attacker);
	settle(fds);
	report("readers", jobs, THREADS);
}
END_TEST

/* --- editable handles */

static bool store(struct job *job, struct view *v, unsigned char *want)
{
	size_t at = test_random(&job->random) % v->size, n = test_random(&job->random) % 9000;

	if (n > v->size - at)
		n = v->size - at;
	test_fill(want + at, n, test_random(&job->random));
	memcpy((unsigned char *)snapmap_mut_data(v->mut) + at, want + at, n);
	job->stores++;
	return true;
}

static bool edit_under_attack(struct job *job, unsigned char *want, const char *name)
{
	size_t n = some_size(&job->random), grown;
	struct view v = {0};

	test_fill(want, n, test_random(&job->random));
	EXPECT(!stress_write(name, O_CREAT | O_TRUNC, want, n));
	EXPECT(!view_try(job->way, name, 0, &v));
	job->opens++;
	for (int i = 0; i < 4; i++) {
		attacker_order(&job->attacker, (int)(test_random(&job->random) % (unsigned)stress_act_count), name);
		for (bool done = false; !done;) {
			done = attacker_is_done(&job->attacker);
			EXPECT(store(job, &v, want));
			EXPECT(stress_same(v.data, want, v.size, &job->reads));
		}
	}
	grown = test_random(&job->random) % LARGE + 1;
	EXPECT(!snapmap_mut_resize(v.mut, grown));
	if (grown > n)
		memset(want + n, 0, grown - n);
	view_look(&v);
	EXPECT(store(job, &v, want) && stress_same(v.data, want, v.size, &job->reads));
	view_close(&v);
	return true;
}

static void *edit_on(void *arg)
{
	struct job *job = arg;
	unsigned char *want = malloc(LARGE);
	char name[24];

	snprintf(name, sizeof(name), "e%d", job->number);
	do {
		if (!edit_under_attack(job, want, name))
			break;
	} while (stress_now() < job->end);
	free(want);
	return NULL;
}

START_TEST(test_editors)
{
	struct job jobs[2] = {{0}};
	int count = test_fs()->reflink ? 2 : 1;

	/* Waits for a second at each open for editing. */
	if (row_is_slow())
		return;
	test_make_file("other", 100000, 3);
	for (int i = 0; i < count; i++) {
		jobs[i].number = i;
		jobs[i].way = i ? 3 : 5;
		jobs[i].random = test_seed() + (uint64_t)i * 1000;
		ck_assert_int_eq(attacker_start(&jobs[i].attacker), 0);
	}
	for (int i = 0; i < count; i++)
		jobs[i].end = stress_end(0.4);
	run_jobs(jobs, count, edit_on);
	for (int i = 0; i < count; i++)
		attacker_stop(&jobs[i].attacker);
	report("editors", jobs, count);
}
END_TEST

/* --- many handles of many files, opened and closed while writers break them */

#define SMALL 8192

struct slot {
	struct snapmap *map;
	uint64_t first; /* the word that all of it was at first */
	bool exact;	/* under a lease: no mix of two versions */
};

static bool look_at(struct job *job, struct slot *slot)
{
	const uint64_t *p = snapmap_data(slot->map);

	EXPECT(lease_of(slot->map) != SNAPMAP_LEASE_LOST);
	if (!snapmap_size(slot->map))
		return true;
	EXPECT(*p == slot->first);
	EXPECT(!slot->exact || stress_uniform(p, snapmap_size(slot->map), &job->reads));
	return true;
}

static bool fill_slot(struct job *job, struct slot *slot)
{
	struct snapmap_info info;
	char name[24];

	snprintf(name, sizeof(name), "f%u", (unsigned)test_random(&job->random) % job->files);
	EXPECT(!snapmap_open(name, NULL, &slot->map));
	EXPECT(!snapmap_get_info(slot->map, &info));
	slot->exact = info.source == SNAPMAP_SOURCE_LEASE;
	slot->first = snapmap_size(slot->map) ? *(const uint64_t *)snapmap_data(slot->map) : 0;
	job->opens++;
	return look_at(job, slot);
}

/* Somebody is always about to write, so a lease that nobody takes notice of is a break that was missed. */
static bool wait_for_break(struct job *job, struct slot *slot)
{
	uint64_t limit = stress_now() + A_LONG_WAIT;

	while (lease_of(slot->map) == SNAPMAP_LEASE_HELD && !atomic_load(&job->writing->stop)) {
		EXPECT(look_at(job, slot));
		EXPECT(stress_now() < limit);
		if (stress_now() >= job->end)
			break;
	}
	return true;
}

static bool empty_slot(struct job *job, struct slot *slot)
{
	if (job->patient && (test_random(&job->random) & 1) && !wait_for_break(job, slot))
		return false;
	if (!look_at(job, slot))
		return false;
	job->breaks += lease_of(slot->map) == SNAPMAP_LEASE_IMAGED;
	snapmap_close(slot->map);
	slot->map = NULL;
	return true;
}

static void *juggle(void *arg)
{
	struct job *job = arg;
	struct slot *slots = calloc(job->slots, sizeof(*slots));
	bool good = true;

	while (good && stress_now() < job->end) {
		struct slot *slot = &slots[test_random(&job->random) % job->slots];

		good = slot->map ? empty_slot(job, slot) : fill_slot(job, slot);
	}
	for (unsigned i = 0; i < job->slots; i++)
		if (slots[i].map) {
			good = good && look_at(job, &slots[i]);
			snapmap_close(slots[i].map);
		}
	free(slots);
	return NULL;
}

/* As many descriptors as may be had: a lease takes one. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	ck_assert_sys(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &limit));
}

static void juggle_files(const char *what, unsigned files, unsigned handles, double seconds, bool patient)
{
	static uint64_t words[SMALL / 8];
	struct job jobs[MANY_THREADS] = {{0}};
	size_t fds = test_count_fds();
	struct writers writers;
	char name[24];

	for (unsigned i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		test_write_file(name, words, SMALL);
	}
	raise_descriptor_limit();
	ck_assert_int_eq(writers_start(&writers, 2, files, SMALL, test_seed()), 0);
	for (int i = 0; i < MANY_THREADS; i++)
		jobs[i] = (struct job){
			.number = i,
			.random = test_seed() + (uint64_t)i * 1000,
			.end = stress_end(seconds),
			.files = files,
			.slots = handles / MANY_THREADS,
			.patient = patient,
			.writing = writers.shared,
		};
	run_jobs(jobs, MANY_THREADS, juggle);
	uint64_t longest = atomic_load(&writers.shared->longest), writes = atomic_load(&writers.shared->writes);

	writers_stop(&writers);
	settle(fds);
	report(what, jobs, MANY_THREADS);
	printf("%s, %s: %" PRIu64 " writes, of which one waited for %.1f ms\n", test_fs()->name, what, writes,
	       (double)longest / 1e6);
	ck_assert_msg(longest < A_LONG_WAIT, "a writer was forgotten");
}

START_TEST(test_many_handles)
{
	if (!row_leases())
		return;
	if (stress_is_long())
		juggle_files("many handles", 1000, 10000, 0, false);
	else
		juggle_files("many handles", 100, 1000, 0.4, false);
}
END_TEST

/* Few files, so that an open, a close and a break of the same file often meet. */
START_TEST(test_few_files)
{
	if (row_leases())
		juggle_files("few files", 2, MANY_THREADS, 0.6, true);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, 60 + 3 * stress_seconds(1));
	tcase_add_test(tc, test_readers);
	tcase_add_test(tc, test_editors);
	tcase_add_test(tc, test_many_handles);
	tcase_add_test(tc, test_few_files);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_stress");

	test_each_fs(s, "lease_stress", add_tests);
	return s;
}
