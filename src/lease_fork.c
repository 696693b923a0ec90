/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases around fork(): the child finds all locks free and what they guard whole, and
 * none of the files.
 */
#include "config.h"

#include <errno.h>

#include "lease.h"

static struct leased *locked; /* by a fork that is under way */

/*
 * In which order: the threads' locks, the gate, the entries'. What is in the table then
 * stays. An entry may leave it while its lock is being waited for, but is not freed:
 * fork.c keeps grace periods from ending.
 */
void lease_before_fork(void)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	lease_watch_lock();
	lease_close_gate();
	locked = NULL;
	if (!lease_table())
		return;
	rcu_read_lock();
	cds_lfht_for_each_entry (lease_table(), &iter, l, node) {
		rcu_found(&l->node);
		pthread_mutex_lock(&l->lock);
		l->next_locked = locked;
		locked = l;
	}
	rcu_read_unlock();
}

void lease_after_fork(void)
{
	for (struct leased *l = locked, *next; l; l = next) {
		next = l->next_locked;
		pthread_mutex_unlock(&l->lock);
	}
	lease_open_gate();
	lease_watch_unlock();
}

/*
 * Nobody guards the file for the child: a touch is a fault, and the addresses stay
 * taken until the handle is closed. The descriptor is closed without giving up the
 * lease, which is the parent's.
 */
static void disown(struct leased *l)
{
	struct live *live;

	cds_list_for_each_entry (live, &l->lives, in_file) {
		lease_lose(live, -ESTALE);
	}
	lease_finish(l, LEASE_LOST);
	lease_leave_table(l);
}

void lease_after_fork_in_child(void)
{
	for (struct leased *l = locked, *next; l; l = next) {
		int state = atomic_load(&l->state);

		next = l->next_locked;
		if (state == LEASE_HELD || state == LEASE_BREAKING)
			disown(l);
		pthread_mutex_unlock(&l->lock);
	}
	lease_unload_all();
	lease_open_gate();
	lease_watch_forget();
}
