/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Readers of a cell, and what a refresh means for them. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

#define TIMES 1000000u
#define THREADS_MAX 64

struct state {
	const struct job *job;
	struct snapmap_cell *cell;
	pthread_rwlock_t gate, lock;
	atomic_bool stop;
	char fresh[PATH_MAX];
};

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	snapmap_cell_close(s->cell);
	unlink(s->fresh);
	free(s);
}

static int start(const struct job *job, void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	pthread_rwlock_init(&s->gate, NULL);
	pthread_rwlock_init(&s->lock, NULL);
	snprintf(s->fresh, sizeof(s->fresh), "%.4000s.fresh", job->path);
	rc = snapmap_cell_open(job->path, NULL, &s->cell);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* ---- how long it takes ---- */

static void *enter_and_leave(void *arg)
{
	struct state *s = (struct state *)arg;

	pthread_rwlock_rdlock(&s->gate);
	pthread_rwlock_unlock(&s->gate);
	for (unsigned i = 0; i < TIMES; i++) {
		snapmap_cell_enter(s->cell);
		snapmap_cell_leave(s->cell);
	}
	return NULL;
}

static void *lock_and_unlock(void *arg)
{
	struct state *s = (struct state *)arg;

	pthread_rwlock_rdlock(&s->gate);
	pthread_rwlock_unlock(&s->gate);
	for (unsigned i = 0; i < TIMES; i++) {
		pthread_rwlock_rdlock(&s->lock);
		pthread_rwlock_unlock(&s->lock);
	}
	return NULL;
}

/* Seconds for one, of each thread. */
static int run(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	unsigned wanted = s->job->count > THREADS_MAX ? THREADS_MAX : s->job->count, started = 0;
	pthread_t threads[THREADS_MAX];
	double begin;

	pthread_rwlock_wrlock(&s->gate);
	while (started < wanted && !pthread_create(&threads[started], NULL,
						   s->job->contender->library ? enter_and_leave : lock_and_unlock, s))
		started++;
	begin = clock_now();
	pthread_rwlock_unlock(&s->gate);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	*ret = (clock_now() - begin) / TIMES;
	return started == wanted ? 0 : why_set(s->job->why, -EAGAIN, "cannot start %u threads", wanted);
}

/* ---- how long it takes at most ---- */

/* Has the cell get a new snapshot all the time. */
static void *replace_on(void *arg)
{
	struct state *s = (struct state *)arg;

	while (!atomic_load(&s->stop)) {
		if (!file_make(s->fresh, MIB, NULL) && !rename(s->fresh, s->job->path))
			snapmap_cell_refresh(s->cell);
	}
	return NULL;
}

static int run_longest(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double longest = 0, begin, end, until;
	pthread_t thread;

	atomic_store(&s->stop, false);
	if (pthread_create(&thread, NULL, replace_on, s))
		return -EAGAIN;
	until = clock_now() + 0.2;
	do {
		begin = clock_now();
		if (s->job->contender->library) {
			snapmap_cell_enter(s->cell);
			snapmap_cell_leave(s->cell);
		}
		end = clock_now();
		longest = end - begin > longest ? end - begin : longest;
	} while (end < until);
	atomic_store(&s->stop, true);
	pthread_join(thread, NULL);
	*ret = longest;
	return 0;
}

/* ---- workloads ---- */

static const struct contender enterers[] = {
	{"snapmap_cell_enter, _leave", true, NULL, .start = start, .run = run, .stop = stop},
	{"pthread_rwlock_rdlock, _unlock", false, NULL, .start = start, .run = run, .stop = stop},
};
static const struct contender waiters[] = {
	{"snapmap_cell_enter, _leave", true, NULL, .start = start, .run = run_longest, .stop = stop},
	{"nothing", false, NULL, .start = start, .run = run_longest, .stop = stop},
};

static const struct point threads[] = {QUICK(1), STANDARD(2), STANDARD(4), STANDARD(8)};
static const struct point once[] = {STANDARD(0)};

const struct workload cell_enter = {
	.id = "cell-enter",
	.title = "Enter a cell and leave it, by threads",
	.description = "A million times in each thread; the time for one, beside that of a lock for readers.",
	.group = "Trees and cells",
	.axis = AXIS_THREADS,
	POINTS(threads),
	CONTENDERS(enterers),
	.size = MIB,
};

const struct workload cell_longest = {
	.id = "cell-longest",
	.title = "The longest time to enter a cell and leave it, while it is refreshed",
	.description = "A file of 1 MiB is replaced all the time; beside the longest time between two looks at the "
		       "clock meanwhile.",
	.group = "Trees and cells",
	POINTS(once),
	CONTENDERS(waiters),
	.size = MIB,
	.own_files = true,
};
