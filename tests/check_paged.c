/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Editable handles by a lease: no image before one is needed. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "segmenting.h"

#define MIB ((size_t)1 << 20)
#define SIZE (6 * MIB + 777)

#define need_pages()                                                                                                \
	do {                                                                                                        \
		if (!test_is_root() || !strncmp(test_fs()->name, "overlay", 7) || !strcmp(test_fs()->name, "fuse")) \
			test_skip("no lease, or no right to serve page faults");                                    \
	} while (0)

static uint32_t paged_source(void)
{
	return test_fs()->served ? SNAPMAP_SOURCE_SNAPFS : SNAPMAP_SOURCE_LEASE;
}

static struct snapmap_options paged_options(void)
{
	return (struct snapmap_options){.size = sizeof(struct snapmap_options), .source = paged_source()};
}

static struct snapmap_mut *open_paged(const char *path)
{
	const struct snapmap_options options = paged_options();
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_open(path, &options, &map));
	return map;
}

static struct snapmap_info info_of(const struct snapmap_mut *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_mut_get_info(map, &info));
	return info;
}

START_TEST(test_nothing_is_copied_before_a_commit)
{
	struct snapmap_range ranges[4];
	struct snapmap_mut *map;
	char *data, *bytes;

	need_pages();
	test_make_file("f", SIZE, 1);
	bytes = test_read_file("f", NULL);
	map = open_paged("f");
	data = snapmap_mut_data(map);
	ck_assert_uint_eq(snapmap_mut_size(map), SIZE);
	ck_assert_uint_eq(info_of(map).source, paged_source());
	ck_assert_uint_eq(info_of(map).lease, test_fs()->served ? SNAPMAP_LEASE_NONE : SNAPMAP_LEASE_HELD);
	ck_assert_uint_eq(info_of(map).bytes_copied, 0);
	ck_assert(!memcmp(data, bytes, SIZE));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	data[5] ^= 1;
	data[3 * PAGE] ^= 1;
	data[SIZE - 1] ^= 1;
	ck_assert_int_eq(snapmap_mut_dirty(map, ranges, 4), 3);
	ck_assert(ranges[0].offset == 0 && ranges[0].length == PAGE && ranges[1].offset == 3 * PAGE);
	ck_assert(ranges[2].offset + ranges[2].length == SIZE);
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(!memcmp(data, bytes, SIZE));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_ok(snapmap_mut_prefault(map, 0, SIZE));
	ck_assert_uint_eq(info_of(map).bytes_copied, 0);
	data[7] = bytes[7] ^= 1;
	data[SIZE - 1] = bytes[SIZE - 1] ^= 1;
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	ck_assert(!memcmp(data, bytes, SIZE));
	ck_assert_uint_ne(info_of(map).source, paged_source());
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	data[8] = bytes[8] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("f", bytes, SIZE));
	free(bytes);
}
END_TEST

/* A large file that cannot be shared: nobody has to ask for it. */
START_TEST(test_it_is_chosen_where_it_is_best)
{
	struct snapmap_options inherit = {.size = sizeof(inherit), .flags = SNAPMAP_INHERIT};
	struct snapmap_mut *map;
	bool best;

	need_pages();
	best = !test_fs()->reflink;
	test_make_file("f", 40 * MIB, 2);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	ck_assert_int_eq(info_of(map).source == paged_source(), best);
	snapmap_mut_close(map);
	ck_ok(snapmap_mut_open("f", &inherit, &map));
	ck_assert_uint_ne(info_of(map).source, SNAPMAP_SOURCE_LEASE);
	snapmap_mut_close(map);
	/* Somebody has it open for writing. */
	int fd = open_file("f", O_RDWR);

	ck_ok(snapmap_mut_open("f", NULL, &map));
	ck_assert_uint_ne(info_of(map).source, SNAPMAP_SOURCE_LEASE);
	snapmap_mut_close(map);
	close(fd);
}
END_TEST

static int write_foreign(void *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || pwrite(fd, "foreign", 7, 2 * PAGE) != 7 || close(fd);
}

