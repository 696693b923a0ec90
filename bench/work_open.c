/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a file and closing it again, also with a page read in between. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

/* ---- the library ---- */

static struct snapmap_options options_for(const struct job *job)
{
	/* However long a copy would keep a writer waiting: the cost of a lease is what is asked for. */
	return (struct snapmap_options){.size = sizeof(struct snapmap_options),
					.source = job->contender->source,
					.lease_limit = job->contender->source == SNAPMAP_SOURCE_LEASE ? UINT64_MAX : 0};
}

static int open_map(const struct job *job, bool touch, double *ret)
{
	struct snapmap_options options = options_for(job);
	struct snapmap *map;
	double begin = clock_now();
	int rc = snapmap_open(job->path, &options, &map);

	if (rc)
		return rc;
	if (touch)
		pages_read((const char *)snapmap_data(map), PAGE);
	snapmap_close(map);
	*ret = clock_now() - begin;
	return 0;
}

static int run_map(void *state, double *ret)
{
	return open_map((const struct job *)state, false, ret);
}

static int run_map_and_touch(void *state, double *ret)
{
	return open_map((const struct job *)state, true, ret);
}

static int run_map_mut(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	struct snapmap_options options = options_for(job);
	struct snapmap_mut *map;
	double begin = clock_now();
	int rc = snapmap_mut_open(job->path, &options, &map);

	if (rc)
		return rc;
	snapmap_mut_close(map);
	*ret = clock_now() - begin;
	return 0;
}

/* ---- by system calls ---- */

/* Takes @fd. */
static int map_and_close(int fd, bool touch)
{
	struct stat st;
	char *base;
	int rc = bare_check(fstat(fd, &st));

	if (!rc)
		rc = bare_map(fd, (uint64_t)st.st_size, PROT_READ, MAP_PRIVATE, &base);
	if (!rc && touch)
		pages_read(base, PAGE);
	if (!rc)
		munmap(base, (size_t)st.st_size);
	close(fd);
	return rc;
}

static int open_plain(const struct job *job, bool touch, double *ret)
{
	double begin = clock_now();
	int fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC));
	int rc = fd < 0 ? fd : map_and_close(fd, touch);

	*ret = clock_now() - begin;
	return rc;
}

static int run_plain(void *state, double *ret)
{
	return open_plain((const struct job *)state, false, ret);
}

static int run_plain_and_touch(void *state, double *ret)
{
	return open_plain((const struct job *)state, true, ret);
}

static int open_image(const struct job *job, int (*make)(int from, int to), bool touch, double *ret)
{
	double begin = clock_now();
	int fd = bare_image(job->dir, job->path, make);
	int rc = fd < 0 ? fd : map_and_close(fd, touch);

	*ret = clock_now() - begin;
	return rc;
}

static int run_clone(void *state, double *ret)
{
	return open_image((const struct job *)state, bare_clone, false, ret);
}

static int run_clone_and_touch(void *state, double *ret)
{
	return open_image((const struct job *)state, bare_clone, true, ret);
}

static int run_copy(void *state, double *ret)
{
	return open_image((const struct job *)state, bare_copy, false, ret);
}

/* Into memory that is fresh from the system, as a program that reads a file once has it. */
static int run_read(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	double begin;
	char *buffer;
	int fd, rc;

	if (job->size > place_memory() / 2)
		return why_set(job->why, -ENOSPC, "there is too little memory to read all into");
	begin = clock_now();
	fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	rc = bare_map(-1, job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, &buffer);
	if (!rc) {
		rc = bare_read_all(fd, buffer, job->size);
		munmap(buffer, job->size);
	}
	close(fd);
	*ret = clock_now() - begin;
	return rc;
}

/* ---- workloads ---- */

#define UNSTABLE "others change its bytes"

#define PLAIN                                                   \
	{                                                       \
		"open, mmap", false, UNSTABLE, .run = run_plain \
	}
#define READ                                                   \
	{                                                      \
		"open, read all", false, NULL, .run = run_read \
	}
#define CLONE                                                                          \
	{                                                                              \
		"FICLONE, mmap", false, NULL, SNAPMAP_SOURCE_REFLINK, .run = run_clone \
	}
#define COPY                                                          \
	{                                                             \
		"copy_file_range, mmap", false, NULL, .run = run_copy \
	}

