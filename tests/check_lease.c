/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files mapped under a lease: when they are, what a writer brings about, and what is left of it. */
#include "config.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "leasing.h"

START_TEST(test_handles_share_one_descriptor_and_its_end)
{
	size_t fds = test_count_fds();
	struct snapmap *map[20];

	need_leases();
	make("f");
	for (int i = 0; i < 20; i++)
		map[i] = open_one("f");
	ck_assert_uint_eq(test_count_fds(), fds + 1);
	snapmap_close(map[7]);
	for (int i = 0; i < 20; i++)
		ck_assert(i == 7 || lease_of(map[i]) == SNAPMAP_LEASE_HELD);
	have_it_spoiled("f");
	/* Whoever asks waits for the end of the exchange, and the descriptors are closed by then. */
	ck_assert_uint_eq(lease_of(map[0]), SNAPMAP_LEASE_IMAGED);
	ck_assert_uint_eq(test_count_fds(), fds);
	for (int i = 0; i < 20; i++) {
		if (i == 7)
			continue;
		ck_assert_uint_eq(lease_of(map[i]), SNAPMAP_LEASE_IMAGED);
		ck_assert(is_right(map[i]));
		snapmap_close(map[i]);
	}
	ck_assert_uint_eq(test_count_fds(), fds);
}
END_TEST

START_TEST(test_file_is_leased_again_after_a_writer)
{
	struct snapmap *first, *second, *third;

	need_leases();
	make("f");
	first = open_one("f");
	int fd = open("f", O_RDWR | O_CLOEXEC);

	ck_assert_sys(fd);
	second = open_one("f");
	ck_assert_uint_eq(lease_of(second), SNAPMAP_LEASE_NONE);
	close(fd);
	third = open_one("f");
	ck_assert_uint_eq(lease_of(third), SNAPMAP_LEASE_HELD);
	have_it_spoiled("f");
	ck_assert(is_right(first) && is_right(second) && is_right(third));
	snapmap_close(first);
	snapmap_close(second);
	snapmap_close(third);
}
END_TEST

/* All leases are looked at when one breaks, also those of files that were opened anew. */
START_TEST(test_lease_of_a_descriptor_lasts)
{
	struct snapmap *map, *other;
	int fd;

	need_leases();
	make("f");
	make("g");
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_ok(snapmap_open_fd(fd, NULL, &map));
	close(fd);
	other = open_one("g");
	have_it_spoiled("g");
	ck_assert_uint_eq(lease_of(other), SNAPMAP_LEASE_IMAGED);
	snapmap_close(other);
	/* Whoever breaks this one comes after that look. */
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_HELD);
	have_it_spoiled("f");
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_IMAGED);
	ck_assert(is_right(map));
	snapmap_close(map);
}
END_TEST

START_TEST(test_last_close_ends_the_lease)
{
	need_leases();
	make("f");
	for (int i = 0; i < 50; i++) {
		snapmap_close(open_one("f"));
		/* Without waiting: nobody is asked any more. */
		int fd = open("f", O_RDWR | O_NONBLOCK | O_CLOEXEC);

		ck_assert_sys(fd);
		close(fd);
	}
}
END_TEST

