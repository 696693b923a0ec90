/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases where something is short: descriptors, queued signals, mappings, rights; and
 * where the process that holds them is itself the one that wants to write.
 */
#include "config.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "opening.h"
#include "stress.h"

#define SIZE 30000
#define FILES 150
#define SIGNALED (TEST_SANITIZED ? 40U : 150U) /* a sanitizer counts the locks that fork() takes */
#define OVERWRITE 1			       /* among stress_acts */

struct held {
	struct snapmap *map;
	char name[24];
};

static unsigned char want[SIZE];

static void make_files(unsigned count, struct held *held)
{
	test_fill(want, SIZE, test_seed());
	for (unsigned i = 0; i < count; i++) {
		snprintf(held[i].name, sizeof(held[i].name), "f%u", i);
		test_write_file(held[i].name, want, SIZE);
	}
}

static uint32_t lease_of(const struct snapmap *map)
{
	struct snapmap_info info;

	ck_assert_ok(snapmap_get_info(map, &info));
	ck_assert_int_eq(info.error, 0);
	return info.lease;
}

static bool is_right(const struct snapmap *map)
{
	return snapmap_size(map) == SIZE && !memcmp(snapmap_data(map), want, SIZE);
}

/* The writer goes on a moment before the handle is told. */
static uint32_t lease_after_break(const struct snapmap *map)
{
	struct snapmap_info info = {.lease = SNAPMAP_LEASE_HELD};

	for (int i = 0; i < 200000 && info.lease == SNAPMAP_LEASE_HELD; i++) {
		usleep(i ? 100 : 0);
		if (snapmap_get_info(map, &info))
			break;
	}
	return info.lease;
}

static void settle(size_t fds)
{
	for (int i = 0; i < 20000 && test_count_fds() != fds; i++)
		usleep(1000);
}

static struct rlimit limit_to(int resource, rlim_t value)
{
	struct rlimit before, now;

	ck_assert_sys(getrlimit(resource, &before));
	now = before;
	now.rlim_cur = value;
	ck_assert_sys(setrlimit(resource, &now));
	return before;
}

/* --- descriptors: the first files are leased, all others served in another way */

START_TEST(test_few_descriptors)
{
	static struct held held[FILES];
	size_t fds = test_count_fds();
	struct attacker attacker;
	unsigned leased = 0;

	if (!row_leases())
		return;
	make_files(FILES, held);
	ck_assert_int_eq(attacker_start(&attacker), 0);
	struct rlimit before = limit_to(RLIMIT_NOFILE, 64);

	for (unsigned i = 0; i < FILES; i++) {
		int rc = snapmap_open(held[i].name, NULL, &held[i].map);

		ck_assert_msg(rc == 0, "%u: %s", i, snapmap_last_error());
		leased += lease_of(held[i].map) == SNAPMAP_LEASE_HELD;
	}
	ck_assert_uint_ge(leased, 8);
	ck_assert_uint_le(leased, 32);
	for (unsigned i = 0; i < FILES; i++) {
		attacker_order(&attacker, (int)(i % (unsigned)stress_act_count), held[i].name);
		while (!attacker_is_done(&attacker))
			ck_assert(is_right(held[i].map));
	}
	for (unsigned i = 0; i < FILES; i++) {
		ck_assert_msg(is_right(held[i].map), "handle %u", i);
		lease_of(held[i].map);
		snapmap_close(held[i].map);
	}
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
	attacker_stop(&attacker);
	settle(fds);
}
END_TEST

/* And with none left at all: an image needs no descriptor. */
START_TEST(test_no_descriptor_for_an_image)
{
	static struct held held[8];
	struct attacker attacker;
	size_t fds = test_count_fds();

	if (!row_leases())
		return;
	make_files(8, held);
	ck_assert_int_eq(attacker_start(&attacker), 0);
	for (int i = 0; i < 8; i++)
		ck_assert_ok(snapmap_open(held[i].name, NULL, &held[i].map));
	struct rlimit before = limit_to(RLIMIT_NOFILE, 0);

	for (int i = 0; i < 8; i++) {
		attacker_order(&attacker, OVERWRITE, held[i].name);
		attacker_wait(&attacker);
		ck_assert_uint_eq(lease_after_break(held[i].map), SNAPMAP_LEASE_IMAGED);
	}
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
	for (int i = 0; i < 8; i++) {
		ck_assert(is_right(held[i].map));
		snapmap_close(held[i].map);
	}
	attacker_stop(&attacker);
	settle(fds);
}
END_TEST

/* --- signals: not one more can be queued, and all files break at once */

