/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Somebody else wants to write to a file that a handle has leased: how long does the
 * open take until an image has taken the place of the lease?
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/workloads.h"

/* The thread that serves breaks is to be asleep, as it mostly is; all sleep as long. */
static void let_sleep(void)
{
	usleep(30000);
}

static int open_to_write(const char *path, double *ret)
{
	double begin = clock_now();
	int fd = bare_check(open(path, O_RDWR | O_CLOEXEC));

	*ret = clock_now() - begin;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int run_leased(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	/* However long the copy takes: here it is measured. */
	struct snapmap_options options = {
		.size = sizeof(options), .source = SNAPMAP_SOURCE_LEASE, .lease_limit = UINT64_MAX};
	struct snapmap *map;
	int rc = snapmap_open(job->path, &options, &map);

	if (rc)
		return rc;
	let_sleep();
	rc = open_to_write(job->path, ret);
	snapmap_close(map);
	return rc;
}

static int run_unleased(void *state, double *ret)
{
	let_sleep();
	return open_to_write(((const struct job *)state)->path, ret);
}

/* Sharing the extents, or where that cannot be, copying. */
static int clone_or_copy(int from, int to)
{
	return bare_clone(from, to) ? bare_copy(from, to) : 0;
}

static int run_image(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	int from = bare_check(open(job->path, O_RDONLY | O_CLOEXEC)), to = bare_private(job->dir), rc;
	double begin;

	let_sleep();
	begin = clock_now();
	rc = from < 0 ? from : to < 0 ? to : clone_or_copy(from, to);
	*ret = clock_now() - begin;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return rc;
}

static const struct contender writers[] = {
	{"open of a file leased by snapmap", true, NULL, SNAPMAP_SOURCE_LEASE, .run = run_leased},
	{"FICLONE, or else copy_file_range", false, NULL, .run = run_image},
	{"open of a file that nobody leased", false, NULL, .run = run_unleased},
};

static const struct point sizes[] = {QUICK(MIB), STANDARD(64 * MIB), {GIB, LEVEL_FULL, 2.0}};

const struct workload writer_wait = {
	.id = "writer-wait",
	.title = "What a writer waits for, by size",
	.description = "Somebody opens a file for writing that a handle has leased; an image is made meanwhile.",
	.group = "Others",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(writers),
	.bar_applies = place_has_lease,
};
