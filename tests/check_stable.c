/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stable (promise 1): whatever others do to the file after open has returned, the
 * bytes and the size of a handle stay. Also PITFALLS 25: private pages stay when
 * the file is cut.
 */
#include "config.h"

#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "opening.h"

#define N 45678 /* 12 pages, the last in part */

/* --- what others do; each in another process, and each may fail where a file system lacks it */

static int with_file(int flags, int (*act)(int fd))
{
	int fd = open("f", flags | O_CLOEXEC);
	int rc = fd < 0 ? -errno : act ? act(fd) : 0;

	close(fd);
	return rc < 0 && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOTTY && errno != ENOSYS ? rc : 0;
}

static int overwrite_it(int fd)
{
	static unsigned char other[N + 1000];

	memset(other, 0xee, sizeof(other));
	return pwrite(fd, other, sizeof(other), 0) == (ssize_t)sizeof(other) ? 0 : -1;
}

static int overwrite(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, overwrite_it);
}

static int append(void *arg)
{
	(void)arg;
	return with_file(O_WRONLY | O_APPEND, overwrite_it);
}

static int cut_to_nothing(void *arg)
{
	(void)arg;
	return truncate("f", 0);
}

static int cut_within_a_page(void *arg)
{
	(void)arg;
	return truncate("f", 5000);
}

static int cut_and_grow(void *arg)
{
	(void)arg;
	return truncate("f", 0) || truncate("f", 1 << 20);
}

static int open_with_trunc(void *arg)
{
	(void)arg;
	return with_file(O_WRONLY | O_TRUNC, NULL);
}

static int punch_it(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, N);
}

static int punch(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, punch_it);
}

static int zero_it(int fd)
{
	return fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, N - 200);
}

static int zero(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, zero_it);
}

static int collapse_it(int fd)
{
	return fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192);
}

static int collapse(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, collapse_it);
}

static int clone_over_it(int fd)
{
	int from = open("other", O_RDONLY | O_CLOEXEC);

	return ioctl(fd, FICLONE, from);
}

static int clone_over(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, clone_over_it);
}

static int store_it(int fd)
{
	unsigned char *p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -1;
	memset(p, 0xdd, N);
	return msync(p, N, MS_SYNC);
}

static int store_shared(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, store_it);
}

static int rename_over(void *arg)
{
	(void)arg;
	return rename("other", "f");
}

static int remove_it(void *arg)
{
	(void)arg;
	return unlink("f");
}

static int flush_and_forget_it(int fd)
{
	return overwrite_it(fd) || fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) ? -1 : 0;
}

static int flush_and_forget(void *arg)
{
	(void)arg;
	return with_file(O_RDWR, flush_and_forget_it);
}

static int change_mode(void *arg)
{
	(void)arg;
	return chmod("f", 0);
}

static const struct {
	const char *name;
	int (*act)(void *);
} acts[] = {
	{"overwrite", overwrite},
	{"append", append},
	{"cut to nothing", cut_to_nothing},
	{"cut within a page", cut_within_a_page},
	{"cut and grow", cut_and_grow},
	{"open with O_TRUNC", open_with_trunc},
	{"punch a hole", punch},
	{"zero a range", zero},
	{"collapse a range", collapse},
	{"clone over it", clone_over},
	{"store through a shared mapping", store_shared},
	{"rename over it", rename_over},
	{"remove it", remove_it},
	{"flush and drop the cache", flush_and_forget},
	{"take all rights", change_mode},
};
#define ACTS ((int)(sizeof(acts) / sizeof(acts[0])))

/* --- handles by every kind of name and descriptor */

enum {
	BY_PATH,
	BY_LINK,
	BY_FD,
	BY_RDWR_FD,
	BY_O_PATH,
	BY_PROC,
	BY_END
};

static void open_by(int how, int way, struct view *ret)
{
	static const int flags[BY_END] = {[BY_FD] = O_RDONLY, [BY_RDWR_FD] = O_RDWR, [BY_O_PATH] = O_PATH};
	char path[64];
	int fd;

	if (how == BY_PATH || how == BY_LINK) {
		view_open(way, how == BY_PATH ? "f" : "link", 0, ret);
		return;
	}
	fd = open("f", flags[how] | O_CLOEXEC);
	ck_assert_sys(fd);
	if (how == BY_PROC) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		view_open(way, path, 0, ret);
	} else {
		view_open_fd(way, fd, 0, ret);
	}
	close(fd);
}

