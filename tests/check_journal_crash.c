/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commits by journal that are cut off by SIGKILL, before each of their system calls. */
#include "config.h"

#include "journaling.h"

static struct versions v;

/* What a crash has left is one version for those who may only read, and the same one for all others afterwards. */
static void check_left(const char *when, int n)
{
	bool applying = is_applying("f");
	int seen = look_without_rights("f", &v), then;

	ck_assert_msg(seen == 0 || seen == 1, "%s %d: readers see %d", when, n, seen);
	ck_assert_msg(is_applying("f") == applying, "%s %d: a reader without rights changed it", when, n);
	ck_assert_msg(!applying || seen == 1, "%s %d: decided, and old", when, n);
	then = look_with("f", SNAPMAP_SOURCE_AUTO, false, &v);
	ck_assert_msg(then == seen, "%s %d: %d, and then %d: %s", when, n, seen, then, snapmap_last_error());
	ck_assert_msg(test_file_is("f", then ? v.new : v.old, then ? v.new_size : v.old_size), "%s %d: plain", when, n);
	ck_assert_msg(!is_applying("f"), "%s %d: the marker", when, n);
	/* Whoever opens it for editing takes away what is left. */
	ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, true, &v), then);
	ck_assert_msg(count_names(".") == 1, "%s %d: a name is left", when, n);
}

START_TEST(test_kill_at_each_call_of_a_commit)
{
	struct crash c = {.path = "f", .run = run_commit, .versions = &v};
	bool killed = true, applied = false;

	need_journals();
	make_versions(&v, (enum edit)_i);
	for (; killed; c.at++) {
		test_write_file("f", v.old, v.old_size);
		c.count = 0;
		killed = crash(&c);
		applied |= is_applying("f");
		if (killed)
			check_left("call", c.at);
		ck_assert_int_lt(c.at, 1000);
	}
	ck_assert_msg(c.at > 15, "only %d calls", c.at);
	ck_assert(applied);
	ck_assert(test_file_is("f", v.new, v.new_size));
}
END_TEST

START_TEST(test_kill_at_each_call_of_a_replay)
{
	struct crash c = {.path = "f", .run = run_open};
	bool killed = true, mixed = false;

	need_journals();
	for (; killed; c.at++) {
		make_crashed("f", &v, (enum edit)_i, 3);
		mixed |= !test_file_is("f", v.old, v.old_size) && !test_file_is("f", v.new, v.new_size);
		c.count = 0;
		killed = crash(&c);
		if (killed)
			check_left("replay", c.at);
		ck_assert(!unlink("f"));
		ck_assert_int_lt(c.at, 1000);
	}
	ck_assert(mixed);
	ck_assert_msg(c.at > 15, "only %d calls", c.at);
}
END_TEST

/* The file is a mix for those who do not know better, or these tests say nothing. */
START_TEST(test_plain_readers_see_a_mix)
{
	need_journals();
	make_crashed("f", &v, EDIT_PAGES, 3);
	ck_assert(!test_file_is("f", v.old, v.old_size));
	ck_assert(!test_file_is("f", v.new, v.new_size));
	check_left("mix", 0);
}
END_TEST

static void add_crashes(TCase *tc)
{
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, test_kill_at_each_call_of_a_commit, 0, EDITS);
	tcase_add_loop_test(tc, test_kill_at_each_call_of_a_replay, 0, EDITS);
	tcase_add_test(tc, test_plain_readers_see_a_mix);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("journal crash");

	test_each_fs(s, "crash", add_crashes);
	return s;
}
