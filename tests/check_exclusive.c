/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source "exclusive": the file itself, locked. What it promises: one handle at a
 * time, no cost by the size, edits that stay private until a commit by whatever strategy
 * keeps the inode, and a commit that fails if somebody else changed the file.
 */
#include "config.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "journaling.h"

#define TERABYTE ((off_t)1 << 40)

static struct versions v;

static const struct snapmap_options only = {.size = sizeof(only), .source = SNAPMAP_SOURCE_EXCLUSIVE};

static int open_only(const char *path, struct snapmap_mut **ret)
{
	return snapmap_mut_open(path, &only, ret);
}

/* False on file systems whose changes are not all seen. */
static bool row_locks(void)
{
	struct snapmap_probe probe;
	bool works = false;

	ck_ok(snapmap_probe(".", &probe));
	for (uint32_t i = 0; i < probe.nsources; i++)
		works |= probe.sources[i].id == SNAPMAP_SOURCE_EXCLUSIVE && !probe.sources[i].error;
	return works;
}

#define need_locks()                                                          \
	do {                                                                  \
		if (!row_locks())                                             \
			test_skip("no file is opened exclusive on this row"); \
	} while (0)

static const uint32_t strategies[] = {SNAPMAP_STRATEGY_EXCHANGE, SNAPMAP_STRATEGY_CLONE, SNAPMAP_STRATEGY_JOURNAL};
#define STRATEGIES ((int)(sizeof(strategies) / sizeof(strategies[0])))

static bool strategy_works(uint32_t strategy)
{
	switch (strategy) {
	case SNAPMAP_STRATEGY_EXCHANGE:
		return test_fs()->exchange;
	case SNAPMAP_STRATEGY_CLONE:
		return test_fs()->reflink;
	default:
		return row_journals();
	}
}

static int commit_by(struct snapmap_mut *map, uint32_t strategy, uint32_t flags)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = flags, .strategy = strategy};

	return snapmap_mut_commit(map, &o);
}

static struct snapmap_mut *open_edited(const char *path, enum edit e)
{
	struct snapmap_mut *map;

	make_versions(&v, e);
	test_write_file(path, v.old, v.old_size);
	ck_ok(open_only(path, &map));
	ck_assert(handle_is(map, v.old, v.old_size));
	ck_ok(edit_handle(map, &v));
	return map;
}

/* ---- what it is ---- */

START_TEST(test_one_at_a_time)
{
	struct snapmap_mut *map, *other = NULL;
	struct snapmap_info info;
	struct snapmap *reader;
	size_t fds = test_count_fds();

	need_locks();
	map = open_edited("f", EDIT_PAGES);
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_uint_eq(info.source, SNAPMAP_SOURCE_EXCLUSIVE);
	ck_assert_uint_eq(info.bytes_copied, 0);
	ck_assert_uint_eq(info.consistency, SNAPMAP_CONSISTENCY_FUZZY);
	ck_fails(open_only("f", &other), -EBUSY);
	ck_says("locked");
	ck_assert_ptr_null(other);
	/* Nobody else is kept away, and nobody sees an edit. */
	ck_ok(snapmap_open("f", NULL, &reader));
	ck_assert(is_version(snapmap_data(reader), snapmap_size(reader), &v, false));
	snapmap_close(reader);
	ck_ok(snapmap_mut_open("f", NULL, &other));
	ck_assert(handle_is(other, v.old, v.old_size));
	snapmap_mut_close(other);
	ck_assert(test_file_is("f", v.old, v.old_size));
	snapmap_mut_close(map);
	ck_ok(open_only("f", &map));
	ck_assert(handle_is(map, v.old, v.old_size));
	snapmap_mut_close(map);
	ck_assert_uint_eq(count_names("."), 1);
	ck_assert_uint_eq(test_count_fds(), fds);
}
END_TEST

START_TEST(test_by_descriptor)
{
	struct snapmap_mut *map, *other;
	int fd;

	need_locks();
	make_versions(&v, EDIT_PAGES);
	test_write_file("f", v.old, v.old_size);
	fd = open("f", O_RDWR | O_CLOEXEC);
	ck_ok(snapmap_mut_open_fd(fd, &only, &map));
	ck_fails(open_only("f", &other), -EBUSY);
	/* The lock is the handle's, not the descriptor's. */
	close(fd);
	ck_fails(open_only("f", &other), -EBUSY);
	snapmap_mut_close(map);
	ck_ok(open_only("f", &map));
	snapmap_mut_close(map);
	/* Whoever locks in the same way is respected too. */
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert(!flock(fd, LOCK_SH));
	ck_fails(open_only("f", &other), -EBUSY);
	close(fd);
}
END_TEST

