/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Editing in private: stores, sizes, rollback and the list of edits, compared with
 * a model in plain memory.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapmap.h"
#include "src/dirty.h"
#include "testing.h"

#define PAGE ((size_t)4096)
#define LARGEST (40 * PAGE)

/* What the handle should show now, and what it goes back to. */
struct model {
	char now[LARGEST], base[LARGEST];
	size_t size, base_size;
	size_t kept; /* what was cut off once counts as zeros from then on */
};

static void check_same(const struct snapmap_mut *map, const struct model *m)
{
	ck_assert_uint_eq(snapmap_mut_size(map), m->size);
	ck_assert(!memcmp(snapmap_mut_data(map), m->now, m->size));
}

/*
 * Every byte that differs from the base must lie in a range, and the ranges must be in order. What was
 * cut off and grown again is zeros without being listed.
 */
static void check_dirty(const struct snapmap_mut *map, const struct model *m)
{
	struct snapmap_range ranges[LARGEST / PAGE + 1];
	ssize_t n = snapmap_mut_dirty(map, ranges, LARGEST / PAGE + 1);
	size_t at = 0;

	ck_assert_int_ge(n, 0);
	for (ssize_t i = 0; i <= n; i++) {
		size_t start = i < n ? ranges[i].offset : m->size;

		for (; at < start; at++)
			ck_assert_int_eq(m->now[at], at < m->kept ? m->base[at] : 0);
		if (i < n) {
			ck_assert_uint_gt(ranges[i].length, 0);
			ck_assert_uint_eq(ranges[i].offset % PAGE, 0);
			at = ranges[i].offset + ranges[i].length;
			ck_assert_uint_le(at, m->size);
		}
	}
}

static void step_store(struct snapmap_mut *map, struct model *m, uint64_t *state)
{
	size_t at, n;

	if (!m->size)
		return;
	at = test_random(state) % m->size;
	n = 1 + test_random(state) % (m->size - at < 3 * PAGE ? m->size - at : 3 * PAGE);
	test_fill(m->now + at, n, test_random(state));
	memcpy((char *)snapmap_mut_data(map) + at, m->now + at, n);
}

static void step_resize(struct snapmap_mut *map, struct model *m, uint64_t *state)
{
	const size_t sizes[] = {0, 1, PAGE, 2 * PAGE - 1, test_random(state) % LARGEST, m->size + 1};
	size_t size = sizes[test_random(state) % (sizeof(sizes) / sizeof(sizes[0]))];

	if (size > LARGEST)
		return;
	ck_assert_int_eq(snapmap_mut_resize(map, size), 0);
	if (size > m->size)
		memset(m->now + m->size, 0, size - m->size);
	m->size = size;
	m->kept = size < m->kept ? size : m->kept;
}

static void step_rollback(struct snapmap_mut *map, struct model *m)
{
	const void *data = snapmap_mut_data(map);

	ck_assert_int_eq(snapmap_mut_rollback(map), 0);
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	memcpy(m->now, m->base, sizeof(m->now));
	m->size = m->kept = m->base_size;
}

static void step_commit(struct snapmap_mut *map, struct model *m)
{
	const struct snapmap_commit_options options = {.size = sizeof(options), .flags = SNAPMAP_COMMIT_NOSYNC};
	const void *data = snapmap_mut_data(map);

	ck_assert_int_eq(snapmap_mut_commit(map, &options), 0);
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_assert(test_file_is("file", m->now, m->size));
	memcpy(m->base, m->now, sizeof(m->base));
	m->base_size = m->kept = m->size;
}

static const uint32_t sources[] = {SNAPMAP_SOURCE_AUTO, SNAPMAP_SOURCE_COPY};

START_TEST(test_random_edits_are_as_in_plain_memory)
{
	const struct snapmap_options options = {.size = sizeof(options), .source = sources[_i]};
	struct model *m = (struct model *)calloc(1, sizeof(*m));
	uint64_t state = test_seed() + (uint64_t)_i;
	struct snapmap_mut *map;

	m->size = m->base_size = m->kept = 17 * PAGE + 123;
	test_make_file("file", m->size, 5);
	test_fill(m->base, m->size, 5);
	test_fill(m->now, m->size, 5);
	ck_assert_int_eq(snapmap_mut_open("file", &options, &map), 0);
	for (int i = 0; i < 100; i++) {
		switch (test_random(&state) % 12) {
		case 0:
			step_rollback(map, m);
			break;
		case 1:
			step_commit(map, m);
			break;
		case 2:
		case 3:
		case 4:
			step_resize(map, m, &state);
			break;
		default:
			step_store(map, m, &state);
		}
		check_same(map, m);
		check_dirty(map, m);
	}
	snapmap_mut_close(map);
	free(m);
}
END_TEST

START_TEST(test_edits_are_private_until_commit)
{
	struct snapmap_mut *map, *other;
	char *bytes;
	size_t n;

	test_make_file("file", 5 * PAGE, 1);
	bytes = (char *)test_read_file("file", &n);
	ck_assert_int_eq(snapmap_mut_open("file", NULL, &map), 0);
	ck_assert_int_eq(snapmap_mut_open("file", NULL, &other), 0);
	memset(snapmap_mut_data(map), 'x', n);
	ck_assert(test_file_is("file", bytes, n));
	ck_assert(!memcmp(snapmap_mut_data(other), bytes, n));
	snapmap_mut_close(map);
	ck_assert(test_file_is("file", bytes, n));
	snapmap_mut_close(other);
	free(bytes);
}
END_TEST

