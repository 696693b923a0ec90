/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edits that are not committed: finding them, and forgetting them. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

/* @map: of the library; @base: of the baselines */
struct state {
	const struct job *job;
	struct snapmap_mut *map;
	struct snapmap_range *ranges;
	char *base;
	uint64_t random;
	uint64_t pages[];
};

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	snapmap_mut_close(s->map);
	if (s->base)
		munmap(s->base, s->job->size);
	free(s->ranges);
	free(s);
}

static struct state *new_state(const struct job *job)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));

	if (s)
		s->job = job;
	return s;
}

static int edit(struct state *s, char *base)
{
	int rc = pages_pick(s->job, &s->random, s->pages);

	if (!rc)
		pages_edit(base, s->pages, s->job->count, s->random);
	return rc;
}

static int finish(struct state *s, int rc, void **ret)
{
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* ---- finding them ---- */

static int start_scan(const struct job *job, void **ret)
{
	struct state *s = new_state(job);
	int rc;

	if (!s)
		return -ENOMEM;
	s->ranges = (struct snapmap_range *)calloc(job->count, sizeof(*s->ranges));
	rc = s->ranges ? snapmap_mut_open(job->path, NULL, &s->map) : -ENOMEM;
	if (!rc && job->warm)
		rc = snapmap_mut_prefault(s->map, 0, job->size);
	if (!rc)
		rc = edit(s, (char *)snapmap_mut_data(s->map));
	return finish(s, rc, ret);
}

/* All written pages must be found: a scan that is fast and wrong is no result. */
static int run_scan(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double begin = clock_now();
	ssize_t n = snapmap_mut_dirty(s->map, s->ranges, s->job->count);
	uint64_t bytes = 0;

	*ret = clock_now() - begin;
	if (n < 0)
		return (int)n;
	for (ssize_t i = 0; i < n; i++)
		bytes += s->ranges[i].length;
	if (bytes == s->job->count * PAGE)
		return 0;
	return why_set(s->job->why, -EIO, "other pages than the edited ones were found");
}

/* What is left to a program that does not know: compare each page with the file's. */
static int start_compare(const struct job *job, void **ret)
{
	struct state *s = new_state(job);
	int fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC)), rc;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	rc = fd < 0 ? fd : bare_map(fd, job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, &s->base);
	if (fd >= 0)
		close(fd);
	if (!rc)
		rc = edit(s, s->base);
	return finish(s, rc, ret);
}

static int run_compare(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double begin = clock_now();
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), rc;
	unsigned found = 0;
	char *base;

	if (fd < 0)
		return fd;
	rc = bare_map(fd, s->job->size, PROT_READ, MAP_PRIVATE, &base);
	close(fd);
	if (rc)
		return rc;
	for (uint64_t at = 0; at < s->job->size; at += PAGE)
		found += page_differs(base + at, s->base + at);
	munmap(base, s->job->size);
	*ret = clock_now() - begin;
	return found ? 0 : -EIO;
}

/* ---- forgetting them ---- */

static int start_rollback(const struct job *job, void **ret)
{
	struct state *s = new_state(job);

	return s ? finish(s, snapmap_mut_open(job->path, NULL, &s->map), ret) : -ENOMEM;
}

static int run_rollback(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int rc = edit(s, (char *)snapmap_mut_data(s->map));
	double begin = clock_now();

	if (!rc)
		rc = snapmap_mut_rollback(s->map);
	*ret = clock_now() - begin;
	return rc;
}

/* A buffer with the content of the file, which is edited and read again. */
static int start_reread(const struct job *job, void **ret)
{
	struct state *s = new_state(job);
	int rc;

	if (!s)
		return -ENOMEM;
	rc = bare_map(-1, job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, &s->base);
	return finish(s, rc, ret);
}

static int run_reread(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int rc = edit(s, s->base), fd;
	double begin = clock_now();

	if (rc)
		return rc;
	fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	rc = bare_read_all(fd, s->base, s->job->size);
	close(fd);
	*ret = clock_now() - begin;
	return rc;
}

/* ---- workloads ---- */

#define RUN(open_it, function) .start = (open_it), .run = (function), .stop = stop

static const struct contender finders[] = {
	{"snapmap_mut_dirty", true, NULL, RUN(start_scan, run_scan)},
	{"compare all pages", false, "finds what differs, and not what was written", RUN(start_compare, run_compare)},
};
static const struct contender forgetters[] = {
	{"snapmap_mut_rollback", true, NULL, RUN(start_rollback, run_rollback)},
	{"read all again", false, NULL, RUN(start_reread, run_reread)},
};

static const struct point dirty[] = {QUICK(1), FULL(10), STANDARD(100), FULL(1000), QUICK(10000)};

const struct workload edits_find = {
	.id = "dirty-find",
	.title = "Find the edited pages of 64 MiB, by their number",
	.description = "The list of pages that a commit would write.",
	.group = "Edits in memory",
	.axis = AXIS_DIRTY,
	POINTS(dirty),
	CONTENDERS(finders),
	.size = 64 * MIB,
	.batch = 10,
};

const struct workload edits_rollback = {
	.id = "dirty-rollback",
	.title = "Forget edits of 64 MiB, by pages edited",
	.description = "Back to the file as it was opened. Making the edits is not timed.",
	.group = "Edits in memory",
	.axis = AXIS_DIRTY,
	POINTS(dirty),
	CONTENDERS(forgetters),
	.size = 64 * MIB,
	.batch = 10,
};

/* ---- bars ---- */

#define ONE_PERCENT (unsigned)(GIB / PAGE / 100)

static const struct contender one_finder[] = {
	{"snapmap_mut_dirty", true, NULL, SNAPMAP_SOURCE_REFLINK, RUN(start_scan, run_scan)},
};
static const struct point find_bar[] = {{0, LEVEL_FULL, 0.010}};

#define FIND                                                                                      \
	.group = "Against the bare calls", POINTS(find_bar), CONTENDERS(one_finder), .size = GIB, \
	.count = ONE_PERCENT, .bar_applies = place_has_reflink

const struct workload dirty_at_random = {
	.id = "dirty-at-random",
	.title = "Find the edited pages of 1 GiB, 1 % at random",
	.description = "The list of pages that a commit would write.",
	FIND,
};

const struct workload dirty_in_runs = {
	.id = "dirty-in-runs",
	.title = "Find the edited pages of 1 GiB, 1 % in 16 runs",
	.description = "The list of pages that a commit would write.",
	FIND,
	.clustered = true,
};

const struct workload dirty_all_read = {
	.id = "dirty-all-read",
	.title = "Find the edited pages of 1 GiB, 1 % at random, all others read",
	.description = "The list of pages that a commit would write.",
	FIND,
	.warm = true,
};
