/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the threads ask: which leases break, and since when. */
#include "config.h"

#include "lease.h"
#include "sys.h"

/* The descriptor may be another file's by now: whoever acts upon it looks again under the lock. */
static bool is_broken(const struct leased *l)
{
	return atomic_load(&l->state) == LEASE_HELD && (!sys_lease_held(l->fd) || lease_fd(l) < 0);
}

static bool try_claim(struct leased *l)
{
	bool claimed;

	pthread_mutex_lock(&l->lock);
	claimed = is_broken(l);
	if (claimed) {
		if (!l->broken_at)
			l->broken_at = sys_now_ns();
		atomic_store(&l->state, LEASE_BREAKING);
	}
	pthread_mutex_unlock(&l->lock);
	return claimed;
}

/* The first from @iter on whose lease breaks, to be put back, or NULL. */
static struct leased *next_broken(struct cds_lfht_iter *iter, int hint)
{
	struct cds_lfht_node *node;

	for (; (node = cds_lfht_iter_get_node(iter)); cds_lfht_next(lease_table(), iter)) {
		struct leased *l = caa_container_of(node, struct leased, node);

		rcu_found(node);
		if ((hint < 0 || l->fd == hint) && is_broken(l) && lease_get(l))
			return l;
	}
	return NULL;
}

static struct leased *claim_one(int hint)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	for (;;) {
		rcu_read_lock();
		cds_lfht_first(lease_table(), &iter);
		l = next_broken(&iter, hint);
		rcu_read_unlock();
		if (!l || try_claim(l))
			return l;
		lease_put(l);
	}
}

struct leased *lease_claim(int hint)
{
	struct leased *l = hint >= 0 ? claim_one(hint) : NULL;

	return l ? l : claim_one(-1);
}

unsigned lease_count_waiting(void)
{
	struct cds_lfht_iter iter;
	struct leased *l;
	unsigned n = 0;

	rcu_read_lock();
	cds_lfht_for_each_entry (lease_table(), &iter, l, node) {
		rcu_found(&l->node);
		n += is_broken(l);
	}
	rcu_read_unlock();
	return n;
}

/* Marks what breaks; returns one that is overdue, to be put back, or NULL. */
static struct leased *find_overdue(uint64_t ns)
{
	uint64_t now = sys_now_ns();
	struct leased *l, *found = NULL;
	struct cds_lfht_iter iter;

	rcu_read_lock();
	cds_lfht_for_each_entry (lease_table(), &iter, l, node) {
		rcu_found(&l->node);
		uint64_t at = l->broken_at;

		if (!at && is_broken(l))
			l->broken_at = now;
		/* It may have been marked by somebody else a moment after we looked at the clock. */
		if (at && at < now && now - at > ns && !atomic_load(&l->overdue) && lease_get(l)) {
			found = l;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

void lease_end_overdue(uint64_t ns)
{
	struct leased *l;

	while ((l = find_overdue(ns))) {
		lease_give_up(l);
		lease_put(l);
	}
}