START_TEST(test_writer_that_does_not_wait)
{
	struct snapmap *map;
	int fd;

	need_leases();
	make("f");
	map = open_one("f");
	fd = open("f", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ck_assert(fd < 0 && errno == EWOULDBLOCK);
	for (int i = 0; i < 2000 && fd < 0; i++) {
		usleep(5000);
		fd = open("f", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	ck_assert_sys(fd);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	close(fd);
	ck_assert(is_right(map));
	snapmap_close(map);
}
END_TEST

/* Whoever has the file open for writing, or mapped for it, rules a lease out. */
START_TEST(test_writers_that_are_there_already)
{
	struct snapmap *map;
	int fd;
	char *p;

	need_leases();
	make("f");
	fd = open("f", O_RDWR | O_CLOEXEC);
	map = open_one("f");
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_NONE);
	snapmap_close(map);
	p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(p != MAP_FAILED);
	close(fd);
	map = open_one("f");
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_NONE);
	memset(p, 1, N);
	ck_assert(is_right(map));
	snapmap_close(map);
	munmap(p, N);
}
END_TEST

static void expect_refused(const char *path, uint32_t flags, uint64_t limit)
{
	struct snapmap_options o = {
		.size = sizeof(o), .flags = flags, .source = SNAPMAP_SOURCE_LEASE, .lease_limit = limit};
	struct snapmap *map;
	size_t fds = test_count_fds();
	int rc = snapmap_open(path, &o, &map);

	ck_assert_msg(rc < 0, "%s was leased", path);
	ck_assert_msg(strstr(snapmap_last_error(), "lease") && strstr(snapmap_last_error(), path), "%s",
		      snapmap_last_error());
	ck_assert_uint_eq(test_count_fds(), fds);
}

START_TEST(test_files_that_are_not_leased)
{
	make("f");
	expect_refused("f", SNAPMAP_INHERIT, 0);
	if (!row_leases())
		expect_refused("f", 0, 0);
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct snapmap *map;

	/* Its first description is a writer that the kernel does not count. */
	ck_assert_int_eq(write(fd, want, N), (ssize_t)N);
	ck_assert_ok(snapmap_open_fd(fd, NULL, &map));
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_NONE);
	ck_assert_int_eq(pwrite(fd, "xyz", 3, 0), 3);
	ck_assert(is_right(map));
	snapmap_close(map);
	close(fd);
}
END_TEST

/* Reading a hole of a full tmpfs through a mapping would be a signal. */
START_TEST(test_holes_in_memory_are_not_leased)
{
	struct snapmap *map;
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_sys(fd);
	ck_assert_sys(ftruncate(fd, 1 << 20));
	close(fd);
	ck_assert_ok(snapmap_open("f", NULL, &map));
	if (!strcmp(test_fs()->name, "tmpfs"))
		ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_NONE);
	else if (row_leases())
		ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_HELD);
	snapmap_close(map);
}
END_TEST

START_TEST(test_limit_on_sizes)
{
	struct snapmap_options o = {.size = sizeof(o), .lease_limit = N - 1};
	struct snapmap *map;

	need_leases();
	make("f");
	ck_assert_ok(snapmap_open("f", &o, &map));
	/* Where extents are shared nobody waits for a copy. */
	ck_assert_uint_eq(lease_of(map), test_fs()->reflink ? SNAPMAP_LEASE_HELD : SNAPMAP_LEASE_NONE);
	snapmap_close(map);
	o.lease_limit = N;
	ck_assert_ok(snapmap_open("f", &o, &map));
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_HELD);
	snapmap_close(map);
	if (!test_fs()->reflink)
		expect_refused("f", 0, 1);
}
END_TEST

/* A large file by the library's own judgment, with bytes to be copied if there is no other way. */
START_TEST(test_large_file)
{
	const size_t size = 40 << 20;
	struct snapmap *map;

	need_leases();
	test_make_file("f", size, 5);
	uint64_t hash = test_hash_file("f");

	ck_assert_ok(snapmap_open("f", NULL, &map));
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_HELD);
	have_it_spoiled("f");
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_IMAGED);
	ck_assert(test_hash(snapmap_data(map), size) == hash);
	snapmap_close(map);
}
END_TEST

static void limit_fds(rlim_t limit)
{
	struct rlimit r = {limit, limit};

	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &r));
}

/* Beyond the budget the next source serves, and there are descriptors left for the application. */
START_TEST(test_budget_of_descriptors)
{
	enum {
		FILES = 200
	};
	struct snapmap *map[FILES];
	unsigned leased = 0;
	char name[16];

	need_leases();
	test_fill(want, N, 1);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		test_write_file(name, want, 5000);
	}
	limit_fds(64);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ck_assert_ok(snapmap_open(name, NULL, &map[i]));
		leased += lease_of(map[i]) == SNAPMAP_LEASE_HELD;
	}
	ck_assert_uint_ge(leased, 16);
	ck_assert_uint_le(leased, 32);
	ck_assert_uint_le(test_count_fds(), 64 - 16);
	for (int i = 0; i < FILES; i++) {
		ck_assert(!memcmp(snapmap_data(map[i]), want, 5000));
		snapmap_close(map[i]);
	}
}
END_TEST

