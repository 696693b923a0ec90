/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads beside those that answer the kernel. Asking the kernel for something may have it
 * ask us first, so who answers must not.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "jobs.h"

#define THREADS 4

struct job {
	void (*run)(void *arg);
	void *arg;
	struct job *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct job *first, **last = &first;
static pthread_t threads[THREADS];
static unsigned count;
static bool stop, looking, look_soon;
static bool (*look_now)(void);

bool job_add(void (*run)(void *arg), void *arg)
{
	struct job *job = (struct job *)malloc(sizeof(*job));

	if (!job)
		return false;
	*job = (struct job){.run = run, .arg = arg};
	pthread_mutex_lock(&lock);
	*last = job;
	last = &job->next;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	return true;
}

void jobs_wake(void)
{
	if (__atomic_load_n(&look_soon, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&lock);
	__atomic_store_n(&look_soon, true, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&lock);
}

/* With the lock; NULL: look around, or the end. */
static struct job *next_job(void)
{
	while (!first && !stop) {
		struct timespec until;

		if (looking || !look_soon) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		looking = true;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		if (pthread_cond_timedwait(&wake, &lock, &until) == ETIMEDOUT)
			return NULL;
		looking = false;
	}
	if (first) {
		struct job *job = first;

		first = job->next;
		if (!first)
			last = &first;
		return job;
	}
	return NULL;
}

/* Those that come meanwhile are seen by the next look. */
static void look(void)
{
	__atomic_store_n(&look_soon, false, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&lock);
	if (look_now())
		__atomic_store_n(&look_soon, true, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&lock);
	looking = false;
}

static void *work(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		struct job *job = next_job();

		if (job) {
			pthread_mutex_unlock(&lock);
			job->run(job->arg);
			free(job);
			pthread_mutex_lock(&lock);
		} else if (stop) {
			break;
		} else {
			look();
		}
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

int jobs_start(bool (*look_at)(void))
{
	int error = 0;

	look_now = look_at;
	while (count < THREADS && !error) {
		error = pthread_create(&threads[count], NULL, work, NULL);
		count += !error;
	}
	return count ? 0 : -error;
}

void jobs_stop(void)
{
	pthread_mutex_lock(&lock);
	stop = true;
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&lock);
	while (count)
		pthread_join(threads[--count], NULL);
}
