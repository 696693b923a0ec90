/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits and interruptions: descriptors, address space, mappings (PITFALLS 22),
 * file sizes, signals. Each call either does its work or fails with a sentence
 * that names the limit, and leaves the process as it found it (promise 9).
 */
#include "config.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#define N 30123
#include "one_file.h"

static struct rlimit limit_to(int resource, rlim_t value)
{
	struct rlimit before, now;

	ck_assert_sys(getrlimit(resource, &before));
	now = before;
	now.rlim_cur = value;
	/* A check writes to a file itself, so none may be made from here on. */
	if (setrlimit(resource, &now))
		abort();
	return before;
}

/* --- descriptors */

static int open_somehow(int how, int way, int fd, struct view *ret)
{
	return how == 2 ? view_try_fd(way, fd, 0, ret) : view_try(way, how ? "link" : "f", 0, ret);
}

START_TEST(test_every_number_of_descriptors)
{
	int way = _i % WAYS, how = _i / WAYS, failed = 0, fd = -1;
	struct view v = {0};
	size_t fds;

	if (!way_exists(way) || (row_is_slow() && way_edits(way) && _i != 5))
		return;
	make("f");
	ck_assert_sys(symlink("f", "link"));
	if (how == 2)
		fd = open("f", O_RDONLY | O_CLOEXEC);
	fds = test_count_fds();
	for (rlim_t limit = 0;; limit++) {
		struct rlimit before = limit_to(RLIMIT_NOFILE, limit);
		int rc = open_somehow(how, way, fd, &v);

		ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
		if (!rc) {
			expect_good(&v, "f");
			view_close(&v);
			ck_assert_uint_eq(test_count_fds(), fds);
			break;
		}
		ck_assert_msg(rc == -EMFILE, "%d: %s", rc, snapmap_last_error());
		ck_assert_msg(strstr(snapmap_last_error(), "RLIMIT_NOFILE"), "%s", snapmap_last_error());
		ck_assert_uint_eq(test_count_fds(), fds);
		failed++;
		ck_assert_uint_lt(limit, 100);
	}
	ck_assert_int_gt(failed, 2);
	/* FUSE keeps a name for a file that was replaced while we have it open. */
	if (how != 2)
		ck_assert(names_are(2));
	close(fd);
}
END_TEST

/* An open handle gets along without any, or says so and is as it was. */
START_TEST(test_handle_without_descriptors)
{
	struct snapmap_range ranges[4];
	struct view v = {0};
	int rc;

	if (!way_exists(_i) || (row_is_slow() && way_source(_i) != SNAPMAP_SOURCE_COPY))
		return;
	make("f");
	view_open(_i, "f", 0, &v);
	unsigned char *p = snapmap_mut_data(v.mut);

	p[9000] ^= 0xff;
	struct rlimit before = limit_to(RLIMIT_NOFILE, 0);
	ssize_t n = snapmap_mut_dirty(v.mut, ranges, 4);
	int prefaulted = snapmap_mut_prefault(v.mut, 0, N);
	int resized = snapmap_mut_resize(v.mut, 3 * N);
	int committed = snapmap_mut_commit(v.mut, NULL);

	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
	ck_assert_msg(n == 1 || n == -EMFILE, "%zd", n);
	ck_assert_int_eq(prefaulted, 0);
	ck_assert_msg(committed == -EMFILE || committed == 0, "%d: %s", committed, snapmap_last_error());
	ck_assert(committed == 0 || strstr(snapmap_last_error(), "RLIMIT_NOFILE"));
	want[9000] ^= 0xff;
	p = snapmap_mut_data(v.mut);
	ck_assert_uint_eq(snapmap_mut_size(v.mut), resized ? N : 3 * N);
	ck_assert(!memcmp(p, want, N));
	if (committed == 0)
		ck_assert_ok(snapmap_mut_resize(v.mut, N));
	want[9000] ^= 0xff;
	before = limit_to(RLIMIT_NOFILE, 0);
	rc = snapmap_mut_rollback(v.mut);
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
	ck_assert_msg(rc == 0 || rc == -EMFILE, "%d: %s", rc, snapmap_last_error());
	if (committed) {
		ck_assert_ok(snapmap_mut_rollback(v.mut));
		view_look(&v);
		ck_assert(view_is(&v, want, N));
		expect_good(&v, "f");
	}
	view_close(&v);
}
END_TEST

