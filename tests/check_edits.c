/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The overlay of an editable handle: stores, sizes, rollback and the list of
 * edits, compared with a model in plain memory.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "opening.h"

#define PAGE ((size_t)4096)
#define MAX_PAGES 24
#define MAX_SIZE (MAX_PAGES * PAGE)

/* What a handle should hold, and what its file does. */
struct model {
	unsigned char now[MAX_SIZE], base[MAX_SIZE];
	size_t size, base_size;
	bool written[MAX_PAGES];  /* surely listed as an edit */
	bool possible[MAX_PAGES]; /* perhaps: the library itself clears the rest of a page */
};

static void model_open(struct model *m, const void *bytes, size_t n)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->base, bytes, n);
	memcpy(m->now, bytes, n);
	m->size = m->base_size = n;
}

static void model_rollback(struct model *m)
{
	memcpy(m->now, m->base, MAX_SIZE);
	m->size = m->base_size;
	memset(m->written, 0, sizeof(m->written));
	memset(m->possible, 0, sizeof(m->possible));
}

static void model_commit(struct model *m)
{
	memset(m->now + m->size, 0, MAX_SIZE - m->size);
	memcpy(m->base, m->now, MAX_SIZE);
	m->base_size = m->size;
	model_rollback(m);
}

static void model_resize(struct model *m, size_t size)
{
	size_t low = size < m->size ? size : m->size;

	if (low < MAX_SIZE)
		m->possible[low / PAGE] = true;
	for (size_t page = (low + PAGE - 1) / PAGE; page < MAX_PAGES; page++)
		m->written[page] = false;
	memset(m->now + low, 0, MAX_SIZE - low);
	m->size = size;
}

static void expect_model(const struct snapmap_mut *map, const struct model *m, const char *after)
{
	size_t size = snapmap_mut_size(map);
	const unsigned char *data = snapmap_mut_data(map);

	ck_assert_msg(size == m->size, "%s: size %zu instead of %zu", after, size, m->size);
	/* A check costs a system call, so there is one only where something is wrong. */
	for (size_t i = 0; i < size; i++)
		if (data[i] != m->now[i])
			ck_abort_msg("%s: byte %zu of %zu is %#x instead of %#x", after, i, size, data[i], m->now[i]);
}

/* Sorted, apart, whole pages cut at the size; every page that was stored into, and no other. */
static void expect_dirty(const struct snapmap_mut *map, const struct model *m)
{
	struct snapmap_range r[MAX_PAGES + 1];
	bool listed[MAX_PAGES + 1] = {0};
	ssize_t n = snapmap_mut_dirty(map, r, MAX_PAGES + 1);

	ck_assert_msg(n >= 0 && n <= MAX_PAGES, "%zd: %s", n, snapmap_last_error());
	for (ssize_t i = 0; i < n; i++) {
		ck_assert_uint_gt(r[i].length, 0);
		ck_assert_uint_eq(r[i].offset % PAGE, 0);
		ck_assert(i == 0 || r[i - 1].offset + r[i - 1].length < r[i].offset);
		ck_assert_uint_le(r[i].offset + r[i].length, m->size);
		ck_assert(r[i].length % PAGE == 0 || r[i].offset + r[i].length == m->size);
		for (uint64_t at = r[i].offset; at < r[i].offset + r[i].length; at += PAGE)
			listed[at / PAGE] = true;
	}
	for (size_t page = 0; page * PAGE < m->size; page++)
		if (listed[page] != m->written[page] && !(listed[page] && m->possible[page]))
			ck_abort_msg("page %zu %s", page,
				     listed[page] ? "is listed but was not written" : "is missing");
}

/* --- a long random life */

struct life {
	struct model model;
	struct view v;
	uint64_t random;
	int way;
	char step[100];
};

static size_t some(struct life *l, size_t limit)
{
	return limit ? (size_t)(test_random(&l->random) % limit) : 0;
}

static void store(struct life *l)
{
	struct model *m = &l->model;
	size_t at = some(l, m->size), n = some(l, some(l, 4) ? 200 : 3 * PAGE) + 1;
	unsigned char *p = snapmap_mut_data(l->v.mut);

	if (n > m->size - at)
		n = m->size - at;
	snprintf(l->step, sizeof(l->step), "store %zu at %zu", n, at);
	for (size_t i = at; i < at + n; i++) {
		p[i] = m->now[i] = (unsigned char)(test_random(&l->random) | 1);
		m->written[i / PAGE] = true;
	}
}

static void resize(struct life *l)
{
	struct model *m = &l->model;
	size_t kind = some(l, 6), size = some(l, MAX_SIZE + 1);
	void *before = snapmap_mut_data(l->v.mut);

	if (kind == 0)
		size = 0;
	if (kind == 1)
		size &= ~(PAGE - 1);
	if (kind == 2)
		size = m->size / 2;
	if (kind == 3)
		size = m->size + some(l, 100) < MAX_SIZE ? m->size + some(l, 100) : MAX_SIZE;
	snprintf(l->step, sizeof(l->step), "resize from %zu to %zu", m->size, size);
	ck_assert_ok(snapmap_mut_resize(l->v.mut, size));
	if (size <= m->size)
		ck_assert_ptr_eq(snapmap_mut_data(l->v.mut), before);
	model_resize(m, size);
}