static int cut_foreign(void *path)
{
	return truncate(path, 100);
}

static int replace_foreign(void *path)
{
	int fd = open("other", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 || write(fd, "other", 5) != 5 || close(fd) || rename("other", path);
}

/* It is noticed, does not show, and the edits can be saved. */
START_TEST(test_the_file_changes)
{
	static int (*const changes[])(void *) = {write_foreign, cut_foreign, replace_foreign};
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	struct snapmap_mut *map;
	char *data, *bytes;

	need_pages();
	test_make_file("f", SIZE, 3);
	bytes = test_read_file("f", NULL);
	map = open_paged("f");
	data = snapmap_mut_data(map);
	data[9] = bytes[9] ^= 1;
	alarm(30);
	ck_assert_int_eq(test_as_user(getuid(), changes[_i], (void *)(uintptr_t) "f"), 0);
	alarm(0);
	ck_assert(!memcmp(data, bytes, SIZE));
	ck_is(snapmap_mut_commit(map, NULL), -EBUSY);
	ck_assert(!memcmp(data, bytes, SIZE));
	ck_ok(snapmap_mut_link(map, "saved", NULL));
	ck_assert(test_file_is("saved", bytes, SIZE));
	ck_ok(snapmap_mut_commit(map, &force));
	ck_assert(test_file_is("f", bytes, SIZE));
	snapmap_mut_close(map);
	free(bytes);
}
END_TEST

/* ---- and while the image is being made ---- */

struct moment {
	struct snapmap_mut *map;
	int at, count;
	bool wrote;
	pid_t writer;
	int pipe[2];
};

static int overwrite_all(void)
{
	int fd = open("f", O_WRONLY | O_CLOEXEC);
	char *other = malloc(SIZE);

	memset(other, 'F', SIZE);
	return fd < 0 || pwrite(fd, other, SIZE, 0) != (ssize_t)SIZE;
}

static int commit_watched(void *arg)
{
	struct moment *m = arg;
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	int rc;

	watch_on();
	rc = snapmap_mut_commit(m->map, &force);
	watch_off();
	return rc;
}

/* Waits until it is told to. Forked beforehand, for a fork waits for locks that a stopped thread may hold. */
static void start_writer(struct moment *m)
{
	char go;

	ck_assert(!pipe2(m->pipe, O_CLOEXEC));
	m->writer = fork();
	ck_assert(m->writer >= 0);
	if (m->writer)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(m->pipe[1]);
	_exit(read(m->pipe[0], &go, 1) == 1 ? overwrite_all() : 0);
}

static void end_writer(struct moment *m)
{
	int status;

	close(m->pipe[0]);
	close(m->pipe[1]);
	ck_assert(waitpid(m->writer, &status, 0) == m->writer && !status);
}

/* It may have to wait until this process goes on. */
static int write_meanwhile(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	(void)call;
	if (m->count++ != m->at)
		return 0;
	m->wrote = true;
	ck_assert(write(m->pipe[1], "", 1) == 1);
	for (int i = 0; i < 100; i++) {
		siginfo_t info = {0};

		if (waitid(P_PID, (id_t)m->writer, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			break;
		usleep(1000);
	}
	return 0;
}

static bool is_all(const char *p, char byte)
{
	for (size_t i = 0; i < SIZE; i++)
		if (p[i] != byte)
			return false;
	return true;
}

START_TEST(test_the_file_changes_at_any_moment_of_a_commit)
{
	bool more = true;
	char *bytes;

	need_pages();
	if (!TEST_CHILD_HAS_THREADS || !watch_works())
		test_skip("system calls cannot be watched");
	for (int at = 0; more; at++) {
		struct moment m = {.at = at};
		size_t n;
		char *file;

		test_make_file("f", SIZE, 8);
		bytes = test_read_file("f", NULL);
		m.map = open_paged("f");
		((char *)snapmap_mut_data(m.map))[3] = bytes[3] ^= 1;
		start_writer(&m);
		ck_ok(watch(commit_watched, &m, write_meanwhile, &m));
		more = m.wrote;
		end_writer(&m);
		/* All of one or all of the other. */
		file = test_read_file("f", &n);
		ck_assert_msg(n == SIZE && (!memcmp(file, bytes, SIZE) || is_all(file, 'F')), "at call %d", at);
		ck_assert_msg(!memcmp(snapmap_mut_data(m.map), bytes, SIZE), "at call %d", at);
		free(file);
		free(bytes);
		snapmap_mut_close(m.map);
		/* Most of them are alike. */
		at += at > 20 ? 6 : 0;
	}
}
END_TEST

START_TEST(test_resize)
{
	struct snapmap_mut *map;
	char *data, *bytes;

	need_pages();
	test_make_file("f", SIZE, 4);
	bytes = calloc(1, 2 * SIZE);
	test_fill(bytes, SIZE, 4);
	map = open_paged("f");
	data = snapmap_mut_data(map);
	data[PAGE] = bytes[PAGE] ^= 1;
	ck_ok(snapmap_mut_resize(map, 2 * SIZE));
	data = snapmap_mut_data(map);
	ck_assert(!memcmp(data, bytes, 2 * SIZE));
	data[2 * SIZE - 1] = bytes[2 * SIZE - 1] = 'x';
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(test_file_is("f", bytes, 2 * SIZE));
	snapmap_mut_close(map);
	test_write_file("g", bytes, SIZE);
	map = open_paged("g");
	ck_ok(snapmap_mut_resize(map, 3 * PAGE + 5));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("g", bytes, 3 * PAGE + 5));
	free(bytes);
}
END_TEST

START_TEST(test_what_it_refuses)
{
	static const uint32_t flags[] = {SNAPMAP_INHERIT, SNAPMAP_GUARD, SNAPMAP_SPILL, SNAPMAP_POPULATE};
	const struct snapmap_options by_lease = {.size = sizeof(by_lease), .source = SNAPMAP_SOURCE_LEASE};
	struct snapmap_options o = by_lease;
	struct snapmap_mut *map;

	test_make_file("f", SIZE, 5);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		o.flags = flags[i];
		ck_is(snapmap_mut_open("f", &o, &map), -EOPNOTSUPP);
	}
	test_write_file("empty", "", 0);
	ck_is(snapmap_mut_open("empty", &by_lease, &map), -EOPNOTSUPP);
	if (!test_is_root() && access("/proc/sys/vm/unprivileged_userfaultfd", R_OK) == 0 &&
	    test_hash_file("/proc/sys/vm/unprivileged_userfaultfd") == test_hash("0\n", 2))
		ck_assert_int_lt(snapmap_mut_open("f", &by_lease, &map), 0);
}
END_TEST

static int look_in_child(struct snapmap_mut *map)
{
	if (snapmap_mut_commit(map, NULL) != -ESTALE || snapmap_mut_rollback(map) != -ESTALE ||
	    snapmap_mut_dirty(map, NULL, 0) != -ESTALE || snapmap_mut_resize(map, 1) != -ESTALE ||
	    snapmap_mut_prefault(map, 0, 1) != -ESTALE || snapmap_mut_link(map, "g", NULL) != -ESTALE)
		return 1;
	snapmap_mut_close(map);
	return 0;
}

START_TEST(test_fork)
{
	struct snapmap_mut *map;
	char *bytes, *data;
	int status;
	pid_t pid;

	need_pages();
	test_make_file("f", SIZE, 6);
	bytes = test_read_file("f", NULL);
	map = open_paged("f");
	data = snapmap_mut_data(map);
	data[1] = bytes[1] ^= 1;
	for (int round = 0; round < 1 + TEST_CHILD_HAS_THREADS; round++) {
		pid = fork();
		if (!pid)
			signal(SIGSEGV, SIG_DFL);
		if (!pid)
			_exit(round ? look_in_child(map) : ((volatile char *)data)[1] == bytes[1]);
		ck_assert(waitpid(pid, &status, 0) == pid);
		if (round)
			ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "%x", status);
		else
			ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "%x", status);
	}
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("f", bytes, SIZE));
	free(bytes);
}
END_TEST

