/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading: every byte of a file, from memory and from the disk, and pages here and there. */
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

/* ---- a cold cache ---- */

/* Only root can drop all caches; else those of the file go, and what is known of its place stays. */
static bool drop_all(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, "3", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static int drop_one(const char *path)
{
	int fd = bare_check(open(path, O_RDONLY | O_CLOEXEC)), rc;

	if (fd < 0)
		return fd;
	rc = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return rc;
}

static int make_cold(const struct job *job)
{
	if (job->place->cached)
		return why_set(job->why, -EOPNOTSUPP, "files of this file system are always in memory");
	return drop_all() ? 0 : drop_one(job->path);
}

static const char *how_cold(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return "Not root: only the pages of the file were dropped, by posix_fadvise(POSIX_FADV_DONTNEED).";
	close(fd);
	return "All caches of the system were dropped.";
}

/* ---- ways to have the bytes ---- */

/* What is done with a mapping: the words are summed up, or pages here and there are read. */
typedef void (*reader)(const struct job *job, const char *base);

static void sum(const struct job *job, const char *base)
{
	bytes_sum(base, job->size);
}

#define READS 4096u

static void read_here_and_there(const struct job *job, const char *base)
{
	const volatile char *p = base;
	uint64_t random = 1, npages = job->size / PAGE;

	for (unsigned i = 0; i < READS; i++)
		(void)p[file_random(&random) % npages * PAGE];
}

static int by_library(const struct job *job, reader read_it, double *ret)
{
	/* However long a copy would keep a writer waiting: reading under a lease is what is asked for. */
	struct snapmap_options options = {.size = sizeof(options),
					  .source = job->contender->source,
					  .lease_limit =
						  job->contender->source == SNAPMAP_SOURCE_LEASE ? UINT64_MAX : 0};
	struct snapmap *map;
	double begin = clock_now();
	int rc = snapmap_open(job->path, &options, &map);

	if (rc)
		return rc;
	read_it(job, (const char *)snapmap_data(map));
	snapmap_close(map);
	*ret = clock_now() - begin;
	return 0;
}

static int by_mmap(const struct job *job, reader read_it, double *ret)
{
	double begin = clock_now();
	int fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC)), rc;
	char *base;

	if (fd < 0)
		return fd;
	rc = bare_map(fd, job->size, PROT_READ, MAP_PRIVATE, &base);
	if (!rc) {
		read_it(job, base);
		munmap(base, job->size);
	}
	close(fd);
	*ret = clock_now() - begin;
	return rc;
}

static int sum_pieces(int fd, char *buffer, size_t n)
{
	ssize_t got;

	do {
		got = read(fd, buffer, n);
		if (got > 0)
			bytes_sum(buffer, (uint64_t)got);
	} while (got > 0);
	return got ? -errno : 0;
}

static int read_pieces(int fd, const struct job *job, char *buffer)
{
	uint64_t random = 1, npages = job->size / PAGE;

	for (unsigned i = 0; i < READS; i++)
		if (pread(fd, buffer, PAGE, (off_t)(file_random(&random) % npages * PAGE)) != (ssize_t)PAGE)
			return -EIO;
	return 0;
}

static int by_read(const struct job *job, bool whole, double *ret)
{
	char *buffer = (char *)malloc(MIB);
	double begin = clock_now();
	int fd = bare_check(open(job->path, O_RDONLY | O_CLOEXEC)), rc;

	if (!buffer || fd < 0)
		rc = buffer ? fd : -ENOMEM;
	else
		rc = whole ? sum_pieces(fd, buffer, MIB) : read_pieces(fd, job, buffer);
	if (fd >= 0)
		close(fd);
	*ret = clock_now() - begin;
	free(buffer);
	return rc;
}

static int sum_library(void *state, double *ret)
{
	return by_library((const struct job *)state, sum, ret);
}

