/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing after a grace period (liburcu-bp). Waiting for one costs more than
 * opening a file, so it is done for many at a time: call_rcu() would start a thread
 * of its own. Only threads of the application wait, when they close a handle: it may
 * be its read-side sections that the period waits for, and those may wait for a
 * thread of ours. The exception is the thread of a cell.
 *
 * A thread may fork within a read-side section, while another waits for a grace period: it
 * leaves the section for the fork. What it may still look at is kept nevertheless: nothing is
 * freed while somebody forks, and who has waited meanwhile waits again. And before it takes any
 * other lock it lets all who wait come to their end, for they wait for readers who
 * may want that lock.
 */
#include "config.h"

#include "retire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "rcu.h"

#define FULL 512

#ifdef __SANITIZE_THREAD__
char rcu_sections;
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct retired *list;
static atomic_uint count;

/*
 * Over what follows; held while something is freed, and during forks.
 * @forks: so far
 * @forking: threads that are about to fork, or at it
 * @waiting: those within a grace period
 */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned forks, forking, waiting;
static _Thread_local unsigned sections; /* that this thread has left for a fork */
static _Thread_local bool is_freeing;

static struct retired *take_all(void)
{
	struct retired *all = list;

	list = NULL;
	count = 0;
	return all;
}

static void wait_for_forks(void)
{
	while (forking)
		pthread_cond_wait(&changed, &gate);
}

void retire_wait(void)
{
	unsigned seen;

	pthread_mutex_lock(&gate);
	do {
		wait_for_forks();
		seen = forks;
		waiting++;
		pthread_mutex_unlock(&gate);
		synchronize_rcu();
		pthread_mutex_lock(&gate);
		waiting--;
		pthread_cond_broadcast(&changed);
	} while (forking || seen != forks);
	is_freeing = true;
}

void retire_go_on(void)
{
	is_freeing = false;
	pthread_mutex_unlock(&gate);
}

void retire_prepare_fork(void)
{
	pthread_mutex_lock(&gate);
	forking++;
	for (sections = 0; waiting && rcu_read_ongoing(); sections++)
		rcu_read_unlock();
	while (waiting)
		pthread_cond_wait(&changed, &gate);
	pthread_mutex_unlock(&gate);
}

void retire_before_fork(void)
{
	pthread_mutex_lock(&gate);
}

void retire_after_fork(bool in_child)
{
	for (; sections; sections--)
		rcu_read_lock();
	forks++;
	forking--;
	if (in_child) {
		forking = 0;
		changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	} else {
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&gate);
}

static void free_all(struct retired *all)
{
	if (!all)
		return;
	retire_wait();
	while (all) {
		struct retired *next = all->next;

		all->free(all);
		all = next;
	}
	retire_go_on();
}

void retire(struct retired *retired, void (*free)(struct retired *retired))
{
	retired->free = free;
	pthread_mutex_lock(&lock);
	retired->next = list;
	list = retired;
	count++;
	pthread_mutex_unlock(&lock);
}

void retire_flush(void)
{
	struct retired *all;

	if (is_freeing)
		return;
	pthread_mutex_lock(&lock);
	all = take_all();
	pthread_mutex_unlock(&lock);
	free_all(all);
}

void retire_reap(void)
{
	/* Within a read-side section of the application a grace period would never end. */
	if (atomic_load_explicit(&count, memory_order_relaxed) >= FULL && !rcu_read_ongoing())
		retire_flush();
}

void retire_lock(void)
{
	pthread_mutex_lock(&lock);
}

void retire_unlock(void)
{
	pthread_mutex_unlock(&lock);
}