static const struct contender openers[] = {
	{"snapmap", true, NULL, .run = run_map},
	{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .run = run_map},
	{"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, .run = run_map},
	{"snapmap, copy", true, NULL, SNAPMAP_SOURCE_COPY, .run = run_map},
	{"snapmap_mut", true, NULL, .run = run_map_mut},
	PLAIN,
	READ,
	CLONE,
	COPY,
};

static const struct point sizes[] = {QUICK(4 * KIB),  FULL(64 * KIB),	   QUICK(MIB), FULL(16 * MIB),
				     QUICK(64 * MIB), STANDARD(256 * MIB), FULL(GIB),  FULL(4 * GIB)};

const struct workload open_size = {
	.id = "open-size",
	.title = "Open and close, by size",
	.description = "Opens a file that is in memory and closes it again; nothing of it is read.",
	.group = "Open",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(openers),
	.batch = 40,
};

static const struct point sparse_sizes[] = {STANDARD(64 * MIB), STANDARD(GIB), STANDARD(4 * GIB)};

const struct workload open_sparse = {
	.id = "open-sparse",
	.title = "Open and close a file that is one hole, by size",
	.description = "As open-size, for files without a block on the disk.",
	.group = "Open",
	.axis = AXIS_SIZE,
	POINTS(sparse_sizes),
	CONTENDERS(openers),
	.sparse = true,
	.batch = 40,
};

static const struct point extents[] = {QUICK(1), FULL(10), STANDARD(100), QUICK(1000), STANDARD(10000), FULL(50000)};

const struct workload open_extents = {
	.id = "open-extents",
	.title = "Open and close, by extents",
	.description = "As open-size, for files of so many blocks with a hole between each two.",
	.group = "Open",
	.axis = AXIS_EXTENTS,
	POINTS(extents),
	CONTENDERS(openers),
	.batch = 40,
};

static const struct contender touchers[] = {
	{"snapmap", true, NULL, .run = run_map_and_touch},
	{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .run = run_map_and_touch},
	{"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, .run = run_map_and_touch},
	{"snapmap, copy", true, NULL, SNAPMAP_SOURCE_COPY, .run = run_map_and_touch},
	{"open, mmap", false, UNSTABLE, .run = run_plain_and_touch},
	{"open, read all", false, NULL, .run = run_read},
	{"FICLONE, mmap", false, NULL, SNAPMAP_SOURCE_REFLINK, .run = run_clone_and_touch},
};

static const struct point touch_sizes[] = {QUICK(MIB), STANDARD(64 * MIB), FULL(GIB)};

const struct workload open_touch = {
	.id = "open-touch",
	.title = "Open, read the first page and close, by size",
	.description = "Until the first byte has arrived. The pages of a clone are not in memory yet, even if those of "
		       "the file are.",
	.group = "Open",
	.axis = AXIS_SIZE,
	POINTS(touch_sizes),
	CONTENDERS(touchers),
	.batch = 40,
};

/* ---- against the bare calls ---- */

static const struct contender by_reflink[] = {
	{"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, .run = run_map},
	CLONE,
};
static const struct point reflink_bars[] = {{MIB, LEVEL_STANDARD, 1.15}, {GIB, LEVEL_FULL, 1.15}};

const struct workload bare_open_reflink = {
	.id = "bare-open-reflink",
	.title = "Open by reflink",
	.description = "Opens by reflink and closes, beside the system calls for it.",
	.group = "Against the bare calls",
	.axis = AXIS_SIZE,
	POINTS(reflink_bars),
	CONTENDERS(by_reflink),
	.batch = 40,
	.rounds = 31,
	.bar_applies = place_has_reflink,
};

static const struct contender by_lease[] = {
	{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .run = run_map},
	PLAIN,
};
static const struct point lease_bars[] = {{MIB, LEVEL_STANDARD, 1.5}, {GIB, LEVEL_FULL, 1.5}};

const struct workload bare_open_lease = {
	.id = "bare-open-lease",
	.title = "Open by lease",
	.description = "Opens by lease and closes, beside open, fstat, mmap and close.",
	.group = "Against the bare calls",
	.axis = AXIS_SIZE,
	POINTS(lease_bars),
	CONTENDERS(by_lease),
	.batch = 100,
	.rounds = 31,
	.bar_applies = place_has_lease,
};