/* --- address space */

static size_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(test_little_address_space)
{
	const size_t size = (size_t)64 << 20;
	struct view v = {0};
	int failed = 0;

	if (!way_exists(_i))
		return;
	if (TEST_SANITIZED)
		test_skip("the sanitizer wants address space of its own");
	make("f");
	ck_assert_sys(truncate("f", (off_t)size));
	size_t fds = test_count_fds();

	for (size_t more = 0; more < size + (64 << 20); more += 5 << 20) {
		struct rlimit before = limit_to(RLIMIT_AS, address_space() + more);
		int rc = view_try(_i, "f", 0, &v);

		ck_assert_sys(setrlimit(RLIMIT_AS, &before));
		ck_assert_uint_eq(test_count_fds(), fds + (rc || !v.mut ? 0 : test_count_fds() - fds));
		if (rc) {
			ck_assert_msg(rc == -ENOMEM, "%d: %s", rc, snapmap_last_error());
			ck_assert_msg(strstr(snapmap_last_error(), "ulimit -v"), "%s", snapmap_last_error());
			failed++;
			continue;
		}
		ck_assert_uint_eq(v.size, size);
		ck_assert(!memcmp(v.data, want, N));
		view_close(&v);
		ck_assert_uint_eq(test_count_fds(), fds);
	}
	ck_assert_int_gt(failed, 5);
	ck_assert_int_lt(failed, 25);
}
END_TEST

/* --- file sizes: SIGXFSZ would kill the process */

START_TEST(test_limit_on_file_sizes)
{
	static const rlim_t limits[] = {0, 1, 4095, 4096, N - 1, N, N + 1, 2 * N};
	struct snapmap_probe probe;

	if (!way_exists(_i))
		return;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct view v = {0}, early = {0};
		int linked = 0, resized = 0, committed = 0;

		if (row_is_slow() && i % 4)
			continue;
		make("f");
		view_open(_i, "f", 0, &early);
		struct rlimit before = limit_to(RLIMIT_FSIZE, limits[i]);
		int rc = view_try(_i, "f", 0, &v);
		int probed = snapmap_probe("f", &probe), probed_dir = snapmap_probe(".", &probe);

		if (early.mut) {
			memset(snapmap_mut_data(early.mut), 7, N);
			resized = snapmap_mut_resize(early.mut, N + 4096);
			committed = snapmap_mut_commit(early.mut, NULL);
			linked = snapmap_mut_link(early.mut, "g", NULL);
		}
		ck_assert_sys(setrlimit(RLIMIT_FSIZE, &before));
		ck_assert_int_eq(probed, 0);
		ck_assert_msg(probed_dir == 0 || limits[i] < 4096, "%d", probed_dir);
		ck_assert_int_eq(resized, 0);
		if (limits[i] >= N) {
			ck_assert_int_eq(rc, 0);
			ck_assert(!v.map || view_is(&v, want, N));
		} else {
			ck_assert_msg(rc == -EFBIG, "limit %zu: %d: %s", (size_t)limits[i], rc, snapmap_last_error());
		}
		if (early.mut) {
			ck_assert_int_eq(committed, limits[i] >= N + 4096 ? 0 : -EFBIG);
			ck_assert_int_eq(linked, limits[i] >= N + 4096 ? 0 : -EFBIG);
			ck_assert(linked || !unlink("g"));
			ck_assert(committed == 0 || test_file_is("f", want, N));
		}
		view_close(&v);
		view_close(&early);
		ck_assert(names_are(1));
	}
}
END_TEST

