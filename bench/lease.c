/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles over the file itself: opening, reading, and what a writer waits for. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <fcntl.h>
#include <snapmap.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench/files.h"
#include "bench/threads.h"

static int start(const struct job *job, void **ret)
{
	*ret = (void *)job;
	return 0;
}

static int open_leased(const char *path, struct snapmap **ret)
{
	/* However long the copy takes: here it is measured. */
	struct snapmap_options options = {
		.size = sizeof(options), .source = SNAPMAP_SOURCE_LEASE, .lease_limit = UINT64_MAX};

	return snapmap_open(path, &options, ret);
}

static int run_to_close(const struct job *job, bool sum, double *ret)
{
	struct snapmap *map;
	double begin = harness_now();
	int rc = open_leased(job->path, &map);

	if (rc)
		return rc;
	if (sum)
		bytes_sum(snapmap_data(map), snapmap_size(map));
	snapmap_close(map);
	*ret = harness_now() - begin;
	return 0;
}

static int run_open(void *state, double *ret)
{
	return run_to_close((const struct job *)state, false, ret);
}

static int run_sum(void *state, double *ret)
{
	return run_to_close((const struct job *)state, true, ret);
}

/* From the writer's open to its success. */
static int run_writer(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	struct snapmap *map;
	double begin;
	int rc = open_leased(job->path, &map), fd;

	if (rc)
		return rc;
	/* The thread that serves breaks is to be asleep, as it mostly is. */
	usleep(30000);
	begin = harness_now();
	fd = open(job->path, O_RDWR | O_CLOEXEC);
	*ret = harness_now() - begin;
	rc = fd < 0 ? -errno : 0;
	close(fd);
	snapmap_close(map);
	return rc;
}

static int open_and_close(const char *path)
{
	struct snapmap *map;
	int rc = open_leased(path, &map);

	if (!rc)
		snapmap_close(map);
	return rc;
}

static int run_threads(void *state, double *ret)
{
	return threads_run((const struct job *)state, open_and_close, ret);
}

const struct contender open_lease = {"snapmap_open (lease)", start, run_open, NULL};
const struct contender sum_lease = {"snapmap_open (lease), sum", start, run_sum, NULL};
const struct contender writer_wait = {"a writer's open", start, run_writer, NULL};
const struct contender threads_lease = {"snapmap_open (lease), threads", threads_start, run_threads, threads_stop};
