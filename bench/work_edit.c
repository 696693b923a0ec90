/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One edit from beginning to end: open the file, change some pages, have the change
 * be the file, close. All flush, so that what they made survives a power cut.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

struct state {
	const struct job *job;
	uint64_t random;
	uint64_t pages[];
};

static int start(const struct job *job, void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));

	if (!s)
		return -ENOMEM;
	s->job = job;
	*ret = s;
	return 0;
}

static int timed(void *state, int (*edit)(const struct state *s), double *ret)
{
	struct state *s = (struct state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin = clock_now();

	if (!rc)
		rc = edit(s);
	*ret = clock_now() - begin;
	return rc;
}

/* ---- the library ---- */

static int open_by_library(const struct state *s, struct snapmap_mut **ret)
{
	struct snapmap_options options = {.size = sizeof(options), .source = s->job->contender->source};

	return snapmap_mut_open(s->job->path, &options, ret);
}

static int edit_by_library(const struct state *s)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = s->job->contender->strategy};
	struct snapmap_mut *map;
	int rc = open_by_library(s, &map);

	if (rc)
		return rc;
	pages_edit((char *)snapmap_mut_data(map), s->pages, s->job->count, s->random);
	rc = snapmap_mut_commit_and_close(map, &options);
	if (rc)
		snapmap_mut_close(map);
	return rc;
}

static int run_library(void *state, double *ret)
{
	return timed(state, edit_by_library, ret);
}

/* The edits are given up. */
static int try_by_library(const struct state *s)
{
	struct snapmap_mut *map;
	int rc = open_by_library(s, &map);

	if (rc)
		return rc;
	pages_edit((char *)snapmap_mut_data(map), s->pages, s->job->count, s->random);
	snapmap_mut_close(map);
	return 0;
}

static int run_trial(void *state, double *ret)
{
	return timed(state, try_by_library, ret);
}

/* ---- by system calls ---- */

static int try_by_mapping(const struct state *s)
{
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), rc;
	char *base;

	if (fd < 0)
		return fd;
	rc = bare_map(fd, s->job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, &base);
	if (!rc) {
		pages_edit(base, s->pages, s->job->count, s->random);
		munmap(base, s->job->size);
	}
	close(fd);
	return rc;
}

static int run_mapping(void *state, double *ret)
{
	return timed(state, try_by_mapping, ret);
}

static int change(const struct state *s, int fd)
{
	for (unsigned i = 0; i < s->job->count; i++)
		if (pwrite(fd, &s->random, sizeof(s->random), (off_t)(s->pages[i] * PAGE)) != sizeof(s->random))
			return -errno;
	return 0;
}

/* As an editor does it: everything through a buffer. */
static int read_and_write(int from, int to)
{
	size_t size = MIB;
	char *buffer = (char *)malloc(size);
	ssize_t n = buffer ? 1 : -1;
	int rc = 0;

	while (!rc && n > 0) {
		n = read(from, buffer, size);
		if (n > 0)
			rc = bare_write_all(to, buffer, (uint64_t)n);
	}
	free(buffer);
	return n < 0 ? -errno : rc;
}

static int replace_by(const struct state *s, int (*copy)(int from, int to))
{
	char temporary[PATH_MAX + 8];
	int from = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), to, rc;

	if (from < 0)
		return from;
	snprintf(temporary, sizeof(temporary), "%s.new", s->job->path);
	to = bare_check(open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	rc = to < 0 ? to : copy(from, to);
	close(from);
	if (!rc)
		rc = change(s, to);
	if (!rc)
		rc = bare_check(fsync(to));
	if (to >= 0)
		close(to);
	if (!rc)
		rc = bare_rename(temporary, s->job->dir, s->job->path);
	if (rc)
		unlink(temporary);
	return rc;
}

static int edit_by_writing(const struct state *s)
{
	return replace_by(s, read_and_write);
}

static int edit_by_copying(const struct state *s)
{
	return replace_by(s, bare_copy);
}

static int edit_by_cloning(const struct state *s)
{
	return replace_by(s, bare_clone);
}

static int edit_in_place(const struct state *s)
{
	int fd = bare_check(open(s->job->path, O_RDWR | O_CLOEXEC)), rc;

	if (fd < 0)
		return fd;
	rc = change(s, fd);
	if (!rc)
		rc = bare_check(fsync(fd));
	close(fd);
	return rc;
}

/* A shared mapping of a clone is written out and cloned back. */
static int edit_as_the_crate(const struct state *s)
{
	int fd = bare_check(open(s->job->path, O_RDWR | O_CLOEXEC)), image, rc;
	char *base = NULL;

	if (fd < 0)
		return fd;
	image = bare_image(s->job->dir, s->job->path, bare_clone);
	rc = image < 0 ? image : bare_map(image, s->job->size, PROT_READ | PROT_WRITE, MAP_SHARED, &base);
	if (!rc) {
		pages_edit(base, s->pages, s->job->count, s->random);
		rc = bare_check(msync(base, s->job->size, MS_SYNC));
	}
	if (!rc)
		rc = bare_clone(image, fd);
	if (!rc)
		rc = bare_check(fsync(fd));
	if (base)
		munmap(base, s->job->size);
	if (image >= 0)
		close(image);
	close(fd);
	return rc;
}