/* --- interruptions */

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
	(void)signal;
	ticks++;
}

START_TEST(test_a_storm_of_signals)
{
	const size_t n = (size_t)3 << 20;
	struct itimerval fast = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = tick}; /* without SA_RESTART */
	unsigned char *bytes = malloc(n);

	if (!way_exists(_i)) {
		free(bytes);
		return;
	}
	test_fill(bytes, n, test_seed());
	test_write_file("f", bytes, n);
	ck_assert_sys(sigaction(SIGALRM, &action, NULL));
	for (int i = 0; i < (row_is_slow() ? 1 : 2); i++) {
		struct view v = {0};

		setitimer(ITIMER_REAL, &fast, NULL);
		int rc = view_try(_i, "f", SNAPMAP_POPULATE, &v), committed = 0, rolled = 0;

		if (!rc && v.mut) {
			unsigned char *p = snapmap_mut_data(v.mut);

			p[i] ^= 1;
			rolled = snapmap_mut_rollback(v.mut);
			for (size_t at = 0; at < n; at += 4096 * 5)
				bytes[at] = p[at] = (unsigned char)(p[at] + 1);
			committed = snapmap_mut_commit(v.mut, NULL);
		}
		setitimer(ITIMER_REAL, &off, NULL);
		ck_assert_msg(rc == 0, "%d: %s", rc, snapmap_last_error());
		ck_assert_msg(rolled == 0 && committed == 0, "%d, %d: %s", rolled, committed, snapmap_last_error());
		ck_assert(view_is(&v, bytes, n));
		view_close(&v);
		ck_assert(test_file_is("f", bytes, n));
	}
	ck_assert(names_are(1));
	free(bytes);
}
END_TEST

/* --- promise 9 */

struct process_state {
	struct sigaction actions[65];
	sigset_t mask, pending;
	mode_t umask;
	char cwd[4096];
	size_t threads, fds;
	struct rlimit limits[RLIM_NLIMITS];
	struct itimerval timer;
};

static void look_at_process(struct process_state *s)
{
	memset(s, 0, sizeof(*s));
	for (int i = 1; i < 65; i++)
		sigaction(i, NULL, &s->actions[i]);
	ck_assert_sys(sigprocmask(SIG_SETMASK, NULL, &s->mask));
	ck_assert_sys(sigpending(&s->pending));
	s->umask = umask(022);
	umask(s->umask);
	ck_assert_ptr_nonnull(getcwd(s->cwd, sizeof(s->cwd)));
	s->threads = test_count_names("/proc/self/task");
	s->fds = test_count_fds();
	for (int i = 0; i < RLIM_NLIMITS; i++)
		ck_assert_sys(getrlimit((__rlimit_resource_t)i, &s->limits[i]));
	ck_assert_sys(getitimer(ITIMER_REAL, &s->timer));
	s->timer.it_value = (struct timeval){0, 0}; /* Check's own runs on */
}

/* All there is to do, once well and once not. */
static void live_a_life(void)
{
	struct snapmap_probe probe;
	struct view v = {0};

	for (int way = 0; way < WAYS; way++) {
		view_try(way, "missing", 0, &v);
		view_try(way, ".", 0, &v);
		view_try(way, "/dev/null", 0, &v);
		if (view_try(way, "f", SNAPMAP_POPULATE | SNAPMAP_STRICT, &v))
			continue;
		if (v.mut) {
			memset(snapmap_mut_data(v.mut), way, 100);
			snapmap_mut_resize(v.mut, 2 * N);
			snapmap_mut_dirty(v.mut, NULL, 0);
			snapmap_mut_commit(v.mut, NULL);
			test_make_file("f", N, 3);
			snapmap_mut_rollback(v.mut);
			memset(snapmap_mut_data(v.mut), way, 100);
			snapmap_mut_commit(v.mut, NULL);
			snapmap_mut_link(v.mut, "f", NULL);
			snapmap_mut_link(v.mut, "/nowhere/f", NULL);
		}
		view_close(&v);
	}
	if (!snapmap_mut_create("g", 0600, NULL, &v.mut)) {
		snapmap_mut_resize(v.mut, N);
		snapmap_mut_commit_and_close(v.mut, NULL);
		v.mut = NULL;
		unlink("g");
	}
	snapmap_probe("f", &probe);
	snapmap_probe(".", &probe);
	snapmap_probe("missing", &probe);
}

