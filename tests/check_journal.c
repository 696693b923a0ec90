/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commits by journal: what they keep, what they refuse, and what comes after one that was cut off. */
#include "config.h"

#include <sys/file.h>
#include <sys/stat.h>

#include "journaling.h"

static struct versions v;

static struct snapmap_mut *open_edited(const char *path, enum edit e)
{
	struct snapmap_mut *map;

	make_versions(&v, e);
	test_write_file(path, v.old, v.old_size);
	ck_ok(snapmap_mut_open(path, NULL, &map));
	ck_ok(edit_handle(map, &v));
	return map;
}

static bool has_marker(const char *path)
{
	return getxattr(path, JOURNAL_ATTRIBUTE, NULL, 0) >= 0;
}

/* ---- what is kept ---- */

START_TEST(test_commit_keeps_the_inode)
{
	struct snapmap_mut *map;
	struct snapmap_info info;
	struct stat before, after;
	size_t fds;

	need_journals();
	map = open_edited("f", (enum edit)_i);
	fds = test_count_fds();
	ck_assert(!link("f", "g"));
	ck_assert(!chmod("f", 0640));
	ck_assert(!setxattr("f", "user.mine", "value", 5, 0));
	/* All of that moved the ctime. */
	snapmap_mut_close(map);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	ck_ok(edit_handle(map, &v));
	ck_assert(!stat("f", &before));
	ck_ok(commit_by_journal(map, 0));
	ck_assert(!stat("f", &after));
	ck_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && after.st_nlink == 2);
	ck_assert_int_eq(getxattr("f", "user.mine", NULL, 0), 5);
	ck_assert(test_file_is("g", v.new, v.new_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_uint_eq(info.strategy, SNAPMAP_STRATEGY_JOURNAL);
	ck_assert_uint_eq(count_names("."), 2);
	ck_assert_uint_eq(test_count_fds(), fds);
	/* And it goes on. */
	*(unsigned char *)snapmap_mut_data(map) = v.new[0] ^= 1;
	ck_ok(commit_by_journal(map, SNAPMAP_COMMIT_NOSYNC));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, v.new, v.new_size));
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_holes_stay_holes)
{
	struct snapmap_mut *map;
	struct stat st;
	int fd;

	need_journals();
	fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert(!ftruncate(fd, 64 << 20));
	close(fd);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((char *)snapmap_mut_data(map))[32 << 20] = 1;
	ck_ok(commit_by_journal(map, 0));
	snapmap_mut_close(map);
	ck_assert(!stat("f", &st));
	ck_assert_msg(st.st_blocks * 512 < 4 << 20, "%lld blocks", (long long)st.st_blocks);
}
END_TEST

START_TEST(test_where_it_does_not_work)
{
	struct snapmap_mut *map;

	if (row_journals())
		return;
	map = open_edited("f", EDIT_PAGES);
	ck_fails(commit_by_journal(map, 0), -EOPNOTSUPP);
	ck_assert(test_file_is("f", v.old, v.old_size));
	ck_assert_uint_eq(count_names("."), 1);
	ck_ok(snapmap_mut_commit(map, NULL));
	snapmap_mut_close(map);
	ck_ok(snapmap_mut_create("new", 0644, NULL, &map));
	ck_fails(commit_by_journal(map, 0), -EOPNOTSUPP);
	snapmap_mut_close(map);
}
END_TEST

/* The marker tells of one inode. */
START_TEST(test_other_strategies_and_the_marker)
{
	struct snapmap_commit_options o = {.size = sizeof(o)};
	struct snapmap_mut *map;

	need_journals();
	map = open_edited("f", EDIT_PAGES);
	ck_ok(commit_by_journal(map, 0));
	ck_assert(has_marker("f"));
	if (test_fs()->reflink) {
		*(char *)snapmap_mut_data(map) += 1;
		o.strategy = SNAPMAP_STRATEGY_CLONE;
		ck_ok(snapmap_mut_commit(map, &o));
		ck_assert(has_marker("f"));
	}
	ck_ok(snapmap_mut_link(map, "g", NULL));
	ck_assert(!has_marker("g"));
	*(char *)snapmap_mut_data(map) += 1;
	o.strategy = SNAPMAP_STRATEGY_REPLACE;
	ck_ok(snapmap_mut_commit(map, &o));
	ck_assert(!has_marker("f"));
	snapmap_mut_close(map);
}
END_TEST