static void rollback(struct life *l)
{
	void *before = snapmap_mut_data(l->v.mut);

	strcpy(l->step, "rollback");
	ck_assert_ok(snapmap_mut_rollback(l->v.mut));
	ck_assert_msg(snapmap_mut_data(l->v.mut) == before, "rollback moved the data");
	model_rollback(&l->model);
	ck_assert_int_eq(snapmap_mut_dirty(l->v.mut, NULL, 0), 0);
}

static void commit(struct life *l)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = SNAPMAP_COMMIT_NOSYNC};
	void *before = snapmap_mut_data(l->v.mut);

	snprintf(l->step, sizeof(l->step), "commit of %zu over %zu", l->model.size, l->model.base_size);
	ck_assert_ok(snapmap_mut_commit(l->v.mut, &o));
	ck_assert_msg(snapmap_mut_data(l->v.mut) == before, "commit moved the data");
	model_commit(&l->model);
	ck_assert_msg(test_file_is("f", l->model.now, l->model.size), "%s: the file is another", l->step);
	ck_assert_int_eq(snapmap_mut_dirty(l->v.mut, NULL, 0), 0);
}

/* Bytes behind the end are nobody's; what is stored there must never show. */
static void store_behind_the_end(struct life *l)
{
	unsigned char *p = snapmap_mut_data(l->v.mut);

	strcpy(l->step, "store behind the end");
	if (l->model.size % PAGE == 0)
		return;
	p[l->model.size] = 0xaa;
	p[l->model.size | (PAGE - 1)] = 0xbb;
	l->model.possible[l->model.size / PAGE] = true;
}

static void reopen(struct life *l)
{
	strcpy(l->step, "close and open");
	view_close(&l->v);
	model_rollback(&l->model);
	ck_assert_msg(test_file_is("f", l->model.base, l->model.base_size), "edits reached the file without a commit");
	view_open(l->way, "f", 0, &l->v);
}

START_TEST(test_a_long_random_life)
{
	static struct life life;
	static unsigned char bytes[MAX_SIZE];
	struct life *l = &life;
	int steps = row_is_slow() ? 40 : 250, commits = 0;

	if (!way_exists(_i))
		return;
	l->random = test_seed() + (uint64_t)_i;
	l->way = _i;
	test_fill(bytes, sizeof(bytes), test_seed());
	size_t n = some(l, MAX_SIZE / 2);

	test_write_file("f", bytes, n);
	model_open(&l->model, bytes, n);
	view_open(_i, "f", 0, &l->v);
	for (int i = 0; i < steps; i++) {
		switch (some(l, 16)) {
		case 0:
		case 1:
		case 2:
			resize(l);
			break;
		case 3:
			rollback(l);
			break;
		case 4:
		case 5:
			if (!row_is_slow() || commits++ < 3)
				commit(l);
			break;
		case 6:
			store_behind_the_end(l);
			break;
		case 7:
			if (!row_is_slow() || i > steps - 10)
				reopen(l);
			break;
		default:
			store(l);
		}
		expect_model(l->v.mut, &l->model, l->step);
		expect_dirty(l->v.mut, &l->model);
	}
	view_close(&l->v);
	ck_assert(names_are(1));
}
END_TEST

/* --- sizes */

START_TEST(test_growth_is_zeros)
{
	static const size_t sizes[] = {1, 100, 4095, 4096, 4097, 8191, 8192, 12288, 12289};
	const size_t count = sizeof(sizes) / sizeof(sizes[0]);
	unsigned char *bytes = malloc(MAX_SIZE);

	if (!way_exists(_i)) {
		free(bytes);
		return;
	}
	memset(bytes, 0xff, MAX_SIZE);
	for (size_t file = 0; file < count; file += row_is_slow() ? 4 : 1) {
		struct view v = {0};

		test_write_file("f", bytes, sizes[file]);
		view_open(_i, "f", 0, &v);
		for (size_t cut = 0; cut < count; cut++)
			for (size_t grown = 0; grown < count; grown++) {
				size_t low = sizes[cut] < sizes[file] ? sizes[cut] : sizes[file];

				ck_assert_ok(snapmap_mut_resize(v.mut, sizes[cut]));
				ck_assert_ok(snapmap_mut_resize(v.mut, sizes[grown]));
				if (low > sizes[grown])
					low = sizes[grown];
				view_look(&v);
				for (size_t i = 0; i < sizes[grown]; i++)
					if (v.data[i] != (i < low ? 0xff : 0))
						ck_abort_msg("byte %zu is %#x after %zu, %zu, %zu", i, v.data[i],
							     sizes[file], sizes[cut], sizes[grown]);
				ck_assert_ok(snapmap_mut_rollback(v.mut));
				view_look(&v);
				ck_assert(view_is(&v, bytes, sizes[file]));
			}
		view_close(&v);
	}
	free(bytes);
}
END_TEST

