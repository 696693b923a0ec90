/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory of a segment: threads, system calls, limits, forks. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "segmenting.h"

#define MIB ((size_t)1 << 20)
#define SIZE (16 * MIB)
#define THREADS 6

static struct snapmap_segment *read_file(int way, const char *path, uint64_t seed)
{
	struct snapmap_segment *s = make_segment(way, SIZE);
	int fd;

	test_make_file(path, SIZE, seed);
	fd = open_file(path, O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, snapmap_segment_base(s), SIZE, 0), SIZE);
	close(fd);
	return s;
}

/* Each way is there for the user that it is for. */
START_TEST(test_who_gets_which_way)
{
	struct snapmap_segment *s = make_segment(0, SIZE), *inherit = make_segment(1, SIZE);

	if (test_is_root())
		ck_assert(is_paged(s));
	else if (access("/proc/sys/vm/unprivileged_userfaultfd", R_OK) == 0)
		ck_assert(!is_paged(s) ||
			  test_hash_file("/proc/sys/vm/unprivileged_userfaultfd") == test_hash("1\n", 2));
	ck_assert(!is_paged(inherit));
	snapmap_segment_destroy(s);
	snapmap_segment_destroy(inherit);
}
END_TEST

/* ---- threads ---- */

struct shared {
	struct snapmap_segment *s;
	unsigned char *base;
	atomic_bool stop;
	atomic_int wrong;
	atomic_int next;
	int fd;
	unsigned char *wanted;
};

static void start(struct shared *sh, void *(*run)(void *), pthread_t *threads)
{
	for (int i = 0; i < THREADS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, run, sh));
}

static void join(pthread_t *threads)
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void *compare_all(void *arg)
{
	struct shared *sh = arg;
	uint64_t random = (uint64_t)atomic_fetch_add(&sh->next, 1) + test_seed();

	if (random % 2)
		for (size_t at = 0; at < SIZE; at += PAGE)
			atomic_fetch_add(&sh->wrong, memcmp(sh->base + at, sh->wanted + at, PAGE) != 0);
	else
		for (size_t i = 0; i < 2 * SIZE / PAGE; i++) {
			size_t at = test_random(&random) % (SIZE / PAGE) * PAGE;

			atomic_fetch_add(&sh->wrong, memcmp(sh->base + at, sh->wanted + at, PAGE) != 0);
		}
	return NULL;
}

START_TEST(test_many_threads_touch)
{
	struct shared sh = {.wanted = malloc(SIZE)};
	pthread_t threads[THREADS];

	test_fill(sh.wanted, SIZE, 1);
	for (int round = 0; round < 3; round++) {
		sh.s = read_file(_i % SEGMENT_WAYS, "f", 1);
		sh.base = snapmap_segment_base(sh.s);
		if (_i / SEGMENT_WAYS)
			ck_ok(snapmap_segment_set_limit(sh.s, MIB / 2));
		start(&sh, compare_all, threads);
		join(threads);
		ck_assert_int_eq(sh.wrong, 0);
		snapmap_segment_destroy(sh.s);
	}
	free(sh.wanted);
}
END_TEST

/* Each thread has slices of its own, and uses them in all ways while the others do theirs. */
static void *use_own_slices(void *arg)
{
	struct shared *sh = arg;
	int me = atomic_fetch_add(&sh->next, 1);
	uint64_t random = test_seed() + (uint64_t)me;
	size_t slice = 37 * PAGE, slices = SIZE / slice;

	for (int i = 0; i < (TEST_SANITIZED ? 60 : 300); i++) {
		size_t k = (test_random(&random) % (slices / THREADS)) * THREADS + (size_t)me, at = k * slice;
		size_t from = test_random(&random) % 2 ? at : test_random(&random) % (SIZE - slice);
		unsigned char *p = sh->base + at;

		if (snapmap_segment_pread(sh->s, sh->fd, p, slice, (int64_t)from) != (ssize_t)slice) {
			atomic_fetch_add(&sh->wrong, 1);
			continue;
		}
		atomic_fetch_add(&sh->wrong, memcmp(p, sh->wanted + from, slice) != 0);
		p[5 * PAGE + 7] = (unsigned char)i;
		if (i % 3 == 0 && snapmap_segment_zero(sh->s, p + 9 * PAGE, 20 * PAGE))
			atomic_fetch_add(&sh->wrong, 1);
		if (i % 3 == 0)
			atomic_fetch_add(&sh->wrong, !is_zero((char *)p + 9 * PAGE, 20 * PAGE));
		atomic_fetch_add(&sh->wrong, p[5 * PAGE + 7] != (unsigned char)i);
		atomic_fetch_add(&sh->wrong, memcmp(p + 30 * PAGE, sh->wanted + from + 30 * PAGE, 7 * PAGE) != 0);
	}
	return NULL;
}

