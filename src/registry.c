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

#include "latch.h"
#include "sys.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CDS_LIST_HEAD(mappings);

struct live *registry_add(const struct mapping *mapping, bool guarded, bool writable)
{
	struct live *live = (struct live *)calloc(1, sizeof(*live));

	if (!live)
		return NULL;
	live->mapping = *mapping;
	live->guarded = live->watched = guarded;
	live->writable = writable;
	CDS_INIT_LIST_HEAD(&live->in_file);
	if (!guarded)
		return live;
	rcu_publish(live);
	pthread_mutex_lock(&lock);
	cds_list_add_rcu(&live->node, &mappings);
	pthread_mutex_unlock(&lock);
	return live;
}

size_t live_bits_size(const struct live *live)
{
	return page_up((live->mapping.span / sys_page_size() + 7) / 8);
}

static void free_live(struct retired *retired)
{
	struct live *live = caa_container_of(retired, struct live, retired);
	uint64_t *bits = atomic_load(&live->zeroed);

	if (bits)
		sys_unmap(bits, live_bits_size(live));
	free(live);
}

/* From here on no handler maps anything there: guard.c says why. */
static void take_guard_off(struct live *live)
{
	sigset_t mask;

	latch_take(&mask);
	live->watched = false;
	latch_give(&mask);
}

void registry_hide(struct live *live)
{
	if (!live->guarded)
		return;
	take_guard_off(live);
	pthread_mutex_lock(&lock);
	/* As cds_list_del_rcu(), whose store is a plain one to the thread sanitizer. */
	live->node.next->prev = live->node.prev;
	__atomic_store_n(&live->node.prev->next, live->node.next, __ATOMIC_RELEASE);
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
		rcu_found(live);
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
