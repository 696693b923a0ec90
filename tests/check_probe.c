/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Probing says what opening then does, and leaves nothing behind (PITFALLS 7). */
#include "config.h"

#include <stdio.h>
#include <sys/stat.h>

#include "opening.h"

static const struct snapmap_probe_entry *entry(const struct snapmap_probe *p, uint32_t source)
{
	for (uint32_t i = 0; i < p->nsources; i++)
		if (p->sources[i].id == source)
			return &p->sources[i];
	return NULL;
}

/* What holds for every answer. */
static const char *complaint(const struct snapmap_probe *p)
{
	uint32_t first = 0, first_strategy = 0;

	if (!p->nsources || p->nsources > SNAPMAP_PROBE_SOURCES || p->nstrategies > SNAPMAP_PROBE_STRATEGIES)
		return "numbers of entries";
	for (uint32_t i = 0; i < p->nsources; i++) {
		if (!p->sources[i].error != !p->sources[i].reason[0])
			return "an error without a reason, or a reason without an error";
		if (p->sources[i].error > 0)
			return "a positive error";
		if (!p->sources[i].error && !first)
			first = p->sources[i].id;
	}
	for (uint32_t i = 0; i < p->nstrategies; i++) {
		if (!p->strategies[i].error != !p->strategies[i].reason[0])
			return "a strategy's error without a reason, or a reason without an error";
		if (!p->strategies[i].error && !first_strategy)
			first_strategy = p->strategies[i].id;
	}
	if (p->source != first)
		return "the first source that works is not the one chosen";
	if (p->strategy && !first_strategy)
		return "a strategy that does not work is chosen";
	if (!p->file_system[0])
		return "no file system";
	return NULL;
}

static void expect_probe(const char *path, struct snapmap_probe *p)
{
	size_t names = test_count_names("."), fds = test_count_fds(), maps = count_file_maps();

	memset(p, 0xee, sizeof(*p));
	ck_assert_ok(snapmap_probe(path, p));
	ck_assert_msg(complaint(p) == NULL, "%s: %s", path, complaint(p));
	ck_assert(names_are(names));
	ck_assert_uint_eq(test_count_fds(), fds);
	ck_assert_uint_eq(count_file_maps(), maps);
}

START_TEST(test_probe_foretells_the_source)
{
	struct snapmap_probe file, dir, empty;
	struct view v = {0};

	test_make_file("f", 30000, 1);
	test_make_file("empty", 0, 1);
	expect_probe("f", &file);
	expect_probe(".", &dir);
	expect_probe("empty", &empty);
	for (int way = 0; way < 2; way++) {
		view_open(way, "f", 0, &v);
		ck_assert_uint_eq(v.info.source, way ? file.source_mut : file.source);
		ck_assert_uint_eq(v.info.source, way ? dir.source_mut : dir.source);
		ck_assert_str_eq(v.info.file_system, file.file_system);
		ck_assert_str_eq(v.info.file_system, dir.file_system);
		if (v.mut) {
			*(char *)snapmap_mut_data(v.mut) ^= 1;
			ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
			view_look(&v);
			ck_assert_uint_eq(v.info.strategy, file.strategy);
			ck_assert_uint_eq(v.info.strategy, dir.strategy);
		}
		view_close(&v);
	}
	ck_assert_uint_eq(file.source, best_source(false));
	ck_assert_uint_eq(file.source_mut, best_source(true));
	ck_assert_int_eq(entry(&file, SNAPMAP_SOURCE_COPY)->error, 0);
	ck_assert_int_eq(!entry(&file, SNAPMAP_SOURCE_REFLINK)->error, test_fs()->reflink);
	ck_assert_uint_eq(empty.source, file.source);
	/* The row's name begins with its file system's. */
	if (strcmp(test_fs()->name, "fuse") && !test_fs()->served)
		ck_assert_msg(!strncmp(test_fs()->name, file.file_system, strlen(file.file_system)), "%s",
			      file.file_system);
}
END_TEST

static int probe_quietly(void *path)
{
	struct snapmap_probe p;
	int rc = snapmap_probe(path, &p);

	if (rc)
		return rc;
	if (complaint(&p))
		return 1;
	return p.source ? 0 : 2;
}

START_TEST(test_probe_where_one_may_not_write)
{
	static char file[] = "f", dir[] = ".";

	test_make_file("f", 30000, 1);
	ck_assert_sys(chmod(".", 0555));
	ck_assert_int_eq(test_as_user(65534, probe_quietly, file), 0);
	ck_assert_int_eq(test_as_user(65534, probe_quietly, dir), 0);
	ck_assert_sys(chmod(".", 0755));
	ck_assert(names_are(1));
}
END_TEST

START_TEST(test_probe_does_not_change_the_file)
{
	struct stat before, after;
	struct snapmap_probe p;

	test_make_file("f", 30000, 1);
	ck_assert_sys(stat("f", &before));
	uint64_t hash = test_hash_file("f");

	expect_probe("f", &p);
	ck_assert_sys(stat("f", &after));
	ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	ck_assert_int_eq(before.st_ino == after.st_ino, 1);
	ck_assert_uint_eq(test_hash_file("f"), hash);
}
END_TEST

START_TEST(test_probe_of_a_large_file_is_no_copy)
{
	struct snapmap_probe p;

	test_write_file("f", "x", 1);
	ck_assert_sys(truncate("f", (off_t)700 << 20));
	expect_probe("f", &p);
	ck_assert_sys(symlink("f", "link"));
	expect_probe("link", &p);
}
END_TEST

START_TEST(test_probe_refuses_what_open_refuses)
{
	struct snapmap_probe p, untouched;

	memset(&p, 0xee, sizeof(p));
	memset(&untouched, 0xee, sizeof(p));
	ck_assert_sys(mkfifo("fifo", 0600));
	test_make_file("f", 10, 1);
	alarm(20);
	ck_assert_int_eq(snapmap_probe("fifo", &p), -EOPNOTSUPP);
	ck_assert_int_eq(snapmap_probe("/dev/null", &p), -EOPNOTSUPP);
	ck_assert_int_eq(snapmap_probe("/proc/self/status", &p), -EOPNOTSUPP);
	ck_assert_int_eq(snapmap_probe("missing", &p), -ENOENT);
	ck_assert_int_eq(snapmap_probe("", &p), -ENOENT);
	ck_assert_int_eq(snapmap_probe("f/g", &p), -ENOTDIR);
	ck_assert(strstr(snapmap_last_error(), "'f/g'"));
	alarm(0);
	ck_assert_mem_eq(&p, &untouched, sizeof(p));
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_probe_foretells_the_source);
	tcase_add_test(tc, test_probe_where_one_may_not_write);
	tcase_add_test(tc, test_probe_does_not_change_the_file);
	tcase_add_test(tc, test_probe_of_a_large_file_is_no_copy);
	tcase_add_test(tc, test_probe_refuses_what_open_refuses);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("probe");

	test_each_fs(s, "probe", add_tests);
	return s;
}
