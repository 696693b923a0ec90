/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests of opening: both kinds of handle behind one struct, so that a test
 * body is written once. Tests run in a loop over ways, which are numbered:
 *
 *	tcase_add_loop_test(tc, test_something, 0, WAYS);
 *
 *	START_TEST(test_something)	// _i is the way
 *	{
 *		struct view v = {0};
 *
 *		if (!way_exists(_i))	// no reflink on this row: nothing to test
 *			return;
 *		view_open(_i, "f", 0, &v);
 *		...
 *		view_close(&v);
 *	}
 */
#ifndef SNAPMAP_TESTS_OPENING_H
#define SNAPMAP_TESTS_OPENING_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

/* Sources: automatic, reflink, copy; each for reading and for editing. */
#define WAYS 6

struct view {
	struct snapmap *map;	 /* one of the two */
	struct snapmap_mut *mut; /* is not NULL */
	const unsigned char *data;
	size_t size;
	struct snapmap_info info;
};

static inline bool way_edits(int way)
{
	return way & 1;
}

static inline uint32_t way_source(int way)
{
	static const uint32_t sources[] = {SNAPMAP_SOURCE_AUTO, SNAPMAP_SOURCE_REFLINK, SNAPMAP_SOURCE_COPY};

	return sources[way / 2];
}

static inline bool way_exists(int way)
{
	return way_source(way) != SNAPMAP_SOURCE_REFLINK || test_fs()->reflink;
}

/* Files of one's own can be leased there. */
static inline bool row_leases(void)
{
	static const char *const names[] = {"xfs", "btrfs", "ext4", "tmpfs"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(test_fs()->name, names[i], strlen(names[i])))
			return true;
	return false;
}

/* What the automatic choice comes to for a file of one's own that nobody writes to. */
static inline uint32_t best_source(bool edits)
{
	if (test_fs()->served)
		return SNAPMAP_SOURCE_SNAPFS;
	if (!edits && row_leases())
		return SNAPMAP_SOURCE_LEASE;
	return test_fs()->reflink ? SNAPMAP_SOURCE_REFLINK : SNAPMAP_SOURCE_COPY;
}

static inline struct snapmap_options way_options(int way, uint32_t flags)
{
	return (struct snapmap_options){
		.size = sizeof(struct snapmap_options), .flags = flags, .source = way_source(way)};
}

static inline void view_look(struct view *v)
{
	v->data = v->map ? snapmap_data(v->map) : snapmap_mut_data(v->mut);
	v->size = v->map ? snapmap_size(v->map) : snapmap_mut_size(v->mut);
	if (v->map)
		snapmap_get_info(v->map, &v->info);
	else
		snapmap_mut_get_info(v->mut, &v->info);
}

/* These may be called in children of a test as well: they check nothing. */
static inline int view_try_with(int way, const char *path, const struct snapmap_options *o, struct view *ret)
{
	struct view v = {0};
	int rc = way_edits(way) ? snapmap_mut_open(path, o, &v.mut) : snapmap_open(path, o, &v.map);

	if (!rc) {
		view_look(&v);
		*ret = v;
	}
	return rc;
}

static inline int view_try(int way, const char *path, uint32_t flags, struct view *ret)
{
	struct snapmap_options o = way_options(way, flags);

	return view_try_with(way, path, &o, ret);
}

static inline int view_try_fd(int way, int fd, uint32_t flags, struct view *ret)
{
	struct snapmap_options o = way_options(way, flags);
	struct view v = {0};
	int rc = way_edits(way) ? snapmap_mut_open_fd(fd, &o, &v.mut) : snapmap_open_fd(fd, &o, &v.map);

	if (!rc) {
		view_look(&v);
		*ret = v;
	}
	return rc;
}

static inline void view_close(struct view *v)
{
	snapmap_close(v->map);
	snapmap_mut_close(v->mut);
	*v = (struct view){0};
}

static inline bool view_is(const struct view *v, const void *bytes, size_t n)
{
	return v->size == n && !memcmp(v->data, bytes, n);
}

/* What lies behind the end, in the last page, reads as zeros. */
static inline bool view_ends_in_zeros(const struct view *v)
{
	for (size_t k = v->size; k % 4096; k++)
		if (v->data[k])
			return false;
	return true;
}

/* And these fail the test with the library's own sentence. */
#define view_open(way, path, flags, ret)                                                           \
	do {                                                                                       \
		int view_rc = view_try(way, path, flags, ret);                                     \
                                                                                                   \
		ck_assert_msg(view_rc == 0, "way %d: %d: %s", way, view_rc, snapmap_last_error()); \
	} while (0)
#define view_open_fd(way, fd, flags, ret)                                                          \
	do {                                                                                       \
		int view_rc = view_try_fd(way, fd, flags, ret);                                    \
                                                                                                   \
		ck_assert_msg(view_rc == 0, "way %d: %d: %s", way, view_rc, snapmap_last_error()); \
	} while (0)

#define ck_assert_ok(call)                                                                     \
	do {                                                                                   \
		long long ok_rc = (call);                                                      \
                                                                                               \
		ck_assert_msg(ok_rc >= 0, "%s: %lld: %s", #call, ok_rc, snapmap_last_error()); \
	} while (0)

/* Mappings of files. The C library makes and keeps others as it likes: heaps, stacks of threads. */
static inline size_t count_file_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[8192];
	size_t n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += strchr(line, '/') != NULL;
	fclose(f);
	return n;
}

/*
 * fuse2fs keeps whole seconds, and the library waits until one has passed before
 * it takes a file that just changed for editing. Tests that do so often do less there.
 */
static inline bool row_is_slow(void)
{
	return !strcmp(test_fs()->name, "fuse");
}

/* Whether there are @n names here. FUSE may take its time to remove what was closed. */
static inline bool names_are(size_t n)
{
	for (int i = 0; i < 500 && test_count_names(".") != n && row_is_slow(); i++)
		usleep(10000);
	return test_count_names(".") == n;
}

/*
 * Another process that works until it is stopped. It may not check anything.
 */
struct worker {
	pid_t pid;
};

static inline void worker_start(void (*work)(void *arg), void *arg, struct worker *ret)
{
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(arg);
		_exit(0);
	}
	ret->pid = pid;
}

static inline void worker_stop(struct worker *w)
{
	ck_assert_sys(kill(w->pid, SIGKILL));
	while (waitpid(w->pid, NULL, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
}

#endif