START_TEST(test_calls_and_touches_at_once)
{
	struct shared sh = {.wanted = malloc(SIZE)};
	pthread_t threads[THREADS];

	test_fill(sh.wanted, SIZE, 2);
	sh.s = read_file(_i % SEGMENT_WAYS, "f", 2);
	sh.base = snapmap_segment_base(sh.s);
	sh.fd = open_file("f", O_RDONLY);
	if (_i / SEGMENT_WAYS)
		ck_ok(snapmap_segment_set_limit(sh.s, 64 * PAGE));
	start(&sh, use_own_slices, threads);
	join(threads);
	ck_assert_int_eq(sh.wrong, 0);
	ck_assert_int_eq(stats_of(sh.s).error, 0);
	close(sh.fd);
	snapmap_segment_destroy(sh.s);
	free(sh.wanted);
}
END_TEST

/* ---- a limit, and stores that must not get lost ---- */

static size_t resident_pages(const void *base)
{
	unsigned char *in = malloc(SIZE / PAGE);
	size_t n = 0;

	ck_assert(!mincore((void *)(uintptr_t)base, SIZE, in));
	for (size_t i = 0; i < SIZE / PAGE; i++)
		n += in[i] & 1;
	free(in);
	return n;
}

/* The threads may still bring what they had begun, before they take it back. */
static bool comes_down_to(const void *base, size_t bytes)
{
	for (int i = 0; i < 500 && resident_pages(base) > bytes / PAGE; i++)
		usleep(10000);
	return resident_pages(base) <= bytes / PAGE;
}

START_TEST(test_limit)
{
	struct snapmap_segment *s = read_file(0, "f", 3);
	char *base = snapmap_segment_base(s);
	struct snapmap_segment_stats st;
	size_t lost = 0;

	if (!is_paged(s) || !stats_of(s).reads_deferred) {
		snapmap_segment_destroy(s);
		test_skip("only for the pager");
	}
	ck_assert(is_filled(base, SIZE / 2, 3, 0));
	ck_assert_uint_ge(resident_pages(base), SIZE / 2 / PAGE);
	ck_ok(snapmap_segment_set_limit(s, MIB));
	if (!stats_of(s).bytes_given_back) {
		snapmap_segment_destroy(s);
		test_skip("needs Linux 6.8");
	}
	ck_assert(comes_down_to(base, MIB));
	memset(base + 2 * MIB, 'x', 2 * MIB);
	for (int round = 0; round < 2; round++) {
		ck_assert(is_filled(base, 2 * MIB, 3, 0));
		ck_assert(is_filled(base + 4 * MIB, SIZE - 4 * MIB, 3, 4 * MIB));
		/* What was stored stays. */
		ck_assert(comes_down_to(base, 3 * MIB + MIB / 4));
	}
	for (size_t i = 2 * MIB; i < 4 * MIB; i++)
		lost += base[i] != 'x';
	ck_assert_uint_eq(lost, 0);
	st = stats_of(s);
	ck_assert_uint_ge(st.bytes_loaded, 2 * SIZE - 4 * MIB);
	ck_assert_uint_ge(st.bytes_given_back, SIZE);
	ck_ok(snapmap_segment_set_limit(s, 0));
	ck_assert(is_filled(base + 4 * MIB, SIZE - 4 * MIB, 3, 4 * MIB));
	ck_assert_uint_ge(resident_pages(base), (SIZE - 2 * MIB) / PAGE);
	snapmap_segment_destroy(s);
}
END_TEST

#define COUNTED 512 /* pages */

