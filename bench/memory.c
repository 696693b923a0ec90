/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that a handle takes in this process, besides the pages of the file and
 * those stored: what the allocator gave, and page tables, over job->count handles
 * open at once, each with one page read. What the kernel keeps for an open file or
 * a mapping comes on top, some 2 KiB, as it does for any.
 */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <malloc.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static double page_tables(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	double size = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmPTE:", 6))
			size = strtod(line + 6, NULL) * 1024;
	if (f)
		fclose(f);
	return size;
}

static double used(void)
{
	struct mallinfo2 heap = mallinfo2();

	return (double)(heap.uordblks + heap.hblkhd) + page_tables();
}

static int start(const struct job *job, void **ret)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	*ret = (void *)job;
	return 0;
}

static int measure(const struct job *job, int (*open_one)(const char *path, void **ret), void (*close_one)(void *),
		   double *ret)
{
	void **handles = (void **)calloc(job->count, sizeof(*handles));
	double before;
	int rc = handles ? 0 : -ENOMEM;

	if (rc)
		return rc;
	before = used();
	for (unsigned i = 0; !rc && i < job->count; i++)
		rc = open_one(job->path, &handles[i]);
	*ret = (used() - before) / job->count;
	for (unsigned i = 0; i < job->count; i++)
		close_one(handles[i]);
	free(handles);
	return rc;
}

static int open_map(const char *path, void **ret)
{
	struct snapmap *map;
	int rc = snapmap_open(path, NULL, &map);

	if (rc)
		return rc;
	*ret = map;
	return snapmap_prefault(map, 0, 1);
}

static void close_map(void *map)
{
	snapmap_close((struct snapmap *)map);
}

static int open_map_mut(const char *path, void **ret)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(path, NULL, &map);

	if (rc)
		return rc;
	*ret = map;
	return snapmap_mut_prefault(map, 0, 1);
}

static void close_map_mut(void *map)
{
	snapmap_mut_close((struct snapmap_mut *)map);
}

static int run_map(void *state, double *ret)
{
	return measure((const struct job *)state, open_map, close_map, ret);
}

static int run_map_mut(void *state, double *ret)
{
	return measure((const struct job *)state, open_map_mut, close_map_mut, ret);
}

const struct contender memory_of_map = {"struct snapmap", start, run_map, NULL};
const struct contender memory_of_map_mut = {"struct snapmap_mut", start, run_map_mut, NULL};
