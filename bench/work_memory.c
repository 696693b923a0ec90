/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that a handle takes in this process, besides the pages of the file and
 * those stored: what the allocator gave, and page tables, over so many handles open
 * at once, each with one page read. What the kernel keeps for an open file or a
 * mapping comes on top, some 2 KiB, as it does for any.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/files.h"
#include "bench/workloads.h"

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

/* Handles hold descriptors, and where the image is a copy, there is one for each of them. */
static int start(const struct job *job, void **ret)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	if (limit.rlim_cur < 5ull * job->count)
		return why_set(job->why, -EOPNOTSUPP, "only %llu files may be open at once",
			       (unsigned long long)limit.rlim_cur);
	if (place_lacks_source(job->place, SNAPMAP_SOURCE_REFLINK) &&
	    place_room(job->place) < 2 * job->count * job->size)
		return why_set(job->why, -ENOSPC, "no room for %u copies", job->count);
	*ret = (void *)job;
	return 0;
}

static int measure(const struct job *job, int (*open_one)(const struct job *job, void **ret),
		   void (*close_one)(const struct job *job, void *handle), double *ret)
{
	void **handles = (void **)calloc(job->count, sizeof(*handles));
	double before;
	int rc = handles ? 0 : -ENOMEM;

	if (rc)
		return rc;
	before = used();
	for (unsigned i = 0; !rc && i < job->count; i++)
		rc = job->stopped() ? -ECANCELED : open_one(job, &handles[i]);
	*ret = (used() - before) / job->count;
	for (unsigned i = 0; i < job->count; i++)
		if (handles[i])
			close_one(job, handles[i]);
	free(handles);
	return rc;
}

static int open_map(const struct job *job, void **ret)
{
	struct snapmap *map;
	int rc = snapmap_open(job->path, NULL, &map);

	if (rc)
		return rc;
	*ret = map;
	return snapmap_prefault(map, 0, 1);
}

static void close_map(const struct job *job, void *map)
{
	(void)job;
	snapmap_close((struct snapmap *)map);
}

static int open_map_mut(const struct job *job, void **ret)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(job->path, NULL, &map);

	if (rc)
		return rc;
	*ret = map;
	return snapmap_mut_prefault(map, 0, 1);
}

static void close_map_mut(const struct job *job, void *map)
{
	(void)job;
	snapmap_mut_close((struct snapmap_mut *)map);
}

static int open_plain(const struct job *job, void **ret)
{
	int fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC)), rc;
	char *base;

	if (fd < 0)
		return fd;
	rc = bare_map(fd, job->size, PROT_READ, MAP_PRIVATE, &base);
	close(fd);
	if (rc)
		return rc;
	pages_read(base, PAGE);
	*ret = base;
	return 0;
}

static void close_plain(const struct job *job, void *base)
{
	munmap(base, job->size);
}

static int run_map(void *state, double *ret)
{
	return measure((const struct job *)state, open_map, close_map, ret);
}

static int run_map_mut(void *state, double *ret)
{
	return measure((const struct job *)state, open_map_mut, close_map_mut, ret);
}

static int run_plain(void *state, double *ret)
{
	return measure((const struct job *)state, open_plain, close_plain, ret);
}

/* ---- workloads ---- */

static const struct point bar[] = {{0, LEVEL_STANDARD, 64.0 * KIB}};

/* A bar without a reference is for the value, so each has the library only ... */
static const struct contender maps[] = {{"struct snapmap", true, NULL, .start = start, .run = run_map}};
static const struct contender muts[] = {{"struct snapmap_mut", true, NULL, .start = start, .run = run_map_mut}};
/* ... and this is what they are to be seen beside. */
static const struct contender plain[] = {{"open, mmap", false, NULL, .start = start, .run = run_plain}};
static const struct point no_bar[] = {STANDARD(0)};

#define MEMORY                                                                                                   \
	.description = "Bytes from the allocator and for page tables, the mean of 1000 handles, a page read in " \
		       "each.",                                                                                  \
	.group = "Memory", .unit = UNIT_BYTES, .size = MIB, .count = 1000, .rounds = 5

const struct workload memory_map = {
	.id = "memory-map",
	.title = "Memory of a read-only handle",
	MEMORY,
	POINTS(bar),
	CONTENDERS(maps),
	.bar_applies = place_has_reflink,
};

const struct workload memory_mut = {
	.id = "memory-mut",
	.title = "Memory of an editable handle",
	MEMORY,
	POINTS(bar),
	CONTENDERS(muts),
	.bar_applies = place_has_reflink,
};

const struct workload memory_plain = {
	.id = "memory-plain",
	.title = "Memory of a plain mapping",
	MEMORY,
	POINTS(no_bar),
	CONTENDERS(plain),
};