static void break_all(const struct held *held, unsigned count)
{
	pid_t pids[4];

	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		ck_assert_sys(pids[i]);
		for (unsigned k = (unsigned)i; !pids[i] && k < count; k += 4)
			stress_acts[OVERWRITE].act(held[k].name);
		if (!pids[i])
			_exit(0);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_sys(waitpid(pids[i], NULL, 0));
}

START_TEST(test_full_signal_queue)
{
	static struct held held[FILES];
	size_t fds = test_count_fds();
	sigset_t set, old;

	if (!row_leases())
		return;
	make_files(SIGNALED, held);
	for (unsigned i = 0; i < SIGNALED; i++)
		ck_assert_ok(snapmap_open(held[i].name, NULL, &held[i].map));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	struct rlimit before = limit_to(RLIMIT_SIGPENDING, 1);
	int queued = 0;

	/* A sanitizer's own threads do not matter: the count is one for the user. */
	while (!sigqueue(getpid(), SIGRTMIN + 3, (union sigval){0}))
		ck_assert_int_le(++queued, 1);
	ck_assert_int_eq(errno, EAGAIN);

	/* A child of fork() would find its mappings gone: the processes that write must not look at them. */
	break_all(held, SIGNALED);
	for (unsigned i = 0; i < SIGNALED; i++) {
		ck_assert_uint_eq(lease_after_break(held[i].map), SNAPMAP_LEASE_IMAGED);
		ck_assert(is_right(held[i].map));
		snapmap_close(held[i].map);
	}
	ck_assert_sys(setrlimit(RLIMIT_SIGPENDING, &before));
	while (sigtimedwait(&set, NULL, &(struct timespec){0}) > 0)
		;
	ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	settle(fds);
}
END_TEST

/* --- mappings: none can be had when the leases break */

#define MAPS 40

#define SPARE 64

struct mappings {
	char *base;
	size_t pages, taken;
	void *spare[SPARE];
};