START_TEST(test_the_process_is_left_as_it_was)
{
	static struct process_state before, after;
	struct stat st;
	int saved[2];

	make("f");
	umask(0137);
	look_at_process(&before);
	/* And not a word. */
	fflush(NULL);
	int quiet = open("quiet", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; i < 2; i++) {
		saved[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
		dup2(quiet, i + 1);
	}
	live_a_life();
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	ck_assert_sys(fstat(quiet, &st));
	close(quiet);
	ck_assert_msg(st.st_size == 0, "the library printed %zu bytes", (size_t)st.st_size);
	look_at_process(&after);
	/* The threads that watch leases end soon after the last one. */
	for (int i = 0; i < 2000 && after.threads != before.threads; i++) {
		usleep(5000);
		look_at_process(&after);
	}
	for (int i = 1; i < 65; i++)
		ck_assert_msg(before.actions[i].sa_handler == after.actions[i].sa_handler &&
				      before.actions[i].sa_flags == after.actions[i].sa_flags,
			      "disposition of signal %d", i);
	for (int sig = 1; sig < NSIG; sig++)
		ck_assert_int_eq(sigismember(&before.mask, sig), sigismember(&after.mask, sig));
	for (int sig = 1; sig < NSIG; sig++)
		ck_assert_int_eq(sigismember(&before.pending, sig), sigismember(&after.pending, sig));
	ck_assert_uint_eq(before.umask, after.umask);
	ck_assert_str_eq(before.cwd, after.cwd);
	ck_assert_uint_eq(before.threads, after.threads);
	ck_assert_uint_eq(before.fds, after.fds);
	ck_assert_mem_eq(before.limits, after.limits, sizeof(before.limits));
	ck_assert_mem_eq(&before.timer, &after.timer, sizeof(before.timer));
}
END_TEST

/* --- memory */

static size_t private_memory(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	size_t kib = 0;
	char line[256];

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %zu", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

START_TEST(test_memory_of_a_handle)
{
	enum {
		MANY = 100
	};
	static struct view v[MANY];

	if (!way_exists(_i))
		return;
	if (TEST_SANITIZED)
		test_skip("the sanitizer wants memory of its own");
	make("f");
	view_open(_i, "f", 0, &v[0]);
	view_close(&v[0]);
	size_t heap = mallinfo2().uordblks, memory = private_memory();

	for (int i = 0; i < MANY; i++)
		view_open(_i, "f", 0, &v[i]);
	ck_assert_uint_le((mallinfo2().uordblks - heap) / MANY, 4096);
	ck_assert_uint_le((private_memory() - memory) / MANY, 65536);
	for (int i = 0; i < MANY; i++)
		view_close(&v[i]);
	/* The C library counts some of what it keeps at hand as used. */
	ck_assert_uint_le(mallinfo2().uordblks, heap + MANY * 100);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_every_number_of_descriptors, 0, 3 * WAYS);
	for (int way = 1; way < WAYS; way += 2)
		tcase_add_loop_test(tc, test_handle_without_descriptors, way, way + 1);
	tcase_add_loop_test(tc, test_little_address_space, 2, WAYS);
	tcase_add_loop_test(tc, test_limit_on_file_sizes, 2, WAYS);
	tcase_add_loop_test(tc, test_a_storm_of_signals, 2, WAYS);
	tcase_add_test(tc, test_the_process_is_left_as_it_was);
	tcase_add_loop_test(tc, test_memory_of_a_handle, 2, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("limits");

	test_each_fs(s, "limits", add_tests);
	return s;
}
