/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing after a grace period (liburcu-bp). Waiting for one costs more than
 * opening a file, so it is done for many at a time, by whoever makes the list
 * full: call_rcu() would start a thread of its own.
 */
#include "config.h"

#include "retire.h"

#include <pthread.h>
#include <stddef.h>

#include "rcu.h"

#define FULL 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct retired *list;
static unsigned count;

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
	struct retired *all = NULL;

	retired->free = free;
	pthread_mutex_lock(&lock);
	retired->next = list;
	list = retired;
	if (++count >= FULL)
		all = take_all();
	pthread_mutex_unlock(&lock);
	free_all(all);
}

void retire_flush(void)
{
	struct retired *all;

	pthread_mutex_lock(&lock);
	all = take_all();
	pthread_mutex_unlock(&lock);
	free_all(all);
}

void retire_lock(void)
{
	pthread_mutex_lock(&lock);
}

void retire_unlock(void)
{
	pthread_mutex_unlock(&lock);
}
