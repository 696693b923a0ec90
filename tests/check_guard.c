/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SNAPMAP_GUARD: what becomes of a handle whose pages are lost. */
#include "config.h"

#include "guarded.h"
#include "overlay.h"

START_TEST(test_lost_pages_are_zeros)
{
	struct snapmap_mut *map;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = (char *)snapmap_mut_data(map);
	ck_assert_int_eq(mut_error(map), 0);
	errno = 77;
	ck_assert(is_zero(data + 9 * PAGE, PAGE));
	ck_assert_int_eq(errno, 77);
	ck_assert_int_eq(mut_error(map), -EIO);
	ck_assert(!memcmp(data, bytes, GOOD * PAGE));
	ck_assert(is_zero(data + GOOD * PAGE, SIZE - GOOD * PAGE));
	/* They can be stored into like any other. */
	memset(data + 10 * PAGE, 'x', PAGE);
	ck_assert(data[10 * PAGE] == 'x' && data[11 * PAGE - 1] == 'x' && !data[11 * PAGE]);
	snapmap_mut_close(map);
}
END_TEST

/* The first access to a page may as well be a store. */
START_TEST(test_store_into_a_lost_page)
{
	struct snapmap_mut *map;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = (char *)snapmap_mut_data(map);
	data[9 * PAGE + 5] = 'x';
	ck_assert(data[9 * PAGE + 5] == 'x' && is_zero(data + 9 * PAGE, 5) && is_zero(data + 9 * PAGE + 6, PAGE - 6));
	ck_assert_int_eq(mut_error(map), -EIO);
	snapmap_mut_close(map);
}
END_TEST

/* The kernel touches memory for system calls, and answers with an errno: nothing is lost by that. */
START_TEST(test_calls_answer_without_signal)
{
	struct snapmap_mut *map;
	char *data;
	int fd;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = (char *)snapmap_mut_data(map);
	ck_assert_int_eq(snapmap_mut_prefault(map, 0, SIZE), -EIO);
	ck_assert_int_eq(snapmap_mut_prefault(map, 0, GOOD * PAGE), 0);
	fd = open("out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_sys(fd);
	ck_assert(write(fd, data + 9 * PAGE, PAGE) < 0 && errno == EFAULT);
	ck_assert_int_eq(mut_error(map), 0);
	/* Once it was touched it is memory like any other. */
	ck_assert(!*(volatile char *)(data + 9 * PAGE));
	ck_assert_int_eq(write(fd, data + 9 * PAGE, PAGE), PAGE);
	ck_assert_int_eq(snapmap_mut_prefault(map, 9 * PAGE, PAGE), 0);
	close(fd);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_nothing_lost_is_published)
{
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};
	struct snapmap_mut *map;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = (char *)snapmap_mut_data(map);
	memset(data, 'a', PAGE);
	ck_assert(!*(volatile char *)(data + 9 * PAGE));
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EIO);
	ck_assert_msg(strstr(snapmap_last_error(), "zeros"), "%s", snapmap_last_error());
	ck_assert_int_eq(snapmap_mut_commit(map, &force), -EIO);
	ck_assert_int_eq(snapmap_mut_link(map, "g", NULL), -EIO);
	ck_assert_int_eq(snapmap_mut_commit_and_close(map, NULL), -EIO);
	ck_assert(data[0] == 'a');
	/* Rollback forgets edits, not errors. */
	ck_assert_int_eq(snapmap_mut_rollback(map), 0);
	ck_assert(page_is(data, bytes) && is_zero(data + 9 * PAGE, PAGE));
	ck_assert_int_eq(mut_error(map), -EIO);
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EIO);
	snapmap_mut_close(map);
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert(names_are(1));
}
END_TEST

/* Lost pages show in the pagemap as written ones do. */
START_TEST(test_lost_pages_are_not_edits)
{
	struct snapmap_range ranges[4];
	struct snapmap_mut *map;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = (char *)snapmap_mut_data(map);
	ck_assert(is_zero(data + GOOD * PAGE, SIZE - GOOD * PAGE));
	ck_assert_int_eq(snapmap_mut_dirty(map, ranges, 4), 0);
	data[2 * PAGE] = 'x';
	data[9 * PAGE] = 'x';
	ck_assert_int_eq(snapmap_mut_dirty(map, ranges, 4), 2);
	ck_assert(ranges[0].offset == 2 * PAGE && ranges[0].length == PAGE);
	ck_assert(ranges[1].offset == 9 * PAGE && ranges[1].length == PAGE);
	snapmap_mut_close(map);
}
END_TEST