START_TEST(test_what_it_excludes)
{
	static const uint32_t flags[] = {SNAPMAP_STRICT, SNAPMAP_INHERIT, SNAPMAP_SPILL};
	struct snapmap_options o = only;
	struct snapmap_mut *map;
	struct snapmap *reader;

	test_make_file("f", 10000, 1);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		o.flags = flags[i];
		ck_fails(snapmap_mut_open("f", &o, &map), -EINVAL);
	}
	ck_fails(snapmap_open("f", &only, &reader), -EOPNOTSUPP);
	ck_fails(snapmap_mut_create("new", 0644, &only, &map), -EINVAL);
	if (!row_locks())
		ck_fails(open_only("f", &map), -EOPNOTSUPP);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- commits ---- */

/* A strategy and a kind of edit. */
#define COMBINATIONS (STRATEGIES * EDITS)

START_TEST(test_commit)
{
	uint32_t strategy = strategies[_i / EDITS];
	enum edit e = (enum edit)(_i % EDITS);
	struct snapmap_mut *map, *other;
	struct snapmap_info info;
	size_t fds;
	ino_t ino;

	need_locks();
	if (!strategy_works(strategy))
		return;
	map = open_edited("f", e);
	fds = test_count_fds();
	ino = inode_of("f");
	if (strategy == SNAPMAP_STRATEGY_EXCHANGE && e != EDIT_PAGES) {
		ck_fails(commit_by(map, strategy, 0), -EOPNOTSUPP);
		strategy = SNAPMAP_STRATEGY_JOURNAL;
	}
	ck_ok(commit_by(map, strategy, 0));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_uint_eq(info.strategy, strategy);
	ck_assert_uint_eq(info.source, SNAPMAP_SOURCE_EXCLUSIVE);
	ck_assert(inode_of("f") == ino);
	ck_assert_uint_eq(count_names("."), 1);
	ck_assert_uint_eq(test_count_fds(), fds);
	/* It goes on: locked still, with the next edit, with a rollback to this version. */
	ck_fails(open_only("f", &other), -EBUSY);
	*((unsigned char *)snapmap_mut_data(map) + v.new_size - 1) = v.new[v.new_size - 1] ^= 1;
	ck_ok(commit_by(map, strategy, SNAPMAP_COMMIT_NOSYNC));
	ck_assert(test_file_is("f", v.new, v.new_size));
	*(unsigned char *)snapmap_mut_data(map) ^= 1;
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, v.new, v.new_size));
	snapmap_mut_close(map);
	ck_assert(test_file_is("f", v.new, v.new_size));
}
END_TEST

START_TEST(test_commit_and_close)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .strategy = strategies[_i]};
	struct snapmap_mut *map;

	need_locks();
	if (!strategy_works(strategies[_i]))
		return;
	map = open_edited("f", EDIT_PAGES);
	ck_ok(snapmap_mut_commit_and_close(map, &o));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert_uint_eq(count_names("."), 1);
	ck_ok(open_only("f", &map));
	ck_assert(handle_is(map, v.new, v.new_size));
	snapmap_mut_close(map);
}
END_TEST

/* The lock is on the file, so no other one takes its place. */
START_TEST(test_never_replaced)
{
	struct snapmap_mut *map;

	need_locks();
	map = open_edited("f", EDIT_GROW);
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_REPLACE, 0), -EOPNOTSUPP);
	ck_says("journal");
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_AUTO, 0), -EOPNOTSUPP);
	ck_says("journal");
	ck_assert(test_file_is("f", v.old, v.old_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	/* Saving as another file is no commit to it. */
	ck_ok(snapmap_mut_link(map, "g", NULL));
	ck_assert(test_file_is("g", v.new, v.new_size));
	ck_assert(test_file_is("f", v.old, v.old_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_assert_uint_eq(count_names("."), 2);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_rollback)
{
	struct snapmap_mut *map;

	need_locks();
	map = open_edited("f", (enum edit)_i);
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, v.old, v.old_size));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_ok(edit_handle(map, &v));
	ck_assert(handle_is(map, v.new, v.new_size));
	if (row_journals()) {
		ck_ok(commit_by_journal(map, 0));
		ck_assert(test_file_is("f", v.new, v.new_size));
	}
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_from_and_to_nothing)
{
	struct snapmap_mut *map;

	need_locks();
	if (!row_journals())
		return;
	test_write_file("f", "", 0);
	ck_ok(open_only("f", &map));
	ck_assert_uint_eq(snapmap_mut_size(map), 0);
	ck_ok(snapmap_mut_resize(map, 5000));
	memcpy(snapmap_mut_data(map), "abc", 3);
	ck_ok(commit_by_journal(map, 0));
	ck_ok(snapmap_mut_resize(map, 3));
	ck_ok(commit_by_journal(map, 0));
	ck_assert(test_file_is("f", "abc", 3));
	ck_ok(snapmap_mut_resize(map, 0));
	ck_ok(commit_by_journal(map, 0));
	ck_assert(test_file_is("f", "", 0));
	snapmap_mut_close(map);
}
END_TEST

/* ---- others ---- */

enum change {
	CHANGE_BYTE,
	CHANGE_SAME,
	CHANGE_STORE,
	CHANGE_APPEND,
	CHANGE_CUT,
	CHANGE_ALL_CUT,
	CHANGE_REPLACE,
	CHANGE_REMOVE,
	CHANGES
};

static void store_through_mapping(int fd)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert(p != MAP_FAILED);
	p[1] ^= 1;
	munmap(p, PAGE);
}

