/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding written pages: all ways agree with what was stored, whatever else was
 * done to the memory. Uses the library's internals.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "dirty.h"
#include "opening.h"

#define PAGE ((size_t)4096)
#define FILE_PAGES 5000 /* more than one batch of each way */
#define ZERO_PAGES 600
#define PAGES (FILE_PAGES + ZERO_PAGES)

static const enum dirty_way ways[] = {DIRTY_ANY, DIRTY_SCAN, DIRTY_PAGEMAP, DIRTY_COMPARE};
static const char *const way_names[] = {"any", "scan", "pagemap", "compare"};

/* A private mapping of a file with anonymous memory behind it, as an overlay has. */
struct area {
	struct dirty_area a;
	char *p;
	bool stored[PAGES];
};

static void area_open(struct area *ret)
{
	char *bytes = malloc(FILE_PAGES * PAGE);
	void *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	test_fill(bytes, FILE_PAGES * PAGE, 7);
	test_write_file("f", bytes, FILE_PAGES * PAGE);
	free(bytes);
	int fd = open("f", O_RDONLY | O_CLOEXEC);

	memset(ret, 0, sizeof(*ret));
	ck_assert(p != MAP_FAILED);
	ret->p = p;
	ck_assert(mmap(p, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, 0) ==
		  p);
	ret->a = (struct dirty_area){.base = p, .length = PAGES * PAGE, .file_length = FILE_PAGES * PAGE, .fd = fd};
}

static void area_close(struct area *area)
{
	munmap(area->p, PAGES * PAGE);
	close(area->a.fd);
}

/* Bytes that are neither the file's nor zero. */
static void store(struct area *area, size_t page)
{
	if (!area->stored[page])
		area->p[page * PAGE + 13] ^= 0x40;
	area->stored[page] = true;
}

/* @more: pages that were not stored into may be listed as well. */
static void expect_found(const struct area *area, enum dirty_way way, bool more, const char *after)
{
	static bool found[PAGES];
	struct ranges r = {0};
	int rc = dirty_find(&area->a, way, &r);

	if (rc == -ENOTTY && way == DIRTY_SCAN) {
		printf("PAGEMAP_SCAN is not there: the kernel is older than 6.7\n");
		return;
	}
	ck_assert_msg(rc == 0, "%s: %d", way_names[way], rc);
	memset(found, 0, sizeof(found));
	for (size_t i = 0; i < r.n; i++) {
		ck_assert(i == 0 || r.v[i - 1].offset + r.v[i - 1].length < r.v[i].offset);
		ck_assert_uint_le(r.v[i].offset + r.v[i].length, area->a.length);
		for (uint64_t at = r.v[i].offset; at < r.v[i].offset + r.v[i].length; at += PAGE)
			found[at / PAGE] = true;
	}
	/* A check costs a system call, so there is one only where something is wrong. */
	for (size_t page = 0; page < PAGES; page++)
		if (found[page] != area->stored[page] && !(found[page] && more))
			ck_abort_msg("%s after %s: page %zu is %s", way_names[way], after, page,
				     found[page] ? "listed but was not written" : "missing");
	ranges_free(&r);
}

static void expect_all_ways(const struct area *area, const char *after)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		expect_found(area, ways[i], false, after);
}

START_TEST(test_ways_agree_on_random_stores)
{
	static struct area area;
	uint64_t random = test_seed();

	area_open(&area);
	expect_all_ways(&area, "nothing");
	for (int round = 0; round < 4; round++) {
		/* Single pages, runs, and all of it at last. */
		for (int i = 0; i < 300; i++) {
			size_t page = test_random(&random) % PAGES;
			size_t run = i % 30 ? 1 : test_random(&random) % 100;

			for (size_t k = 0; k < run && page + k < PAGES; k++)
				store(&area, page + k);
		}
		expect_all_ways(&area, "random stores");
	}
	store(&area, 0);
	store(&area, PAGES - 1);
	for (size_t page = 0; page < PAGES; page++)
		store(&area, page);
	area.p[0] ^= 1;
	expect_all_ways(&area, "storing into every page");
	area_close(&area);
}
END_TEST

START_TEST(test_every_other_page)
{
	static struct area area;

	area_open(&area);
	for (size_t page = 1; page < PAGES; page += 2)
		store(&area, page);
	expect_all_ways(&area, "storing into every other page");
	area_close(&area);
}
END_TEST

START_TEST(test_reading_is_no_writing)
{
	static struct area area;

	area_open(&area);
	ck_assert_uint_ne(test_hash(area.p, PAGES * PAGE), 0);
	expect_all_ways(&area, "reading");
	madvise(area.p, PAGES * PAGE, MADV_WILLNEED);
	madvise(area.p, PAGES * PAGE, 22 /* MADV_POPULATE_READ */);
	expect_all_ways(&area, "prefaulting");
	store(&area, 17);
	store(&area, FILE_PAGES + 3);
	expect_all_ways(&area, "two stores");
	area_close(&area);
}
END_TEST

