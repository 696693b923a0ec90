/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SNAPMAP_GUARD: faults of many threads at once, and of children. */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>

#include "guarded.h"
#include "overlay.h"

#define THREADS 8

struct team {
	char *data;
	pthread_barrier_t barrier;
	atomic_bool stop;
	atomic_int wrong;
};

struct member {
	pthread_t thread;
	struct team *team;
	size_t number;
};

static void start(struct member *members, struct team *team, void *(*work)(void *))
{
	for (size_t i = 0; i < THREADS; i++) {
		members[i].team = team;
		members[i].number = i;
		ck_assert_int_eq(pthread_create(&members[i].thread, NULL, work, &members[i]), 0);
	}
}

static void join(struct member *members)
{
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(members[i].thread, NULL);
}

/* A handle, and threads that work on it until they are told to stop. */
static struct snapmap_mut *open_for_team(struct member *members, struct team *team, void *(*work)(void *))
{
	struct snapmap_mut *map = open_failing("f", SNAPMAP_GUARD, GOOD);

	atomic_store(&team->stop, false);
	team->data = (char *)snapmap_mut_data(map);
	start(members, team, work);
	return map;
}

/* Nothing moved meanwhile, and nobody saw a wrong byte. */
static void stop_and_close(struct member *members, struct team *team, struct snapmap_mut *map)
{
	atomic_store(&team->stop, true);
	join(members);
	ck_assert_int_eq(atomic_load(&team->wrong), 0);
	ck_assert_ptr_eq(snapmap_mut_data(map), team->data);
	snapmap_mut_close(map);
}

/* Every thread stores its own byte into each lost page, all at once. */
static void *store_at_once(void *arg)
{
	struct member *m = (struct member *)arg;

	for (size_t page = GOOD; page < PAGES; page++) {
		pthread_barrier_wait(&m->team->barrier);
		*(volatile char *)(m->team->data + page * PAGE + m->number * 64) = (char)(1 + m->number);
	}
	return NULL;
}

START_TEST(test_stores_of_many_threads_stay)
{
	struct member members[THREADS];
	struct team team = {0};

	make_file();
	pthread_barrier_init(&team.barrier, NULL, THREADS);
	for (int round = 0; round < (row_is_slow() ? 2 : 20); round++) {
		struct snapmap_mut *map = open_failing("f", SNAPMAP_GUARD, GOOD);

		team.data = (char *)snapmap_mut_data(map);
		start(members, &team, store_at_once);
		join(members);
		for (size_t page = GOOD; page < PAGES; page++)
			for (size_t i = 0; i < THREADS; i++)
				ck_assert_int_eq(team.data[page * PAGE + i * 64], 1 + (int)i);
		ck_assert_int_eq(mut_error(map), -EIO);
		snapmap_mut_close(map);
	}
	pthread_barrier_destroy(&team.barrier);
}
END_TEST

static void *read_until_told(void *arg)
{
	struct member *m = (struct member *)arg;
	uint64_t state = m->number;

	while (!atomic_load(&m->team->stop)) {
		size_t page = (size_t)(test_random(&state) % PAGES);
		char c = *(volatile char *)(m->team->data + page * PAGE + 7);

		if (c != (page < GOOD ? bytes[page * PAGE + 7] : 0))
			atomic_fetch_add(&m->team->wrong, 1);
	}
	return NULL;
}

/* Loads may go on meanwhile, as long as the memory does not move: there is room to grow into. */
START_TEST(test_readers_during_resize_and_rollback)
{
	struct member members[THREADS];
	struct team team = {0};
	struct snapmap_mut *map;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	ck_assert_ok(snapmap_mut_resize(map, SIZE + 64 * PAGE));
	ck_assert_ok(snapmap_mut_rollback(map));
	team.data = (char *)snapmap_mut_data(map);
	start(members, &team, read_until_told);
	for (size_t i = 0; i < 200; i++) {
		ck_assert_ok(snapmap_mut_resize(map, SIZE + i % 64 * PAGE));
		if (i % 3 == 0)
			ck_assert_ok(snapmap_mut_rollback(map));
	}
	stop_and_close(members, &team, map);
}
END_TEST

/* Handles of their own in each thread, and each of them fails. */
static void *open_and_close(void *arg)
{
	struct member *m = (struct member *)arg;
	/* liburcu's hash table, which finds leases, is not built for the thread sanitizer. */
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_GUARD | (TEST_SANITIZED ? SNAPMAP_INHERIT : 0)};

	for (int i = 0; i < 20; i++) {
		struct snapmap *map;

		if (snapmap_open("f", &o, &map) || memcmp(snapmap_data(map), bytes, SIZE))
			atomic_fetch_add(&m->team->wrong, 1);
		else
			snapmap_close(map);
	}
	return NULL;
}

