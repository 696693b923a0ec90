/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of leased files, by inode (liburcu's lock-free hash table). Handles add
 * and remove; the threads that serve breaks walk it without a lock.
 */
#include "config.h"

#include "lease.h"

#include <errno.h>
#include <stdlib.h>

#include "sys.h"

#define BUCKETS 1024

static struct cds_lfht *_Atomic table;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* nothing enters the table during a fork */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void create_table(void)
{
	/* A table that grows by itself would start a thread. */
	table = cds_lfht_new(BUCKETS, BUCKETS, BUCKETS, 0, NULL);
}

int lease_make_table(void)
{
	pthread_once(&once, create_table);
	return table ? 0 : -ENOMEM;
}

struct cds_lfht *lease_table(void)
{
	return table;
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

bool lease_get(struct leased *l)
{
	unsigned refs = atomic_load(&l->refs);

	while (refs && !atomic_compare_exchange_weak(&l->refs, &refs, refs + 1))
		;
	return refs;
}

int lease_fd(const struct leased *l)
{
	int fd = l->fd;
	struct stat st;

	/* Not by fstat(2), which the thread sanitizer takes for a race with close(2). */
	if (!sys_lease_marked(fd) || sys_fstatat(fd, "", AT_EMPTY_PATH, &st))
		return -1;
	return st.st_dev == l->dev && st.st_ino == l->ino ? fd : -1;
}

/* The last entry that got a descriptor with this number; another number may share the place. */
static _Atomic uint64_t owners[1024];

static uint64_t owner_of(const struct leased *l)
{
	return (uint64_t)(uintptr_t)l ^ (uint64_t)l->fd << 48;
}

void lease_own_fd(const struct leased *l)
{
	atomic_store(&owners[l->fd % 1024], owner_of(l));
}

/*
 * The mark tells it from what the application has opened, and the owner from what we
 * have opened for others: one system call instead of two.
 */
int lease_fd_quickly(const struct leased *l)
{
	if (atomic_load(&owners[l->fd % 1024]) == owner_of(l) && sys_lease_marked(l->fd))
		return l->fd;
	return lease_fd(l);
}

struct leased *lease_find(dev_t dev, ino_t ino)
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
	if (l && !lease_get(l))
		l = NULL;
	rcu_read_unlock();
	return l;
}

struct leased *lease_enter_table(struct leased *l)
{
	struct key key = {l->dev, l->ino};
	struct cds_lfht_node *node;
	struct leased *present;

	rcu_publish(&l->node);
	rcu_read_lock();
	node = cds_lfht_add_unique(table, hash(l->dev, l->ino), match, &key, &l->node);
	present = caa_container_of(node, struct leased, node);
	if (present != l && !lease_get(present))
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

void lease_close_gate(void)
{
	pthread_mutex_lock(&gate);
}

void lease_open_gate(void)
{
	pthread_mutex_unlock(&gate);
}
