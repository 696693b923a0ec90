/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What handles ask of leased files.
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

/*
 * A thread's first read-side section takes a lock of liburcu, which a fork holds
 * while it waits for ours. So it comes before them.
 */
static void become_reader(void)
{
	rcu_read_lock();
	rcu_read_unlock();
}

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
	if (atomic_load(&l->state) == LEASE_HELD && lease_fd(l) >= 0)
		rc = map_into(l, guarded, ret_mapping, ret);
	pthread_mutex_unlock(&l->lock);
	return rc;
}

int lease_share(const struct stat *st, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret)
{
	struct leased *l = lease_watch_users() && lease_table() ? lease_find(st->st_dev, st->st_ino) : NULL;
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
	lease_own_fd(l);
	return l;
}

/* Returns 0 if it is in the table now, with a mapping. */
static int adopt(struct leased *l, bool guarded, struct mapping *ret_mapping, struct lease_hold *ret,
		 struct leased **ret_present)
{
	int rc = -EAGAIN;

	/* Locked before anybody can find it, so that it is not claimed while it has no mapping. */
	lease_close_gate();
	pthread_mutex_lock(&l->lock);
	*ret_present = lease_enter_table(l);
	lease_open_gate();
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
		lease_terms.leave(of_weight);
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
	int fd = lease_fd_quickly(l);
	unsigned now;

	if (fork_generation(&now) || now != l->generation)
		sys_lease_end(fd);
	sys_close(fd);
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
		sys_lease_end(lease_fd(l));
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
		lease_unload(l->weight);
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