START_TEST(test_opens_while_others_fault)
{
	struct member members[THREADS], readers[THREADS];
	struct team team = {0};

	make_file();
	for (int round = 0; round < (row_is_slow() ? 1 : 3); round++) {
		struct snapmap_mut *map = open_for_team(readers, &team, read_until_told);

		start(members, &team, open_and_close);
		join(members);
		for (int i = 0; i < 100; i++)
			ck_assert_ok(snapmap_mut_rollback(map));
		stop_and_close(readers, &team, map);
	}
}
END_TEST

/* A child may be made while other threads are within the handler. */
static void touch_and_close(void *arg)
{
	struct snapmap_mut *map = (struct snapmap_mut *)arg;

	alarm(20);
	if (!is_zero((char *)snapmap_mut_data(map) + GOOD * PAGE, SIZE - GOOD * PAGE) || mut_error(map) != -EIO)
		_exit(1);
	snapmap_mut_close(map);
}

static void *handle_one(void *arg)
{
	handle_fault_at((char *)arg + 9 * PAGE);
	return NULL;
}

/* Each new thread is registered with liburcu when it faults first. */
static void *handle_until_told(void *arg)
{
	struct member *m = (struct member *)arg;
	pthread_t thread;

	while (!atomic_load(&m->team->stop)) {
		for (int i = 0; i < 100; i++)
			handle_one(m->team->data);
		if (m->number % 2 && !pthread_create(&thread, NULL, handle_one, m->team->data))
			pthread_join(thread, NULL);
	}
	return NULL;
}

START_TEST(test_fork_while_others_fault)
{
	struct member members[THREADS];
	struct team team = {0};
	struct snapmap_mut *map;

	make_file();
	map = open_for_team(members, &team, handle_until_told);
	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(death_of(touch_and_close, map), 0);
	stop_and_close(members, &team, map);
}
END_TEST

/* A fault that comes late: its mapping has gone, and somebody else got the addresses. */
#define LATE_PAGES ((size_t)32)

static void *fault_late(void *arg)
{
	struct team *team = (struct team *)arg;

	pthread_barrier_wait(&team->barrier);
	for (size_t i = 0; i < LATE_PAGES; i++)
		if (!handle_fault_at(team->data + i * PAGE))
			break;
	return NULL;
}

START_TEST(test_late_faults_spare_other_memory)
{
	struct mapping m = {.span = LATE_PAGES * PAGE};
	uint64_t random = test_seed();
	struct team team = {0};

	pthread_barrier_init(&team.barrier, NULL, 2);
	for (int round = 0; round < (TEST_SANITIZED ? 100 : 3000); round++) {
		struct live *live;
		pthread_t thread;

		team.data = m.base = (char *)mmap(m.base, m.span, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ck_assert_int_eq(guard_add(&m, false, &live), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, fault_late, &team), 0);
		pthread_barrier_wait(&team.barrier);
		for (uint64_t spin = test_random(&random) % 20000; spin; spin--)
			atomic_signal_fence(memory_order_seq_cst);
		registry_remove(live);
		ck_assert(mmap(m.base, m.span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			       0) == m.base);
		memset(m.base, 'x', m.span);
		pthread_join(thread, NULL);
		for (size_t i = 0; i < LATE_PAGES; i++)
			ck_assert_int_eq(m.base[i * PAGE], 'x');
		munmap(m.base, m.span);
	}
	pthread_barrier_destroy(&team.barrier);
	retire_flush();
}
END_TEST

START_TEST(test_child_is_guarded_by_itself)
{
	struct snapmap_mut *map;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	ck_assert_int_eq(death_of(touch_and_close, map), 0);
	/* What a child saw is not an error of this process. */
	ck_assert_int_eq(mut_error(map), 0);
	ck_assert_int_eq(*(volatile char *)((char *)snapmap_mut_data(map) + 9 * PAGE), 0);
	snapmap_mut_close(map);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_stores_of_many_threads_stay);
	tcase_add_test(tc, test_readers_during_resize_and_rollback);
	tcase_add_test(tc, test_opens_while_others_fault);
	if (!TEST_SANITIZED)
		tcase_add_test(tc, test_fork_while_others_fault);
	tcase_add_test(tc, test_late_faults_spare_other_memory);
	tcase_add_test(tc, test_child_is_guarded_by_itself);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("guard_threads");

	test_each_fs(s, "guard_threads", add_tests);
	return s;
}
