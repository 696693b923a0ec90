/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A commit that fails, at whatever step, leaves file and handle as they were. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)

/* ---- what must hold ---- */

struct scene {
	const struct way *way;
	size_t size;
	unsigned char *old, *new;
	struct snapmap_mut *map;
	uint64_t random;
	bool cut; /* the edits also make the file shorter */
	/* for single system calls */
	int wanted, count, error;
	long long call;
	bool failed, after_rename;
	size_t fds, names;
	size_t spare;	    /* descriptors that the handle may keep */
	char sentence[300]; /* of the thread that made the commit */
};

static void apply_edits(struct scene *s)
{
	size_t size = s->cut ? s->size - 2 * PAGE - 5 : s->size;

	ck_ok(snapmap_mut_resize(s->map, size));
	for (size_t at = 0; at < size; at += 3 * PAGE)
		((unsigned char *)snapmap_mut_data(s->map))[at] = s->new[at];
}

static size_t new_size(const struct scene *s)
{
	return s->cut ? s->size - 2 * PAGE - 5 : s->size;
}

static void set_scene(struct scene *s, const struct way *w, size_t size)
{
	s->way = w;
	s->size = size;
	s->old = malloc(size);
	s->new = malloc(size);
	test_fill(s->old, size, 1);
	memcpy(s->new, s->old, size);
	for (size_t at = 0; at < size; at += 3 * PAGE)
		s->new[at] ^= 1;
	test_make_file("f", size, 1);
	s->map = way_open(w, "f");
	apply_edits(s);
	s->fds = test_count_fds();
	s->names = count_names(".");
}

static void end_scene(struct scene *s)
{
	snapmap_mut_close(s->map);
	s->map = NULL;
	free(s->old);
	free(s->new);
}

/* File and handle are as before the commit. */
static void check_untouched(const struct scene *s, const char *when, int rc)
{
	ck_assert_msg(s->sentence[0] || snapmap_last_error()[0], "%s: %d without a sentence", when, rc);
	ck_assert_msg(test_file_is("f", s->old, s->size), "%s: %d: the file changed", when, rc);
	ck_assert_msg(handle_is(s->map, s->new, new_size(s)), "%s: %d: the handle's bytes changed", when, rc);
	ck_assert_msg(snapmap_mut_dirty(s->map, NULL, 0) == (ssize_t)((new_size(s) + 3 * PAGE - 1) / (3 * PAGE)),
		      "%s: %d: the list of edits changed", when, rc);
	ck_assert_msg(count_names(".") == s->names, "%s: %d: a name is left", when, rc);
	ck_assert_msg(test_count_fds() <= s->fds + s->spare, "%s: %d: a descriptor is left", when, rc);
}

static void check_rollback(struct scene *s, const char *when)
{
	int rc = snapmap_mut_rollback(s->map);

	ck_assert_msg(!rc, "%s: rollback: %s", when, snapmap_last_error());
	ck_assert_msg(handle_is(s->map, s->old, s->size), "%s: rollback gives other bytes", when);
	apply_edits(s);
}

/* ---- no space ---- */

/* Many small files in a full file system: taking one away makes a little room. */
#define PIECES 48
#define PIECE ((size_t)64 << 10)

static void fill_up(void)
{
	static char bytes[PIECE];
	char name[32];

	ck_assert(!mkdir("room", 0755));
	test_fill(bytes, sizeof(bytes), 9);
	for (int i = 0; i < PIECES; i++) {
		snprintf(name, sizeof(name), "room/%d", i);
		test_write_file(name, bytes, sizeof(bytes));
	}
	test_fill_disk(0);
}

static void sync_all(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	syncfs(fd);
	close(fd);
}

static void run_out_of_space(const struct way *w, bool cut)
{
	/* Its stores and its rollback need room as well. */
	if (w->flags & SNAPMAP_SPILL)
		return;
	/* What could not be put back on the full disk is kept in a file of its own. */
	struct scene s = {.cut = cut, .spare = 1};
	int failures = 0;

	set_scene(&s, w, (size_t)1 << 20);
	fill_up();
	s.names = count_names(".");
	for (int left = PIECES;; left--) {
		char name[32], when[40];
		int rc = way_commit(w, &s.map, 0);

		snprintf(when, sizeof(when), "%d pieces free", PIECES - left);
		if (!rc)
			break;
		failures++;
		ck_assert_msg(rc == -ENOSPC || rc == -EDQUOT, "%s: %d: %s", when, rc, snapmap_last_error());
		check_untouched(&s, when, rc);
		if (left % 2)
			check_rollback(&s, when);
		ck_assert_msg(left, "it never fits: %s", snapmap_last_error());
		snprintf(name, sizeof(name), "room/%d", left - 1);
		ck_assert(!unlink(name));
		/* Without it the space of a removed file may come back later only. */
		sync_all();
	}
	ck_assert(test_file_is("f", s.new, new_size(&s)));
	ck_assert_uint_eq(count_names("."), s.names);
	if (s.map)
		ck_assert(handle_is(s.map, s.new, new_size(&s)));
	ck_assert_msg(failures > 0 || !strncmp(test_fs()->name, "xfs", 3) || !strncmp(test_fs()->name, "btrfs", 5),
		      "the disk was not full");
	end_scene(&s);
}