/* ---- others ---- */

START_TEST(test_conflict_is_told)
{
	struct snapmap_mut *map, *other;

	need_journals();
	map = open_edited("f", EDIT_PAGES);
	ck_ok(snapmap_mut_open("f", NULL, &other));
	((char *)snapmap_mut_data(other))[5 * PAGE] += 1;
	ck_ok(commit_by_journal(map, 0));
	ck_fails(commit_by_journal(other, 0), -EBUSY);
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert_uint_eq(count_names("."), 1);
	/* By force the file gets all bytes of the handle, not only the edits. */
	memcpy(v.new, v.old, v.old_size);
	v.new[5 * PAGE] += 1;
	ck_ok(commit_by_journal(other, SNAPMAP_COMMIT_FORCE));
	ck_assert(test_file_is("f", v.new, v.old_size));
	ck_fails(commit_by_journal(map, 0), -EBUSY);
	/* Over something else altogether, too. */
	test_make_file("h", 3 * PAGE + 1, 7);
	ck_assert(!rename("h", "f"));
	((char *)snapmap_mut_data(other))[7 * PAGE] = (char)(v.new[7 * PAGE] ^= 1);
	ck_fails(commit_by_journal(other, 0), -EBUSY);
	ck_ok(commit_by_journal(other, SNAPMAP_COMMIT_FORCE));
	ck_assert(test_file_is("f", v.new, v.old_size));
	ck_assert(handle_is(other, v.new, v.old_size));
	((char *)snapmap_mut_data(other))[0] = (char)(v.new[0] ^= 1);
	ck_ok(commit_by_journal(other, 0));
	ck_assert(test_file_is("f", v.new, v.old_size));
	snapmap_mut_close(map);
	snapmap_mut_close(other);
}
END_TEST

/* ---- a foreign write between any two steps of a commit ---- */

struct foreign {
	struct snapmap_mut *map;
	int at, count;
	bool written, at_the_mark;
};

static int commit_shown(void *arg)
{
	const struct foreign *f = arg;
	int rc;

	watch_on();
	rc = commit_by_journal(f->map, 0);
	watch_off();
	return rc;
}

/* Up to the mark. */
static int write_meanwhile(void *arg, const struct seccomp_data *call)
{
	struct foreign *f = arg;
	int fd;

	if (f->count++ != f->at || has_marker("f"))
		return 0;
	fd = open("f", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "foreign", 7, PAGE), 7);
	close(fd);
	f->written = true;
	f->at_the_mark = call->nr == SYS_fsetxattr;
	return 0;
}

START_TEST(test_foreign_write_within_a_commit)
{
	struct foreign f = {.written = true};
	int tries;

	need_journals();
	for (tries = 0; f.written; f.at++, tries++) {
		int rc;

		f.count = 0;
		f.written = false;
		f.map = open_edited("f", EDIT_PAGES);
		rc = watch(commit_shown, &f, write_meanwhile, &f);
		ck_assert_msg(!f.written || f.at_the_mark || rc == -EBUSY, "call %d: %d", f.at, rc);
		if (rc) {
			memcpy(v.old + PAGE, "foreign", 7);
			ck_assert_int_eq(rc, -EBUSY);
			ck_assert(test_file_is("f", v.old, v.old_size));
		}
		ck_assert_uint_eq(count_names("."), 1);
		snapmap_mut_close(f.map);
		ck_assert(!unlink("f"));
	}
	ck_assert_int_gt(tries, 15);
}
END_TEST

#define COUNTERS 3
#define COUNTS 15

