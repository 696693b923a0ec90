/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deferred I/O: reading a whole file into memory of which little is used, and writing it back. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/place.h"
#include "bench/workloads.h"

#define SMALL_READS 10000u
#define SMALL 64u

/**
 * struct state - one contender
 * @segment: the library's, or NULL
 * @base: memory for the whole file
 */
struct state {
	const struct job *job;
	struct snapmap_segment *segment;
	char *base;
	uint64_t random;
	uint64_t pages[];
};

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	if (s->base && !s->segment)
		munmap(s->base, s->job->size);
	snapmap_segment_destroy(s->segment);
	free(s);
}

static int start(const struct job *job, bool library, uint32_t flags, void **ret)
{
	struct snapmap_options options = {.size = sizeof(options), .flags = flags};
	struct state *s = (struct state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	if (library)
		rc = snapmap_segment_create(job->size, &options, &s->segment);
	else
		rc = bare_map(-1, job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, &s->base);
	if (!rc && library)
		s->base = (char *)snapmap_segment_base(s->segment);
	if (rc) {
		stop(s);
		return rc;
	}
	*ret = s;
	return 0;
}

static int start_paged(const struct job *job, void **ret)
{
	struct snapmap_segment_stats stats;
	int rc = start(job, true, 0, ret);

	if (rc)
		return rc;
	rc = snapmap_segment_get_stats(((struct state *)*ret)->segment, &stats);
	if (!rc && stats.way != SNAPMAP_SEGMENT_PAGER)
		rc = why_set(job->why, -EOPNOTSUPP, "this user may not serve page faults of the kernel");
	if (rc)
		stop(*ret);
	return rc;
}

static int start_mapped(const struct job *job, void **ret)
{
	return start(job, true, SNAPMAP_INHERIT, ret);
}

static int start_bare(const struct job *job, void **ret)
{
	return start(job, false, 0, ret);
}

/* Memory in which nothing is, as in the beginning. */
static int forget(const struct state *s)
{
	if (s->segment)
		return snapmap_segment_zero(s->segment, s->base, s->job->size);
	return madvise(s->base, s->job->size, MADV_DONTNEED) ? -errno : 0;
}

static int read_all(const struct state *s, int fd)
{
	ssize_t got;

	if (!s->segment)
		return bare_read_all(fd, s->base, s->job->size);
	got = snapmap_segment_pread(s->segment, fd, s->base, s->job->size, 0);
	return got < 0 ? (int)got : (uint64_t)got == s->job->size ? 0 : -EIO;
}

static uint64_t count_pages(const struct state *s)
{
	return s->job->size / PAGE;
}

/* As many pages as the point says, at random; or each one, in order. */
static void touch(struct state *s)
{
	const volatile char *p = s->base;
	unsigned n = s->job->count;

	if (n >= count_pages(s)) {
		pages_read(s->base, s->job->size);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		(void)p[file_random(&s->random) % count_pages(s) * PAGE];
}

static int run_read(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), rc;
	double begin = clock_now();

	if (fd < 0)
		return fd;
	rc = read_all(s, fd);
	*ret = clock_now() - begin;
	close(fd);
	return rc ? rc : forget(s);
}

static int run_touch(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), rc;
	double begin = clock_now();

	if (fd < 0)
		return fd;
	rc = read_all(s, fd);
	if (!rc)
		touch(s);
	*ret = clock_now() - begin;
	close(fd);
	return rc ? rc : forget(s);
}

static int write_all(const struct state *s, int fd)
{
	ssize_t n;

	if (!s->segment)
		return bare_write_all(fd, s->base, s->job->size);
	n = snapmap_segment_pwrite(s->segment, fd, s->base, s->job->size, 0);
	return n < 0 ? (int)n : (uint64_t)n == s->job->size ? 0 : -EIO;
}