/* The kernel may move, lock, protect, share and put away pages. A written one stays written. */
static const struct {
	const char *name;
	int advice;
	bool may_collapse;
} advices[] = {
	/* clang-format off */
	{"cold", 20 /* MADV_COLD */, false},
	{"pageout", 21 /* MADV_PAGEOUT */, false},
	{"mergeable", MADV_MERGEABLE, false},
	{"huge", MADV_HUGEPAGE, true},
	{"no huge", MADV_NOHUGEPAGE, false},
	{"collapse", 25 /* MADV_COLLAPSE */, true},
	{"not dumped", MADV_DONTDUMP, false},
	{"random", MADV_RANDOM, false},
	/* clang-format on */
};

START_TEST(test_written_pages_stay_written)
{
	static struct area area;
	uint64_t random = test_seed();
	int status;

	area_open(&area);
	for (int i = 0; i < 500; i++) {
		size_t page = test_random(&random) % PAGES;

		store(&area, page);
	}
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		/*
		 * Collapsing makes one huge page of anonymous memory, in which all counts as
		 * written. After "huge" the kernel may do so at any time.
		 */
		size_t length = advices[i].may_collapse ? FILE_PAGES * PAGE : PAGES * PAGE;

		madvise(area.p, length, advices[i].advice);
		expect_all_ways(&area, advices[i].name);
	}
	ck_assert_sys(mprotect(area.p, 50 * PAGE, PROT_READ));
	ck_assert_sys(mprotect(area.p + 60 * PAGE, 50 * PAGE, PROT_READ | PROT_EXEC));
	expect_all_ways(&area, "mprotect");
	ck_assert_sys(mprotect(area.p, PAGES * PAGE, PROT_READ | PROT_WRITE));

	/* Both sides of a fork, each with stores of its own. */
	pid_t pid = fork();

	if (!pid) {
		for (size_t page = 0; page < PAGES; page += 7)
			store(&area, page);
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			struct ranges r = {0};
			int rc = dirty_find(&area.a, ways[i], &r);
			size_t have = 0, want = 0;

			if (rc == -ENOTTY)
				continue;
			for (size_t k = 0; k < r.n; k++)
				have += r.v[k].length / PAGE;
			for (size_t page = 0; page < PAGES; page++)
				want += area.stored[page];
			if (rc || have != want)
				_exit(1 + (int)i);
		}
		_exit(0);
	}
	expect_all_ways(&area, "fork");
	for (size_t page = 3; page < PAGES; page += 11)
		store(&area, page);
	expect_all_ways(&area, "stores after fork");
	ck_assert_sys(waitpid(pid, &status, 0));
	ck_assert_msg(status == 0, "in the child: way %d", WEXITSTATUS(status) - 1);
	expect_all_ways(&area, "the child's end");
	/* Locking makes every page private, as a store would: no way can tell, but comparing can. */
	if (!mlock(area.p + 100 * PAGE, 64 << 10)) {
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
			expect_found(&area, ways[i], ways[i] != DIRTY_COMPARE, "mlock");
		munlock(area.p, PAGES * PAGE);
	}
	area_close(&area);
}
END_TEST

/* Dropped pages are the file's again. */
START_TEST(test_dropped_pages_are_not_written)
{
	static struct area area;

	area_open(&area);
	for (size_t page = 0; page < PAGES; page += 3)
		store(&area, page);
	ck_assert_sys(madvise(area.p + 600 * PAGE, 900 * PAGE, MADV_DONTNEED));
	for (size_t page = 600; page < 1500; page++)
		area.stored[page] = false;
	expect_all_ways(&area, "dropping some");
	ck_assert_sys(madvise(area.p, PAGES * PAGE, MADV_DONTNEED));
	memset(area.stored, 0, sizeof(area.stored));
	expect_all_ways(&area, "dropping all");
	area_close(&area);
}
END_TEST

/* An area that ends within a batch, begins anywhere, or has only one of the two parts. */
START_TEST(test_parts_of_an_area)
{
	static const size_t lengths[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 5000};
	static struct area area;

	area_open(&area);
	for (size_t page = 0; page < PAGES; page++)
		if (page % 5 == 1 || page % 64 == 0)
			store(&area, page);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
			struct dirty_area part = area.a;
			struct ranges r = {0};
			size_t have = 0, want = 0;

			part.length = lengths[i] * PAGE;
			if (part.file_length > part.length)
				part.file_length = part.length;
			int rc = dirty_find(&part, ways[w], &r);

			if (rc == -ENOTTY)
				continue;
			ck_assert_int_eq(rc, 0);
			for (size_t k = 0; k < r.n; k++)
				have += r.v[k].length / PAGE;
			for (size_t page = 0; page < lengths[i]; page++)
				want += area.stored[page];
			ck_assert_msg(have == want, "%s: %zu of %zu in %zu", way_names[ways[w]], have, want,
				      lengths[i]);
			ranges_free(&r);
		}
	area_close(&area);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_ways_agree_on_random_stores);
	tcase_add_test(tc, test_every_other_page);
	tcase_add_test(tc, test_reading_is_no_writing);
	tcase_add_test(tc, test_written_pages_stay_written);
	tcase_add_test(tc, test_dropped_pages_are_not_written);
	tcase_add_test(tc, test_parts_of_an_area);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("dirty");

	test_each_fs(s, "dirty", add_tests);
	return s;
}