static void change_file(enum change change)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	ck_assert(fd >= 0);
	switch (change) {
	case CHANGE_BYTE:
		ck_assert_int_eq(pwrite(fd, "x", 1, 5), 1);
		break;
	case CHANGE_SAME:
		ck_assert_int_eq(pwrite(fd, v.old, 1, 0), 1);
		break;
	case CHANGE_STORE:
		store_through_mapping(fd);
		break;
	case CHANGE_APPEND:
		ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)v.old_size), 1);
		break;
	case CHANGE_CUT:
		ck_assert(!ftruncate(fd, 2 * PAGE));
		break;
	case CHANGE_ALL_CUT:
		ck_assert(!ftruncate(fd, 0));
		break;
	case CHANGE_REPLACE:
		test_write_file("g", "other", 5);
		ck_assert(!rename("g", "f"));
		break;
	default:
		ck_assert(!unlink("f"));
	}
	close(fd);
}

/* Whatever they do, the commit fails, and changes nothing. Nothing there is read after a truncation. */
START_TEST(test_changes_of_others)
{
	uint32_t strategy = strategies[_i / CHANGES];
	enum change change = (enum change)(_i % CHANGES);
	struct snapmap_mut *map;
	size_t names;
	uint64_t hash;

	need_locks();
	if (!strategy_works(strategy))
		return;
	/* In memory stores through mappings are not seen: README. */
	if (change == CHANGE_STORE && !strncmp(test_fs()->name, "tmpfs", 5))
		return;
	map = open_edited("f", EDIT_PAGES);
	change_file(change);
	names = count_names(".");
	hash = names ? test_hash_file("f") : 0;
	ck_fails(commit_by(map, strategy, 0), -EBUSY);
	ck_fails(commit_by(map, strategy, SNAPMAP_COMMIT_FORCE), -EBUSY);
	ck_assert_uint_eq(count_names("."), names);
	if (names)
		ck_assert_uint_eq(test_hash_file("f"), hash);
	snapmap_mut_close(map);
}
END_TEST

/* A truncation takes pages away. The guard makes that an error of the handle. */
START_TEST(test_truncation_with_guard)
{
	struct snapmap_options o = only;
	struct snapmap_mut *map;
	struct snapmap_info info;

	need_locks();
	o.flags = SNAPMAP_GUARD;
	make_versions(&v, EDIT_PAGES);
	test_write_file("f", v.old, v.old_size);
	ck_ok(snapmap_mut_open("f", &o, &map));
	ck_ok(edit_handle(map, &v));
	change_file(CHANGE_CUT);
	ck_assert_int_eq(((volatile unsigned char *)snapmap_mut_data(map))[9 * PAGE], 0);
	ck_ok(snapmap_mut_get_info(map, &info));
	ck_assert_int_eq(info.error, -EIO);
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_AUTO, 0), -EIO);
	snapmap_mut_close(map);
}
END_TEST

struct steal {
	int stolen;
};

/* The name goes to another file after it was opened, and before it is locked. */
static int replace_before_lock(void *arg, const struct seccomp_data *call)
{
	struct steal *s = arg;

	if (call->nr == SYS_flock && !s->stolen++) {
		test_write_file("g", v.new, v.new_size);
		ck_assert(!rename("g", "f"));
	}
	return 0;
}

static int open_watched(void *arg)
{
	int rc;

	watch_on();
	rc = open_only("f", arg);
	watch_off();
	return rc;
}

START_TEST(test_name_that_is_lost_meanwhile)
{
	struct snapmap_mut *map = NULL, *other;
	struct steal s = {0};

	need_locks();
	if (!watch_works())
		test_skip("system calls cannot be watched");
	make_versions(&v, EDIT_PAGES);
	test_write_file("f", v.old, v.old_size);
	ck_ok(watch(open_watched, &map, replace_before_lock, &s));
	ck_assert_int_gt(s.stolen, 1);
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_fails(open_only("f", &other), -EBUSY);
	snapmap_mut_close(map);
}
END_TEST

/* ---- failures in the middle ---- */

