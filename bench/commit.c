/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One handle for long: edit some pages, commit, edit other pages, commit ... Only the commit is timed. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <snapmap.h>
#include <stdlib.h>

#include "bench/files.h"

struct commit_state {
	const struct job *job;
	struct snapmap_mut *map;
	uint64_t random;
	uint64_t pages[];
};

static void stop(void *state)
{
	struct commit_state *s = (struct commit_state *)state;

	snapmap_mut_close(s->map);
	free(s);
}

static int commit_with(void *state, uint32_t strategy, double *ret)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = strategy};
	struct commit_state *s = (struct commit_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin;

	if (rc)
		return rc;
	pages_edit((char *)snapmap_mut_data(s->map), s->pages, s->job->count, s->random);
	begin = harness_now();
	rc = snapmap_mut_commit(s->map, &options);
	*ret = harness_now() - begin;
	return rc;
}

static int start(const struct job *job, void **ret)
{
	struct commit_state *s = (struct commit_state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	double unused;
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	rc = snapmap_mut_open(job->path, NULL, &s->map);
	for (unsigned i = 0; !rc && i < job->before; i++)
		rc = commit_with(s, SNAPMAP_STRATEGY_AUTO, &unused);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

static int run_replace(void *state, double *ret)
{
	return commit_with(state, SNAPMAP_STRATEGY_REPLACE, ret);
}

static int run_clone(void *state, double *ret)
{
	return commit_with(state, SNAPMAP_STRATEGY_CLONE, ret);
}

static int run_exchange(void *state, double *ret)
{
	return commit_with(state, SNAPMAP_STRATEGY_EXCHANGE, ret);
}

const struct contender commit_exchange = {"snapmap_mut_commit (exchange)", start, run_exchange, stop};
const struct contender commit_replace = {"snapmap_mut_commit (replace)", start, run_replace, stop};
const struct contender commit_clone = {"snapmap_mut_commit (clone)", start, run_clone, stop};
