/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Open and close a handle. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <snapmap.h>

#include "bench/files.h"

static int start(const struct job *job, void **ret)
{
	*ret = (void *)job;
	return 0;
}

static int open_with(void *state, uint32_t source, bool touch, double *ret)
{
	const struct job *job = (const struct job *)state;
	struct snapmap_options options = {.size = sizeof(options), .source = source};
	struct snapmap *map;
	double begin = harness_now();
	int rc = snapmap_open(job->path, &options, &map);

	if (rc)
		return rc;
	if (touch)
		pages_read((const char *)snapmap_data(map), PAGE);
	snapmap_close(map);
	*ret = harness_now() - begin;
	return 0;
}

static int run_auto(void *state, double *ret)
{
	return open_with(state, SNAPMAP_SOURCE_AUTO, false, ret);
}

static int run_reflink(void *state, double *ret)
{
	return open_with(state, SNAPMAP_SOURCE_REFLINK, false, ret);
}

static int run_copy(void *state, double *ret)
{
	return open_with(state, SNAPMAP_SOURCE_COPY, false, ret);
}

static int run_touch(void *state, double *ret)
{
	return open_with(state, SNAPMAP_SOURCE_AUTO, true, ret);
}

static int run_mut(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	struct snapmap_mut *map;
	double begin = harness_now();
	int rc = snapmap_mut_open(job->path, NULL, &map);

	if (rc)
		return rc;
	snapmap_mut_close(map);
	*ret = harness_now() - begin;
	return 0;
}

const struct contender open_auto = {"snapmap_open", start, run_auto, NULL};
const struct contender open_reflink = {"snapmap_open (reflink)", start, run_reflink, NULL};
const struct contender open_copy = {"snapmap_open (copy)", start, run_copy, NULL};
const struct contender open_mut = {"snapmap_mut_open", start, run_mut, NULL};
const struct contender open_and_touch = {"snapmap_open, one page read", start, run_touch, NULL};