START_TEST(test_absurd_sizes_leave_the_handle_alone)
{
	struct snapmap_mut *map;

	test_make_file("file", 5 * PAGE, 1);
	ck_assert_int_eq(snapmap_mut_open("file", NULL, &map), 0);
	((char *)snapmap_mut_data(map))[0] = 'x';
	ck_assert_int_eq(snapmap_mut_resize(map, SIZE_MAX), -EFBIG);
	ck_assert_int_eq(snapmap_mut_resize(map, (size_t)1 << 62), -ENOMEM);
	ck_assert_str_ne(snapmap_last_error(), "");
	ck_assert_uint_eq(snapmap_mut_size(map), 5 * PAGE);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_assert_int_eq(((char *)snapmap_mut_data(map))[0], 'x');
	snapmap_mut_close(map);
}
END_TEST

/* A child commits what it inherited: the parent's handle must not see it, nor the other way round. */
START_TEST(test_parent_and_child_do_not_see_each_others_commits)
{
	const struct snapmap_commit_options force = {
		.size = sizeof(force),
		.flags = SNAPMAP_COMMIT_FORCE | SNAPMAP_COMMIT_NOSYNC,
	};
	struct snapmap_mut *map;
	int status, go[2];
	char *p, byte;
	pid_t child;

	test_make_file("file", 4 * PAGE, 1);
	ck_assert_int_eq(snapmap_mut_open("file", NULL, &map), 0);
	p = (char *)snapmap_mut_data(map);
	p[0] = 'a';
	byte = p[2 * PAGE];
	ck_assert_int_eq(pipe(go), 0);
	child = fork();
	if (!child) {
		char seen;

		/* Reads a page that the parent has committed over meanwhile. */
		if (read(go[0], &seen, 1) != 1 || p[2 * PAGE] != byte)
			_exit(1);
		p[PAGE] = 'c';
		_exit(snapmap_mut_commit(map, &force) ? 2 : 0);
	}
	p[2 * PAGE] = (char)(byte + 1);
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), 0);
	ck_assert_int_eq(write(go[1], "g", 1), 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_ne(p[PAGE], 'c');
	ck_assert_int_eq(p[2 * PAGE], (char)(byte + 1));
	snapmap_mut_close(map);
	close(go[0]);
	close(go[1]);
}
END_TEST

/* ---- finding the written pages ---- */

#define AREA_PAGES 3000

/* Stores at random, and says which pages it stored into. */
static void scatter(char *base, size_t pages, bool *stored, uint64_t *state)
{
	for (int i = 0; i < 200; i++) {
		size_t page = test_random(state) % pages;

		if (!stored[page])
			base[page * PAGE + test_random(state) % PAGE] ^= 0x55;
		stored[page] = true;
	}
}

static void check_found(const struct ranges *found, const bool *stored, size_t pages, bool more)
{
	size_t at = 0;

	for (size_t i = 0; i <= found->n; i++) {
		size_t start = i < found->n ? found->v[i].offset / PAGE : pages;

		for (; at < start; at++)
			ck_assert(!stored[at]);
		for (; i < found->n && at < (found->v[i].offset + found->v[i].length) / PAGE; at++)
			ck_assert(stored[at] || more);
	}
}

/* 0: as it is. 1: every page was read before. 2: with a child that shares the pages. 3: locked. 4: protected. */
START_TEST(test_all_ways_find_the_same_pages)
{
	static const enum dirty_way ways[] = {DIRTY_SCAN, DIRTY_PAGEMAP, DIRTY_COMPARE, DIRTY_ANY};
	bool stored[AREA_PAGES] = {false};
	uint64_t state = test_seed() + (uint64_t)_i;
	struct dirty_area area = {.length = AREA_PAGES * PAGE, .file_length = 2000 * PAGE};
	pid_t child = 0;
	char *base;

	test_make_file("file", area.file_length - 100, 7);
	area.fd = open("file", O_RDONLY | O_CLOEXEC);
	base = (char *)mmap(NULL, area.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(base != MAP_FAILED);
	madvise(base, area.length, MADV_NOHUGEPAGE);
	ck_assert(mmap(base, area.file_length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, area.fd, 0) == base);
	area.base = base;
	for (size_t i = 0; _i == 1 && i < area.length; i += PAGE)
		ck_assert_int_ge(*(volatile unsigned char *)(base + i), 0);
	scatter(base, AREA_PAGES, stored, &state);
	if (_i == 2) {
		child = fork();
		if (!child) {
			pause();
			_exit(0);
		}
	}
	if (_i == 3)
		mlock(base, 64 * PAGE);
	if (_i == 4)
		mprotect(base + 10 * PAGE, 100 * PAGE, PROT_READ);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct ranges found = {0};
		int rc = dirty_find(&area, ways[i], &found);

		if (ways[i] == DIRTY_SCAN && rc == -ENOTTY)
			continue;
		ck_assert_int_eq(rc, 0);
		/* Locking makes the kernel copy pages, as a store would. */
		check_found(&found, stored, AREA_PAGES, _i == 3);
		ranges_free(&found);
	}
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	munmap(base, area.length);
	close(area.fd);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_random_edits_are_as_in_plain_memory, 0, 2);
	tcase_add_test(tc, test_edits_are_private_until_commit);
	tcase_add_test(tc, test_absurd_sizes_leave_the_handle_alone);
	tcase_add_test(tc, test_parent_and_child_do_not_see_each_others_commits);
	tcase_add_loop_test(tc, test_all_ways_find_the_same_pages, 0, 5);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("overlay");

	test_each_fs(s, "overlay", add);
	return s;
}