static int count_up(const char *path)
{
	for (int i = 0; i < COUNTS;) {
		struct snapmap_mut *map;
		int rc = snapmap_mut_open(path, NULL, &map);

		if (rc)
			return 1;
		++*(uint64_t *)snapmap_mut_data(map);
		rc = commit_by_journal(map, SNAPMAP_COMMIT_NOSYNC);
		snapmap_mut_close(map);
		if (rc && rc != -EBUSY)
			return 2;
		i += !rc;
	}
	return 0;
}

/* By different names of one file: no commit is lost. */
START_TEST(test_committers_take_turns)
{
	const char *const names[COUNTERS] = {"f", "g", "d/h"};
	pid_t pids[COUNTERS];
	uint64_t count = 0;
	int status;
	void *bytes;

	if (!row_journals())
		test_skip("no commits by journal on this row");
	bytes = calloc(1, PAGE);
	test_write_file("f", bytes, PAGE);
	free(bytes);
	ck_assert(!link("f", "g") && !mkdir("d", 0755) && !link("f", "d/h"));
	for (int i = 0; i < COUNTERS; i++) {
		pids[i] = fork();
		ck_assert(pids[i] >= 0);
		if (!pids[i]) {
			int rc = count_up(names[i]);

			if (rc)
				fprintf(stderr, "%s\n", snapmap_last_error());
			_exit(rc);
		}
	}
	for (int i = 0; i < COUNTERS; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	bytes = test_read_file("f", NULL);
	memcpy(&count, bytes, sizeof(count));
	free(bytes);
	ck_assert_uint_eq(count, COUNTERS * COUNTS);
	ck_assert_uint_eq(count_names("."), 3);
	ck_assert_uint_eq(count_names("d"), 1);
}
END_TEST

/* Scripts hold flock(2) while they run commands. */
START_TEST(test_flock_is_not_in_the_way)
{
	struct snapmap_mut *map;
	int fd;

	need_journals();
	map = open_edited("f", EDIT_PAGES);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert(!flock(fd, LOCK_EX));
	ck_ok(commit_by_journal(map, 0));
	close(fd);
	snapmap_mut_close(map);
}
END_TEST

/* ---- after a commit that was cut off ---- */

/* Nobody gets to read in the journal what he could not read in the file. */
START_TEST(test_rights_to_the_journal)
{
	static const struct {
		mode_t file, journal;
	} modes[] = {{0600, 0400}, {0644, 0444}, {0640, 0440}, {0666, 0444}, {0604, 0404}, {0660, 0440}};
	struct crash c = {.path = "f", .run = run_commit, .versions = &v, .at = 2, .applied = true};
	char name[JOURNAL_NAME_SIZE];
	struct stat st, file;

	need_journals();
	make_versions(&v, EDIT_PAGES);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		test_write_file("f", v.old, v.old_size);
		ck_assert(!chmod("f", modes[i].file));
		if (test_is_root())
			ck_assert(!chown("f", 1234, 5678));
		c.count = 0;
		ck_assert(crash(&c));
		journal_of("f", name);
		ck_assert(!stat(name, &st) && !stat("f", &file));
		ck_assert_uint_eq(st.st_mode & 07777, modes[i].journal);
		ck_assert(st.st_uid == file.st_uid && st.st_gid == file.st_gid);
		ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, false, &v), 1);
		ck_assert(!unlink("f"));
	}
}
END_TEST