/* A page that nobody stored into is not read for a commit, and does not hinder it. */
START_TEST(test_commit_before_anything_was_lost)
{
	struct snapmap_mut *map;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, PAGES);
	data = (char *)snapmap_mut_data(map);
	memset(data, 'a', PAGE);
	ck_assert_ok(snapmap_mut_commit(map, NULL));
	memset(bytes, 'a', PAGE);
	ck_assert(test_file_is("f", bytes, SIZE));
	/* The guard goes on with the new snapshot. */
	ck_assert_sys(ftruncate(find_image(), (off_t)(GOOD * PAGE)));
	ck_assert(is_zero(data + 9 * PAGE, PAGE) && page_is(data, bytes));
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EIO);
	ck_assert(test_file_is("f", bytes, SIZE));
	snapmap_mut_close(map);
}
END_TEST

/* --- resizing */

static void *block_growth(const struct snapmap_mut *map, size_t size)
{
	char *end = (char *)snapmap_mut_data(map) + size;
	void *p = mmap(end, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ck_assert(p == end || errno == EEXIST);
	return p == MAP_FAILED ? NULL : p;
}

START_TEST(test_resize_with_lost_pages)
{
	bool moves = _i;
	struct snapmap_mut *map;
	char *data, *before;
	void *wall = NULL;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, GOOD);
	data = before = (char *)snapmap_mut_data(map);
	data[2 * PAGE] = 'x';
	ck_assert(is_zero(data + 9 * PAGE, 2 * PAGE));
	data[10 * PAGE] = 'y';
	if (moves)
		wall = block_growth(map, SIZE);
	ck_assert_ok(snapmap_mut_resize(map, SIZE + 5 * PAGE));
	data = (char *)snapmap_mut_data(map);
	ck_assert(!moves || data != before);
	ck_assert_int_eq(mut_error(map), -EIO);
	ck_assert(page_is(data, bytes) && data[2 * PAGE] == 'x' && data[10 * PAGE] == 'y');
	ck_assert(is_zero(data + 9 * PAGE, PAGE) && is_zero(data + SIZE, 5 * PAGE));
	/* Here nobody has looked before. */
	ck_assert(is_zero(data + 12 * PAGE, PAGE));
	data[SIZE + PAGE] = 'z';
	/* The end of the old span is within the new one. */
	ck_assert_ok(snapmap_mut_resize(map, GOOD * PAGE));
	ck_assert_ok(snapmap_mut_resize(map, SIZE));
	ck_assert(is_zero(data + GOOD * PAGE, SIZE - GOOD * PAGE));
	data[9 * PAGE] = 'q';
	ck_assert_ok(snapmap_mut_rollback(map));
	ck_assert(snapmap_mut_size(map) == SIZE && page_is(data + PAGE, bytes + PAGE));
	ck_assert(is_zero(data + GOOD * PAGE, SIZE - GOOD * PAGE));
	ck_assert_int_eq(snapmap_mut_commit(map, NULL), -EIO);
	if (wall)
		munmap(wall, PAGE);
	snapmap_mut_close(map);
	ck_assert(test_file_is("f", bytes, SIZE));
}
END_TEST

/* What was growth is a part of the image after a commit. */
START_TEST(test_growth_is_guarded)
{
	struct snapmap_mut *map;
	void *wall = NULL;
	char *data;

	make_file();
	map = open_failing("f", SNAPMAP_GUARD, PAGES);
	if (_i)
		wall = block_growth(map, SIZE);
	ck_assert_ok(snapmap_mut_resize(map, 2 * SIZE));
	memset((char *)snapmap_mut_data(map) + SIZE, 'x', SIZE);
	ck_assert_ok(snapmap_mut_commit(map, NULL));
	ck_assert_sys(ftruncate(find_image(), (off_t)(GOOD * PAGE)));
	data = (char *)snapmap_mut_data(map);
	ck_assert(is_zero(data + 2 * SIZE - PAGE, PAGE) && is_zero(data + SIZE, PAGE));
	ck_assert(!memcmp(data, bytes, GOOD * PAGE));
	ck_assert_int_eq(mut_error(map), -EIO);
	if (wall)
		munmap(wall, PAGE);
	snapmap_mut_close(map);
}
END_TEST

/* The library itself has to read the last page: an errno with and without a guard. */
START_TEST(test_growth_behind_a_bad_page)
{
	struct snapmap_mut *map;
	void *data;

	make_file();
	map = open_failing("f", _i ? SNAPMAP_GUARD : 0, GOOD);
	data = snapmap_mut_data(map);
	ck_assert_ok(snapmap_mut_resize(map, SIZE - 1));
	ck_assert_int_eq(snapmap_mut_resize(map, SIZE + PAGE), -EIO);
	ck_assert_uint_eq(snapmap_mut_size(map), SIZE - 1);
	ck_assert_ptr_eq(snapmap_mut_data(map), data);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_comparing_reports_bad_pages)
{
	struct ranges ranges = {0};
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *p;

	ck_assert_sys(fd);
	ck_assert_sys(ftruncate(fd, (off_t)(2 * PAGE)));
	p = (char *)mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ck_assert(p != MAP_FAILED);
	p[0] = 'x';
	ck_assert_sys(ftruncate(fd, (off_t)PAGE));

	struct dirty_area area = {.base = p, .length = 2 * PAGE, .file_length = 2 * PAGE, .fd = fd};

	ck_assert_int_eq(dirty_find(&area, DIRTY_COMPARE, &ranges), -EIO);
	ranges_free(&ranges);
	munmap(p, 2 * PAGE);
	close(fd);
}
END_TEST

