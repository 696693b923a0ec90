/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file behind snapfs is changed at random, in every way that files can be changed, while
 * snapshots of ranges of it come and go. All of it is done beside a model in memory.
 */
#include "config.h"

#include "wrapping.h"

#include <limits.h>
#include <sys/mman.h>

#define MOST ((size_t)96 * 4096)
#define SNAPSHOTS 12
#define STEPS (TEST_SANITIZED ? 1500 : 6000)

struct taken {
	int fd;
	size_t size;
	char *bytes;
};

struct model {
	uint64_t random;
	int fd, append, direct;
	char *map;
	size_t size;
	char bytes[MOST];
	struct taken taken[SNAPSHOTS];
};

static size_t below(struct model *m, size_t n)
{
	return n ? (size_t)(test_random(&m->random) % n) : 0;
}

/* Mostly small, sometimes aligned. */
static void choose_range(struct model *m, size_t limit, size_t *ret_at, size_t *ret_n)
{
	size_t at = below(m, limit), n = below(m, below(m, 3) ? 9000 : limit - at) + 1;

	if (!below(m, 3)) {
		at &= ~(size_t)4095;
		n = (n + 4095) & ~(size_t)4095;
	}
	*ret_at = at;
	*ret_n = at + n > limit ? limit - at : n;
}

static void set(struct model *m, size_t at, const char *bytes, size_t n)
{
	if (at > m->size)
		memset(m->bytes + m->size, 0, at - m->size);
	memcpy(m->bytes + at, bytes, n);
	if (at + n > m->size)
		m->size = at + n;
}

static void do_write(struct model *m)
{
	size_t at, n;
	char *bytes;

	choose_range(m, MOST, &at, &n);
	bytes = (char *)malloc(n);
	test_fill(bytes, n, test_random(&m->random));
	if (!below(m, 8))
		memset(bytes, 0, n);
	ck_assert_int_eq(pwrite(m->fd, bytes, n, (off_t)at), (ssize_t)n);
	set(m, at, bytes, n);
	free(bytes);
}

static void do_append(struct model *m)
{
	char bytes[5000];
	size_t n = below(m, sizeof(bytes)) + 1;

	if (m->size + n > MOST)
		return;
	test_fill(bytes, n, test_random(&m->random));
	ck_assert_int_eq(write(m->append, bytes, n), (ssize_t)n);
	set(m, m->size, bytes, n);
}

static void do_direct(struct model *m)
{
	size_t at = below(m, MOST / 4096) * 4096;
	char *bytes;

	ck_assert(!posix_memalign((void **)&bytes, 4096, 4096));
	test_fill(bytes, 4096, test_random(&m->random));
	ck_assert_int_eq(pwrite(m->direct, bytes, 4096, (off_t)at), 4096);
	set(m, at, bytes, 4096);
	free(bytes);
}

static void do_cut(struct model *m)
{
	size_t size = below(m, below(m, 4) ? MOST : 2 * 4096);

	if (below(m, 2))
		ck_sys(ftruncate(m->fd, (off_t)size));
	else
		ck_sys(truncate("m/f", (off_t)size));
	if (size > m->size)
		memset(m->bytes + m->size, 0, size - m->size);
	m->size = size;
}

static void do_store(struct model *m)
{
	size_t at, n;

	if (!m->size)
		return;
	choose_range(m, m->size, &at, &n);
	test_fill(m->map + at, n, test_random(&m->random));
	memcpy(m->bytes + at, m->map + at, n);
}

static void do_zero(struct model *m)
{
	static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE, 0,
				    FALLOC_FL_KEEP_SIZE};
	int mode = modes[below(m, 5)];
	size_t at, n, end;

	choose_range(m, MOST, &at, &n);
	if (fallocate(m->fd, mode, (off_t)at, (off_t)n)) {
		ck_assert_int_eq(errno, EOPNOTSUPP);
		return;
	}
	end = at + n;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > m->size) {
		memset(m->bytes + m->size, 0, end - m->size);
		m->size = end;
	}
	if (end > m->size)
		end = m->size;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && at < end)
		memset(m->bytes + at, 0, end - at);
}

