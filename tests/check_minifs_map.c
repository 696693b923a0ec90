/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of an image as struct snapmap: what they show, and that it stays whatever is done in the image. */
#include "config.h"

#include "minifs_mapping.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define BIG ((size_t)300000)

/* ---- what is shown ---- */

START_TEST(test_a_file_is_shown_with_zeros_behind_its_end)
{
	static const size_t sizes[] = {0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 12 * BLOCK, 13 * BLOCK + 5, BIG};
	struct minifs *fs = new_image("i", IMAGE, 0);

	for (int synced = 0; synced < 2; synced++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct snapmap *map;

			if (exists(fs, "f"))
				ck_ok(minifs_unlink(fs, "f"));
			put_file(fs, "f", sizes[i], i);
			if (synced)
				ck_ok(minifs_sync(fs));
			map = map_file(fs, "f");
			ck_assert_uint_eq((uintptr_t)snapmap_data(map) % BLOCK, 0);
			ck_assert_msg(shows(map, sizes[i], i), "%zu bytes", sizes[i]);
			ck_ok(snapmap_prefault(map, 0, sizes[i]));
			snapmap_close(map);
		}
	}
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_the_handle_says_what_it_is)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	struct snapmap *map;
	struct snapmap_info info;

	put_file(fs, "f", BIG, 1);
	map = map_file(fs, "f");
	info = info_of(map);
	ck_assert_uint_eq(info.source, SNAPMAP_SOURCE_MINIFS);
	ck_assert_uint_eq(info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	ck_assert_uint_eq(info.size, BIG);
	ck_assert_int_eq(info.error, 0);
	ck_assert_str_eq(info.file_system, "minifs");
	/* Written in one go, it lies in one piece, and costs nothing. */
	ck_assert_uint_eq(info.extents, 1);
	ck_assert_uint_eq(info.bytes_copied, 0);
	snapmap_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_holes_are_zeros)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	char *bytes = (char *)calloc(1, 100 * BLOCK);
	struct snapmap *map;

	ck_ok(minifs_create(fs, "f", 0644));
	for (size_t at = 3; at < 90; at += 29) {
		memset(bytes + at * BLOCK, (int)at, BLOCK);
		ck_is(minifs_pwrite(fs, "f", bytes + at * BLOCK, BLOCK, at * BLOCK), BLOCK);
	}
	ck_ok(minifs_truncate(fs, "f", 99 * BLOCK + 7));
	for (int synced = 0; synced < 2; synced++) {
		map = map_file(fs, "f");
		ck_assert_uint_eq(snapmap_size(map), 99 * BLOCK + 7);
		ck_assert(!memcmp(snapmap_data(map), bytes, 100 * BLOCK));
		snapmap_close(map);
		ck_ok(minifs_sync(fs));
	}
	ck_ok(minifs_create(fs, "hole", 0644));
	ck_ok(minifs_truncate(fs, "hole", 100 * BLOCK));
	memset(bytes, 0, 100 * BLOCK);
	map = map_file(fs, "hole");
	ck_assert(!memcmp(snapmap_data(map), bytes, 100 * BLOCK));
	snapmap_close(map);
	free(bytes);
	finish_image(fs, "i");
}
END_TEST

/* What was synced is mapped; what was not is copied; both at once in one file. */
START_TEST(test_a_file_in_pieces_is_put_together)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	char *bytes = (char *)malloc(BIG);
	struct snapmap *map;

	put_file_in_pieces(fs, "f", BIG, 4);
	map = map_file(fs, "f");
	ck_assert(shows(map, BIG, 4));
	ck_assert_uint_eq(info_of(map).extents, (BIG + BLOCK - 1) / BLOCK);
	ck_assert_uint_ge(info_of(map).bytes_copied, BIG);
	snapmap_close(map);
	ck_ok(minifs_sync(fs));
	map = map_file(fs, "f");
	ck_assert(shows(map, BIG, 4));
	ck_assert_uint_eq(info_of(map).bytes_copied, 0);
	snapmap_close(map);
	test_fill(bytes, BIG, 4);
	memset(bytes + 10 * BLOCK, 'x', 2 * BLOCK);
	ck_is(minifs_pwrite(fs, "f", bytes + 10 * BLOCK, 2 * BLOCK, 10 * BLOCK), 2 * BLOCK);
	map = map_file(fs, "f");
	ck_assert(!memcmp(snapmap_data(map), bytes, BIG));
	ck_assert_uint_eq(info_of(map).bytes_copied, 2 * BLOCK);
	snapmap_close(map);
	free(bytes);
	finish_image(fs, "i");
}
END_TEST