struct reader {
	const char *data, *bytes;
	atomic_bool stop;
	atomic_int wrong;
	atomic_int reads;
};

/* But for the first page, which is edited. */
static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint64_t random = test_seed();

	while (!atomic_load(&r->stop)) {
		size_t at = (1 + test_random(&random) % (SIZE / PAGE - 1)) * PAGE;

		atomic_fetch_add(&r->wrong, memcmp(r->data + at, r->bytes + at, PAGE) != 0);
		atomic_fetch_add(&r->reads, 1);
	}
	return NULL;
}

/* The image takes the place of the pages while they are read. */
START_TEST(test_readers_notice_nothing_of_a_commit)
{
	pthread_t threads[4];

	need_pages();
	for (int round = 0; round < 8; round++) {
		struct reader r = {0};
		struct snapmap_mut *map;
		char *bytes;

		test_make_file("f", SIZE, 7);
		bytes = test_read_file("f", NULL);
		map = open_paged("f");
		r.data = snapmap_mut_data(map);
		r.bytes = bytes;
		for (int i = 0; i < 4; i++)
			ck_assert(!pthread_create(&threads[i], NULL, read_on, &r));
		while (atomic_load(&r.reads) < 50 * round)
			usleep(100);
		((char *)snapmap_mut_data(map))[3] = bytes[3] ^= 1;
		ck_ok(snapmap_mut_commit(map, NULL));
		usleep(1000);
		r.stop = true;
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		ck_assert_int_eq(r.wrong, 0);
		ck_assert(!memcmp(r.data, bytes, SIZE) && test_file_is("f", bytes, SIZE));
		snapmap_mut_close(map);
		free(bytes);
	}
}
END_TEST

