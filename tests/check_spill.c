/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SNAPMAP_SPILL: a handle whose edits go to a file behaves as any other. Commits with it are tested with all others, as two of
 * the ways of committing.h.
 */
#include "config.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spilling.h"

/* --- a model in plain memory */

#define LARGEST (40 * PAGE)

/* @kept: what was cut off once counts as zeros from then on. */
struct model {
	unsigned char now[LARGEST], base[LARGEST];
	size_t size, base_size, kept;
};

static unsigned char before(const struct model *m, size_t at)
{
	return at < m->kept ? m->base[at] : 0;
}

/* Exactly the pages that differ. */
static void expect_dirty(const struct snapmap_mut *map, const struct model *m)
{
	struct snapmap_range r[LARGEST / PAGE + 1];
	ssize_t n = snapmap_mut_dirty(map, r, LARGEST / PAGE + 1);
	bool listed[LARGEST / PAGE + 1] = {false};

	ck_assert_msg(n >= 0, "%s", snapmap_last_error());
	for (ssize_t i = 0; i < n; i++) {
		uint64_t end = r[i].offset + r[i].length;

		ck_assert(r[i].length && r[i].offset % PAGE == 0 && end <= m->size);
		ck_assert(end % PAGE == 0 || end == m->size);
		ck_assert(i == 0 || r[i - 1].offset + r[i - 1].length < r[i].offset);
		for (uint64_t at = r[i].offset; at < end; at += PAGE)
			listed[at / PAGE] = true;
	}
	for (size_t page = 0; page * PAGE < m->size; page++) {
		bool differs = false;

		for (size_t at = page * PAGE; at < m->size && at < (page + 1) * PAGE; at++)
			differs |= m->now[at] != before(m, at);
		ck_assert_msg(differs == listed[page], "page %zu: differs %d, listed %d", page, differs, listed[page]);
	}
}

static void expect_model(struct snapmap_mut *map, const struct model *m, const char *after)
{
	ck_assert_msg(handle_is(map, m->now, m->size), "after %s the bytes are others", after);
	expect_dirty(map, m);
}

static void step_store(struct snapmap_mut *map, struct model *m, uint64_t *random)
{
	size_t at, n;

	if (!m->size)
		return;
	at = test_random(random) % m->size;
	n = 1 + test_random(random) % (3 * PAGE);
	n = n < m->size - at ? n : m->size - at;
	test_fill(m->now + at, n, test_random(random));
	memcpy(bytes_of(map) + at, m->now + at, n);
	/* What is behind the end must never show. */
	if (m->size % PAGE)
		bytes_of(map)[m->size | (PAGE - 1)] = 'x';
}

static void step_resize(struct snapmap_mut *map, struct model *m, uint64_t *random)
{
	const size_t sizes[] = {0, 1, PAGE, 2 * PAGE - 1, test_random(random) % LARGEST, m->size + 1};
	size_t size = sizes[test_random(random) % (sizeof(sizes) / sizeof(sizes[0]))];

	if (size > LARGEST)
		return;
	ck_ok(snapmap_mut_resize(map, size));
	if (size > m->size)
		memset(m->now + m->size, 0, size - m->size);
	m->size = size;
	m->kept = size < m->kept ? size : m->kept;
}

static void step_rollback(struct snapmap_mut *map, struct model *m)
{
	const void *data = snapmap_mut_data(map);

	ck_ok(snapmap_mut_rollback(map));
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	memcpy(m->now, m->base, sizeof(m->now));
	m->size = m->kept = m->base_size;
}

static void step_commit(struct snapmap_mut *map, struct model *m)
{
	const void *data = snapmap_mut_data(map);

	ck_ok(commit_flags(map, SNAPMAP_COMMIT_NOSYNC));
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	ck_assert(test_file_is("file", m->now, m->size));
	memcpy(m->base, m->now, sizeof(m->base));
	m->base_size = m->kept = m->size;
}

static const uint32_t sources[] = {SNAPMAP_SOURCE_AUTO, SNAPMAP_SOURCE_COPY};

