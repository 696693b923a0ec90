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

static struct cds_lfht *table;
static atomic_uint entries;
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

	return l->ino == k->ino && l->dev == k->dev;
}

/* Within a read-side section. */
static struct leased *find(dev_t dev, ino_t ino)
{
	struct key key = {dev, ino};
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	cds_lfht_lookup(table, hash(dev, ino), match, &key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	return node ? caa_container_of(node, struct leased, node) : NULL;
}

static void free_leased(struct retired *retired)
{
	struct leased *l = caa_container_of(retired, struct leased, retired);

	pthread_mutex_destroy(&l->lock);
	free(l->tmpdir);
	free(l);
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

/*
 * A break may come after the grant and before the entry into the table, where the
 * watcher looks. So all between is a read-side section, and the watcher waits for the
 * end of those.
 */
static pid_t enter(int fd)
{
	pid_t owner;

	pthread_once(&once, create_table);
	if (!table)
		return -ENOMEM;
	owner = lease_watch_enter();
	if (owner > 0 && !fits_budget(fd)) {
		lease_watch_leave();
		return -EMFILE;
	}
	if (owner > 0)
		rcu_read_lock();
	return owner;
}

static void leave(void)
{
	rcu_read_unlock();
	lease_watch_leave();
}

const struct lease_terms lease_terms = {
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

int lease_share(const struct stat *st, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct leased *l;
	int rc = -ENOENT;

	if (!lease_watch_users())
		return rc;
	rcu_read_lock();
	l = find(st->st_dev, st->st_ino);
	if (l) {
		pthread_mutex_lock(&l->lock);
		if (atomic_load(&l->state) == LEASE_HELD)
			rc = map_into(l, guarded, ret_mapping, ret);
		pthread_mutex_unlock(&l->lock);
	}
	rcu_read_unlock();
	return rc;
}

static struct leased *create(int fd, const struct source_request *r, uint64_t size)
{
	struct leased *l = (struct leased *)calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if (fork_generation(&l->generation) || (r->options->tmpdir && !(l->tmpdir = strdup(r->options->tmpdir))) ||
	    pthread_mutex_init(&l->lock, NULL)) {
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
	return l;
}

/* Returns the entry that is in the table: @l, or another of the same file. Within a read-side section. */
static struct leased *enter_table(struct leased *l)
{
	struct key key = {l->dev, l->ino};
	struct cds_lfht_node *node;

	pthread_mutex_lock(&gate);
	node = cds_lfht_add_unique(table, hash(l->dev, l->ino), match, &key, &l->node);
	atomic_fetch_add(&entries, node == &l->node);
	pthread_mutex_unlock(&gate);
	return caa_container_of(node, struct leased, node);
}

static void leave_table(struct leased *l)
{
	cds_lfht_del(table, &l->node);
	atomic_fetch_sub(&entries, 1);
}

/* Another thread was faster: its lease serves us too, if it lasts. */
static int adopt_other(struct leased *other, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	int rc = -EAGAIN;

	pthread_mutex_lock(&other->lock);
	if (atomic_load(&other->state) == LEASE_HELD)
		rc = map_into(other, guarded, ret_mapping, ret);
	pthread_mutex_unlock(&other->lock);
	return rc;
}

/* Returns 0, and whether it was entered; within a read-side section. */
static int adopt(struct leased *l, bool guarded, bool *ret_entered, struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct leased *present;
	int rc;

	/* Locked before anybody can find it, so that it is not claimed while it has no mapping. */
	pthread_mutex_lock(&l->lock);
	present = enter_table(l);
	*ret_entered = present == l;
	rc = present == l ? map_into(l, guarded, ret_mapping, ret) : adopt_other(present, guarded, ret_mapping, ret);
	if (rc && present == l) {
		leave_table(l);
		atomic_store(&l->state, LEASE_ENDED);
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int lease_adopt(int *fd, const struct source_request *r, uint64_t size, bool guarded, struct mapping *ret_mapping,
		struct lease_hold *ret)
{
	struct leased *l = create(*fd, r, size);
	bool entered = false;
	int rc = l ? adopt(l, guarded, &entered, ret_mapping, ret) : -ENOMEM;

	rcu_read_unlock();
	if (!rc && entered) {
		*fd = -1;
		return 0;
	}
	/* Our own lease is of no use. */
	sys_lease_drop(*fd);
	lease_watch_leave();
	if (entered)
		retire(&l->retired, free_leased);
	else if (l)
		free_leased(&l->retired);
	return rc;
}

/* Nobody is left, and nobody is about to make an image. Under the lock; returns the descriptor. */
static int end_lease(struct leased *l)
{
	atomic_store(&l->state, LEASE_ENDED);
	rcu_read_lock();
	leave_table(l);
	rcu_read_unlock();
	return l->fd;
}

static void release(struct leased *l, int fd)
{
	unsigned now;

	/* A child of fork() may still have the description, and with it the lease. */
	if (fork_generation(&now) || now != l->generation)
		sys_lease_end(fd);
	sys_close(fd);
	lease_watch_leave();
}

static bool is_final(int state)
{
	return state == LEASE_IMAGED || state == LEASE_LOST;
}

void lease_leave(struct lease_hold *hold, struct mapping *mapping)
{
	struct leased *l = hold->leased;
	struct live *live = hold->live;
	bool last, ended;
	int fd = -1, state;

	*hold = (struct lease_hold){0};
	registry_hide(live);
	/* Without the lock when nobody else uses it any more: in a child of fork() it may be taken for good. */
	if (is_final(atomic_load(&l->state))) {
		mapping_close(mapping);
		last = atomic_fetch_sub(&l->refs, 1) == 1;
		ended = last;
	} else {
		pthread_mutex_lock(&l->lock);
		cds_list_del(&live->in_file);
		mapping_close(mapping);
		last = atomic_fetch_sub(&l->refs, 1) == 1;
		state = atomic_load(&l->state);
		/* Nobody needs the image that is being made: whoever makes it does the rest. */
		if (last && state == LEASE_BREAKING)
			sys_lease_end(l->fd);
		if (last && state == LEASE_HELD)
			fd = end_lease(l);
		ended = last && state != LEASE_BREAKING;
		pthread_mutex_unlock(&l->lock);
	}
	registry_free(live);
	if (fd >= 0)
		release(l, fd);
	if (ended)
		retire(&l->retired, free_leased);
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

static bool is_broken(const struct leased *l, int hint)
{
	return atomic_load(&l->state) == LEASE_HELD && (hint < 0 || l->fd == hint) && !sys_lease_held(l->fd);
}

/* The first look was without the lock: the descriptor may have been another file's by then. */
static bool try_claim(struct leased *l)
{
	bool claimed;

	pthread_mutex_lock(&l->lock);
	claimed = is_broken(l, -1);
	if (claimed) {
		l->started = sys_now_ns();
		atomic_store(&l->state, LEASE_BREAKING);
	}
	pthread_mutex_unlock(&l->lock);
	return claimed;
}

static struct leased *claim_one(int hint)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	cds_lfht_for_each_entry (table, &iter, l, node) {
		if (is_broken(l, hint) && try_claim(l))
			return l;
	}
	return NULL;
}

bool lease_openers_waited_for(void)
{
	if (lease_watch_users() <= atomic_load(&entries))
		return false;
	synchronize_rcu();
	return true;
}

struct leased *lease_claim(int hint)
{
	struct leased *l = NULL;

	rcu_read_lock();
	if (hint >= 0)
		l = claim_one(hint);
	if (!l)
		l = claim_one(-1);
	rcu_read_unlock();
	return l;
}

bool lease_finish(struct leased *l, enum lease_state state)
{
	rcu_read_lock();
	leave_table(l);
	rcu_read_unlock();
	sys_close(l->fd);
	atomic_store(&l->state, state);
	return !atomic_load(&l->refs);
}

void lease_gone(struct leased *l, bool ended)
{
	lease_watch_leave();
	if (ended)
		retire(&l->retired, free_leased);
}

/* --- fork */

/* In which order: the threads' locks, the gate, the entries'. What is in the table then stays. */
void lease_before_fork(void)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	lease_watch_lock();
	pthread_mutex_lock(&gate);
	if (!table)
		return;
	rcu_read_lock();
	cds_lfht_for_each_entry (table, &iter, l, node) {
		pthread_mutex_lock(&l->lock);
	}
	rcu_read_unlock();
}

void lease_after_fork(void)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	if (table) {
		rcu_read_lock();
		cds_lfht_for_each_entry (table, &iter, l, node) {
			pthread_mutex_unlock(&l->lock);
		}
		rcu_read_unlock();
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
	atomic_store(&l->state, LEASE_LOST);
	close_fd(&l->fd);
	leave_table(l);
}

void lease_after_fork_in_child(void)
{
	struct cds_lfht_iter iter;
	struct leased *l;

	if (table) {
		rcu_read_lock();
		cds_lfht_for_each_entry (table, &iter, l, node) {
			disown(l);
			pthread_mutex_unlock(&l->lock);
		}
		rcu_read_unlock();
	}
	pthread_mutex_unlock(&gate);
	lease_watch_forget();
}