/* There are more pieces than mappings are wanted: the shorter ones are copied. */
START_TEST(test_a_file_in_very_many_pieces_takes_few_mappings)
{
	struct minifs *fs = new_image("i", 4 * IMAGE, 0);
	size_t maps, n = 3000 * BLOCK;
	struct snapmap *map;

	put_file_in_pieces(fs, "f", n, 5);
	ck_ok(minifs_sync(fs));
	maps = test_count_maps();
	map = map_file(fs, "f");
	ck_assert_uint_lt(test_count_maps(), maps + 2100);
	ck_assert(shows(map, n, 5));
	snapmap_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_flags_are_kept)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	struct snapmap_options options = {.size = sizeof(options)}, wrong = {.size = 1};
	struct snapmap_info info;
	struct minifs_file *file;
	struct snapmap *map;

	put_file(fs, "f", BIG, 1);
	ck_ok(minifs_symlink(fs, "f", "l"));
	ck_ok(minifs_mkdir(fs, "d", 0755));
	options.flags = SNAPMAP_STRICT | SNAPMAP_POPULATE | SNAPMAP_GUARD | SNAPMAP_INHERIT;
	options.source = SNAPMAP_SOURCE_MINIFS;
	ck_ok(minifs_map(fs, "l", &options, &map));
	ck_assert(shows(map, BIG, 1));
	ck_ok(snapmap_get_info(map, &info));
	snapmap_close(map);
	options.flags = SNAPMAP_NOFOLLOW;
	ck_is(minifs_map(fs, "l", &options, &map), -ELOOP);
	options.flags = 0;
	options.source = SNAPMAP_SOURCE_COPY;
	ck_is(minifs_map(fs, "f", &options, &map), -EOPNOTSUPP);
	ck_assert(strstr(snapmap_last_error(), "i:f"));
	ck_is(minifs_map(fs, "f", &wrong, &map), -EINVAL);
	ck_is(minifs_map(NULL, "f", NULL, &map), -EINVAL);
	ck_is(minifs_map(fs, NULL, NULL, &map), -EINVAL);
	ck_is(minifs_map(fs, "f", NULL, NULL), -EINVAL);
	ck_is(minifs_map(fs, "d", NULL, &map), -EISDIR);
	ck_is(minifs_map(fs, "g", NULL, &map), -ENOENT);
	ck_is(minifs_file_map(NULL, NULL, &map), -EINVAL);
	ck_ok(minifs_file_open(fs, "f", &file));
	ck_ok(minifs_file_map(file, NULL, &map));
	minifs_file_close(file);
	ck_assert(shows(map, BIG, 1));
	snapmap_close(map);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_an_image_opened_for_reading_is_mapped_too)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	struct snapmap *map, *pieces;

	put_file_in_pieces(fs, "p", BIG, 2);
	put_file(fs, "f", BIG, 1);
	finish_image(fs, "i");
	ck_ok(minifs_open("i", MINIFS_RDONLY, &fs));
	map = map_file(fs, "f");
	pieces = map_file(fs, "p");
	ck_assert(shows(map, BIG, 1));
	ck_assert(shows(pieces, BIG, 2));
	/* It lives as long as its mappings, and is still itself. */
	minifs_close(fs);
	ck_assert(shows(map, BIG, 1));
	ck_assert(shows(pieces, BIG, 2));
	snapmap_close(pieces);
	ck_assert(shows(map, BIG, 1));
	snapmap_close(map);
}
END_TEST

/* ---- it stays ---- */

static void do_all_to(struct minifs *fs, int what)
{
	static char bytes[BIG];

	memset(bytes, '!', sizeof(bytes));
	switch (what) {
	case 0:
		ck_is(minifs_pwrite(fs, "f", bytes, BIG, 0), (long long)BIG);
		break;
	case 1:
		ck_ok(minifs_truncate(fs, "f", 5));
		ck_ok(minifs_truncate(fs, "f", BIG));
		break;
	case 2:
		ck_ok(minifs_unlink(fs, "f"));
		break;
	case 3:
		put_file(fs, "other", 10, 77);
		ck_ok(minifs_rename(fs, "other", "f"));
		break;
	case 4:
		put_file(fs, "other", BIG, 77);
		ck_ok(minifs_clone_range(fs, "other", 0, "f", 0, 0));
		break;
	default:
		ck_is(minifs_pwrite(fs, "f", "tail", 4, BIG), 4);
	}
}

/* Takes all free blocks, so that what was given up is used again. */
static void fill_image(struct minifs *fs)
{
	static char bytes[BLOCK];
	uint64_t at = 0;

	memset(bytes, '?', sizeof(bytes));
	ck_ok(minifs_create(fs, "filler", 0644));
	while (minifs_pwrite(fs, "filler", bytes, BLOCK, at) == BLOCK)
		at += BLOCK;
}