START_TEST(test_to_nothing_and_back)
{
	unsigned char bytes[10000];
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_fill(bytes, sizeof(bytes), test_seed());
	test_write_file("f", bytes, sizeof(bytes));
	view_open(_i, "f", 0, &v);
	ck_assert_ok(snapmap_mut_resize(v.mut, 0));
	ck_assert_uint_eq(snapmap_mut_size(v.mut), 0);
	ck_assert_ptr_nonnull(snapmap_mut_data(v.mut));
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 0);
	ck_assert_ok(snapmap_mut_rollback(v.mut));
	view_look(&v);
	ck_assert(view_is(&v, bytes, sizeof(bytes)));
	ck_assert_ok(snapmap_mut_resize(v.mut, 0));
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	ck_assert(test_file_is("f", "", 0));
	ck_assert_ok(snapmap_mut_resize(v.mut, 3));
	memcpy(snapmap_mut_data(v.mut), "abc", 3);
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	ck_assert(test_file_is("f", "abc", 3));
	view_close(&v);
}
END_TEST

START_TEST(test_absurd_sizes_leave_the_handle_intact)
{
	static const size_t sizes[] = {SIZE_MAX,
				       SIZE_MAX - 1,
				       SIZE_MAX - 4095,
				       (size_t)PTRDIFF_MAX,
				       (size_t)PTRDIFF_MAX + 1,
				       (size_t)PTRDIFF_MAX - 4096,
				       (size_t)PTRDIFF_MAX - 8192,
				       (size_t)1 << 62,
				       (size_t)1 << 48,
				       (size_t)1 << 47};
	unsigned char bytes[10000];
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_fill(bytes, sizeof(bytes), test_seed());
	test_write_file("f", bytes, sizeof(bytes));
	view_open(_i, "f", 0, &v);
	((unsigned char *)snapmap_mut_data(v.mut))[7] ^= 1;
	bytes[7] ^= 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int rc = snapmap_mut_resize(v.mut, sizes[i]);

		ck_assert_msg(rc == -EFBIG || rc == -ENOMEM, "%zx: %d", sizes[i], rc);
		ck_assert(strstr(snapmap_last_error(), "'f'"));
		ck_assert_ptr_eq(snapmap_mut_data(v.mut), v.data);
		view_look(&v);
		ck_assert(view_is(&v, bytes, sizeof(bytes)));
		ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 1);
	}
	/* Large is not absurd: a terabyte that nobody stores into costs nothing. */
	ck_assert_ok(snapmap_mut_resize(v.mut, (size_t)1 << 40));
	((unsigned char *)snapmap_mut_data(v.mut))[((size_t)1 << 40) - 1] = 1;
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 2);
	ck_assert_ok(snapmap_mut_resize(v.mut, sizeof(bytes)));
	view_look(&v);
	ck_assert(view_is(&v, bytes, sizeof(bytes)));
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	ck_assert(test_file_is("f", bytes, sizeof(bytes)));
	view_close(&v);
}
END_TEST

START_TEST(test_dirty_tells_more_than_fits)
{
	struct snapmap_range r[3];
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_make_file("f", 10 * PAGE + 5, 1);
	view_open(_i, "f", 0, &v);
	unsigned char *p = snapmap_mut_data(v.mut);

	for (size_t page = 0; page <= 10; page += 2)
		p[page * PAGE] ^= 1;
	memset(r, 0xee, sizeof(r));
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, r, 2), 6);
	ck_assert_uint_eq(r[0].offset, 0);
	ck_assert_uint_eq(r[1].offset, 2 * PAGE);
	ck_assert_uint_eq(r[1].length, PAGE);
	ck_assert_msg(r[2].offset == 0xeeeeeeeeeeeeeeee, "written beyond the capacity");
	/* Reading and prefaulting are no edits; storing the same byte is one. */
	ck_assert_ok(snapmap_mut_rollback(v.mut));
	ck_assert_ok(snapmap_mut_prefault(v.mut, 0, v.size));
	ck_assert_uint_ne(test_hash(p, v.size), 0);
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 0);
	*(volatile unsigned char *)p = *(volatile unsigned char *)p;
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, r, 3), 1);
	ck_assert_uint_eq(r[0].length, PAGE);
	p[10 * PAGE] ^= 1;
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, r, 3), 2);
	ck_assert_uint_eq(r[1].offset, 10 * PAGE);
	ck_assert_uint_eq(r[1].length, 5);
	view_close(&v);
}
END_TEST

static void add_tests(TCase *tc)
{
	for (int way = 1; way < WAYS; way += 2) {
		tcase_add_loop_test(tc, test_a_long_random_life, way, way + 1);
		tcase_add_loop_test(tc, test_growth_is_zeros, way, way + 1);
		tcase_add_loop_test(tc, test_to_nothing_and_back, way, way + 1);
		tcase_add_loop_test(tc, test_absurd_sizes_leave_the_handle_intact, way, way + 1);
		tcase_add_loop_test(tc, test_dirty_tells_more_than_fits, way, way + 1);
	}
}

Suite *test_suite(void)
{
	Suite *s = suite_create("edits");

	test_each_fs(s, "edits", add_tests);
	return s;
}