START_TEST(test_random_edits_equal_a_model)
{
	uint64_t random = test_seed() + (uint64_t)_i;
	size_t size = 50 * PAGE + test_random(&random) % (20 * PAGE);
	unsigned char *model, *committed;

	need_pages();
	model = malloc(size);
	committed = malloc(size);
	test_fill(model, size, random);
	test_write_file("f", model, size);
	memcpy(committed, model, size);
	for (int round = 0; round < 30; round++) {
		struct snapmap_mut *map = open_paged("f");
		unsigned char *data = snapmap_mut_data(map);

		for (uint64_t i = test_random(&random) % 20; i; i--) {
			size_t at = test_random(&random) % size,
			       n = 1 + test_random(&random) % (size - at) % (3 * PAGE);

			test_fill(model + at, n, random);
			memcpy(data + at, model + at, n);
			if (test_random(&random) % 8 == 0) {
				ck_ok(snapmap_mut_rollback(map));
				memcpy(model, committed, size);
			}
		}
		ck_assert(!memcmp(data, model, size));
		if (test_random(&random) % 3) {
			ck_ok(snapmap_mut_commit(map, NULL));
			memcpy(committed, model, size);
			ck_assert(!memcmp(data, model, size));
		} else {
			memcpy(model, committed, size);
		}
		snapmap_mut_close(map);
		ck_assert(test_file_is("f", committed, size));
	}
	free(model);
	free(committed);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_nothing_is_copied_before_a_commit);
	tcase_add_test(tc, test_it_is_chosen_where_it_is_best);
	tcase_add_loop_test(tc, test_the_file_changes, 0, 3);
	tcase_add_test(tc, test_the_file_changes_at_any_moment_of_a_commit);
	tcase_add_test(tc, test_resize);
	tcase_add_test(tc, test_what_it_refuses);
	tcase_add_test(tc, test_fork);
	tcase_add_test(tc, test_readers_notice_nothing_of_a_commit);
	tcase_add_loop_test(tc, test_random_edits_equal_a_model, 0, 3);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("paged");

	test_each_fs(s, "paged", add);
	return s;
}