static int run_writing(void *state, double *ret)
{
	return timed(state, edit_by_writing, ret);
}

static int run_copying(void *state, double *ret)
{
	return timed(state, edit_by_copying, ret);
}

static int run_cloning(void *state, double *ret)
{
	return timed(state, edit_by_cloning, ret);
}

static int run_in_place(void *state, double *ret)
{
	return timed(state, edit_in_place, ret);
}

static int run_crate(void *state, double *ret)
{
	return timed(state, edit_as_the_crate, ret);
}

/* ---- workloads ---- */

#define RUN(function) .start = start, .run = (function), .stop = free

static const struct contender editors[] = {
	{"snapmap", true, NULL, RUN(run_library)},
	{"snapmap, exchange", true, NULL, 0, SNAPMAP_STRATEGY_EXCHANGE, RUN(run_library)},
	{"snapmap, replace", true, NULL, 0, SNAPMAP_STRATEGY_REPLACE, RUN(run_library)},
	{"snapmap, clone", true, "not crash-atomic", 0, SNAPMAP_STRATEGY_CLONE, RUN(run_library)},
	{"snapmap, journal", true, "atomic only for readers through the library", 0, SNAPMAP_STRATEGY_JOURNAL,
	 RUN(run_library)},
	{"write temporary, fsync, rename", false, NULL, RUN(run_writing)},
	{"cp --reflink, edit, fsync, rename", false, NULL, SNAPMAP_SOURCE_REFLINK, RUN(run_cloning)},
	{"pwrite in place, fsync", false, "not atomic", RUN(run_in_place)},
	{"clone, msync, clone back, fsync", false, "not crash-atomic", SNAPMAP_SOURCE_REFLINK, RUN(run_crate)},
};

static const struct point dirty[] = {QUICK(1), FULL(10), QUICK(100), STANDARD(1000), STANDARD(10000)};

const struct workload edit_dirty = {
	.id = "edit-dirty",
	.title = "Edit a file of 64 MiB, by pages edited",
	.description = "Opens the file, changes a word in so many pages all over it, commits and closes. The last "
		       "baseline is the way of the Rust crate mmap_snapshot.",
	.group = "Edit",
	.axis = AXIS_DIRTY,
	POINTS(dirty),
	CONTENDERS(editors),
	.size = 64 * MIB,
	.own_files = true,
	.settle = true,
};

static const struct point sizes[] = {QUICK(MIB), FULL(16 * MIB), STANDARD(64 * MIB), STANDARD(256 * MIB), FULL(GIB)};

const struct workload edit_size = {
	.id = "edit-size",
	.title = "Edit 16 pages, by size",
	.description = "As edit-dirty.",
	.group = "Edit",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(editors),
	.count = 16,
	.own_files = true,
	.settle = true,
};

/* ---- by source ---- */

#define BY_SOURCE(run_it)                                                                                        \
	{"snapmap", true, NULL, RUN(run_it)}, {"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, RUN(run_it)}, \
		{"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, RUN(run_it)},                           \
	{                                                                                                        \
		"snapmap, copy", true, NULL, SNAPMAP_SOURCE_COPY, RUN(run_it)                                    \
	}

static const struct contender sources[] = {BY_SOURCE(run_library),
					   {"write temporary, fsync, rename", false, NULL, RUN(run_writing)}};
static const struct contender trials[] = {BY_SOURCE(run_trial),
					  {"open, private mmap", false, "others change its bytes", RUN(run_mapping)}};

const struct workload edit_source = {
	.id = "edit-source",
	.title = "Edit 16 pages, from one source or another, by size",
	.description = "As edit-dirty. A lease needs the right to serve page faults of the kernel.",
	.group = "Edit",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(sources),
	.count = 16,
	.own_files = true,
	.settle = true,
};

const struct workload edit_trial = {
	.id = "edit-trial",
	.title = "Edit 16 pages and give the edits up, by size",
	.description = "Opens the file, changes a word in 16 pages all over it, and closes without a commit.",
	.group = "Edit",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(trials),
	.count = 16,
	.own_files = true,
};

/* ---- against the bare calls ---- */

static const struct contender whole[] = {
	{"snapmap", true, NULL, RUN(run_library)},
	{"copy_file_range, pwrite, fsync, rename", false, NULL, RUN(run_copying)},
};

static const struct point whole_bar[] = {{0, LEVEL_STANDARD, 1.2}};

const struct workload bare_edit = {
	.id = "bare-edit",
	.title = "Edit 16 pages of 64 MiB",
	.description = "Opens, edits, commits and closes, beside the system calls for a copy. The bar is for file "
		       "systems without reflinks.",
	.group = "Against the bare calls",
	POINTS(whole_bar),
	CONTENDERS(whole),
	.size = 64 * MIB,
	.count = 16,
	.own_files = true,
	.bar_applies = place_has_copy_only,
};
