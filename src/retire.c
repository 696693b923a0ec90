/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing after a grace period (liburcu-bp). Waiting for one costs more than
 * opening a file, so it is done for many at a time: call_rcu() would start a thread
 * of its own. Only threads of the application wait, when they close a handle: it may
 * be its read-side sections that the period waits for, and those may wait for a
 * thread of ours.
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

static struct retired *take_all(void)
{
	struct retired *all = list;

	list = NULL;
	count = 0;
	return all;
}

static void free_all(struct retired *all)
{
	if (!all)
		return;
	synchronize_rcu();
	while (all) {
		struct retired *next = all->next;

		all->free(all);
		all = next;
	}
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