START_TEST(test_full_disk_changes_nothing)
{
	const struct way *w = way_at(_i);

	/* Filling a disk takes long: one source for each strategy. */
	if (w && (_i == 0 || _i == 4))
		run_out_of_space(w, false);
}
END_TEST

START_TEST(test_full_disk_changes_nothing_for_a_file_that_was_cut)
{
	const struct way *w = way_at(_i);

	if (w && _i == 0)
		run_out_of_space(w, true);
}
END_TEST

/* ---- limits of the process ---- */

START_TEST(test_too_few_descriptors_change_nothing)
{
	const struct way *w = way_at(_i);
	struct rlimit before, few;
	struct scene s = {0};
	int rc = -1;

	if (!w)
		return;
	ck_assert(!getrlimit(RLIMIT_NOFILE, &before));
	set_scene(&s, w, 10 * PAGE);
	int highest = dup(0);

	close(highest);
	for (int n = 0; rc; n++) {
		char when[40];

		snprintf(when, sizeof(when), "%d descriptors", n);
		few = before;
		few.rlim_cur = (rlim_t)(highest + n);
		ck_assert(!setrlimit(RLIMIT_NOFILE, &few));
		rc = way_commit(w, &s.map, 0);
		ck_assert(!setrlimit(RLIMIT_NOFILE, &before));
		ck_assert_msg(!rc || rc == -EMFILE, "%s: %d: %s", when, rc, snapmap_last_error());
		ck_assert_msg(rc || n, "it needs no descriptor?");
		if (rc) {
			ck_says("RLIMIT_NOFILE");
			check_untouched(&s, when, rc);
			check_rollback(&s, when);
		}
	}
	ck_assert(test_file_is("f", s.new, s.size));
	ck_assert(!s.map || test_count_fds() == s.fds);
	if (s.map) {
		/* And it goes on. */
		((unsigned char *)snapmap_mut_data(s.map))[1] = s.new[1] ^= 1;
		ck_ok(way_commit(w, &s.map, 0));
		ck_assert(test_file_is("f", s.new, s.size));
	}
	end_scene(&s);
}
END_TEST

START_TEST(test_limit_on_file_sizes_raises_no_signal)
{
	const struct way *w = way_at(_i);
	struct rlimit limit, before;
	struct scene s = {0};

	if (!w)
		return;
	ck_assert(!getrlimit(RLIMIT_FSIZE, &before));
	for (int cut = 0; cut < 2; cut++) {
		s.cut = cut;
		set_scene(&s, w, 10 * PAGE);
		limit = before;
		limit.rlim_cur = 6 * PAGE + 100;
		ck_assert(!setrlimit(RLIMIT_FSIZE, &limit));
		/* SIGXFSZ would end this process. */
		ck_fails(way_commit(w, &s.map, 0), -EFBIG);
		ck_assert(!setrlimit(RLIMIT_FSIZE, &before));
		check_untouched(&s, "too large", -EFBIG);
		ck_ok(way_commit(w, &s.map, 0));
		ck_assert(test_file_is("f", s.new, new_size(&s)));
		end_scene(&s);
	}
}
END_TEST

/* ---- each system call fails once ---- */

static int commit_watched(void *arg)
{
	struct scene *s = arg;
	int rc;

	watch_on();
	rc = way_commit(s->way, &s->map, 0);
	watch_off();
	snprintf(s->sentence, sizeof(s->sentence), "%s", snapmap_last_error());
	return rc;
}

static int fail_one(void *arg, const struct seccomp_data *call)
{
	struct scene *s = arg;

	if (!call_can_fail(call))
		return 0;
	if (s->count++ == s->wanted) {
		s->failed = true;
		s->call = call->nr;
		return -s->error;
	}
	s->after_rename |= is_publication(call) && !s->failed;
	return 0;
}

