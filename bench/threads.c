/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/threads.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/files.h"

#define THREADS_MAX 64
#define TIMES 1000

struct runner {
	pthread_t thread;
	char path[PATH_MAX];
	int (*act)(const char *path);
	pthread_barrier_t *barrier;
	int error;
};

static void path_of(const struct job *job, unsigned i, char *buf, size_t size)
{
	snprintf(buf, size, "%s/thread-%u", job->dir, i);
}

int threads_start(const struct job *job, void **ret)
{
	char path[PATH_MAX];
	int rc = job->count > THREADS_MAX ? -EINVAL : 0;

	for (unsigned i = 0; !rc && i < job->count; i++) {
		path_of(job, i, path, sizeof(path));
		rc = file_make(path, job->size);
	}
	*ret = (void *)job;
	return rc;
}

void threads_stop(void *state)
{
	const struct job *job = (const struct job *)state;
	char path[PATH_MAX];

	for (unsigned i = 0; i < job->count; i++) {
		path_of(job, i, path, sizeof(path));
		unlink(path);
	}
}

static void *run(void *arg)
{
	struct runner *r = (struct runner *)arg;

	pthread_barrier_wait(r->barrier);
	for (int i = 0; !r->error && i < TIMES; i++)
		r->error = r->act(r->path);
	return NULL;
}

int threads_run(const struct job *job, int (*act)(const char *path), double *ret)
{
	static struct runner runners[THREADS_MAX];
	pthread_barrier_t barrier;
	double begin;
	int rc = 0;

	pthread_barrier_init(&barrier, NULL, job->count + 1);
	for (unsigned i = 0; i < job->count; i++) {
		runners[i] = (struct runner){.act = act, .barrier = &barrier};
		path_of(job, i, runners[i].path, sizeof(runners[i].path));
		if (pthread_create(&runners[i].thread, NULL, run, &runners[i]))
			return -EAGAIN;
	}
	pthread_barrier_wait(&barrier);
	begin = harness_now();
	for (unsigned i = 0; i < job->count; i++) {
		pthread_join(runners[i].thread, NULL);
		rc = rc ? rc : runners[i].error;
	}
	*ret = harness_now() - begin;
	pthread_barrier_destroy(&barrier);
	return rc;
}