START_TEST(test_other_names_of_the_file)
{
	need_journals();
	ck_assert(!mkdir("d", 0755) && !mkdir("e", 0755));
	/* Another name in the same directory, and in another one. */
	for (int i = 0; i < 2; i++) {
		const char *other = i ? "d/g" : "g";

		make_crashed("f", &v, EDIT_PAGES, 2);
		ck_assert(!link("f", other));
		ck_assert_int_eq(look_without_rights(other, &v), 1);
		ck_assert_int_eq(look_with(other, SNAPMAP_SOURCE_AUTO, false, &v), 1);
		ck_assert(test_file_is("f", v.new, v.new_size));
		ck_assert(!unlink(other) && !unlink("f"));
		ck_assert_uint_eq(count_journals("."), 0);
	}
	/* A new name. */
	for (int i = 0; i < 2; i++) {
		const char *other = i ? "d/g" : "g";

		make_crashed("f", &v, EDIT_CUT, 2);
		ck_assert(!rename("f", other));
		ck_assert_int_eq(look_without_rights(other, &v), 1);
		ck_assert_int_eq(look_with(other, SNAPMAP_SOURCE_AUTO, true, &v), 1);
		ck_assert(test_file_is(other, v.new, v.new_size));
		ck_assert(!unlink(other));
		ck_assert_uint_eq(count_journals("."), 0);
	}
	/* The directory has a new name. */
	make_crashed("d/f", &v, EDIT_GROW, 2);
	ck_assert(!rename("d", "c"));
	ck_assert_int_eq(look_without_rights("c/f", &v), 1);
	ck_assert_int_eq(look_with("c/f", SNAPMAP_SOURCE_AUTO, false, &v), 1);
	ck_assert_uint_eq(count_journals("c"), 0);
	/* Both have: nobody knows any more where it is. */
	make_crashed("c/f", &v, EDIT_PAGES, 2);
	ck_assert(!rename("c", "d") && !rename("d/f", "e/f"));
	ck_assert_int_eq(look_with("e/f", SNAPMAP_SOURCE_AUTO, false, &v), -EUCLEAN);
	ck_says("not there");
}
END_TEST

/* A descriptor only, of a file that has a name, or none any more. */
START_TEST(test_by_descriptor)
{
	struct snapmap *map;
	int fd;

	need_journals();
	make_crashed("f", &v, EDIT_PAGES, 2);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert(!unlink("f"));
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	ck_assert(is_version(snapmap_data(map), snapmap_size(map), &v, true));
	snapmap_close(map);
	close(fd);
	ck_assert_uint_eq(count_journals("."), 0);
}
END_TEST