static void check_stable(bool in_pieces, bool synced, int what)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	uint64_t before;
	struct snapmap *map;

	if (in_pieces)
		put_file_in_pieces(fs, "f", BIG, 9);
	else
		put_file(fs, "f", BIG, 9);
	if (synced)
		ck_ok(minifs_sync(fs));
	map = map_file(fs, "f");
	do_all_to(fs, what);
	ck_assert(shows(map, BIG, 9));
	before = free_blocks(fs);
	fill_image(fs);
	ck_assert_uint_le(free_blocks(fs), 2);
	ck_assert(shows(map, BIG, 9));
	ck_ok(minifs_sync(fs));
	ck_assert(shows(map, BIG, 9));
	ck_ok(minifs_unlink(fs, "filler"));
	ck_assert_uint_ge(free_blocks(fs) + 2, before);
	fill_image(fs);
	ck_ok(minifs_sync(fs));
	ck_assert(shows(map, BIG, 9));
	snapmap_close(map);
	finish_image(fs, "i");
	ck_assert(!unlink("i"));
}

START_TEST(test_nothing_done_in_the_image_shows)
{
	for (int kind = 0; kind < 4; kind++)
		check_stable(kind & 1, kind & 2, _i);
}
END_TEST

START_TEST(test_blocks_are_free_again_when_the_last_handle_is_closed)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	uint64_t empty = free_blocks(fs), with_file;
	struct snapmap *maps[20];

	put_file(fs, "f", BIG, 3);
	with_file = free_blocks(fs);
	for (size_t i = 0; i < 20; i++)
		maps[i] = map_file(fs, "f");
	ck_ok(minifs_unlink(fs, "f"));
	for (size_t i = 0; i < 20; i++) {
		ck_assert_uint_le(free_blocks(fs), with_file + 1);
		ck_assert(shows(maps[i], BIG, 3));
		snapmap_close(maps[i]);
	}
	ck_assert_uint_eq(free_blocks(fs), empty);
	fill_image(fs);
	ck_assert_uint_le(free_blocks(fs), 1);
	finish_image(fs, "i");
}
END_TEST

/* The image knows nothing of the mapping: a crash leaves no block behind. */
START_TEST(test_the_image_on_the_disk_has_no_trace_of_it)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	uint64_t empty = free_blocks(fs);
	struct snapmap *map;

	put_file(fs, "f", BIG, 3);
	map = map_file(fs, "f");
	ck_ok(minifs_unlink(fs, "f"));
	ck_ok(minifs_sync(fs));
	ck_clean("i");
	snapmap_close(map);
	minifs_close(fs);
	fs = open_image("i");
	ck_assert_uint_eq(free_blocks(fs), empty);
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_many_files_many_handles)
{
	struct minifs *fs = new_image("i", 4 * IMAGE, 0);
	uint64_t random = test_seed();
	struct snapmap *maps[200] = {0};
	uint64_t seeds[200], next = 1, now[10];
	char name[10];

	for (size_t i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		put_file(fs, name, 50000 + i, now[i] = next++);
	}
	for (size_t step = 0; step < 3000; step++) {
		size_t file = test_random(&random) % 10, slot = test_random(&random) % 200;

		snprintf(name, sizeof(name), "f%zu", file);
		switch (test_random(&random) % 4) {
		case 0:
			put_file(fs, name, 50000 + file, now[file] = next++);
			break;
		case 1:
			ck_ok(minifs_unlink(fs, name));
			put_file(fs, name, 50000 + file, now[file] = next++);
			break;
		case 2:
			if (step % 50 == 0)
				ck_ok(minifs_sync(fs));
			break;
		default:
			if (maps[slot])
				ck_assert(shows(maps[slot], 50000 + seeds[slot] % 16, seeds[slot] / 16));
			snapmap_close(maps[slot]);
			maps[slot] = map_file(fs, name);
			seeds[slot] = now[file] * 16 + file;
		}
	}
	for (size_t slot = 0; slot < 200; slot++) {
		if (maps[slot])
			ck_assert(shows(maps[slot], 50000 + seeds[slot] % 16, seeds[slot] / 16));
		snapmap_close(maps[slot]);
	}
	finish_image(fs, "i");
}
END_TEST

START_TEST(test_the_image_stays_locked_until_its_mappings_are_closed)
{
	struct minifs *fs = new_image("i", IMAGE, 0), *other;
	struct snapmap *map;
	size_t fds;

	put_file(fs, "f", BIG, 3);
	ck_ok(minifs_sync(fs));
	fds = test_count_fds();
	map = map_file(fs, "f");
	ck_assert_uint_eq(test_count_fds(), fds);
	minifs_close(fs);
	ck_assert(shows(map, BIG, 3));
	ck_is(minifs_open("i", 0, &other), -EBUSY);
	snapmap_close(map);
	ck_ok(minifs_open("i", 0, &other));
	minifs_close(other);
}
END_TEST

