/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of leased files, by inode (liburcu's lock-free hash table). Handles add
 * and remove; the threads that serve breaks walk it without a lock.
 *
 * Invariants: an entry in state HELD has its descriptor open and at least one handle,
 * and whoever leaves that state does so under the entry's lock, before the descriptor
 * is closed. The mappings in an entry's list are mapped as long as they are in it.
 */
#include "config.h"

#include "lease.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "overlay.h"
#include "sys.h"

#define BUCKETS 1024
#define ALWAYS_ALLOWED 8 /* leases, without a look at the limit on descriptors */

static struct cds_lfht *_Atomic table;
static atomic_ullong weight;				 /* of all leases, and of opens that may become one */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* nothing enters the table during a fork */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void create_table(void)
{
	/* A table that grows by itself would start a thread. */
	table = cds_lfht_new(BUCKETS, BUCKETS, BUCKETS, 0, NULL);
}

static unsigned long hash(dev_t dev, ino_t ino)
{
	return (unsigned long)((dev ^ ino * 0x9e3779b97f4a7c15u) >> 16 ^ ino);
}

struct key {
	dev_t dev;
	ino_t ino;
};

static int match(struct cds_lfht_node *node, const void *key)
{
	const struct leased *l = caa_container_of(node, const struct leased, node);
	const struct key *k = (const struct key *)key;

	rcu_found(node);
	return l->ino == k->ino && l->dev == k->dev;
}

static void free_leased(struct retired *retired)
{
	struct leased *l = caa_container_of(retired, struct leased, retired);

	pthread_mutex_destroy(&l->lock);
	free(l->tmpdir);
	free(l);
}

void lease_put(struct leased *l)
{
	if (atomic_fetch_sub(&l->refs, 1) == 1)
		retire(&l->retired, free_leased);
}

/* False if the last one has left already. */
static bool get(struct leased *l)
{
	unsigned refs = atomic_load(&l->refs);

	while (refs && !atomic_compare_exchange_weak(&l->refs, &refs, refs + 1))
		;
	return refs;
}

/*
 * A thread's first read-side section takes a lock of liburcu, which a fork holds
 * while it waits for ours. So it comes before them.
 */
static void become_reader(void)
{
	rcu_read_lock();
	rcu_read_unlock();
}

/* The entry of a file, to be put back, or NULL. Waits for nobody. */
static struct leased *find(dev_t dev, ino_t ino)
{
	struct key key = {dev, ino};
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	struct leased *l = NULL;

	rcu_read_lock();
	cds_lfht_lookup(table, hash(dev, ino), match, &key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node)
		l = caa_container_of(node, struct leased, node);
	if (l && !get(l))
		l = NULL;
	rcu_read_unlock();
	return l;
}

/* --- the budget */

/*
 * Leases keep descriptors for as long as the handles live, so they get half of what
 * there may be, and never the last ones.
 */
static bool fits_budget(int fd)
{
	unsigned users = lease_watch_users();
	uint64_t limit;

	if (users <= ALWAYS_ALLOWED && fd < 2 * ALWAYS_ALLOWED)
		return true;
	if (sys_fd_limit(&limit))
		return false;
	return users <= limit / 2 && (uint64_t)fd < limit - limit / 8;
}

static pid_t enter(int fd, uint64_t more)
{
	pid_t owner;

	pthread_once(&once, create_table);
	if (!table)
		return -ENOMEM;
	owner = lease_watch_enter();
	if (owner < 0)
		return owner;
	if (!fits_budget(fd)) {
		lease_watch_entered();
		lease_watch_leave();
		return -EMFILE;
	}
	atomic_fetch_add(&weight, more);
	return owner;
}

static void leave(uint64_t less)
{
	lease_watch_entered();
	atomic_fetch_sub(&weight, less);
	lease_watch_leave();
}

static uint64_t present_weight(void)
{
	return atomic_load(&weight);
}

const struct lease_terms lease_terms = {
	.weight = present_weight,
	.enter = enter,
	.leave = leave,
};

/* --- handles */

/* Under the entry's lock. */
static int map_into(struct leased *l, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct mapping mapping;
	struct live *live;
	int rc = mapping_open(l->fd, l->size, false, &mapping);

	if (rc)
		return rc;
	live = registry_add(&mapping, guarded, false);
	if (!live) {
		mapping_close(&mapping);
		return -ENOMEM;
	}
	cds_list_add(&live->in_file, &l->lives);
	atomic_fetch_add(&l->refs, 1);
	*ret_mapping = mapping;
	*ret = (struct lease_hold){l, live};
	return 0;
}

/* Maps a file that others have leased, if that lasts. */
static int map_others(struct leased *l, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	int rc = -EAGAIN;

	pthread_mutex_lock(&l->lock);
	if (atomic_load(&l->state) == LEASE_HELD)
		rc = map_into(l, guarded, ret_mapping, ret);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int lease_share(const struct stat *st, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct leased *l = lease_watch_users() && table ? find(st->st_dev, st->st_ino) : NULL;
	int rc;

	if (!l)
		return -ENOENT;
	rc = map_others(l, guarded, ret_mapping, ret);
	lease_put(l);
	return rc;
}

static struct leased *create(int fd, const struct source_request *r, uint64_t size, uint64_t of_weight)
{
	struct leased *l = (struct leased *)calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if ((r->options->tmpdir && !(l->tmpdir = strdup(r->options->tmpdir))) || pthread_mutex_init(&l->lock, NULL)) {
		free(l->tmpdir);
		free(l);
		return NULL;
	}
	cds_lfht_node_init(&l->node);
	CDS_INIT_LIST_HEAD(&l->lives);
	l->dev = r->st->st_dev;
	l->ino = r->st->st_ino;
	l->fd = fd;
	l->size = size;
	l->fs = r->fs;
	l->weight = of_weight;
	l->generation = r->generation;
	l->refs = 1;
	return l;
}

/* Within the gate. Returns the entry that is in the table then: @l, or another of the same file, to be put back. */
static struct leased *enter_table(struct leased *l)
{
	struct key key = {l->dev, l->ino};
	struct cds_lfht_node *node;
	struct leased *present;

	rcu_publish(&l->node);
	rcu_read_lock();
	node = cds_lfht_add_unique(table, hash(l->dev, l->ino), match, &key, &l->node);
	present = caa_container_of(node, struct leased, node);
	if (present != l && !get(present))
		present = NULL;
	rcu_read_unlock();
	return present;
}

void lease_leave_table(struct leased *l)
{
	rcu_read_lock();
	cds_lfht_del(table, &l->node);
	rcu_read_unlock();
}

/* Returns 0 if it is in the table now, with a mapping. */
static int adopt(struct leased *l, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret,
		 struct leased **ret_present)
{
	int rc = -EAGAIN;

	/* Locked before anybody can find it, so that it is not claimed while it has no mapping. */
	pthread_mutex_lock(&gate);
	pthread_mutex_lock(&l->lock);
	*ret_present = enter_table(l);
	pthread_mutex_unlock(&gate);
	if (*ret_present == l) {
		rc = map_into(l, guarded, ret_mapping, ret);
		if (rc) {
			atomic_store(&l->state, LEASE_ENDED);
			lease_leave_table(l);
		}
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int lease_adopt(int *fd, const struct source_request *r, uint64_t size, uint64_t of_weight, bool guarded,
		struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct leased *l = create(*fd, r, size, of_weight), *present = NULL;
	int rc = -ENOMEM;

	become_reader();
	if (l)
		rc = adopt(l, guarded, ret_mapping, ret, &present);
	if (!rc) {
		lease_watch_entered();
		*fd = -1;
	} else {
		/* Our own lease is of no use. But another thread may have been faster. */
		sys_lease_drop(*fd);
		leave(of_weight);
	}
	if (present && present != l) {
		rc = map_others(present, guarded, ret_mapping, ret);
		lease_put(present);
	}
	if (l)
		lease_put(l);
	return rc;
}

/*
 * Under the lock. A child of fork() may have the description too, and with it the
 * lease, if it was forked after the file was opened. One that is forked now waits for
 * the lock, and finds the entry, or the descriptor closed.
 */
static void close_lease(struct leased *l)
{
	unsigned now;

	if (fork_generation(&now) || now != l->generation)
		sys_lease_end(l->fd);
	sys_close(l->fd);
	l->fd = -1;
}

static bool is_final(int state)
{
	return state == LEASE_IMAGED || state == LEASE_LOST;
}

/* Under the lock. Returns whether it was the last handle under the lease. */
static bool leave_lease(struct leased *l, struct live *live, struct mapping *mapping)
{
	int state = atomic_load(&l->state);

	cds_list_del(&live->in_file);
	mapping_close(mapping);
	if (!cds_list_empty(&l->lives) || is_final(state))
		return false;
	/*
	 * Nobody needs the image that is being made: whoever makes it does the rest, and
	 * the next open of the file makes an entry of its own.
	 */
	if (state == LEASE_BREAKING) {
		lease_leave_table(l);
		sys_lease_end(l->fd);
		return false;
	}
	atomic_store(&l->state, LEASE_ENDED);
	close_lease(l);
	lease_leave_table(l);
	return true;
}

void lease_leave(struct lease_hold *hold, struct mapping *mapping)
{
	struct leased *l = hold->leased;
	struct live *live = hold->live;
	bool ended = false;

	*hold = (struct lease_hold){0};
	become_reader();
	registry_hide(live);
	/* Without the lock when nobody else uses it any more: in a child of fork() it may be taken for good. */
	if (is_final(atomic_load(&l->state))) {
		mapping_close(mapping);
	} else {
		pthread_mutex_lock(&l->lock);
		ended = leave_lease(l, live, mapping);
		pthread_mutex_unlock(&l->lock);
	}
	registry_free(live);
	if (ended) {
		atomic_fetch_sub(&weight, l->weight);
		lease_watch_leave();
	}
	lease_put(l);
}

void lease_get_info(const struct lease_hold *hold, struct snapmap_info *ret)
{
	static const uint32_t states[] = {
		[LEASE_HELD] = SNAPMAP_LEASE_HELD,     [LEASE_BREAKING] = SNAPMAP_LEASE_HELD,
		[LEASE_IMAGED] = SNAPMAP_LEASE_IMAGED, [LEASE_LOST] = SNAPMAP_LEASE_LOST,
		[LEASE_ENDED] = SNAPMAP_LEASE_NONE,
	};
	int state = atomic_load(&hold->leased->state);

	/* A writer may be through already while the one who let it is still at it. */
	if (!is_final(state)) {
		pthread_mutex_lock(&hold->leased->lock);
		state = atomic_load(&hold->leased->state);
		pthread_mutex_unlock(&hold->leased->lock);
	}
	ret->error = atomic_load(&hold->live->error);
	ret->lease = atomic_load(&hold->live->lost) ? SNAPMAP_LEASE_LOST : states[state];
	if (state == LEASE_IMAGED) {
		ret->bytes_copied = hold->leased->bytes_copied;
		ret->extents = hold->leased->extents;
	}
}

/* --- the threads */

/* The descriptor may be another file's by now: whoever acts upon it looks again under the lock. */
static bool is_broken(const struct leased *l)
{
	return atomic_load(&l->state) == LEASE_HELD && !sys_lease_held(l->fd);
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

	for (; (node = cds_lfht_iter_get_node(iter)); cds_lfht_next(table, iter)) {
		struct leased *l = caa_container_of(node, struct leased, node);

		rcu_found(node);
		if ((hint < 0 || l->fd == hint) && is_broken(l) && get(l))
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
		cds_lfht_first(table, &iter);
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
	cds_lfht_for_each_entry (table, &iter, l, node) {
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
	cds_lfht_for_each_entry (table, &iter, l, node) {
		rcu_found(&l->node);
		uint64_t at = l->broken_at;

		if (!at && is_broken(l))
			l->broken_at = now;
		/* It may have been marked by somebody else a moment after we looked at the clock. */
		if (at && at < now && now - at > ns && !atomic_load(&l->overdue) && get(l)) {
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

void lease_close_gate(void)
{
	pthread_mutex_lock(&gate);
}

void lease_open_gate(void)
{
	pthread_mutex_unlock(&gate);
}

/* From now on handles leave without the lock: none may be linked to another that is gone by then. */
static void unlink_lives(struct leased *l)
{
	struct live *live, *next;

	cds_list_for_each_entry_safe (live, next, &l->lives, in_file) {
		cds_list_del_init(&live->in_file);
	}
}

void lease_finish(struct leased *l, enum lease_state state)
{
	unlink_lives(l);
	sys_close(l->fd);
	l->fd = -1;
	atomic_store(&l->state, state);
	atomic_fetch_sub(&weight, l->weight);
}

/* --- fork */

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
	pthread_mutex_lock(&gate);
	locked = NULL;
	if (!table)
		return;
	rcu_read_lock();
	cds_lfht_for_each_entry (table, &iter, l, node) {
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
	pthread_mutex_unlock(&gate);
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
	unlink_lives(l);
	sys_close(l->fd);
	l->fd = -1;
	atomic_store(&l->state, LEASE_LOST);
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
	atomic_store(&weight, 0);
	pthread_mutex_unlock(&gate);
	lease_watch_forget();
}
