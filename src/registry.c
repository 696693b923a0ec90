/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The live mappings that others than their handle must find. A list under RCU:
 * the guard walks it inside a signal handler, where it must not wait for a lock
 * that the interrupted thread may hold. It is walked only after an I/O error, so
 * a list does.
 *
 * Invariant: a mapping leaves the list before its addresses become free. A reader
 * that found it may come too late; whoever replaces pages of a mapping from
 * outside must itself keep its owner from unmapping it.
 */
#include "config.h"

#include "registry.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CDS_LIST_HEAD(mappings);

struct live *registry_add(const struct mapping *mapping, bool guarded, bool writable)
{
	struct live *live = (struct live *)calloc(1, sizeof(*live));

	if (!live)
		return NULL;
	live->mapping = *mapping;
	live->guarded = guarded;
	live->writable = writable;
	CDS_INIT_LIST_HEAD(&live->in_file);
	if (!guarded)
		return live;
	pthread_mutex_lock(&lock);
	cds_list_add_rcu(&live->node, &mappings);
	pthread_mutex_unlock(&lock);
	return live;
}

static void free_live(struct retired *retired)
{
	free(caa_container_of(retired, struct live, retired));
}

void registry_hide(struct live *live)
{
	if (!live->guarded)
		return;
	pthread_mutex_lock(&lock);
	cds_list_del_rcu(&live->node);
	pthread_mutex_unlock(&lock);
}

void registry_free(struct live *live)
{
	if (live->guarded)
		retire(&live->retired, free_live);
	else
		free(live);
}

void registry_remove(struct live *live)
{
	registry_hide(live);
	registry_free(live);
}

struct live *registry_find(const void *address)
{
	struct live *live;

	cds_list_for_each_entry_rcu (live, &mappings, node) {
		uintptr_t base = (uintptr_t)live->mapping.base;

		if ((uintptr_t)address - base < live->mapping.span)
			return live;
	}
	return NULL;
}

void registry_lock(void)
{
	pthread_mutex_lock(&lock);
}

void registry_unlock(void)
{
	pthread_mutex_unlock(&lock);
}
