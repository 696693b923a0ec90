/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Other processes: a program that is started gets no way in (PITFALLS 4), and a
 * child made by fork keeps the right bytes (PITFALLS 24).
 */
#include "config.h"

#include "opening.h"

#define N 30000

static char *list_of_started_program(void)
{
	static char text[8192];

	ck_assert_int_eq(test_started_program_fds(text, sizeof(text)), 0);
	return text;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

static const char *const unwanted[] = {"snapmap-", "memfd:", "pagemap"};

START_TEST(test_a_started_program_gets_no_descriptor)
{
	struct view v = {0};
	size_t before;

	if (!way_exists(_i))
		return;
	before = count_lines(list_of_started_program());
	test_make_file("f", N, 1);
	view_open(_i, "f", 0, &v);
	if (v.mut) {
		/* Every descriptor that a handle comes by in its life. */
		*(char *)snapmap_mut_data(v.mut) ^= 1;
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		ck_assert_ok(snapmap_mut_resize(v.mut, 100));
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	}
	char *list = list_of_started_program();

	for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
		ck_assert_msg(!strstr(list, unwanted[i]), "the program inherits %s:\n%s", unwanted[i], list);
	ck_assert_msg(count_lines(list) == before, "%s", list);
	view_close(&v);
}
END_TEST

/* In the middle of open too: a thread may start a program at any time. */
static int list_within(void *arg, uint64_t done, uint64_t total)
{
	size_t *lines = arg;
	size_t n = count_lines(list_of_started_program());

	(void)done;
	(void)total;
	if (n > *lines)
		*lines = n;
	return 0;
}

START_TEST(test_a_program_started_within_open_gets_no_descriptor)
{
	struct snapmap_options o = way_options(_i, 0);
	size_t before = count_lines(list_of_started_program()), lines = before;
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_make_file("f", N, 1);
	o.progress = list_within;
	o.progress_arg = &lines;
	ck_assert_ok(view_try_with(_i, "f", &o, &v));
	ck_assert_uint_eq(lines, before);
	view_close(&v);
}
END_TEST

START_TEST(test_descriptors_of_handles)
{
	size_t before = test_count_fds();
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_make_file("f", N, 1);
	ck_assert_sys(symlink("f", "link"));
	for (int link = 0; link < 2; link++) {
		view_open(_i, link ? "link" : "f", 0, &v);
		if (v.info.lease)
			ck_assert_uint_eq(test_count_fds(), before + 1);
		else if (v.map)
			ck_assert_msg(test_count_fds() == before, "a read-only handle keeps a descriptor");
		else
			ck_assert_uint_le(test_count_fds(), before + 4);
		view_close(&v);
		ck_assert_uint_eq(test_count_fds(), before);
	}
}
END_TEST

/* The private image must not be had through /proc by others of the same user either, as far as modes go. */
START_TEST(test_image_cannot_be_opened_again_for_writing)
{
	struct view v = {0};
	char line[4096];
	FILE *maps;

	if (!way_exists(_i))
		return;
	test_make_file("f", N, 1);
	view_open(_i, "f", SNAPMAP_INHERIT, &v);
	maps = fopen("/proc/self/maps", "re");
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end;
		char prot[8], path[64];

		ck_assert_int_eq(sscanf(line, "%lx-%lx %7s", &start, &end, prot), 3);
		if ((uintptr_t)v.data < start || (uintptr_t)v.data >= end)
			continue;
		ck_assert_msg(prot[3] == 'p', "not private: %s", line);
		ck_assert_msg(v.mut || prot[1] == '-', "writable: %s", line);
		ck_assert_ptr_null(strstr(line, "/f\n"));
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", start, end);
		int fd = test_is_root() ? -1 : open(path, O_RDWR | O_CLOEXEC);

		ck_assert_msg(fd < 0, "the image was opened for writing");
	}
	fclose(maps);
	view_close(&v);
}
END_TEST

/* --- fork */

struct forked {
	struct view *v;
	unsigned char *want;
	int go[2], done[2];
	int edit_in_child;
};

