/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several threads that open and close, each a file of its own, a thousand times. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

#define THREADS_MAX 64
#define TIMES 1000

/* Held for writing until all are there; then they start at once, or not at all. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static bool go;

struct runner {
	pthread_t thread;
	const struct job *job;
	char path[PATH_MAX];
	int (*act)(const struct job *job, const char *path);
	int error;
};

static void path_of(const struct job *job, unsigned i, char *buffer, size_t n)
{
	snprintf(buffer, n, "%s/thread-%u", job->dir, i);
}

static int start(const struct job *job, void **ret)
{
	char path[PATH_MAX];
	int rc = job->count > THREADS_MAX ? -EINVAL : 0;

	for (unsigned i = 0; !rc && i < job->count; i++) {
		path_of(job, i, path, sizeof(path));
		rc = file_make(path, job->size, job->stopped);
	}
	*ret = (void *)job;
	return rc;
}

static void stop(void *state)
{
	const struct job *job = (const struct job *)state;
	char path[PATH_MAX];

	for (unsigned i = 0; i < job->count; i++) {
		path_of(job, i, path, sizeof(path));
		unlink(path);
	}
}

static void *run_thread(void *arg)
{
	struct runner *r = (struct runner *)arg;

	pthread_rwlock_rdlock(&gate);
	pthread_rwlock_unlock(&gate);
	for (int i = 0; go && !r->error && i < TIMES; i++)
		r->error = r->act(r->job, r->path);
	return NULL;
}

static int run(const struct job *job, int (*act)(const struct job *job, const char *path), double *ret)
{
	static struct runner runners[THREADS_MAX];
	unsigned started = 0;
	double begin;
	int rc = 0;

	pthread_rwlock_wrlock(&gate);
	for (; started < job->count; started++) {
		struct runner *r = &runners[started];

		*r = (struct runner){.job = job, .act = act};
		path_of(job, started, r->path, sizeof(r->path));
		if (pthread_create(&r->thread, NULL, run_thread, r))
			break;
	}
	go = started == job->count;
	begin = clock_now();
	pthread_rwlock_unlock(&gate);
	for (unsigned i = 0; i < started; i++) {
		pthread_join(runners[i].thread, NULL);
		rc = rc ? rc : runners[i].error;
	}
	*ret = clock_now() - begin;
	return go ? rc : why_set(job->why, -EAGAIN, "cannot start %u threads", job->count);
}

/* ---- what they do ---- */

static int by_library(const struct job *job, const char *path)
{
	struct snapmap_options options = {.size = sizeof(options), .source = job->contender->source};
	struct snapmap *map;
	int rc = snapmap_open(path, &options, &map);

	if (!rc)
		snapmap_close(map);
	return rc;
}

static int by_mmap(const struct job *job, const char *path)
{
	int fd = bare_check(open(path, O_RDONLY | O_CLOEXEC)), rc;
	struct stat st;
	char *base;

	(void)job;
	if (fd < 0)
		return fd;
	rc = bare_check(fstat(fd, &st));
	if (!rc)
		rc = bare_map(fd, (uint64_t)st.st_size, PROT_READ, MAP_PRIVATE, &base);
	if (!rc)
		munmap(base, (size_t)st.st_size);
	close(fd);
	return rc;
}

static int run_library(void *state, double *ret)
{
	return run((const struct job *)state, by_library, ret);
}

static int run_mmap(void *state, double *ret)
{
	return run((const struct job *)state, by_mmap, ret);
}

/* ---- workloads ---- */

static const struct contender openers[] = {
	{"snapmap, lease", true, NULL, SNAPMAP_SOURCE_LEASE, .start = start, .run = run_library, .stop = stop},
	{"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, .start = start, .run = run_library, .stop = stop},
	{"open, fstat, mmap", false, "others change its bytes", .start = start, .run = run_mmap, .stop = stop},
};

static const struct point threads[] = {QUICK(1), STANDARD(2), STANDARD(4), {8, LEVEL_QUICK, 1.25}};

const struct workload threads_open = {
	.id = "threads-open",
	.title = "Open and close 1000 times in each thread, by threads",
	.description = "Each thread has a file of its own of 1 MiB; until the last one is done.",
	.group = "Others",
	.axis = AXIS_THREADS,
	POINTS(threads),
	CONTENDERS(openers),
	.size = MIB,
	.bar_applies = place_has_lease,
};
