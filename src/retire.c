/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing after a grace period (liburcu-bp). Waiting for one costs more than
 * opening a file, so it is done for many at a time: call_rcu() would start a thread
 * of its own. Only threads of the application wait, when they close a handle: it may
 * be its read-side sections that the period waits for, and those may wait for a
 * thread of ours. The exception is the thread of a cell.
 *
 * A thread may fork within a read-side section, while another waits for a grace period: it
 * leaves the section for the fork. What it may still look at is kept nevertheless: nothing is freed
 * between retire_before_fork() and retire_after_fork(), and who has waited meanwhile
 * waits again.
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

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* closed during forks, and while something is freed */
static unsigned forks, waiters;
static unsigned sections; /* that the forking thread is in */
static _Thread_local bool is_freeing;

static struct retired *take_all(void)
{
	struct retired *all = list;

	list = NULL;
	count = 0;
	return all;
}

void retire_wait(void)
{
	unsigned seen;

	pthread_mutex_lock(&gate);
	waiters++;
	do {
		seen = forks;
		pthread_mutex_unlock(&gate);
		synchronize_rcu();
		pthread_mutex_lock(&gate);
	} while (seen != forks);
	waiters--;
	is_freeing = true;
}

void retire_go_on(void)
{
	is_freeing = false;
	pthread_mutex_unlock(&gate);
}

void retire_before_fork(void)
{
	pthread_mutex_lock(&gate);
	for (sections = 0; waiters && rcu_read_ongoing(); sections++)
		rcu_read_unlock();
}

void retire_after_fork(bool in_child)
{
	for (; sections; sections--)
		rcu_read_lock();
	forks++;
	if (in_child)
		waiters = 0;
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
