/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limit on mappings (PITFALLS 22), which every change of an address space can meet. */
#include "config.h"

#include <sys/mman.h>

#define N 30123
#include "one_file.h"

/* Every other page differs, so that each is a mapping of its own. */
static void split_mappings(char *p, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t at = 0; at < length; at += 2 * page)
		if (mprotect(p + at, page, PROT_READ))
			break;
}

/* Makes mappings until only about @leave more are allowed. Returns the area to unmap, or NULL. */
static char *take_mappings(size_t leave, size_t *ret_length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), max = 0, have = 0;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	char line[8192];

	if (!f || fscanf(f, "%zu", &max) != 1)
		max = 0;
	if (f)
		fclose(f);
	f = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof(line), f))
		have++;
	fclose(f);
	if (max > 300000 || have + leave > max)
		return NULL;
	*ret_length = (max - have - leave) * page;
	char *p = mmap(NULL, *ret_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert(p != MAP_FAILED);
	split_mappings(p, *ret_length);
	return p;
}

#define LAST_MAPPINGS ((size_t)4096 * 300)

/* The rest of them, or back. */
static void take_last(char **area)
{
	*area = mmap(NULL, LAST_MAPPINGS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (*area != MAP_FAILED)
		split_mappings(*area, LAST_MAPPINGS);
}

static void give_last_back(char *area)
{
	if (area != MAP_FAILED)
		munmap(area, LAST_MAPPINGS);
}

START_TEST(test_many_handles_meet_the_limit_on_mappings)
{
	enum {
		MANY = 200
	};
	static struct view v[MANY];
	size_t length, opened = 0, fds, page = (size_t)sysconf(_SC_PAGESIZE);
	int rc = 0;

	if (!way_exists(_i))
		return;
	if (TEST_SANITIZED)
		test_skip("the sanitizer wants mappings of its own");
	make("f");
	fds = test_count_fds();
	char *taken = take_mappings(MANY / 2, &length);

	if (!taken)
		test_skip("vm.max_map_count cannot be reached");
	while (opened < MANY && !(rc = view_try(_i, "f", 0, &v[opened])))
		opened++;
	/* Space for the test's own needs, such as the message of a failed check. */
	munmap(taken + length - 64 * page, 64 * page);
	ck_assert_msg(rc == -ENOMEM, "%zu opened, then %d: %s", opened, rc, snapmap_last_error());
	ck_assert_msg(strstr(snapmap_last_error(), "max_map_count"), "%s", snapmap_last_error());
	ck_assert_uint_gt(opened, 10);
	for (size_t i = 0; i < opened; i++) {
		ck_assert(view_is(&v[i], want, N));
		view_close(&v[i]);
	}
	munmap(taken, length);
	ck_assert_uint_eq(test_count_fds(), fds);
	view_open(_i, "f", 0, &v[0]);
	expect_good(&v[0], "f");
	view_close(&v[0]);
}
END_TEST

/* Everything that a handle can do, with no mapping to be had: it may fail, but what it holds stays right. */
START_TEST(test_handle_with_a_full_map_table)
{
	struct snapmap_range ranges[8];
	size_t length, page = (size_t)sysconf(_SC_PAGESIZE);
	static unsigned char model[4 * N];
	struct view v = {0};

	if (!way_exists(_i) || row_is_slow())
		return;
	if (TEST_SANITIZED)
		test_skip("the sanitizer wants mappings of its own");
	char *taken = take_mappings(120, &length);

	if (!taken)
		test_skip("vm.max_map_count cannot be reached");
	for (int grown = 0; grown < 3; grown++) {
		make("f");
		view_open(_i, "f", 0, &v);
		memset(model, 0, sizeof(model));
		memcpy(model, want, N);
		size_t size = grown == 1 ? 2 * N : grown == 2 ? N / 2 : N;

		ck_assert_ok(snapmap_mut_resize(v.mut, size));
		if (size < N)
			memset(model + size, 0, N - size);
		unsigned char *p = snapmap_mut_data(v.mut);

		p[5000] = model[5000] = 1;
		p[size - 1] = model[size - 1] = 2;
		for (int op = 0; op < 4; op++) {
			ssize_t rc = 0;
			char *last;

			take_last(&last);
			if (op == 0)
				rc = snapmap_mut_dirty(v.mut, ranges, 8);
			if (op == 1)
				rc = snapmap_mut_resize(v.mut, 4 * N);
			if (op == 2)
				rc = snapmap_mut_resize(v.mut, N / 3);
			if (op == 3)
				rc = snapmap_mut_rollback(v.mut);
			give_last_back(last);
			if (op == 0)
				ck_assert_int_eq(rc, 2);
			ck_assert_msg(rc == 0 || rc == -ENOMEM || op == 0, "%d: %zd: %s", op, rc, snapmap_last_error());
			if (rc == 0 && op == 1) {
				size = 4 * N;
			}
			if (rc == 0 && op == 2) {
				memset(model + N / 3, 0, size > N / 3 ? size - N / 3 : 0);
				size = N / 3;
			}
			if (rc == 0 && op == 3) {
				size = N;
				memcpy(model, want, N);
			}
			view_look(&v);
			ck_assert_msg(view_is(&v, model, size), "after step %d (grown %d) that gave %zd", op, grown,
				      rc);
			/* All of it can be stored into. */
			for (size_t at = 0; at < size; at += page)
				((volatile unsigned char *)snapmap_mut_data(v.mut))[at] = model[at];
		}
		ck_assert_ok(snapmap_mut_rollback(v.mut));
		view_look(&v);
		ck_assert(view_is(&v, want, N));
		/* A commit that the kernel does not let map: the bytes are right, now and later. */
		p = snapmap_mut_data(v.mut);
		p[100] ^= 1;
		want[100] ^= 1;
		ck_assert_ok(snapmap_mut_resize(v.mut, N));
		char *last;

		take_last(&last);
		int rc = snapmap_mut_commit(v.mut, NULL);

		give_last_back(last);
		ck_assert_msg(rc == 0 || rc == -ENOMEM, "%d: %s", rc, snapmap_last_error());
		view_look(&v);
		ck_assert(view_is(&v, want, N));
		if (rc)
			ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		ck_assert(test_file_is("f", want, N));
		expect_good(&v, "f");
		view_close(&v);
	}
	munmap(taken, length);
}
END_TEST

static void add_tests(TCase *tc)
{
	for (int way = 1; way < WAYS; way += 2)
		tcase_add_loop_test(tc, test_handle_with_a_full_map_table, way, way + 1);
	tcase_add_loop_test(tc, test_many_handles_meet_the_limit_on_mappings, 2, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("limits_mappings");

	test_each_fs(s, "limits_mappings", add_tests);
	return s;
}
