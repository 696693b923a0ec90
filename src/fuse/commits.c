/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commits that their users share. Whoever wants durability waits for a commit that began
 * after their change: the first to find none running makes it, for all who wait. One
 * that is running already may have missed the change, unless nothing was changed since
 * it began.
 */
#include "config.h"

#include <signal.h>
#include <snapmap.h>
#include <string.h>
#include <time.h>

#include "server.h"

#define PAUSES 4 /* as long as a commit took */

void commits_note(struct commits *c)
{
	__atomic_store_n(&c->changed, true, __ATOMIC_SEQ_CST);
}

/* With the lock, which is given up meanwhile. */
static void commit(struct commits *c)
{
	struct timespec start, end;
	int rc;

	c->running = true;
	c->started++;
	__atomic_store_n(&c->changed, false, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&c->lock);
	clock_gettime(CLOCK_MONOTONIC, &start);
	rc = minifs_sync(c->fs);
	clock_gettime(CLOCK_MONOTONIC, &end);
	pthread_mutex_lock(&c->lock);
	c->pause = (PAUSES * ((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000)) / 1000;
	if (rc) {
		commits_note(c);
		if (rc != c->result)
			daemon_log("%s", snapmap_last_error());
	}
	c->result = rc;
	c->finished = c->started;
	c->running = false;
	pthread_cond_broadcast(&c->done);
}

int commits_wait(struct commits *c)
{
	uint64_t wanted;
	int rc;

	pthread_mutex_lock(&c->lock);
	wanted = c->started + __atomic_load_n(&c->changed, __ATOMIC_SEQ_CST);
	while (c->finished < wanted) {
		if (c->running)
			pthread_cond_wait(&c->done, &c->lock);
		else
			commit(c);
	}
	rc = c->result;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Nobody else uses the image during a commit, so a slow one makes the next one come later. */
static struct timespec next_commit(const struct commits *c)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += c->seconds > c->pause ? c->seconds : c->pause;
	return until;
}

static void *commit_now_and_then(void *arg)
{
	struct commits *c = (struct commits *)arg;

	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct timespec until = next_commit(c);

		while (!c->stop && pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0)
			;
		if (!c->stop && !c->running && __atomic_load_n(&c->changed, __ATOMIC_SEQ_CST))
			commit(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int start_thread(struct commits *c)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	error = pthread_create(&c->thread, NULL, commit_now_and_then, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->threaded = !error;
	return -error;
}

int commits_start(struct commits *c, struct minifs *fs, unsigned seconds)
{
	pthread_condattr_t monotonic;

	*c = (struct commits){.fs = fs, .seconds = seconds};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return seconds ? start_thread(c) : 0;
}

int commits_finish(struct commits *c)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->threaded)
		pthread_join(c->thread, NULL);
	rc = commits_wait(c);
	pthread_cond_destroy(&c->wake);
	pthread_cond_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	return rc;
}