/* By path always, and by one of the others in turn. */
static bool is_opened(int how, int way, int act)
{
	return way_exists(way) && (how == BY_PATH || how == BY_PATH + 1 + (act + way) % (BY_END - 1));
}

START_TEST(test_nothing_that_others_do_shows)
{
	static unsigned char want[N], edited[N];
	struct view v[BY_END][WAYS] = {0};
	size_t touched = 4096 * 5;

	test_fill(want, N, test_seed());
	memcpy(edited, want, N);
	edited[3] ^= 1;
	edited[4096 * 7] ^= 1;
	test_write_file("f", want, N);
	test_make_file("other", N, test_seed() + 1);
	ck_assert_sys(symlink("f", "link"));
	for (int how = 0; how < BY_END; how++)
		for (int way = 0; way < WAYS; way++) {
			if (!is_opened(how, way, _i))
				continue;
			open_by(how, way, &v[how][way]);
			/* Some pages are read before, some stored into, some not touched. */
			ck_assert(!memcmp(v[how][way].data, want, touched));
			if (way_edits(way)) {
				unsigned char *p = snapmap_mut_data(v[how][way].mut);

				p[3] ^= 1;
				p[4096 * 7] ^= 1;
			}
		}
	ck_assert_msg(test_as_user(geteuid(), acts[_i].act, NULL) == 0, "%s", acts[_i].name);
	for (int how = 0; how < BY_END; how++)
		for (int way = 0; way < WAYS; way++) {
			struct view *w = &v[how][way];

			if (!is_opened(how, way, _i))
				continue;
			view_look(w);
			ck_assert_msg(view_is(w, way_edits(way) ? edited : want, N), "%s shows (handle %d, way %d)",
				      acts[_i].name, how, way);
			ck_assert(view_ends_in_zeros(w));
			if (w->mut) {
				ck_assert_ok(snapmap_mut_rollback(w->mut));
				ck_assert_msg(view_is(w, want, N), "%s shows after rollback", acts[_i].name);
			}
			view_close(w);
		}
}
END_TEST

/* Stores into a handle do not show anywhere before a commit. */
START_TEST(test_stores_are_private)
{
	static unsigned char want[N];
	struct view v = {0}, reader = {0};

	if (!way_exists(_i))
		return;
	test_fill(want, N, test_seed());
	test_write_file("f", want, N);
	view_open(_i, "f", 0, &v);
	view_open(_i - 1, "f", 0, &reader);
	memset(snapmap_mut_data(v.mut), 0x55, N);
	ck_assert_ok(snapmap_mut_resize(v.mut, 2 * N));
	memset(snapmap_mut_data(v.mut), 0x66, 2 * N);
	ck_assert(test_file_is("f", want, N));
	ck_assert(view_is(&reader, want, N));
	ck_assert_int_eq(snapmap_mut_commit(v.mut, NULL), 0);
	ck_assert(!test_file_is("f", want, N));
	ck_assert_msg(view_is(&reader, want, N), "a commit shows in another handle");
	view_close(&v);
	ck_assert(view_is(&reader, want, N));
	view_close(&reader);
}
END_TEST

/* Read-only memory is not to be made writable by accident, and never writes through. */
START_TEST(test_a_read_only_handle_cannot_write_through)
{
	static unsigned char want[N];
	struct view v = {0}, again = {0};

	if (!way_exists(_i))
		return;
	test_fill(want, N, test_seed());
	test_write_file("f", want, N);
	view_open(_i, "f", 0, &v);
	ck_assert_sys(mprotect((void *)(uintptr_t)v.data, N, PROT_READ | PROT_WRITE));
	memset((void *)(uintptr_t)v.data, 1, N);
	ck_assert(test_file_is("f", want, N));
	view_open(_i, "f", 0, &again);
	ck_assert(view_is(&again, want, N));
	view_close(&again);
	view_close(&v);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_nothing_that_others_do_shows, 0, ACTS);
	for (int way = 0; way < WAYS; way += 2) {
		tcase_add_loop_test(tc, test_a_read_only_handle_cannot_write_through, way, way + 1);
		tcase_add_loop_test(tc, test_stores_are_private, way + 1, way + 2);
	}
}

Suite *test_suite(void)
{
	Suite *s = suite_create("stable");

	test_each_fs(s, "stable", add_tests);
	return s;
}