/* The open counts as well: it may have to wait until a lease has ended. */
static int run_write(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC)), rc;
	double begin;

	if (fd < 0)
		return fd;
	rc = read_all(s, fd);
	close(fd);
	if (!rc)
		rc = pages_pick(s->job, &s->random, s->pages);
	if (rc)
		return rc;
	pages_edit(s->base, s->pages, s->job->count, s->random);
	begin = clock_now();
	fd = bare_check(open(s->job->path, O_RDWR | O_CLOEXEC));
	if (fd < 0)
		return fd;
	rc = write_all(s, fd);
	close(fd);
	*ret = clock_now() - begin;
	return rc;
}

static int run_small(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC));
	double begin = clock_now();
	ssize_t got = SMALL;

	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < SMALL_READS && got == SMALL; i++) {
		char *to = s->base + (uint64_t)i * SMALL;

		got = s->segment ? snapmap_segment_pread(s->segment, fd, to, SMALL, (int64_t)i * SMALL)
				 : pread(fd, to, SMALL, (off_t)i * SMALL);
	}
	*ret = clock_now() - begin;
	close(fd);
	return got == SMALL ? forget(s) : -EIO;
}

/* ---- workloads ---- */

#define CONTENDERS_OF(run_it)                                                                        \
	{"segment", true, NULL, .start = start_paged, .run = (run_it), .stop = stop},                \
		{"segment, mapped by the kernel",                                                    \
		 true,                                                                               \
		 NULL,                                                                               \
		 .source = SNAPMAP_SOURCE_REFLINK,                                                   \
		 .start = start_mapped,                                                              \
		 .run = (run_it),                                                                    \
		 .stop = stop},                                                                      \
	{                                                                                            \
		"read(2), write(2)", false, NULL, .start = start_bare, .run = (run_it), .stop = stop \
	}

static const struct contender readers[] = {CONTENDERS_OF(run_read)};
static const struct contender touchers[] = {CONTENDERS_OF(run_touch)};
static const struct contender writers[] = {CONTENDERS_OF(run_write)};
static const struct contender small_readers[] = {CONTENDERS_OF(run_small)};

static const struct point sizes[] = {QUICK(16 * MIB), STANDARD(256 * MIB), FULL(GIB)};

const struct workload segment_read = {
	.id = "segment-read",
	.title = "Read a whole file into memory, which is not touched, by size",
	.description = "How long the call takes: a segment reads what is touched later.",
	.group = "Deferred I/O",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(readers),
	.rounds = 9,
};

/* Of 1 GiB: few, one in a hundred, all. */
static const struct point touched[] = {{256, LEVEL_FULL, 0.1}, {2621, LEVEL_FULL, 0.33}, {262144, LEVEL_FULL, 1.5}};

const struct workload segment_touch = {
	.id = "segment-touch",
	.title = "Read 1 GiB into memory and touch some pages, by pages touched",
	.description = "The file is in the page cache. Pages at random places; at the last point all, in order.",
	.group = "Deferred I/O",
	.axis = AXIS_DIRTY,
	POINTS(touched),
	CONTENDERS(touchers),
	.size = GIB,
	.rounds = 7,
};

static const struct point changed[] = {{262, LEVEL_FULL, 0.1}};

const struct workload segment_write = {
	.id = "segment-write",
	.title = "Write 1 GiB back of which one page in a thousand was changed",
	.description = "Opening for writing counts, which ends a lease; nothing is flushed.",
	.group = "Deferred I/O",
	.axis = AXIS_DIRTY,
	POINTS(changed),
	CONTENDERS(writers),
	.size = GIB,
	.own_files = true,
	.settle = true,
	.rounds = 7,
};

static const struct point small_ones[] = {{0, LEVEL_STANDARD, 2}};

const struct workload segment_small = {
	.id = "segment-small",
	.title = "Read 64 bytes 10,000 times, one after the other",
	.description = "Such reads are done at once.",
	.group = "Deferred I/O",
	POINTS(small_ones),
	CONTENDERS(small_readers),
	.size = 16 * MIB,
	.batch = 5,
};