START_TEST(test_random_edits_are_as_in_plain_memory)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t random = test_seed() + (uint64_t)_i;
	struct snapmap_mut *map;

	m->size = m->base_size = m->kept = 17 * PAGE + 123;
	test_make_file("file", m->size, 5);
	test_fill(m->base, m->size, 5);
	memcpy(m->now, m->base, sizeof(m->now));
	map = open_spilled("file", 0, sources[_i]);
	expect_model(map, m, "open");
	for (int i = 0; i < 60; i++) {
		switch (test_random(&random) % 10) {
		case 0:
			step_rollback(map, m);
			expect_model(map, m, "rollback");
			break;
		case 1:
			step_commit(map, m);
			expect_model(map, m, "commit");
			break;
		case 2:
		case 3:
		case 4:
			step_resize(map, m, &random);
			expect_model(map, m, "resize");
			break;
		default:
			step_store(map, m, &random);
			expect_model(map, m, "store");
		}
	}
	snapmap_mut_close(map);
	ck_assert(count_names(".") == 1);
	free(m);
}
END_TEST

/* More extents than one answer of the kernel has, in several commits. */
START_TEST(test_scattered_edits_are_found)
{
	const size_t pages = 2048;
	unsigned char *bytes = malloc(pages * PAGE);
	bool *stored = calloc(pages, sizeof(*stored));
	struct snapmap_range *r = calloc(pages, sizeof(*r));
	uint64_t random = test_seed();
	struct snapmap_mut *map;

	test_make_file("file", pages * PAGE, 3);
	test_fill(bytes, pages * PAGE, 3);
	map = open_spilled("file", 0, 0);
	for (int round = 0; round < 3; round++) {
		size_t at = 0;
		ssize_t n;

		memset(stored, 0, pages * sizeof(*stored));
		for (int i = 0; i < 700; i++) {
			size_t page = test_random(&random) % pages;

			bytes_of(map)[page * PAGE + 9] ^= stored[page] ? 0 : 1;
			bytes[page * PAGE + 9] ^= stored[page] ? 0 : 1;
			stored[page] = true;
		}
		n = snapmap_mut_dirty(map, r, pages);
		ck_assert_int_gt(n, 0);
		for (ssize_t i = 0; i < n; i++) {
			for (; at < r[i].offset / PAGE; at++)
				ck_assert_msg(!stored[at], "page %zu is missing", at);
			for (; at < (r[i].offset + r[i].length) / PAGE; at++)
				ck_assert_msg(stored[at], "page %zu is listed", at);
		}
		for (; at < pages; at++)
			ck_assert_msg(!stored[at], "page %zu is missing", at);
		ck_ok(commit_flags(map, SNAPMAP_COMMIT_NOSYNC));
		ck_assert(test_file_is("file", bytes, pages * PAGE));
		ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	}
	snapmap_mut_close(map);
	free(bytes);
	free(stored);
	free(r);
}
END_TEST

START_TEST(test_holes_stay_holes)
{
	struct snapmap_mut *map;
	struct stat st;

	test_write_file("file", "first", 5);
	ck_assert_sys(truncate("file", (off_t)(64 * MIB)));
	map = open_spilled("file", 0, sources[_i]);
	bytes_of(map)[32 * MIB] = 1;
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_ok(snapmap_mut_commit(map, NULL));
	bytes_of(map)[40 * MIB] = 2;
	ck_ok(snapmap_mut_rollback(map));
	ck_assert_int_eq(bytes_of(map)[40 * MIB], 0);
	bytes_of(map)[48 * MIB] = 3;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert_sys(stat("file", &st));
	ck_assert_int_eq(st.st_size, 64 * MIB);
	ck_assert_int_le(st.st_blocks * 512, 2 * MIB);
}
END_TEST

/* --- other calls */