static int sum_mmap(void *state, double *ret)
{
	return by_mmap((const struct job *)state, sum, ret);
}

static int sum_read(void *state, double *ret)
{
	return by_read((const struct job *)state, true, ret);
}

static int cold(const struct job *job, int (*run)(void *state, double *ret), double *ret)
{
	int rc = make_cold(job);

	return rc ? rc : run((void *)job, ret);
}

static int cold_library(void *state, double *ret)
{
	return cold((const struct job *)state, sum_library, ret);
}

static int cold_mmap(void *state, double *ret)
{
	return cold((const struct job *)state, sum_mmap, ret);
}

static int cold_read(void *state, double *ret)
{
	return cold((const struct job *)state, sum_read, ret);
}

static int pages_library(void *state, double *ret)
{
	return by_library((const struct job *)state, read_here_and_there, ret);
}

static int pages_mmap(void *state, double *ret)
{
	return by_mmap((const struct job *)state, read_here_and_there, ret);
}

static int pages_pread(void *state, double *ret)
{
	return by_read((const struct job *)state, false, ret);
}

/* ---- workloads ---- */

#define UNSTABLE "others change its bytes"
#define MIXED "a mix if somebody writes meanwhile"

#define LIBRARY(function)                                                                 \
	{"snapmap", true, NULL, .run = (function)},                                       \
		{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .run = (function)},  \
	{                                                                                 \
		"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, .run = (function) \
	}

static const struct contender warm[] = {LIBRARY(sum_library),
					{"open, mmap", false, UNSTABLE, .run = sum_mmap},
					{"read, 1 MiB at a time", false, MIXED, .run = sum_read}};
static const struct contender cold_ones[] = {LIBRARY(cold_library),
					     {"open, mmap", false, UNSTABLE, .run = cold_mmap},
					     {"read, 1 MiB at a time", false, MIXED, .run = cold_read}};
static const struct contender here_and_there[] = {LIBRARY(pages_library),
						  {"open, mmap", false, UNSTABLE, .run = pages_mmap},
						  {"pread, 4 KiB at a time", false, MIXED, .run = pages_pread}};

static const struct point sizes[] = {QUICK(16 * MIB), STANDARD(256 * MIB), FULL(GIB)};

const struct workload scan_warm = {
	.id = "scan-warm",
	.title = "Open, sum up all bytes and close, file in memory, by size",
	.description = "The pages of the file are in memory; those of a clone never are.",
	.group = "Read",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(warm),
};

/* Dropping all caches takes too long for a quick run. */
static const struct point cold_sizes[] = {STANDARD(16 * MIB), STANDARD(256 * MIB), FULL(GIB)};

const struct workload scan_cold = {
	.id = "scan-cold",
	.title = "Open, sum up all bytes and close, file on the disk, by size",
	.description = "What was in memory is dropped before each round.",
	.remark = how_cold,
	.group = "Read",
	.axis = AXIS_SIZE,
	POINTS(cold_sizes),
	CONTENDERS(cold_ones),
};

const struct workload scan_random = {
	.id = "scan-random",
	.title = "Open, read 4096 pages here and there and close, file in memory, by size",
	.description = "As scan-warm, but one byte of pages at random places.",
	.group = "Read",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(here_and_there),
};

/* ---- against the bare calls ---- */

static const struct contender lease_and_mmap[] = {
	{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .run = sum_library},
	{"open, mmap", false, UNSTABLE, .run = sum_mmap},
};
static const struct point lease_bar[] = {{GIB, LEVEL_FULL, 1.03}};

const struct workload bare_scan_lease = {
	.id = "bare-scan-lease",
	.title = "Sum up all bytes under a lease, file in memory",
	.description = "Reading through a handle by lease, beside open, mmap and close.",
	.group = "Against the bare calls",
	.axis = AXIS_SIZE,
	POINTS(lease_bar),
	CONTENDERS(lease_and_mmap),
	.bar_applies = place_has_lease,
};