/* --- many, and none left */

#define MANY 100

START_TEST(test_many_handles)
{
	struct snapmap_mut *maps[MANY];

	if (row_is_slow())
		return;
	make_file();
	for (size_t i = 0; i < MANY; i++)
		maps[i] = open_failing("f", SNAPMAP_GUARD, i % 2 ? GOOD : PAGES);
	for (size_t i = 0; i < MANY; i++) {
		char *data = (char *)snapmap_mut_data(maps[i]);

		ck_assert(page_is(data, bytes));
		ck_assert(i % 2 ? is_zero(data + 9 * PAGE, PAGE) : page_is(data + 9 * PAGE, bytes + 9 * PAGE));
	}
	for (size_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(mut_error(maps[i]), i % 2 ? -EIO : 0);
		snapmap_mut_close(maps[i]);
	}
}
END_TEST

static void open_break_close(void)
{
	struct snapmap_mut *map = open_failing("f", SNAPMAP_GUARD, GOOD);

	ck_assert(is_zero((char *)snapmap_mut_data(map) + 9 * PAGE, PAGE));
	snapmap_mut_close(map);
}

START_TEST(test_nothing_stays)
{
	size_t fds, maps;

	make_file();
	for (int i = 0; i < 3; i++)
		open_break_close();
	retire_flush();
	fds = test_count_fds();
	maps = test_count_maps();
	for (int i = 0; i < (row_is_slow() ? 5 : 100); i++)
		open_break_close();
	retire_flush();
	ck_assert_uint_eq(test_count_fds(), fds);
	ck_assert_uint_eq(test_count_maps(), maps);
}
END_TEST

static void touch_lost_page(void *arg)
{
	struct snapmap_mut *map = (struct snapmap_mut *)arg;

	(void)*(volatile char *)((char *)snapmap_mut_data(map) + 9 * PAGE);
}

START_TEST(test_without_guard_it_is_a_signal)
{
	struct snapmap_mut *map, *guarded;

	make_file();
	map = open_failing("f", 0, GOOD);
	ck_assert_int_eq(death_of(touch_lost_page, map), SIGBUS);
	/* Also if other handles are guarded. */
	guarded = open_failing("f", SNAPMAP_GUARD, GOOD);
	ck_assert_int_eq(death_of(touch_lost_page, map), SIGBUS);
	ck_assert_int_eq(death_of(touch_lost_page, guarded), 0);
	snapmap_mut_close(map);
	snapmap_mut_close(guarded);
}
END_TEST

START_TEST(test_created_file_is_guarded)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_GUARD};
	struct snapmap_mut *map;
	char *data;

	note_images();
	ck_assert_ok(snapmap_mut_create("new", 0600, &o, &map));
	ck_assert_ok(snapmap_mut_resize(map, SIZE));
	data = (char *)snapmap_mut_data(map);
	memset(data, 'x', SIZE);
	ck_assert_ok(snapmap_mut_commit(map, NULL));
	ck_assert_sys(ftruncate(find_image(), (off_t)(GOOD * PAGE)));
	ck_assert(is_zero((char *)snapmap_mut_data(map) + 9 * PAGE, PAGE));
	ck_assert_int_eq(mut_error(map), -EIO);
	snapmap_mut_close(map);
}
END_TEST

static void add_guard(TCase *tc)
{
	tcase_add_test(tc, test_lost_pages_are_zeros);
	tcase_add_test(tc, test_store_into_a_lost_page);
	tcase_add_test(tc, test_calls_answer_without_signal);
	tcase_add_test(tc, test_nothing_lost_is_published);
	tcase_add_test(tc, test_lost_pages_are_not_edits);
	tcase_add_test(tc, test_commit_before_anything_was_lost);
	tcase_add_loop_test(tc, test_resize_with_lost_pages, 0, 2);
	tcase_add_loop_test(tc, test_growth_is_guarded, 0, 2);
	tcase_add_loop_test(tc, test_growth_behind_a_bad_page, 0, 2);
	tcase_add_test(tc, test_comparing_reports_bad_pages);
	tcase_add_test(tc, test_many_handles);
	tcase_add_test(tc, test_nothing_stays);
	tcase_add_test(tc, test_without_guard_it_is_a_signal);
	tcase_add_test(tc, test_created_file_is_guarded);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("guard");

	test_each_fs(s, "guard", add_guard);
	return s;
}