START_TEST(test_flags_that_exclude_each_other)
{
	struct snapmap_options o = spill_options(0, 0);
	struct snapmap_mut *mut;
	struct snapmap *map;

	test_make_file("file", PAGE, 1);
	ck_fails(snapmap_open("file", &o, &map), -EINVAL);
	ck_says("SPILL");
	o.flags |= SNAPMAP_INHERIT;
	ck_fails(snapmap_mut_open("file", &o, &mut), -EINVAL);
	ck_says("INHERIT");
}
END_TEST

START_TEST(test_new_file)
{
	struct snapmap_options o = spill_options(0, 0);
	unsigned char bytes[3 * PAGE + 7];
	struct snapmap_mut *map;
	struct stat st;

	ck_ok(snapmap_mut_create("new", 0640, &o, &map));
	ck_assert_uint_eq(snapmap_mut_size(map), 0);
	ck_ok(snapmap_mut_resize(map, sizeof(bytes)));
	test_fill(bytes, sizeof(bytes), 4);
	memcpy(bytes_of(map), bytes, sizeof(bytes));
	ck_assert(!exists("new"));
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(test_file_is("new", bytes, sizeof(bytes)));
	bytes_of(map)[5] = (char)(bytes[5] = 'z');
	/* There, with the flag or without, times change once more after the first commit of a new file. */
	if (!strcmp(test_fs()->name, "fuse"))
		ck_ok(commit_flags(map, SNAPMAP_COMMIT_FORCE));
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is("new", bytes, sizeof(bytes)));
	ck_assert_sys(stat("new", &st));
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	ck_assert(count_names(".") == 1);
}
END_TEST

START_TEST(test_saving_elsewhere)
{
	unsigned char bytes[5 * PAGE + 1];
	struct snapmap_mut *map;

	test_fill(bytes, sizeof(bytes), 1);
	test_write_file("file", bytes, sizeof(bytes));
	map = open_spilled("file", 0, sources[_i]);
	bytes_of(map)[PAGE] ^= 1;
	ck_ok(snapmap_mut_resize(map, sizeof(bytes) - 100));
	ck_ok(snapmap_mut_link(map, "other", NULL));
	ck_assert(test_file_is("file", bytes, sizeof(bytes)));
	bytes[PAGE] ^= 1;
	ck_assert(test_file_is("other", bytes, sizeof(bytes) - 100));
	/* It is a file of its own. */
	bytes_of(map)[0] ^= 1;
	ck_assert(test_file_is("other", bytes, sizeof(bytes) - 100));
	ck_fails(snapmap_mut_link(map, "other", NULL), -EEXIST);
	ck_assert_int_ge(snapmap_mut_dirty(map, NULL, 0), 1);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_conflict_leaves_the_handle)
{
	unsigned char bytes[5 * PAGE];
	struct snapmap_mut *map;

	test_fill(bytes, sizeof(bytes), 1);
	test_write_file("file", bytes, sizeof(bytes));
	map = open_spilled("file", 0, sources[_i]);
	bytes_of(map)[PAGE] ^= 1;
	test_write_file("file", "foreign", 7);
	ck_fails(snapmap_mut_commit(map, NULL), -EBUSY);
	ck_fails(snapmap_mut_commit_and_close(map, NULL), -EBUSY);
	ck_assert(test_file_is("file", "foreign", 7));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, bytes, sizeof(bytes)));
	bytes_of(map)[2 * PAGE] ^= 1;
	bytes[2 * PAGE] ^= 1;
	ck_ok(commit_flags(map, SNAPMAP_COMMIT_FORCE));
	ck_assert(test_file_is("file", bytes, sizeof(bytes)));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	snapmap_mut_close(map);
}
END_TEST

/* --- what is published does not follow what is stored */

struct storing {
	volatile char *p;
	size_t size;
	atomic_bool stop;
};

static void *store_all_the_time(void *arg)
{
	struct storing *s = arg;

	for (size_t at = 0; !atomic_load(&s->stop); at = (at + 61) % s->size)
		s->p[at]++;
	return NULL;
}