struct shot {
	struct snapmap_mut *map;
	int (*wanted)(const struct seccomp_data *call);
	int skip;
};

static int commit_watched(void *arg)
{
	struct shot *s = arg;
	int rc;

	watch_on();
	rc = commit_by_journal(s->map, 0);
	watch_off();
	return rc;
}

static int is_apply(const struct seccomp_data *call)
{
	return call->nr == SYS_pwrite64 && is_applying("f");
}

static int fail_late(void *arg, const struct seccomp_data *call)
{
	struct shot *s = arg;

	return is_apply(call) && s->skip-- <= 0 ? -ENOSPC : 0;
}

static struct snapmap_mut *fail_in_the_middle(enum edit e)
{
	struct shot s = {.map = open_edited("f", e), .skip = 1};

	ck_assert_int_eq(watch(commit_watched, &s, fail_late, &s), -ENOSPC);
	ck_assert(is_applying("f"));
	ck_assert(!test_file_is("f", v.new, v.new_size));
	/* The bytes that were decided are still all there, of which the file has a part. */
	ck_assert(handle_is(s.map, v.new, v.new_size));
	return s.map;
}

START_TEST(test_commit_again_after_a_failure)
{
	struct snapmap_mut *map;

	need_locks();
	need_journals();
	map = fail_in_the_middle((enum edit)_i);
	*(unsigned char *)snapmap_mut_data(map) = v.new[0] ^= 7;
	ck_ok(commit_by_journal(map, 0));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 0);
	ck_assert_uint_eq(count_names("."), 1);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_rollback_after_a_failure)
{
	struct snapmap_mut *map;

	need_locks();
	need_journals();
	map = fail_in_the_middle((enum edit)_i);
	*(unsigned char *)snapmap_mut_data(map) ^= 7;
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(handle_is(map, v.new, v.new_size));
	*(unsigned char *)snapmap_mut_data(map) = v.new[0] ^= 7;
	ck_ok(commit_by_journal(map, 0));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert_uint_eq(count_names("."), 1);
	snapmap_mut_close(map);
}
END_TEST

/* Cut off in whatever place, the next open finishes it. */
START_TEST(test_open_after_a_crash)
{
	struct snapmap_mut *map;

	need_locks();
	need_journals();
	make_crashed("f", &v, (enum edit)_i, 2);
	ck_ok(open_only("f", &map));
	ck_assert(handle_is(map, v.new, v.new_size));
	ck_assert(test_file_is("f", v.new, v.new_size));
	snapmap_mut_close(map);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- cost ---- */

START_TEST(test_costs_nothing_by_the_size)
{
	struct snapmap_mut *map;
	struct stat st;
	int fd;

	need_locks();
	if (!row_journals())
		return;
	fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (ftruncate(fd, TERABYTE)) {
		close(fd);
		test_skip("no files of 1 TiB on this row");
	}
	close(fd);
	ck_ok(open_only("f", &map));
	ck_assert_uint_eq(snapmap_mut_size(map), (size_t)TERABYTE);
	((char *)snapmap_mut_data(map))[TERABYTE / 2] = 1;
	((char *)snapmap_mut_data(map))[TERABYTE - 1] = 1;
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 2);
	ck_ok(commit_by_journal(map, 0));
	if (test_fs()->exchange) {
		((char *)snapmap_mut_data(map))[0] = 1;
		ck_ok(commit_by(map, SNAPMAP_STRATEGY_AUTO, 0));
	}
	snapmap_mut_close(map);
	ck_assert(!stat("f", &st));
	ck_assert_msg(st.st_blocks * 512 <= 4 << 20, "%lld blocks", (long long)st.st_blocks);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_one_at_a_time);
	tcase_add_test(tc, test_by_descriptor);
	tcase_add_test(tc, test_what_it_excludes);
	tcase_add_loop_test(tc, test_commit, 0, COMBINATIONS);
	tcase_add_loop_test(tc, test_commit_and_close, 0, STRATEGIES);
	tcase_add_test(tc, test_never_replaced);
	tcase_add_loop_test(tc, test_rollback, 0, EDITS);
	tcase_add_test(tc, test_from_and_to_nothing);
	tcase_add_loop_test(tc, test_changes_of_others, 0, STRATEGIES * CHANGES);
	tcase_add_test(tc, test_truncation_with_guard);
	tcase_add_test(tc, test_name_that_is_lost_meanwhile);
	tcase_add_loop_test(tc, test_commit_again_after_a_failure, 0, EDITS);
	tcase_add_loop_test(tc, test_rollback_after_a_failure, 0, EDITS);
	tcase_add_loop_test(tc, test_open_after_a_crash, 0, EDITS);
	tcase_add_test(tc, test_costs_nothing_by_the_size);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("exclusive");

	test_each_fs(s, "exclusive", add_tests);
	return s;
}