/* Waits until the parent has closed and changed everything, then looks. */
static void child_looks(struct forked *f)
{
	char c;

	if (read(f->go[0], &c, 1) != 1)
		_exit(2);
	if (f->edit_in_child)
		((unsigned char *)snapmap_mut_data(f->v->mut))[5] = f->want[5] = 0x77;
	_exit(view_is(f->v, f->want, N) ? 0 : 3);
}

START_TEST(test_a_child_keeps_the_bytes)
{
	static unsigned char want[N];
	int way = _i % WAYS, how = _i / WAYS;
	struct view v = {0};
	struct forked f = {.v = &v, .want = want};
	int status;

	if (!way_exists(way))
		return;
	test_fill(want, N, test_seed());
	test_write_file("f", want, N);
	view_open(way, "f", SNAPMAP_INHERIT, &v);
	if (v.mut)
		((unsigned char *)snapmap_mut_data(v.mut))[4096] = want[4096] = 0x33;
	ck_assert_sys(pipe2(f.go, O_CLOEXEC));
	f.edit_in_child = v.mut != NULL;
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid)
		child_looks(&f);
	if (v.mut && how == 0) {
		/* Pages that the child has not got for itself change in the parent, and are committed. */
		memset(snapmap_mut_data(v.mut), 0x11, N);
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		memset(snapmap_mut_data(v.mut), 0x12, 9000);
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	}
	if (v.mut && how == 1) {
		ck_assert_ok(snapmap_mut_resize(v.mut, 0));
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		ck_assert_ok(snapmap_mut_resize(v.mut, 3 * N));
		memset(snapmap_mut_data(v.mut), 0x13, 3 * N);
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	}
	if (v.mut && how == 2) {
		memset(snapmap_mut_data(v.mut), 0x11, N);
		ck_assert_ok(snapmap_mut_commit_and_close(v.mut, NULL));
		v.mut = NULL;
	}
	view_close(&v);
	test_write_file("f", "short", 5);
	ck_assert_int_eq(write(f.go[1], "x", 1), 1);
	ck_assert_sys(waitpid(pid, &status, 0));
	ck_assert_msg(status == 0, "the child saw other bytes (status %x)", (unsigned)status);
	close(f.go[0]);
	close(f.go[1]);
}
END_TEST

/* And a parent those that it had, whatever its child commits. */
START_TEST(test_a_parent_keeps_the_bytes)
{
	static unsigned char want[N];
	struct view v = {0};
	int status;

	if (!way_exists(_i))
		return;
	test_fill(want, N, test_seed());
	test_write_file("f", want, N);
	view_open(_i, "f", SNAPMAP_INHERIT, &v);
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid) {
		memset(snapmap_mut_data(v.mut), 0x11, N);
		_exit(snapmap_mut_commit(v.mut, NULL) != 0);
	}
	ck_assert_sys(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	ck_assert_msg(view_is(&v, want, N), "the child's commit shows");
	/* The child's commit is a change like any other. */
	*(char *)snapmap_mut_data(v.mut) ^= 1;
	ck_assert_int_eq(snapmap_mut_commit(v.mut, NULL), -EBUSY);
	ck_assert_ok(snapmap_mut_rollback(v.mut));
	ck_assert(view_is(&v, want, N));
	view_close(&v);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_a_started_program_gets_no_descriptor, 0, WAYS);
	tcase_add_loop_test(tc, test_a_program_started_within_open_gets_no_descriptor, 2, WAYS);
	tcase_add_loop_test(tc, test_descriptors_of_handles, 0, WAYS);
	tcase_add_loop_test(tc, test_image_cannot_be_opened_again_for_writing, 0, WAYS);
	tcase_add_loop_test(tc, test_a_child_keeps_the_bytes, 0, 3 * WAYS);
	for (int way = 1; way < WAYS; way += 2)
		tcase_add_loop_test(tc, test_a_parent_keeps_the_bytes, way, way + 1);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("inherit");

	test_each_fs(s, "inherit", add_tests);
	return s;
}
