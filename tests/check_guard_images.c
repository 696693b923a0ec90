/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SNAPMAP_GUARD, and images that take the place of others: a page that has been zeros
 * once is zeros from then on, at every moment.
 */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "guarded.h"
#include "overlay.h"

static int make_image(char c)
{
	char page[PAGE];
	int fd = memfd_create("image", MFD_CLOEXEC);

	memset(page, c, PAGE);
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(pwrite(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
	return fd;
}

START_TEST(test_new_image_does_not_bring_lost_pages_back)
{
	int first = make_image('a'), second = make_image('b');
	struct mapping m;
	struct live *live;

	ck_assert_int_eq(mapping_open(first, SIZE, false, &m), 0);
	ck_assert_int_eq(guard_add(&m, false, &live), 0);
	ck_assert_int_eq(m.base[0], 'a');
	ck_assert_sys(ftruncate(first, (off_t)(GOOD * PAGE)));
	ck_assert(is_zero(m.base + 9 * PAGE, PAGE) && is_zero(m.base + 15 * PAGE, PAGE));
	ck_assert(mmap(m.base, SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, second, 0) == m.base);
	guard_zero_again(live);
	ck_assert(is_zero(m.base + 9 * PAGE, PAGE) && is_zero(m.base + 15 * PAGE, PAGE));
	ck_assert(m.base[8 * PAGE] == 'b' && m.base[10 * PAGE] == 'b' && m.base[14 * PAGE] == 'b');
	ck_assert_int_eq(guard_error(live), -EIO);

	ck_assert_int_eq(guard_zero_all(live, -ESTALE), 0);
	ck_assert(is_zero(m.base, SIZE));
	/* The first error is the one that tells. */
	ck_assert_int_eq(guard_error(live), -EIO);
	ck_assert(mmap(m.base, SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, second, 0) == m.base);
	guard_zero_again(live);
	ck_assert(is_zero(m.base, SIZE));
	registry_remove(live);
	mapping_close(&m);
	close(first);
	close(second);
	retire_flush();
}
END_TEST

/* --- all that is not lost, in one step for each run */

struct runs {
	struct ranges ranges;
	size_t most; /* then it fails */
};

static int note_run(void *arg, size_t offset, size_t length)
{
	struct runs *r = (struct runs *)arg;

	return r->ranges.n == r->most ? -ENOMEM : ranges_append(&r->ranges, offset, length);
}

static void expect_runs(struct live *live, const struct snapmap_range *want, size_t n)
{
	struct runs r = {.most = n};

	ck_assert_int_eq(guard_put_around(live, note_run, &r), 0);
	ck_assert_uint_eq(r.ranges.n, n);
	for (size_t i = 0; i < n; i++)
		ck_assert(r.ranges.v[i].offset == want[i].offset * PAGE &&
			  r.ranges.v[i].length == want[i].length * PAGE);
	ranges_free(&r.ranges);
	r = (struct runs){.most = n / 2};
	ck_assert_int_eq(guard_put_around(live, note_run, &r), n ? -ENOMEM : 0);
	ranges_free(&r.ranges);
}

START_TEST(test_images_are_put_around_lost_pages)
{
	static const struct snapmap_range all[] = {{0, 200}}, some[] = {{1, 1}, {3, 61}, {130, 69}};
	struct mapping m = {.span = 200 * PAGE};
	struct live *live;

	m.base = (char *)mmap(NULL, m.span, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_int_eq(guard_add(&m, false, &live), 0);
	expect_runs(live, all, 1);
	ck_assert(handle_fault_at(m.base) && handle_fault_at(m.base + 2 * PAGE) &&
		  handle_fault_at(m.base + 199 * PAGE));
	for (size_t page = 64; page < 130; page++)
		ck_assert(handle_fault_at(m.base + page * PAGE));
	expect_runs(live, some, 3);
	ck_assert_int_eq(guard_zero_all(live, -ESTALE), 0);
	expect_runs(live, NULL, 0);
	registry_remove(live);
	mapping_close(&m);
	retire_flush();
}
END_TEST

/* --- the same when a lease breaks */

static const size_t lost[] = {0, 2, 3, PAGES - 1};
#define LOST (sizeof(lost) / sizeof(lost[0]))

struct reader {
	pthread_t thread;
	const char *data;
	atomic_bool stop;
	atomic_uint wrong;
};

static void *read_lost_pages(void *arg)
{
	struct reader *r = (struct reader *)arg;

	while (!atomic_load(&r->stop))
		for (size_t i = 0; i < LOST; i++)
			if (*(const volatile uint64_t *)(const void *)(r->data + lost[i] * PAGE))
				atomic_fetch_add(&r->wrong, 1);
	return NULL;
}

/* Another process, which writes when it is told to. Made before there are threads of the test. */
struct writer {
	pid_t pid;
	int go[2];
};

static void start_writer(struct writer *w)
{
	char c;

	ck_assert_sys(pipe2(w->go, O_CLOEXEC));
	w->pid = fork();
	ck_assert_sys(w->pid);
	if (w->pid)
		return;
	alarm(20 * (TEST_SANITIZED ? 10 : 1));
	if (read(w->go[0], &c, 1) != 1)
		_exit(1);
	close(w->go[0]);

	int fd = open("f", O_RDWR | O_CLOEXEC);

	_exit(fd < 0 || ftruncate(fd, 0));
}

/* Without descriptors the image is shared memory. */
static void break_lease(struct writer *w, bool without_descriptors)
{
	struct rlimit before, few;
	int taken[64], n = 0, fd, status;

	ck_assert_sys(getrlimit(RLIMIT_NOFILE, &before));
	few = (struct rlimit){64, before.rlim_max};
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &few));
	while (without_descriptors && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		taken[n++] = fd;
	ck_assert_int_eq(write(w->go[1], "x", 1), 1);
	ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
	while (n)
		close(taken[--n]);
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
	ck_assert_int_eq(status, 0);
	close(w->go[0]);
	close(w->go[1]);
}

static void check_pages(const char *data)
{
	bool is_lost[PAGES] = {false};

	for (size_t i = 0; i < LOST; i++)
		is_lost[lost[i]] = true;
	for (size_t page = 0; page < PAGES; page++)
		ck_assert(is_lost[page] ? is_zero(data + page * PAGE, PAGE)
					: page_is(data + page * PAGE, bytes + page * PAGE));
}

START_TEST(test_lost_pages_are_zeros_while_a_lease_breaks)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_GUARD, .source = SNAPMAP_SOURCE_LEASE};
	struct snapmap_info info;
	struct snapmap *map;

	if (!row_leases())
		test_skip("no leases here");
	for (int round = 0; round < 20; round++) {
		struct reader r = {.stop = false};
		struct writer w;

		make_file();
		ck_assert_ok(snapmap_open("f", &o, &map));
		r.data = (const char *)snapmap_data(map);
		for (size_t i = 0; i < LOST; i++)
			ck_assert(handle_fault_at((void *)(uintptr_t)(r.data + lost[i] * PAGE)));
		check_pages(r.data);
		start_writer(&w);
		ck_assert_int_eq(pthread_create(&r.thread, NULL, read_lost_pages, &r), 0);
		break_lease(&w, _i);
		/* Waits for the end of the exchange. */
		ck_assert_ok(snapmap_get_info(map, &info));
		atomic_store(&r.stop, true);
		pthread_join(r.thread, NULL);
		ck_assert_uint_eq(atomic_load(&r.wrong), 0);
		ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_IMAGED);
		ck_assert_int_eq(info.error, -EIO);
		check_pages(r.data);
		snapmap_close(map);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_new_image_does_not_bring_lost_pages_back);
	tcase_add_test(tc, test_images_are_put_around_lost_pages);
	tcase_add_loop_test(tc, test_lost_pages_are_zeros_while_a_lease_breaks, 0, 2);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("guard_images");

	test_each_fs(s, "guard_images", add_tests);
	return s;
}
