/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork() and exec() while handles are opened, broken and closed by other threads: the
 * child sees no changed byte and can go on by itself, the parent does not notice.
 */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>

#include "opening.h"
#include "stress.h"

#define FILES 6
#define THREADS 4
#define SIZE 8192
#define HELD_BACK 4 /* handles that each child inherits */

struct juggler {
	pthread_t thread;
	uint64_t random, end, opens;
	int line;
	char why[300];
};

static uint64_t first_word(const struct snapmap *map)
{
	return snapmap_size(map) ? *(const uint64_t *)snapmap_data(map) : 0;
}

/* Opens, looks, closes; a leased handle is all one word. Returns 0 or a line. */
static int use_a_file(uint64_t *random, bool *ret_leased)
{
	struct snapmap_info info;
	struct snapmap *map;
	uint64_t word, reads = 0;
	char name[24];

	snprintf(name, sizeof(name), "f%u", (unsigned)test_random(random) % FILES);
	if (snapmap_open(name, NULL, &map))
		return __LINE__;
	word = first_word(map);
	if (snapmap_get_info(map, &info))
		return __LINE__;
	*ret_leased |= info.lease == SNAPMAP_LEASE_HELD;
	for (unsigned i = (unsigned)test_random(random) % 300; i--;)
		if (word != first_word(map) || (info.source == SNAPMAP_SOURCE_LEASE &&
						!stress_uniform(snapmap_data(map), snapmap_size(map), &reads)))
			return __LINE__;
	snapmap_close(map);
	return 0;
}

static void *juggle(void *arg)
{
	struct juggler *j = arg;
	bool leased = false;

	while (stress_now() < j->end && !j->line) {
		j->line = use_a_file(&j->random, &leased);
		j->opens++;
	}
	if (j->line)
		snprintf(j->why, sizeof(j->why), "%s", snapmap_last_error());
	return NULL;
}

/* What a signal leaves of a process that touches it. */
static bool touch_is_a_fault(const struct snapmap *map)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		prctl(PR_SET_DUMPABLE, 0);
		_exit((int)(first_word(map) & 1));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

struct inherited {
	struct snapmap *map;
	uint64_t word;
};

/* In the child. Returns 0 or a line. */
static int be_a_child(struct inherited *inherited, uint64_t random)
{
	struct snapmap_info info;
	bool leased = false;
	int line;

	alarm(60);
	for (int i = 0; i < HELD_BACK; i++) {
		const struct snapmap *map = inherited[i].map;

		if (snapmap_get_info(map, &info) || info.lease == SNAPMAP_LEASE_HELD)
			return __LINE__;
		if (info.lease == SNAPMAP_LEASE_LOST &&
		    (info.error != -ESTALE || snapmap_prefault(map, 0, 1) != -ESTALE))
			return __LINE__;
		if (info.lease == SNAPMAP_LEASE_LOST && i == 0 && !touch_is_a_fault(map))
			return __LINE__;
		if (info.lease != SNAPMAP_LEASE_LOST && first_word(map) != inherited[i].word)
			return __LINE__;
	}
	for (int i = 0; i < HELD_BACK; i += 2)
		snapmap_close(inherited[i].map);
	if (!TEST_SANITIZED)
		for (int i = 0; i < 40 && !leased; i++) {
			line = use_a_file(&random, &leased);
			if (line)
				return line;
		}
	for (int i = 1; i < HELD_BACK; i += 2)
		snapmap_close(inherited[i].map);
	return 0;
}

static void fork_once(struct inherited *inherited, uint64_t random)
{
	int status;
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid)
		_exit(be_a_child(inherited, random) & 0xff);
	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	ck_assert_msg(!WIFSIGNALED(status), "a child died by signal %d", WTERMSIG(status));
	ck_assert_msg(!WEXITSTATUS(status), "a child failed in line %d (mod 256)", WEXITSTATUS(status));
}

/* Files of one word each, and who writes to them. */
static void start_writers(int count, struct writers *ret)
{
	static const uint64_t words[SIZE / 8];
	char name[24];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		test_write_file(name, words, SIZE);
	}
	ck_assert_int_eq(writers_start(ret, count, FILES, SIZE, test_seed()), 0);
}

static void start_juggler(struct juggler *j, uint64_t random, uint64_t end)
{
	*j = (struct juggler){.random = random, .end = end};
	ck_assert_int_eq(pthread_create(&j->thread, NULL, juggle, j), 0);
}

/* Returns how much it has opened. */
static uint64_t join_juggler(struct juggler *j)
{
	pthread_join(j->thread, NULL);
	ck_assert_msg(!j->line, "a thread in line %d: %s", j->line, j->why);
	return j->opens;
}