static void fail_each_call(const struct way *w, bool cut)
{
	static const int errors[] = {ENOSPC, EIO, EMFILE, ENOMEM};
	bool failed = true;

	for (int n = 0; failed; n++) {
		struct scene s = {.cut = cut, .wanted = n, .error = errors[(n + (int)(test_seed() % 4)) % 4]};
		char when[80];
		bool old, new;
		int rc;

		set_scene(&s, w, 7 * PAGE + 11);
		rc = watch(commit_watched, &s, fail_one, &s);
		failed = s.failed;
		snprintf(when, sizeof(when), "call %d (number %lld) fails with errno %d", n, s.call, s.error);
		old = test_file_is("f", s.old, s.size);
		new = test_file_is("f", s.new, new_size(&s));
		ck_assert_msg(old || new, "%s: %d: a mix", when, rc);
		ck_assert_msg(rc <= 0, "%s: %d", when, rc);
		ck_assert_msg(rc || new, "%s: success, but the file is old", when);
		ck_assert_msg(count_names(".") == 1, "%s: %d: a name is left", when, rc);
		if (rc && new) {
			/* The one exception: in place, but perhaps not durable. */
			ck_assert_msg(rc == -EIO && strstr(s.sentence, "in place"), "%s: %d: %s", when, rc, s.sentence);
		} else if (rc) {
			check_untouched(&s, when, rc);
			if (n % 2)
				check_rollback(&s, when);
			rc = way_commit(w, &s.map, 0);
			ck_assert_msg(!rc, "%s: and then: %s", when, snapmap_last_error());
			ck_assert_msg(test_file_is("f", s.new, new_size(&s)), "%s: and then", when);
		} else if (s.map) {
			/* No harm done: the handle goes on. */
			/* What could not be written into a private image is kept in memory. */
			ck_assert_msg(test_count_fds() <= s.fds + way_keeps_inode(w), "%s: a descriptor is left", when);
			ck_assert_msg(handle_is(s.map, s.new, new_size(&s)), "%s: the handle's bytes", when);
			rc = snapmap_mut_rollback(s.map);
			ck_assert_msg(!rc && handle_is(s.map, s.new, new_size(&s)), "%s: rollback: %d", when, rc);
			((unsigned char *)snapmap_mut_data(s.map))[1] = s.new[1] ^= 1;
			rc = way_commit(w, &s.map, SNAPMAP_COMMIT_FORCE);
			ck_assert_msg(!rc, "%s: and then: %s", when, snapmap_last_error());
			ck_assert_msg(test_file_is("f", s.new, new_size(&s)), "%s: and then", when);
		}
		end_scene(&s);
		ck_assert(n < 1000);
	}
}

START_TEST(test_any_system_call_may_fail)
{
	const struct way *w = way_at(_i);

	/* Clone does not care whether the handle ends with it. */
	if (!w || (w->closing && !way_is_atomic(w)))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	fail_each_call(w, false);
}
END_TEST

START_TEST(test_any_system_call_may_fail_for_a_file_that_was_cut)
{
	const struct way *w = way_at(_i);

	if (!w || w->closing || !watch_works())
		return;
	fail_each_call(w, true);
}
END_TEST

/* ---- interruptions ---- */

/* Of three calls that a signal may break off, two are: each runs at its third attempt. */
static int interrupt(void *arg, const struct seccomp_data *call)
{
	struct scene *s = arg;

	if (!call_can_be_interrupted(call))
		return 0;
	s->count = (s->count + 1) % 3;
	return s->count ? -EINTR : 0;
}

START_TEST(test_storm_of_interruptions)
{
	const struct way *w = way_at(_i);
	struct scene s = {0};
	int rc;

	if (!w)
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	set_scene(&s, w, 7 * PAGE);
	rc = watch(commit_watched, &s, interrupt, &s);
	ck_assert_msg(!rc, "%d: %s", rc, s.sentence);
	ck_assert(test_file_is("f", s.new, s.size));
	end_scene(&s);
}
END_TEST

static void add_limits(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_too_few_descriptors_change_nothing, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_limit_on_file_sizes_raises_no_signal, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_any_system_call_may_fail, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_any_system_call_may_fail_for_a_file_that_was_cut, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_storm_of_interruptions, 0, WAYS_TOO);
}

static void add_space(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_full_disk_changes_nothing, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_full_disk_changes_nothing_for_a_file_that_was_cut, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("commit failures");

	test_each_fs(s, "failures", add_limits);
	test_each_small_fs(s, "full disk", add_space);
	return s;
}