/* ---- others ---- */

START_TEST(test_a_child_keeps_the_bytes)
{
	struct minifs *fs = new_image("i", IMAGE, 0);
	struct snapmap *map;
	int go[2], status;
	pid_t child;
	char c = 0;

	put_file_in_pieces(fs, "f", BIG, 3);
	ck_ok(minifs_sync(fs));
	map = map_file(fs, "f");
	ck_assert(!pipe(go));
	child = fork();
	if (!child) {
		bool right;

		close(go[1]);
		right = read(go[0], &c, 1) == 1 && shows(map, BIG, 3);
		snapmap_close(map);
		_exit(right ? 0 : 1);
	}
	snapmap_close(map);
	ck_ok(minifs_unlink(fs, "f"));
	fill_image(fs);
	ck_ok(minifs_sync(fs));
	ck_assert_int_eq(write(go[1], "x", 1), 1);
	ck_assert(waitpid(child, &status, 0) == child);
	ck_assert_int_eq(status, 0);
	close(go[0]);
	close(go[1]);
	finish_image(fs, "i");
}
END_TEST

#define THREADS 4
struct work {
	struct minifs *fs;
	unsigned number;
	atomic_bool *stop;
	atomic_int *failures;
};

static void *map_and_look(void *arg)
{
	struct work *w = (struct work *)arg;

	while (!atomic_load(w->stop)) {
		struct snapmap *map;
		const char *p;
		size_t n;

		if (minifs_map(w->fs, w->number % 2 ? "f" : "g", NULL, &map)) {
			atomic_fetch_add(w->failures, 1);
			return NULL;
		}
		p = (const char *)snapmap_data(map);
		n = snapmap_size(map);
		/* Each write is of one letter. */
		for (int round = 0; round < 3; round++)
			for (size_t i = 0; i < n; i += 511)
				if (p[i] != p[0])
					atomic_fetch_add(w->failures, 1);
		snapmap_close(map);
	}
	return NULL;
}

START_TEST(test_threads_map_while_others_write)
{
	static char bytes[40 * BLOCK];
	struct minifs *fs = new_image("i", IMAGE, 0);
	atomic_int failures = 0;
	atomic_bool stop = false;
	pthread_t threads[THREADS];
	struct work work[THREADS];

	put_file_in_pieces(fs, "g", sizeof(bytes), 1);
	ck_ok(minifs_create(fs, "f", 0644));
	memset(bytes, 'a', sizeof(bytes));
	ck_is(minifs_pwrite(fs, "g", bytes, sizeof(bytes), 0), sizeof(bytes));
	for (unsigned i = 0; i < THREADS; i++) {
		work[i] = (struct work){fs, i, &stop, &failures};
		ck_assert(!pthread_create(&threads[i], NULL, map_and_look, &work[i]));
	}
	for (int i = 0; i < 300; i++) {
		const char *name = i & 1 ? "f" : "g";

		memset(bytes, 'a' + i % 26, sizeof(bytes));
		ck_is(minifs_pwrite(fs, name, bytes, sizeof(bytes), 0), sizeof(bytes));
		if (i % 60 == 0)
			ck_ok(minifs_sync(fs));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(failures, 0);
	finish_image(fs, "i");
}
END_TEST

static void add_map(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_a_file_is_shown_with_zeros_behind_its_end);
	tcase_add_test(tc, test_the_handle_says_what_it_is);
	tcase_add_test(tc, test_holes_are_zeros);
	tcase_add_test(tc, test_a_file_in_pieces_is_put_together);
	tcase_add_test(tc, test_a_file_in_very_many_pieces_takes_few_mappings);
	tcase_add_test(tc, test_flags_are_kept);
	tcase_add_test(tc, test_an_image_opened_for_reading_is_mapped_too);
	tcase_add_loop_test(tc, test_nothing_done_in_the_image_shows, 0, 6);
	tcase_add_test(tc, test_blocks_are_free_again_when_the_last_handle_is_closed);
	tcase_add_test(tc, test_the_image_on_the_disk_has_no_trace_of_it);
	tcase_add_test(tc, test_many_files_many_handles);
	tcase_add_test(tc, test_the_image_stays_locked_until_its_mappings_are_closed);
	tcase_add_test(tc, test_a_child_keeps_the_bytes);
	tcase_add_test(tc, test_threads_map_while_others_write);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs map");

	test_each_fs(s, "map", add_map);
	return s;
}