/* Every descriptor is taken, and then somebody comes to write. */
START_TEST(test_break_without_descriptors)
{
	struct snapmap *map, *again;
	int taken[64], n = 0, fd;

	need_leases();
	make("f");
	map = open_one("f");
	again = open_one("f");
	limit_fds(64);
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		taken[n++] = fd;
	ck_assert_int_eq(errno, EMFILE);
	have_it_spoiled("f");
	while (n)
		close(taken[--n]);
	ck_assert(is_right(map) && is_right(again));
	ck_assert_uint_eq(lease_of(map), SNAPMAP_LEASE_IMAGED);
	snapmap_close(map);
	ck_assert(is_right(again));
	snapmap_close(again);
}
END_TEST

/* No thread of ours takes a signal of the application. */
static unsigned count_threads(bool all_blocked)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		char path[300], line[256];
		unsigned long long blocked = 0;
		bool ours = false;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		f = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (f && fgets(line, sizeof(line), f)) {
			ours |= !strncmp(line, "Name:\tsnapmap-", 14);
			sscanf(line, "SigBlk: %llx", &blocked);
		}
		if (f)
			fclose(f);
		/*
		 * SIGKILL and SIGSTOP cannot be blocked, the C library keeps two for itself,
		 * and a signal that is waited for does not show.
		 */
		blocked |= 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 3ull << 31 | 1ull << (SIGSTKFLT - 1) |
			   1ull << (SIGVTALRM - 1);
		n += ours && (!all_blocked || blocked == ~0ull);
	}
	closedir(dir);
	return n;
}

START_TEST(test_threads_are_named_and_take_no_signals_and_end)
{
	struct snapmap *map;

	need_leases();
	make("f");
	ck_assert_uint_eq(count_threads(false), 0);
	map = open_one("f");
	for (int i = 0; i < 2000 && (!count_threads(true) || count_threads(false) != count_threads(true)); i++)
		usleep(5000);
	ck_assert_uint_ge(count_threads(true), 1);
	ck_assert_uint_eq(count_threads(false), count_threads(true));
	snapmap_close(map);
	for (int i = 0; i < 2000 && count_threads(false); i++)
		usleep(5000);
	ck_assert_uint_eq(count_threads(false), 0);
	/* And they begin again. */
	map = open_one("f");
	have_it_spoiled("f");
	ck_assert(is_right(map));
	snapmap_close(map);
}
END_TEST

/* The application may block everything, and wait for signals of its own. */
START_TEST(test_signals_of_the_application_stay_its_own)
{
	struct timespec no_time = {0};
	struct snapmap *map;
	sigset_t all;

	need_leases();
	make("f");
	sigfillset(&all);
	ck_assert_sys(sigprocmask(SIG_SETMASK, &all, NULL));
	map = open_one("f");
	kill(getpid(), SIGIO);
	kill(getpid(), SIGRTMIN);
	kill(getpid(), SIGUSR1);
	ck_assert_int_eq(test_as_user(getuid(), spoil, (void *)(uintptr_t) "f"), 0);
	ck_assert(is_right(map));
	snapmap_close(map);
	usleep(50000);
	sigdelset(&all, SIGCHLD);
	ck_assert_int_eq(sigtimedwait(&all, NULL, &no_time), SIGUSR1);
	ck_assert_int_eq(sigtimedwait(&all, NULL, &no_time), SIGIO);
	ck_assert_int_eq(sigtimedwait(&all, NULL, &no_time), SIGRTMIN);
	ck_assert_int_lt(sigtimedwait(&all, NULL, &no_time), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_handles_share_one_descriptor_and_its_end);
	tcase_add_test(tc, test_file_is_leased_again_after_a_writer);
	tcase_add_test(tc, test_lease_of_a_descriptor_lasts);
	tcase_add_test(tc, test_last_close_ends_the_lease);
	tcase_add_test(tc, test_writer_that_does_not_wait);
	tcase_add_test(tc, test_writers_that_are_there_already);
	tcase_add_test(tc, test_files_that_are_not_leased);
	tcase_add_test(tc, test_holes_in_memory_are_not_leased);
	tcase_add_test(tc, test_limit_on_sizes);
	tcase_add_test(tc, test_large_file);
	tcase_add_test(tc, test_budget_of_descriptors);
	tcase_add_test(tc, test_break_without_descriptors);
	tcase_add_test(tc, test_threads_are_named_and_take_no_signals_and_end);
	tcase_add_test(tc, test_signals_of_the_application_stay_its_own);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease");

	test_each_fs(s, "lease", add_tests);
	return s;
}