/* A handle that was opened before the crash has another version. */
START_TEST(test_commit_over_one_that_was_cut_off)
{
	static const uint32_t strategies[] = {SNAPMAP_STRATEGY_REPLACE, SNAPMAP_STRATEGY_JOURNAL,
					      SNAPMAP_STRATEGY_CLONE};
	struct crash c = {.path = "f", .run = run_commit, .versions = &v, .at = 2, .applied = true};
	struct snapmap_commit_options o = {.size = sizeof(o), .strategy = strategies[_i]};
	struct snapmap_mut *map;

	need_journals();
	if (o.strategy == SNAPMAP_STRATEGY_CLONE && !test_fs()->reflink)
		return;
	map = open_edited("f", EDIT_PAGES);
	ck_assert(crash(&c));
	ck_assert(is_applying("f"));
	ck_fails(snapmap_mut_commit(map, &o), -EBUSY);
	ck_assert(!is_applying("f"));
	ck_assert(test_file_is("f", v.new, v.new_size));
	o.flags = SNAPMAP_COMMIT_FORCE;
	((char *)snapmap_mut_data(map))[1] = (char)(v.new[1] ^= 1);
	ck_ok(snapmap_mut_commit(map, &o));
	ck_assert(test_file_is("f", v.new, v.new_size));
	snapmap_mut_close(map);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- each system call fails once ---- */

struct scene {
	struct snapmap_mut *map;
	int wanted, count, error;
	bool failed;
	char sentence[400];
};

static int commit_watched(void *arg)
{
	struct scene *s = arg;
	int rc;

	watch_on();
	rc = commit_by_journal(s->map, 0);
	watch_off();
	snprintf(s->sentence, sizeof(s->sentence), "%s", snapmap_last_error());
	return rc;
}

static int fail_one(void *arg, const struct seccomp_data *call)
{
	struct scene *s = arg;

	if (!call_can_fail(call) || s->count++ != s->wanted)
		return 0;
	s->failed = true;
	return -s->error;
}

static int fail_apply(void *arg, const struct seccomp_data *call)
{
	struct scene *s = arg;

	if (call->nr != SYS_pwrite64 || !is_applying("f") || s->count++ < s->wanted)
		return 0;
	s->failed = true;
	return -s->error;
}

/* The commit counts, and is finished by the handle's next one. */
static void check_decided(struct scene *s, const char *when)
{
	ck_assert_msg(strstr(s->sentence, "counts") || strstr(s->sentence, "in place"), "%s: %s", when, s->sentence);
	ck_assert_msg(handle_is(s->map, v.new, v.new_size), "%s: the handle", when);
	ck_assert_int_eq(look_without_rights("f", &v), 1);
}

START_TEST(test_any_system_call_may_fail)
{
	static const int errors[] = {ENOSPC, EIO, EMFILE, ENOMEM};

	need_journals();
	for (struct scene s = {.failed = true}; s.failed; s.wanted++) {
		char when[60];
		int rc;

		s.count = 0;
		s.failed = false;
		s.error = errors[(s.wanted + (int)(test_seed() % 4)) % 4];
		snprintf(when, sizeof(when), "call %d fails with %d", s.wanted, s.error);
		s.map = open_edited("f", (enum edit)_i);
		rc = watch(commit_watched, &s, fail_one, &s);
		ck_assert_msg(!rc || s.sentence[0], "%s: %d without a sentence", when, rc);
		if (rc && is_applying("f")) {
			check_decided(&s, when);
		} else if (rc && !strstr(s.sentence, "in place")) {
			ck_assert_msg(test_file_is("f", v.old, v.old_size), "%s: %d: %s", when, rc, s.sentence);
			ck_assert_msg(handle_is(s.map, v.new, v.new_size), "%s: the handle", when);
			ck_assert_msg(count_names(".") == 1, "%s: a name is left", when);
		} else {
			ck_assert_msg(test_file_is("f", v.new, v.new_size), "%s: %d: %s", when, rc, s.sentence);
		}
		/* Whatever it was, the next commit of the same handle works. After a failure it is no conflict. */
		((char *)snapmap_mut_data(s.map))[2] = (char)(v.new[2] ^= 1);
		rc = commit_by_journal(s.map, rc ? 0 : SNAPMAP_COMMIT_FORCE);
		ck_assert_msg(!rc, "%s: and then: %s", when, snapmap_last_error());
		ck_assert_msg(test_file_is("f", v.new, v.new_size), "%s: and then", when);
		ck_assert_msg(count_names(".") == 1, "%s: and then a name is left", when);
		snapmap_mut_close(s.map);
		ck_assert_int_lt(s.wanted, 1000);
	}
}
END_TEST

START_TEST(test_no_space_while_it_is_applied)
{
	struct scene s = {.wanted = 2, .error = ENOSPC};

	need_journals();
	s.map = open_edited("f", EDIT_GROW);
	ck_assert_int_eq(watch(commit_watched, &s, fail_apply, &s), -ENOSPC);
	ck_assert(s.failed);
	ck_assert(is_applying("f"));
	check_decided(&s, "no space");
	/* Still none. */
	s.failed = false;
	s.count = 0;
	ck_assert_int_eq(watch(commit_watched, &s, fail_apply, &s), -ENOSPC);
	ck_assert(is_applying("f"));
	ck_ok(commit_by_journal(s.map, 0));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(!is_applying("f"));
	snapmap_mut_close(s.map);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

static void add_journal(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_commit_keeps_the_inode, 0, EDITS);
	tcase_add_test(tc, test_holes_stay_holes);
	tcase_add_test(tc, test_where_it_does_not_work);
	tcase_add_test(tc, test_other_strategies_and_the_marker);
	tcase_add_test(tc, test_conflict_is_told);
	tcase_add_test(tc, test_foreign_write_within_a_commit);
	tcase_add_test(tc, test_committers_take_turns);
	tcase_add_test(tc, test_flock_is_not_in_the_way);
	tcase_add_test(tc, test_rights_to_the_journal);
	tcase_add_test(tc, test_other_names_of_the_file);
	tcase_add_test(tc, test_by_descriptor);
	tcase_add_loop_test(tc, test_commit_over_one_that_was_cut_off, 0, 3);
	tcase_add_loop_test(tc, test_any_system_call_may_fail, 0, EDITS);
	tcase_add_test(tc, test_no_space_while_it_is_applied);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("journal");

	test_each_fs(s, "journal", add_journal);
	return s;
}