static void commit_while_storing(uint32_t source, bool closing)
{
	const size_t size = 2 * MIB;
	struct storing s = {.size = size};
	struct snapmap_mut *map;
	pthread_t thread;
	uint64_t hash;

	test_make_file("file", size, 1);
	map = open_spilled("file", 0, source);
	s.p = bytes_of(map);
	s.p[0]++;
	ck_assert_int_eq(pthread_create(&thread, NULL, store_all_the_time, &s), 0);
	/* Closing takes the memory away, so the stores must have ended before. */
	if (closing) {
		atomic_store(&s.stop, true);
		pthread_join(thread, NULL);
	}
	ck_ok(closing ? snapmap_mut_commit_and_close(map, NULL) : snapmap_mut_commit(map, NULL));
	hash = test_hash_file("file");
	if (closing)
		return;
	for (int i = 0; i < 20; i++) {
		sched_yield();
		ck_assert_msg(test_hash_file("file") == hash, "the file follows the stores");
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	snapmap_mut_close(map);
	ck_assert(test_hash_file("file") == hash);
}

START_TEST(test_file_does_not_follow_stores)
{
	commit_while_storing(sources[_i / 2], _i % 2);
}
END_TEST

/* --- fork */

static int use_in_child(struct snapmap_mut *map)
{
	struct snapmap_range r;

	if (snapmap_mut_rollback(map) != -ESTALE || snapmap_mut_dirty(map, &r, 1) != -ESTALE)
		return 1;
	if (snapmap_mut_resize(map, 1) != -ESTALE || snapmap_mut_prefault(map, 0, 1) != -ESTALE)
		return 2;
	if (snapmap_mut_commit(map, NULL) != -ESTALE || snapmap_mut_link(map, "other", NULL) != -ESTALE)
		return 3;
	if (snapmap_mut_commit_and_close(map, NULL) != -ESTALE || error_of(map) != -ESTALE)
		return 4;
	snapmap_mut_close(map);
	return 0;
}

/* 0: calls. 1: a touch. 2: a touch in a child that was made without notice. 3: of what was grown. 4: after rollback. */
START_TEST(test_child_has_no_way_in)
{
	unsigned char bytes[6 * PAGE];
	struct snapmap_mut *map;
	pid_t child;

	test_fill(bytes, sizeof(bytes), 2);
	test_write_file("file", bytes, sizeof(bytes));
	map = open_spilled("file", _i == 1 ? SNAPMAP_GUARD : 0, 0);
	if (_i == 3)
		ck_ok(snapmap_mut_resize(map, 3000 * PAGE));
	if (_i == 4) {
		bytes_of(map)[0] ^= 1;
		ck_ok(snapmap_mut_rollback(map));
	}
	child = _i == 2 ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
	if (!child) {
		prctl(PR_SET_DUMPABLE, 0);
		if (_i == 0)
			_exit(use_in_child(map));
		bytes_of(map)[_i == 3 ? 2999 * PAGE : PAGE] = 1;
		_exit(0);
	}
	ck_assert_int_eq(death(child), _i == 0 ? 0 : -SIGSEGV);
	if (_i == 3)
		ck_ok(snapmap_mut_resize(map, sizeof(bytes)));
	ck_assert(handle_is(map, bytes, sizeof(bytes)));
	bytes_of(map)[7] ^= 1;
	bytes[7] ^= 1;
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert(test_file_is("file", bytes, sizeof(bytes)));
	snapmap_mut_close(map);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_random_edits_are_as_in_plain_memory, 0, 2);
	tcase_add_test(tc, test_scattered_edits_are_found);
	tcase_add_loop_test(tc, test_holes_stay_holes, 0, 2);
	tcase_add_test(tc, test_flags_that_exclude_each_other);
	tcase_add_test(tc, test_new_file);
	tcase_add_loop_test(tc, test_saving_elsewhere, 0, 2);
	tcase_add_loop_test(tc, test_conflict_leaves_the_handle, 0, 2);
	tcase_add_loop_test(tc, test_file_does_not_follow_stores, 0, 4);
	tcase_add_loop_test(tc, test_child_has_no_way_in, 0, 5);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("spill");

	test_each_fs(s, "spill", add_tests);
	return s;
}