/* Adds one to a number in each of some pages, again and again; nobody else stores there. */
static void *count_up(void *arg)
{
	struct shared *sh = arg;
	int me = atomic_fetch_add(&sh->next, 1);
	uint64_t random = test_seed() + (uint64_t)me;

	for (int i = 0; i < (TEST_SANITIZED ? 3000 : 30000); i++) {
		size_t page = test_random(&random) % COUNTED;
		volatile uint32_t *p = (volatile uint32_t *)(sh->base + page * PAGE) + me;

		(*p)++;
		__atomic_fetch_add((uint32_t *)(sh->wanted + page * PAGE) + me, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *read_through(void *arg)
{
	struct shared *sh = arg;
	unsigned sum = 0;

	while (!atomic_load(&sh->stop))
		for (size_t at = COUNTED * PAGE; at < SIZE; at += PAGE)
			sum += ((volatile unsigned char *)sh->base)[at];
	return (void *)(uintptr_t)(sum & 1);
}

/* Pages are given back all the time while they are stored into. */
START_TEST(test_no_store_is_lost)
{
	struct shared sh = {.wanted = malloc(SIZE)};
	pthread_t threads[THREADS], reader;

	sh.s = read_file(0, "f", 4);
	sh.base = snapmap_segment_base(sh.s);
	test_fill(sh.wanted, SIZE, 4);
	ck_ok(snapmap_segment_set_limit(sh.s, 32 * PAGE));
	pthread_create(&reader, NULL, read_through, &sh);
	start(&sh, count_up, threads);
	join(threads);
	sh.stop = true;
	pthread_join(reader, NULL);
	ck_assert(!memcmp(sh.base, sh.wanted, SIZE));
	snapmap_segment_destroy(sh.s);
	free(sh.wanted);
}
END_TEST

struct moment {
	struct snapmap_segment *s;
	char *base;
	int stores;
};

static int set_limit(void *arg)
{
	const struct moment *m = arg;
	int rc;

	watch_on();
	rc = snapmap_segment_set_limit(m->s, PAGE);
	watch_off();
	return rc;
}

#define MOVE_NUMBER 0x05 /* of the ioctl that moves pages: UFFDIO_MOVE */

/* Somebody stores between the look for clean pages and their being taken away. */
static int store_before_move(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	/* Only once: later the pages may be away for a moment. */
	if (call->nr == SYS_ioctl && (call->args[1] & 0xffff) == (0xaa00 | MOVE_NUMBER) && !m->stores) {
		m->base[3 * PAGE] = 'x';
		m->base[70 * PAGE] = 'x';
		m->stores++;
	}
	return 0;
}

static bool can_watch_moves(void)
{
	struct snapmap_segment *s = read_file(0, "f", 4);
	bool can = is_paged(s) && stats_of(s).reads_deferred && watch_works();

	snapmap_segment_destroy(s);
	return can;
}

START_TEST(test_store_right_before_a_page_is_taken_back)
{
	int stores = 0;

	if (!can_watch_moves())
		test_skip("only for the pager, and where system calls can be watched");
	/* A thread of the pager that has just brought a page may see the limit first, and is not watched. */
	for (int tries = 0; tries < 20 && !stores; tries++) {
		struct moment m = {0};
		char *wanted = malloc(SIZE);

		m.s = read_file(0, "f", 4);
		m.base = snapmap_segment_base(m.s);
		test_fill(wanted, SIZE, 4);
		ck_assert(!memcmp(m.base, wanted, SIZE));
		ck_ok(watch(set_limit, &m, store_before_move, &m));
		stores = m.stores;
		if (stores)
			wanted[3 * PAGE] = wanted[70 * PAGE] = 'x';
		ck_assert(!memcmp(m.base, wanted, SIZE));
		free(wanted);
		snapmap_segment_destroy(m.s);
	}
	ck_assert_int_eq(stores, 1);
}
END_TEST

/* ---- system calls on the memory ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

START_TEST(test_system_calls_and_library_functions)
{
	struct snapmap_segment *s = read_file(_i, "f", 5);
	char *base = snapmap_segment_base(s), *wanted = malloc(SIZE), *copy = malloc(SIZE);
	struct iovec local = {copy, SIZE}, remote = {base, SIZE};
	uint32_t *numbers = (uint32_t *)(void *)base;
	size_t unsorted = 0;
	int fd, out;

	test_fill(wanted, SIZE, 5);
	out = open_file("out", O_RDWR | O_CREAT);
	ck_is(write(out, base, SIZE), SIZE);
	ck_assert(test_file_is("out", wanted, SIZE));
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	ck_is(pread(out, base + 3 * MIB + 5, 2 * MIB, 0), 2 * MIB);
	memcpy(wanted + 3 * MIB + 5, wanted, 2 * MIB);
	ck_is(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), SIZE);
	ck_assert(!memcmp(copy, wanted, SIZE));
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	test_fill(wanted, SIZE, 5);
	memcpy(copy, base, SIZE);
	ck_assert(!memcmp(copy, wanted, SIZE));
	memmove(base + 100, base, SIZE - 100);
	memmove(wanted + 100, wanted, SIZE - 100);
	ck_assert(!memcmp(base, wanted, SIZE));
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	qsort(numbers, SIZE / 4, 4, by_number);
	for (size_t i = 1; i < SIZE / 4; i++)
		unsorted += numbers[i - 1] > numbers[i];
	ck_assert_uint_eq(unsorted, 0);
	close(fd);
	close(out);
	free(copy);
	free(wanted);
	snapmap_segment_destroy(s);
}
END_TEST

/* ---- forks ---- */

static int look_in_child(struct snapmap_segment *s, bool paged)
{
	char *base = snapmap_segment_base(s), *other = NULL;
	struct snapmap_segment_stats st;
	struct snapmap_segment *own;
	int fd = open("f", O_RDONLY | O_CLOEXEC), rc;

	if (!paged && (!is_filled(base, SIZE / 2, 6, 0) || base[SIZE - 1] != 'y'))
		return 1;
	if (snapmap_segment_get_stats(s, &st) != -ESTALE || snapmap_segment_pread(s, fd, base, PAGE, 0) != -ESTALE ||
	    snapmap_segment_zero(s, base, 1) != -ESTALE)
		return 2;
	/* Its addresses are free in the child, and may be in use for something else. */
	if (paged)
		other = mmap(base, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			     0);
	if (other == MAP_FAILED)
		return 5;
	snapmap_segment_destroy(s);
	if (other)
		*(volatile char *)other = 1;
	/* A child has threads of its own. */
	rc = snapmap_segment_create(SIZE, NULL, &own);
	if (rc || snapmap_segment_pread(own, fd, snapmap_segment_base(own), SIZE, 0) != (ssize_t)SIZE)
		return 3;
	if (!is_filled(snapmap_segment_base(own), SIZE, 6, 0))
		return 4;
	snapmap_segment_destroy(own);
	close(fd);
	return 0;
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert(waitpid(pid, &status, 0) == pid);
	return status;
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	ck_assert(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
	}
	return pid;
}

START_TEST(test_fork)
{
	struct snapmap_segment *s = read_file(_i, "f", 6);
	volatile char *base = snapmap_segment_base(s);
	bool paged = is_paged(s);
	pid_t pid;
	int status;

	base[SIZE - 1] = 'y';
	if (TEST_CHILD_HAS_THREADS) {
		pid = fork_child();
		if (!pid)
			_exit(look_in_child(s, paged));
		status = status_of(pid);
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %x", status);
	}
	/* The right bytes or a fault, never zeros. */
	for (size_t at = 0; at < SIZE; at += SIZE - 1) {
		pid = fork_child();
		if (!pid) {
			signal(SIGSEGV, SIG_DFL);
			_exit(base[at] == (at ? 'y' : 0));
		}
		status = status_of(pid);
		if (paged)
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "status %x", status);
	}
	ck_assert(is_filled((const void *)(uintptr_t)base, SIZE / 2, 6, 0));
	snapmap_segment_destroy(s);
}
END_TEST

static void *fork_on(void *arg)
{
	struct shared *sh = arg;

	while (!atomic_load(&sh->stop)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			atomic_fetch_add(&sh->wrong, 1);
	}
	return NULL;
}

START_TEST(test_faults_while_the_process_forks)
{
	struct shared sh = {.wanted = malloc(SIZE)};
	pthread_t threads[THREADS], forker;

	test_fill(sh.wanted, SIZE, 7);
	sh.s = read_file(_i, "f", 7);
	sh.base = snapmap_segment_base(sh.s);
	ck_ok(snapmap_segment_set_limit(sh.s, 64 * PAGE));
	pthread_create(&forker, NULL, fork_on, &sh);
	start(&sh, compare_all, threads);
	join(threads);
	sh.stop = true;
	pthread_join(forker, NULL);
	ck_assert_int_eq(sh.wrong, 0);
	snapmap_segment_destroy(sh.s);
	free(sh.wanted);
}
END_TEST

/* ---- many of them ---- */

/* Its threads wait for leases from the beginning; that there are none yet does not matter. */
START_TEST(test_a_segment_that_is_not_used)
{
	struct snapmap_segment *s = make_segment(_i, MIB);

	((char *)snapmap_segment_base(s))[5] = 1;
	usleep(50000);
	snapmap_segment_destroy(s);
	usleep(50000);
}
END_TEST

START_TEST(test_many_segments_come_and_go)
{
	struct snapmap_segment *all[20];
	int fd;

	test_make_file("f", MIB, 8);
	fd = open_file("f", O_RDONLY);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++) {
			all[i] = make_segment(_i, MIB);
			ck_is(snapmap_segment_pread(all[i], fd, snapmap_segment_base(all[i]), MIB, 0), MIB);
		}
		for (int i = 0; i < 20; i++)
			ck_assert(is_filled(snapmap_segment_base(all[(i * 7 + round) % 20]), MIB, 8, 0));
		for (int i = 0; i < 20; i++)
			snapmap_segment_destroy(all[(i * 3) % 20]);
	}
	close(fd);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, test_who_gets_which_way);
	tcase_add_loop_test(tc, test_many_threads_touch, 0, 2 * SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_calls_and_touches_at_once, 0, 2 * SEGMENT_WAYS);
	tcase_add_test(tc, test_limit);
	tcase_add_test(tc, test_no_store_is_lost);
	tcase_add_test(tc, test_store_right_before_a_page_is_taken_back);
	tcase_add_loop_test(tc, test_system_calls_and_library_functions, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_fork, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_faults_while_the_process_forks, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_a_segment_that_is_not_used, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_many_segments_come_and_go, 0, SEGMENT_WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("segment pager");

	test_each_fs(s, "segment pager", add);
	return s;
}
