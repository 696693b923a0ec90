/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Find the dirty pages of an editable handle. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <snapmap.h>
#include <stdlib.h>

#include "bench/files.h"

struct scan_state {
	struct snapmap_mut *map;
	struct snapmap_range *ranges;
	unsigned count;
};

static void stop(void *state)
{
	struct scan_state *s = (struct scan_state *)state;

	snapmap_mut_close(s->map);
	free(s->ranges);
	free(s);
}

static int make_dirty(const struct job *job, struct scan_state *s)
{
	uint64_t *pages = (uint64_t *)calloc(job->count, sizeof(*pages));
	uint64_t random = 1;
	int rc = pages ? pages_pick(job, &random, pages) : -ENOMEM;

	if (!rc && job->warm)
		rc = snapmap_mut_prefault(s->map, 0, job->size);
	if (!rc)
		pages_edit((char *)snapmap_mut_data(s->map), pages, job->count, random);
	free(pages);
	return rc;
}

static int start(const struct job *job, void **ret)
{
	struct scan_state *s = (struct scan_state *)calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->count = job->count;
	s->ranges = (struct snapmap_range *)calloc(job->count, sizeof(*s->ranges));
	rc = s->ranges ? snapmap_mut_open(job->path, NULL, &s->map) : -ENOMEM;
	if (!rc)
		rc = make_dirty(job, s);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* All written pages must be found: a scan that is fast and wrong is no result. */
static int run(void *state, double *ret)
{
	struct scan_state *s = (struct scan_state *)state;
	double begin = harness_now();
	ssize_t n = snapmap_mut_dirty(s->map, s->ranges, s->count);
	uint64_t bytes = 0;

	*ret = harness_now() - begin;
	if (n < 0)
		return (int)n;
	for (ssize_t i = 0; i < n; i++)
		bytes += s->ranges[i].length;
	return bytes == s->count * PAGE ? 0 : -EIO;
}

const struct contender scan = {"snapmap_mut_dirty", start, run, stop};