START_TEST(test_fork_while_leases_break)
{
	struct juggler jugglers[THREADS];
	struct inherited inherited[HELD_BACK];
	uint64_t random = test_seed(), forks = 0, opens = 0, end;
	size_t fds = test_count_fds();
	struct writers writers;
	char name[24];

	if (!row_leases())
		return;
	start_writers(2, &writers);
	end = stress_end(0.5);
	for (int i = 0; i < THREADS; i++)
		start_juggler(&jugglers[i], test_seed() + 7777 * (uint64_t)i, end);
	while (stress_now() < end) {
		for (int i = 0; i < HELD_BACK; i++) {
			snprintf(name, sizeof(name), "f%u", (unsigned)test_random(&random) % FILES);
			ck_assert_ok(snapmap_open(name, NULL, &inherited[i].map));
			inherited[i].word = first_word(inherited[i].map);
		}
		fork_once(inherited, test_random(&random));
		for (int i = 0; i < HELD_BACK; i++) {
			ck_assert_uint_eq(first_word(inherited[i].map), inherited[i].word);
			snapmap_close(inherited[i].map);
		}
		forks++;
	}
	for (int i = 0; i < THREADS; i++)
		opens += join_juggler(&jugglers[i]);
	printf("%s: %" PRIu64 " forks, %" PRIu64 " opens, %lu writes\n", test_fs()->name, forks, opens,
	       atomic_load(&writers.shared->writes));
	ck_assert_msg(atomic_load(&writers.shared->longest) < (uint64_t)20 * 1000000000, "a writer was forgotten");
	writers_stop(&writers);
	test_settle_fds(fds);
}
END_TEST

START_TEST(test_exec_while_leases_break)
{
	size_t fds = test_count_fds();
	struct writers writers;
	struct juggler j;
	uint64_t execs = 0, end;
	char list[4096];

	if (!row_leases())
		return;
	start_writers(1, &writers);
	end = stress_end(0.2);
	start_juggler(&j, test_seed(), end);
	do {
		ck_assert_int_eq(test_started_program_fds(list, sizeof(list)), 0);
		/* All that the library opens lies in this directory, or is memory. */
		ck_assert_msg(!strstr(list, test_dir()) && !strstr(list, "memfd:"), "%s", list);
		execs++;
	} while (stress_now() < end);
	join_juggler(&j);
	writers_stop(&writers);
	printf("%s: %" PRIu64 " programs started\n", test_fs()->name, execs);
	test_settle_fds(fds);
}
END_TEST

/* --- SNAPMAP_INHERIT: the grandchild looks when its parent has gone and the file is another */

#define N 300000

struct family {
	int go[2], done[2];
	const unsigned char *want;
};

static void look_as_an_orphan(const struct family *f, const struct snapmap *map)
{
	uint64_t reads = 0;
	char c = 'n';

	if (read(f->go[0], &c, 1) == 1)
		c = snapmap_size(map) == N && stress_same(snapmap_data(map), f->want, N, &reads) ? 'y' : 'n';
	(void)!write(f->done[1], &c, 1);
	_exit(0);
}

static int be_a_parent(void *arg)
{
	const struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_INHERIT};
	const struct family *f = arg;
	struct snapmap *map, *other;
	pid_t pid;

	if (snapmap_open("f", &o, &map) || snapmap_open("f", NULL, &other))
		return __LINE__;
	pid = fork();
	if (!pid)
		look_as_an_orphan(f, map);
	return pid < 0 ? __LINE__ : 0;
}

START_TEST(test_orphans_keep_the_bytes)
{
	static unsigned char want[N];
	struct family f = {.want = want};
	char c = 'n';

	ck_assert_sys(pipe2(f.go, O_CLOEXEC));
	ck_assert_sys(pipe2(f.done, O_CLOEXEC));
	test_fill(want, N, test_seed());
	for (int i = 0; i < 4; i++) {
		test_write_file("f", want, N);
		ck_assert_int_eq(test_as_user(geteuid(), be_a_parent, &f), 0);
		test_make_file("f", i % 2 ? 5 : 2 * N, 99);
		ck_assert_int_eq(write(f.go[1], "x", 1), 1);
		ck_assert_int_eq(read(f.done[0], &c, 1), 1);
		ck_assert_msg(c == 'y', "the orphan saw other bytes");
	}
	close(f.go[0]);
	close(f.go[1]);
	close(f.done[0]);
	close(f.done[1]);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, 60 + 3 * stress_seconds(1));
	tcase_add_test(tc, test_fork_while_leases_break);
	tcase_add_test(tc, test_exec_while_leases_break);
	tcase_add_test(tc, test_orphans_keep_the_bytes);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_fork");

	test_each_fs(s, "lease_fork", add_tests);
	return s;
}
