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
#include <unistd.h>

#include "server.h"

#define PAUSES 4 /* as long as a commit took */
#define LIMIT_LEAST ((uint64_t)64 << 20)
#define LIMIT_MOST ((uint64_t)1 << 30)

/* Half of it wakes the thread, so that who writes need not wait if the disk keeps up. */
static bool is_half_full(const struct commits *c)
{
	return __atomic_load_n(&c->waiting, __ATOMIC_RELAXED) >= c->limit / 2;
}

void commits_note(struct commits *c, uint64_t bytes)
{
	uint64_t half = c->limit / 2, after = __atomic_add_fetch(&c->waiting, bytes, __ATOMIC_RELAXED);

	__atomic_store_n(&c->changed, true, __ATOMIC_SEQ_CST);
	if (after < half || after - bytes >= half)
		return;
	pthread_mutex_lock(&c->lock);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

int commits_make_room(struct commits *c)
{
	return __atomic_load_n(&c->waiting, __ATOMIC_RELAXED) < c->limit ? 0 : commits_wait(c);
}

/* With the lock, which is given up meanwhile. */
static void commit(struct commits *c)
{
	struct timespec start, end;
	uint64_t taken;
	int rc;

	c->running = true;
	c->started++;
	__atomic_store_n(&c->changed, false, __ATOMIC_SEQ_CST);
	taken = __atomic_exchange_n(&c->waiting, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&c->lock);
	clock_gettime(CLOCK_MONOTONIC, &start);
	rc = minifs_sync(c->fs);
	clock_gettime(CLOCK_MONOTONIC, &end);
	pthread_mutex_lock(&c->lock);
	c->pause = (PAUSES * ((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000)) / 1000;
	if (rc) {
		__atomic_store_n(&c->changed, true, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&c->waiting, taken, __ATOMIC_RELAXED);
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

/*
 * Nobody else uses the image during a commit, so a slow one makes the next one come later.
 * What fails is not tried more often because there is much to do.
 */
static void wait_for_the_next(struct commits *c)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += c->seconds > c->pause ? c->seconds : c->pause;
	while (!c->stop && (c->result || !is_half_full(c)) && !rc)
		rc = c->seconds ? pthread_cond_timedwait(&c->wake, &c->lock, &until)
				: pthread_cond_wait(&c->wake, &c->lock);
}

static void *commit_now_and_then(void *arg)
{
	struct commits *c = (struct commits *)arg;

	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		wait_for_the_next(c);
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

/* Until a commit what is changed is private memory, which cannot be taken away. */
static uint64_t default_limit(void)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), limit = memory / 8;

	return limit < LIMIT_LEAST ? LIMIT_LEAST : limit > LIMIT_MOST ? LIMIT_MOST : limit;
}

int commits_start(struct commits *c, struct minifs *fs, const struct request *r)
{
	pthread_condattr_t monotonic;

	*c = (struct commits){.fs = fs, .seconds = r->commit, .limit = r->dirty ? r->dirty : default_limit()};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->done, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return r->words.read_only ? 0 : start_thread(c);
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