static void do_copy(struct model *m)
{
	size_t n = below(m, 20000) + 1, from, to;
	off_t in, into;
	ssize_t done;

	if (2 * n > m->size)
		return;
	from = below(m, m->size - 2 * n + 1);
	to = from + n;
	in = (off_t)from;
	into = (off_t)to;
	done = copy_file_range(m->fd, &in, m->fd, &into, n, 0);
	ck_assert_int_gt(done, 0);
	memmove(m->bytes + to, m->bytes + from, (size_t)done);
}

static void check_file(struct model *m)
{
	char *bytes = (char *)malloc(MOST);
	size_t n;

	ck_assert_int_eq(pread(m->fd, bytes, MOST, 0), (ssize_t)m->size);
	for (n = 0; n < m->size && bytes[n] == m->bytes[n];)
		n++;
	ck_assert_msg(n == m->size, "the file differs at %zu of %zu", n, m->size);
	free(bytes);
}

static void check_taken(struct model *m, const struct taken *t)
{
	size_t at = below(m, 3) ? 0 : below(m, t->size), n;
	char *bytes = (char *)malloc(t->size + 1);
	struct stat st;

	ck_sys(fstat(t->fd, &st));
	ck_assert_uint_eq((size_t)st.st_size, t->size);
	/* From us, not from the kernel's cache. */
	posix_fadvise(t->fd, 0, 0, POSIX_FADV_DONTNEED);
	ck_assert_int_eq(pread(t->fd, bytes, t->size - at + 1, (off_t)at), (ssize_t)(t->size - at));
	for (n = at; n < t->size && bytes[n - at] == t->bytes[n];)
		n++;
	ck_assert_msg(n == t->size, "a snapshot differs at %zu of %zu", n, t->size);
	free(bytes);
}

static void drop(struct taken *t)
{
	if (t->fd < 0)
		return;
	close(t->fd);
	free(t->bytes);
	t->fd = -1;
}

static void do_take(struct model *m)
{
	struct taken *t = &m->taken[below(m, SNAPSHOTS)];
	size_t at = 0, n = m->size;

	if (t->fd >= 0)
		check_taken(m, t);
	drop(t);
	if (below(m, 2))
		choose_range(m, MOST, &at, &n);
	t->fd = take_snapshot(m->fd, at, at + n == m->size && below(m, 2) ? SNAPFS_ALL : n);
	t->size = at >= m->size ? 0 : m->size - at < n ? m->size - at : n;
	t->bytes = (char *)malloc(t->size + 1);
	memcpy(t->bytes, m->bytes + at, t->size);
}

static void do_check(struct model *m)
{
	const struct taken *t = &m->taken[below(m, SNAPSHOTS)];

	if (t->fd >= 0)
		check_taken(m, t);
}

static void do_drop(struct model *m)
{
	drop(&m->taken[below(m, SNAPSHOTS)]);
}

static void run_model(const char *options)
{
	static void (*const steps[])(struct model *) = {do_write, do_write, do_append, do_direct, do_cut,
							do_store, do_zero,  do_copy,   do_take,	  do_take,
							do_check, do_check, do_drop,   check_file};
	struct model *m = (struct model *)calloc(1, sizeof(*m));

	need_mounts();
	mount_wrapper(options);
	m->random = test_seed();
	m->fd = open_in("m/f", O_RDWR | O_CREAT);
	m->append = open_in("m/f", O_WRONLY | O_APPEND);
	m->direct = open_in("m/f", O_WRONLY | O_DIRECT);
	m->map = (char *)mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	ck_assert_ptr_ne(m->map, MAP_FAILED);
	for (size_t i = 0; i < SNAPSHOTS; i++)
		m->taken[i].fd = -1;
	for (unsigned i = 0; i < STEPS; i++)
		steps[below(m, sizeof(steps) / sizeof(steps[0]))](m);
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		if (m->taken[i].fd >= 0)
			check_taken(m, &m->taken[i]);
		drop(&m->taken[i]);
	}
	check_file(m);
	munmap(m->map, MOST);
	close(m->direct);
	close(m->append);
	close(m->fd);
	unmount_wrapper();
	ck_assert(test_file_is("l/f", m->bytes, m->size));
	free(m);
}

START_TEST(test_changes_and_snapshots)
{
	run_model("");
}
END_TEST

START_TEST(test_changes_and_snapshots_with_collected_writes)
{
	run_model("-o writeback");
}
END_TEST

static void add_random(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_changes_and_snapshots);
	tcase_add_test(tc, test_changes_and_snapshots_with_collected_writes);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs random");

	test_each_fs(s, "random", add_random);
	return s;
}
