/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files made longer by a mebibyte and shorter again, each time with a commit. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/workloads.h"

#define STEP MIB

struct state {
	const struct job *job;
	struct snapmap_mut *map;
	bool longer;
	char *bytes; /* a step of them */
};

static uint64_t next_size(struct state *s)
{
	s->longer = !s->longer;
	return s->job->size + (s->longer ? STEP : 0);
}

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	snapmap_mut_close(s->map);
	free(s->bytes);
	free(s);
}

static int start_bare(const struct job *job, void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->bytes = (char *)malloc(STEP);
	if (!s->bytes) {
		free(s);
		return -ENOMEM;
	}
	memset(s->bytes, 1, STEP);
	*ret = s;
	return 0;
}

/* ---- the library ---- */

static int start_library(const struct job *job, void **ret)
{
	void *state;
	int rc = start_bare(job, &state);

	if (rc)
		return rc;
	rc = snapmap_mut_open(job->path, NULL, &((struct state *)state)->map);
	if (rc)
		stop(state);
	else
		*ret = state;
	return rc;
}

static int run_library(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = s->job->contender->strategy};
	double begin = clock_now();
	int rc = snapmap_mut_resize(s->map, next_size(s));

	if (!rc && s->longer)
		memcpy((char *)snapmap_mut_data(s->map) + s->job->size, s->bytes, STEP);
	if (!rc)
		rc = snapmap_mut_commit(s->map, &options);
	*ret = clock_now() - begin;
	return rc;
}

/* ---- by system calls ---- */

static int change(const struct state *s, int fd, uint64_t size)
{
	if (!s->longer)
		return bare_check(ftruncate(fd, (off_t)size));
	return pwrite(fd, s->bytes, STEP, (off_t)s->job->size) == (ssize_t)STEP ? 0 : -EIO;
}

static int in_place(const struct state *s, uint64_t size)
{
	int fd = bare_check(open(s->job->path, O_RDWR | O_CLOEXEC)), rc;

	if (fd < 0)
		return fd;
	rc = change(s, fd, size);
	if (!rc)
		rc = bare_check(fsync(fd));
	close(fd);
	return rc;
}

static int by_copying(const struct state *s, uint64_t size)
{
	char temporary[PATH_MAX + 8];
	int from = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), to, rc;

	if (from < 0)
		return from;
	snprintf(temporary, sizeof(temporary), "%s.new", s->job->path);
	to = bare_check(open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	rc = to < 0 ? to : bare_copy(from, to);
	close(from);
	if (!rc)
		rc = change(s, to, size);
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

static int timed(void *state, int (*resize)(const struct state *s, uint64_t size), double *ret)
{
	struct state *s = (struct state *)state;
	double begin = clock_now();
	int rc = resize(s, next_size(s));

	*ret = clock_now() - begin;
	return rc;
}

static int run_in_place(void *state, double *ret)
{
	return timed(state, in_place, ret);
}

static int run_copying(void *state, double *ret)
{
	return timed(state, by_copying, ret);
}

/* ---- workloads ---- */

static const struct contender resizers[] = {
	{"snapmap", true, NULL, .start = start_library, .run = run_library, .stop = stop},
	{"snapmap, clone", true, "not crash-atomic", 0, SNAPMAP_STRATEGY_CLONE, start_library, run_library, stop},
	{"snapmap, journal", true, "atomic only for readers through the library", 0, SNAPMAP_STRATEGY_JOURNAL,
	 start_library, run_library, stop},
	{"cp (copy_file_range), fsync, rename", false, NULL, .start = start_bare, .run = run_copying, .stop = stop},
	{"pwrite or ftruncate in place, fsync", false, "not atomic", .start = start_bare, .run = run_in_place,
	 .stop = stop},
};

static const struct point sizes[] = {QUICK(MIB), QUICK(64 * MIB), STANDARD(256 * MIB), FULL(GIB)};

const struct workload resize_size = {
	.id = "resize-size",
	.title = "Make a file longer by 1 MiB or shorter again, and commit, by size",
	.description = "By turns, with one handle for all commits.",
	.group = "Commit",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(resizers),
	.own_files = true,
	.settle = true,
};
