/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a segment back: the file is what a plain write of the whole range would have made it. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "segmenting.h"

#define SIZE (64 * PAGE)

static bool file_is_memory(const char *path, const char *base, size_t n)
{
	return test_file_is(path, base, n);
}

/* A segment that has read all of "f", by a descriptor for both. */
static struct snapmap_segment *read_all(int way, int *ret_fd)
{
	struct snapmap_segment *s = make_segment(way, SIZE);
	int fd;

	test_make_file("f", SIZE, 1);
	fd = open_file("f", O_RDONLY);
	ck_is(snapmap_segment_pread(s, fd, snapmap_segment_base(s), SIZE, 0), SIZE);
	close(fd);
	*ret_fd = open_file("f", O_RDWR);
	return s;
}

START_TEST(test_what_is_unchanged_is_passed_over)
{
	struct snapmap_segment_stats before, st;
	struct snapmap_segment *s;
	char *base;
	int fd;

	s = read_all(_i, &fd);
	base = snapmap_segment_base(s);
	before = stats_of(s);
	base[5 * PAGE] ^= 1;
	base[40 * PAGE + 9] ^= 1;
	(void)*(volatile char *)(base + 7 * PAGE);
	ck_is(snapmap_segment_pwrite(s, fd, base, SIZE, 0), SIZE);
	ck_assert(file_is_memory("f", base, SIZE));
	st = stats_of(s);
	ck_assert_uint_eq(st.bytes_skipped + st.bytes_written + st.bytes_shared, SIZE);
	if (before.reads_deferred)
		ck_assert_uint_eq(st.bytes_written, 2 * PAGE);
	/* Read again, and there is nothing to be written. */
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	before = stats_of(s);
	ck_is(snapmap_segment_pwrite(s, fd, base, SIZE, 0), SIZE);
	st = stats_of(s);
	if (before.reads_deferred == 2)
		ck_assert_uint_eq(st.bytes_written, before.bytes_written);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* What others wrote meanwhile is overwritten, as pwrite(2) would. */
START_TEST(test_what_others_changed_is_written)
{
	struct snapmap_segment *s;
	char *base, *shared;
	int fd, other;

	s = read_all(_i % SEGMENT_WAYS, &fd);
	base = snapmap_segment_base(s);
	base[5 * PAGE] ^= 1;
	other = open_file("f", O_RDWR);
	switch (_i / SEGMENT_WAYS) {
	case 0:
		ck_is(pwrite(other, "others", 6, 20 * PAGE + 3), 6);
		break;
	case 1:
		ck_assert(!ftruncate(other, 10 * PAGE + 7));
		break;
	case 2:
		ck_assert(!ftruncate(other, 10 * PAGE + 7) && !ftruncate(other, SIZE + 100));
		break;
	case 3:
		shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
		ck_assert(shared != MAP_FAILED);
		shared[30 * PAGE] ^= 1;
		munmap(shared, SIZE);
		break;
	default: /* a mapping that was stored into before, and is again without a fault */
		shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
		ck_assert(shared != MAP_FAILED);
		shared[30 * PAGE] ^= 1;
		ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
		base[5 * PAGE] ^= 1;
		shared[30 * PAGE + 1] ^= 1;
		ck_is(snapmap_segment_pwrite(s, fd, base, SIZE, 0), SIZE);
		munmap(shared, SIZE);
		break;
	}
	ck_is(snapmap_segment_pwrite(s, fd, base, SIZE, 0), SIZE);
	if (_i / SEGMENT_WAYS == 2)
		ck_assert(!ftruncate(fd, SIZE));
	ck_assert(file_is_memory("f", base, SIZE));
	close(other);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_another_place_and_another_file)
{
	struct snapmap_segment *s;
	struct snapmap_segment_stats st;
	size_t n;
	char *base, *file;
	int fd, other;

	s = read_all(_i, &fd);
	base = snapmap_segment_base(s);
	base[5 * PAGE] ^= 1;
	other = open_file("g", O_RDWR | O_CREAT);
	ck_is(snapmap_segment_pwrite(s, other, base, SIZE, 0), SIZE);
	ck_assert(file_is_memory("g", base, SIZE));
	st = stats_of(s);
	ck_assert_uint_eq(st.bytes_skipped, 0);
	ck_assert_uint_eq(st.bytes_written + st.bytes_shared, SIZE);
	/* Unaligned. */
	ck_is(snapmap_segment_pwrite(s, other, base + 100, SIZE - 200, 7), SIZE - 200);
	file = test_read_file("g", &n);
	ck_assert(n == SIZE && !memcmp(file + 7, base + 100, SIZE - 200));
	free(file);
	/* Another place of the same file, beyond its end too; the memory does not change by that. */
	ck_is(snapmap_segment_pwrite(s, fd, base, 40 * PAGE, 32 * PAGE), 40 * PAGE);
	file = test_read_file("f", &n);
	ck_assert_uint_eq(n, 72 * PAGE);
	ck_assert(is_filled(file, 32 * PAGE, 1, 0));
	ck_assert(!memcmp(file + 32 * PAGE, base, 40 * PAGE));
	free(file);
	base[5 * PAGE] ^= 1;
	ck_assert(is_filled(base, SIZE, 1, 0));
	/* And what now stands for places that we have written over. */
	ck_is(snapmap_segment_pwrite(s, fd, base, SIZE, 0), SIZE);
	file = test_read_file("f", &n);
	ck_assert(n == 72 * PAGE && !memcmp(file, base, SIZE));
	free(file);
	close(fd);
	close(other);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_extents_are_shared)
{
	struct snapmap_options o = {
		.size = sizeof(o), .source = SNAPMAP_SOURCE_REFLINK, .flags = _i ? SNAPMAP_INHERIT : 0};
	struct snapmap_segment *s;
	char *base;
	int fd, to;

	if (!test_fs()->reflink)
		test_skip("no reflink");
	ck_ok(snapmap_segment_create(SIZE, &o, &s));
	base = snapmap_segment_base(s);
	test_make_file("f", SIZE, 1);
	fd = open_file("f", O_RDWR);
	to = open_file("g", O_RDWR | O_CREAT);
	ck_is(snapmap_segment_pread(s, fd, base, SIZE, 0), SIZE);
	ck_is(snapmap_segment_pwrite(s, to, base, SIZE, 0), SIZE);
	ck_assert_uint_eq(stats_of(s).bytes_shared, SIZE);
	ck_assert_uint_eq(stats_of(s).bytes_loaded, 0);
	ck_assert(file_is_memory("g", base, SIZE));
	close(fd);
	close(to);
	snapmap_segment_destroy(s);
}
END_TEST

START_TEST(test_write_moves_the_offset_and_appends)
{
	struct snapmap_segment *s;
	size_t n;
	char *base, *file;
	int fd, to;

	s = read_all(_i, &fd);
	base = snapmap_segment_base(s);
	ck_is(lseek(fd, 3 * PAGE, SEEK_SET), 3 * PAGE);
	base[3 * PAGE] ^= 1;
	ck_is(snapmap_segment_write(s, fd, base + 3 * PAGE, 20 * PAGE), 20 * PAGE);
	ck_is(lseek(fd, 0, SEEK_CUR), 23 * PAGE);
	ck_assert(file_is_memory("f", base, SIZE));
	to = open_file("g", O_WRONLY | O_CREAT | O_APPEND);
	ck_is(snapmap_segment_write(s, to, base + 5, SIZE - 5), SIZE - 5);
	ck_is(snapmap_segment_write(s, to, base, 5), 5);
	ck_is(snapmap_segment_pwrite(s, to, base, 5, 0), 5);
	file = test_read_file("g", &n);
	ck_assert(n == SIZE + 5 && !memcmp(file, base + 5, SIZE - 5) && !memcmp(file + SIZE - 5, base, 5) &&
		  !memcmp(file + SIZE, base, 5));
	free(file);
	close(to);
	/* The file that it was read from, from its end on. */
	to = open_file("f", O_RDWR | O_APPEND);
	ck_is(snapmap_segment_write(s, to, base, SIZE), SIZE);
	file = test_read_file("f", &n);
	ck_assert(n == 2 * SIZE && !memcmp(file, base, SIZE) && !memcmp(file + SIZE, base, SIZE));
	free(file);
	close(to);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* Only for writing: nothing can be compared. */
START_TEST(test_descriptor_that_cannot_be_read)
{
	struct snapmap_segment *s;
	char *base;
	int fd, to;

	s = read_all(_i, &fd);
	base = snapmap_segment_base(s);
	base[PAGE] ^= 1;
	ck_is(pwrite(fd, "others", 6, 20 * PAGE), 6);
	ck_assert(!fchmod(fd, 0200));
	to = open_file("f", O_WRONLY);
	ck_is(snapmap_segment_pwrite(s, to, base, SIZE, 0), SIZE);
	ck_assert(!fchmod(fd, 0600));
	ck_assert(file_is_memory("f", base, SIZE));
	close(to);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* A limit in the middle of it: what was written is told, and is right. */
START_TEST(test_write_that_stops_half_way)
{
	struct rlimit limit, before;
	struct snapmap_segment *s;
	size_t n;
	ssize_t done;
	char *base, *file;
	int fd, to;

	s = read_all(_i, &fd);
	base = snapmap_segment_base(s);
	memset(base, 'x', SIZE);
	to = open_file("g", O_RDWR | O_CREAT);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 40 * PAGE;
	signal(SIGXFSZ, SIG_IGN);
	ck_assert(!setrlimit(RLIMIT_FSIZE, &limit));
	done = snapmap_segment_pwrite(s, to, base, SIZE, 0);
	ck_is(snapmap_segment_pwrite(s, to, base, SIZE, 50 * PAGE), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, SIG_DFL);
	ck_assert_msg(done == -EFBIG || (done >= 0 && done <= (ssize_t)(40 * PAGE)), "%zd", done);
	file = test_read_file("g", &n);
	ck_assert(n <= 40 * PAGE && (done < 0 || n >= (size_t)done) && !memcmp(file, base, n));
	free(file);
	ck_is(snapmap_segment_pwrite(s, to, base, SIZE + 1, 0), -EFAULT);
	ck_is(snapmap_segment_pwrite(s, to, base, SIZE, -5), -EINVAL);
	ck_is(snapmap_segment_pwrite(s, to, base, 0, 0), 0);
	close(to);
	close(fd);
	snapmap_segment_destroy(s);
}
END_TEST

/* ---- everything at random, beside a model ---- */

#define FILES 3
#define FILE_MAX (48 * PAGE)

struct model {
	unsigned char memory[SIZE];
	struct {
		unsigned char bytes[2 * FILE_MAX];
		size_t size;
		int fd;	 /* for both */
		int rfd; /* for reading only */
		char name[8];
	} files[FILES];
};

static size_t some_place(uint64_t *random, size_t most)
{
	size_t at = test_random(random) % (most + 1);

	return test_random(random) % 2 ? at & ~(PAGE - 1) : at;
}

static void change_file(struct model *m, int i, uint64_t *random)
{
	size_t at = some_place(random, FILE_MAX - 1), n = 1 + test_random(random) % (8 * PAGE);
	unsigned char *bytes = m->files[i].bytes;

	if (n > FILE_MAX - at)
		n = FILE_MAX - at;
	if (test_random(random) % 4 == 0) {
		ck_assert(!ftruncate(m->files[i].fd, (off_t)at));
		if (at > m->files[i].size)
			memset(bytes + m->files[i].size, 0, at - m->files[i].size);
		m->files[i].size = at;
		return;
	}
	if (at > m->files[i].size)
		memset(bytes + m->files[i].size, 0, at - m->files[i].size);
	test_fill(bytes + at, n, test_random(random));
	ck_is(pwrite(m->files[i].fd, bytes + at, n, (off_t)at), n);
	if (at + n > m->files[i].size)
		m->files[i].size = at + n;
}

static void check_memory(const struct model *m, const char *base, size_t at, size_t n, int step)
{
	for (size_t i = at; i < at + n; i++)
		if ((unsigned char)base[i] != m->memory[i])
			ck_abort_msg("step %d: byte %zu of page %zu", step, i % PAGE, i / PAGE);
}

static void one_step(struct model *m, struct snapmap_segment *s, uint64_t *random, int step)
{
	char *base = snapmap_segment_base(s);
	int i = (int)(test_random(random) % FILES);
	size_t at = some_place(random, SIZE - 1),
	       n = 1 + test_random(random) % (test_random(random) % 3 ? 4 * PAGE : SIZE);
	size_t offset = test_random(random) % 2 ? at % FILE_MAX : some_place(random, FILE_MAX - 1), got;

	if (n > SIZE - at)
		n = SIZE - at;
	switch (test_random(random) % 10) {
	case 0:
	case 1:
	case 2:
		got = offset >= m->files[i].size ? 0 : n < m->files[i].size - offset ? n : m->files[i].size - offset;
		ck_is(snapmap_segment_pread(s, test_random(random) % 2 ? m->files[i].fd : m->files[i].rfd, base + at, n,
					    (int64_t)offset),
		      got);
		memcpy(m->memory + at, m->files[i].bytes + offset, got);
		break;
	case 3:
		ck_ok(snapmap_segment_zero(s, base + at, n));
		memset(m->memory + at, 0, n);
		break;
	case 4:
	case 5:
		n = n < 3 * PAGE ? n : 100;
		test_fill(m->memory + at, n, test_random(random));
		memcpy(base + at, m->memory + at, n);
		break;
	case 6:
		change_file(m, i, random);
		break;
	case 7:
		if (n > FILE_MAX)
			n = FILE_MAX;
		ck_is(snapmap_segment_pwrite(s, m->files[i].fd, base + at, n, (int64_t)offset), n);
		if (offset > m->files[i].size)
			memset(m->files[i].bytes + m->files[i].size, 0, offset - m->files[i].size);
		memcpy(m->files[i].bytes + offset, m->memory + at, n);
		if (offset + n > m->files[i].size)
			m->files[i].size = offset + n;
		ck_assert_msg(test_file_is(m->files[i].name, m->files[i].bytes, m->files[i].size), "step %d", step);
		/* Files must not grow for ever. */
		if (m->files[i].size > FILE_MAX) {
			ck_assert(!ftruncate(m->files[i].fd, FILE_MAX));
			m->files[i].size = FILE_MAX;
		}
		break;
	case 8:
		check_memory(m, base, at, n, step);
		break;
	default:
		if (test_random(random) % 4 == 0)
			ck_ok(snapmap_segment_set_limit(
				s, test_random(random) % 3 ? (1 + test_random(random) % 20) * PAGE : 0));
		else if (test_random(random) % 4 == 0)
			ck_assert_int_eq(stats_of(s).error, 0);
		break;
	}
}

/* Descriptors for writing are closed half of the time, so that there are leases. */
START_TEST(test_random_operations_equal_a_model)
{
	uint64_t random = test_seed() + (uint64_t)_i;
	struct model *m = calloc(1, sizeof(*m));
	int steps = TEST_SANITIZED ? 300 : 1500;

	for (int part = 0; part < 4; part++) {
		struct snapmap_segment *s = make_segment(_i % SEGMENT_WAYS, SIZE);

		memset(m->memory, 0, SIZE);
		for (int i = 0; i < FILES; i++) {
			m->files[i].size = some_place(&random, FILE_MAX);
			test_fill(m->files[i].bytes, m->files[i].size, random);
			snprintf(m->files[i].name, sizeof(m->files[i].name), "%d", i);
			test_write_file(m->files[i].name, m->files[i].bytes, m->files[i].size);
			m->files[i].fd = open_file(m->files[i].name, O_RDWR);
			m->files[i].rfd = open_file(m->files[i].name, O_RDONLY);
		}
		for (int step = 0; step < steps / 4; step++) {
			int i = step % FILES;

			if (m->files[i].fd >= 0 && test_random(&random) % 2)
				close(m->files[i].fd);
			else
				i = -1;
			if (i >= 0) {
				size_t at = some_place(&random, SIZE - 1), n = SIZE - at;
				size_t offset = test_random(&random) % 2 ? at % FILE_MAX : 0, size = m->files[i].size;
				size_t got = offset >= size ? 0 : n < size - offset ? n : size - offset;

				ck_is(snapmap_segment_pread(s, m->files[i].rfd, (char *)snapmap_segment_base(s) + at, n,
							    (int64_t)offset),
				      got);
				memcpy(m->memory + at, m->files[i].bytes + offset, got);
				m->files[i].fd = open_file(m->files[i].name, O_RDWR);
			}
			one_step(m, s, &random, step);
		}
		check_memory(m, snapmap_segment_base(s), 0, SIZE, -1);
		for (int i = 0; i < FILES; i++) {
			ck_assert(test_file_is(m->files[i].name, m->files[i].bytes, m->files[i].size));
			close(m->files[i].fd);
			close(m->files[i].rfd);
		}
		snapmap_segment_destroy(s);
	}
	free(m);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, test_what_is_unchanged_is_passed_over, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_what_others_changed_is_written, 0, 5 * SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_another_place_and_another_file, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_extents_are_shared, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_write_moves_the_offset_and_appends, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_descriptor_that_cannot_be_read, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_write_that_stops_half_way, 0, SEGMENT_WAYS);
	tcase_add_loop_test(tc, test_random_operations_equal_a_model, 0, 2 * SEGMENT_WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("segment write");

	test_each_fs(s, "segment write", add);
	return s;
}