/* Neighbors differ, so that each page is a mapping of its own; the last few count for the kernel in another way. */
static void take_all_mappings(struct mappings *m)
{
	size_t n = 0;

	m->base = mmap(NULL, m->pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	for (size_t i = 1; i < m->pages; i += 2, n++)
		if (mprotect(m->base + i * 4096, 4096, PROT_READ))
			break;
	for (int i = 0; i < SPARE; i++, n++) {
		m->spare[i] = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (m->spare[i] == MAP_FAILED)
			m->taken = n;
		if (m->spare[i] == MAP_FAILED)
			break;
	}
}

static void give_mappings_back(struct mappings *m)
{
	munmap(m->base, m->pages * 4096);
	for (int i = 0; i < SPARE && m->spare[i] != MAP_FAILED; i++)
		munmap(m->spare[i], 4096);
}

static int first_byte(void *arg)
{
	return *(const volatile unsigned char *)arg;
}

/* In a child, and so only for a handle that says that it is lost. */
static bool is_out_of_reach(const struct snapmap *map)
{
	int status;
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		prctl(PR_SET_DUMPABLE, 0);
		_exit(first_byte((void *)(uintptr_t)snapmap_data(map)) & 1);
	}
	ck_assert_sys(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

START_TEST(test_no_mapping_left)
{
	struct mappings mappings = {.pages = (size_t)1 << 18};
	static struct held held[MAPS];
	struct attacker attacker;
	size_t fds = test_count_fds(), lost = 0;
	struct snapmap_info info;

	if (!row_leases())
		return;
	if (TEST_SANITIZED)
		test_skip("the sanitizer needs mappings of its own");
	make_files(MAPS, held);
	ck_assert_int_eq(attacker_start(&attacker), 0);
	for (int i = 0; i < MAPS; i++)
		ck_assert_ok(snapmap_open(held[i].name, NULL, &held[i].map));
	take_all_mappings(&mappings);
	for (int i = 0; i < MAPS && mappings.taken; i++) {
		attacker_order(&attacker, OVERWRITE, held[i].name);
		attacker_wait(&attacker);
		lease_after_break(held[i].map);
	}
	give_mappings_back(&mappings);
	if (!mappings.taken)
		printf("%s: vm.max_map_count was not reached\n", test_fs()->name);
	for (int i = 0; i < MAPS; i++) {
		ck_assert_ok(snapmap_get_info(held[i].map, &info));
		if (info.lease == SNAPMAP_LEASE_LOST) {
			ck_assert_int_lt(info.error, 0);
			ck_assert_int_eq(snapmap_prefault(held[i].map, 0, 1), info.error);
			ck_assert(lost || is_out_of_reach(held[i].map));
			lost++;
		} else {
			ck_assert_int_eq(info.error, 0);
			ck_assert(is_right(held[i].map));
		}
		snapmap_close(held[i].map);
	}
	printf("%s: %zu mappings taken, %zu of %d handles lost\n", test_fs()->name, mappings.taken, lost, MAPS);
	attacker_stop(&attacker);
	settle(fds);
}
END_TEST

/* --- the process itself writes to the file that it has leased */

static void *write_it(void *arg)
{
	const char *name = arg;
	int fd = open(name, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 100) || pwrite(fd, "changed", 7, 0) != 7)
		arg = NULL;
	close(fd);
	return arg;
}

static void *cut_it(void *arg)
{
	return truncate((const char *)arg, 0) ? NULL : arg;
}

static void *commit_to_it(void *arg)
{
	struct snapmap_mut *mut;
	bool good;

	if (snapmap_mut_open((const char *)arg, NULL, &mut))
		return NULL;
	*(char *)snapmap_mut_data(mut) ^= 1;
	good = !snapmap_mut_commit(mut, NULL);
	snapmap_mut_close(mut);
	return good ? arg : NULL;
}

START_TEST(test_own_writes)
{
	static void *(*const ways[])(void *) = {write_it, cut_it, commit_to_it};
	static struct held held[1];
	void *done;
	pthread_t thread;

	for (int i = 0; i < 6; i++) {
		struct snapmap *again;

		make_files(1, held);
		ck_assert_ok(snapmap_open("f0", NULL, &held[0].map));
		ck_assert_ok(snapmap_open("f0", NULL, &again));
		if (i < 3) {
			done = ways[i](held[0].name);
		} else {
			ck_assert_int_eq(pthread_create(&thread, NULL, ways[i - 3], held[0].name), 0);
			do
				ck_assert(is_right(held[0].map));
			while (pthread_tryjoin_np(thread, &done));
		}
		ck_assert_msg(done != NULL, "way %d: %s, %s", i, strerror(errno), snapmap_last_error());
		ck_assert(is_right(held[0].map) && is_right(again));
		if (row_leases() && i % 3 < 2)
			ck_assert_uint_eq(lease_after_break(again), SNAPMAP_LEASE_IMAGED);
		snapmap_close(held[0].map);
		snapmap_close(again);
	}
}
END_TEST

/* --- rights: only the owner and CAP_LEASE may lease; the others get another source */

struct visit {
	const char *path;
	int go[2], done[2];
	bool own; /* the file is the visitor's */
};

static int visit(void *arg)
{
	struct visit *v = arg;
	struct snapmap_info info;
	struct snapmap *map;
	char c = 'x';
	int line = 0;

	if (snapmap_open(v->path, NULL, &map))
		return __LINE__;
	if (snapmap_get_info(map, &info) || (info.lease == SNAPMAP_LEASE_HELD) != (v->own && row_leases()))
		line = __LINE__;
	if (!is_right(map) || write(v->done[1], &c, 1) != 1 || read(v->go[0], &c, 1) != 1 || !is_right(map))
		line = __LINE__;
	if (snapmap_get_info(map, &info) || info.error)
		line = __LINE__;
	snapmap_close(map);
	return line;
}

static void *change_when_asked(void *arg)
{
	struct visit *v = arg;
	char c;

	if (read(v->done[0], &c, 1) == 1)
		stress_acts[OVERWRITE].act(v->path);
	if (write(v->go[1], "x", 1) != 1)
		abort();
	return NULL;
}

/* @owner of the file, and the user who maps it. */
static void try_rights(uid_t owner, uid_t user, bool own)
{
	static struct held held[1];
	struct visit v = {.path = "f0", .own = own};
	int line;

	ck_assert_sys(pipe2(v.go, O_CLOEXEC));
	ck_assert_sys(pipe2(v.done, O_CLOEXEC));
	make_files(1, held);
	ck_assert_sys(chown("f0", owner, (gid_t)-1));
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid) {
		change_when_asked(&v);
		_exit(0);
	}
	line = test_as_user(user, visit, &v);
	ck_assert_msg(!line, "user %u, file of %u: line %d", (unsigned)user, (unsigned)owner, line);
	ck_assert_sys(waitpid(pid, NULL, 0));
	for (int i = 0; i < 2; i++) {
		close(v.go[i]);
		close(v.done[i]);
	}
	ck_assert_sys(unlink("f0"));
}

START_TEST(test_rights)
{
	try_rights(geteuid(), geteuid(), true);
	if (!test_is_root())
		return;
	try_rights(65534, 65534, true);
	try_rights(0, 65534, false);
	try_rights(65534, 0, true);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_few_descriptors);
	tcase_add_test(tc, test_no_descriptor_for_an_image);
	tcase_add_test(tc, test_full_signal_queue);
	tcase_add_test(tc, test_no_mapping_left);
	tcase_add_test(tc, test_own_writes);
	tcase_add_test(tc, test_rights);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_limits");

	test_each_fs(s, "lease_limits", add_tests);
	return s;
}
