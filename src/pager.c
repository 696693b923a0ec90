/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Areas of the pager.
 *
 * Invariants: a page is put in place only under the area's lock, after a look at what
 * it is to show that no change has come after. What a page shows is changed under the
 * same lock for writing, and the page is dropped before the lock is left. So no touch
 * finds the bytes of before a change once the change is made.
 *
 * Who has the lock for writing touches no page of the area: its fault would be served by
 * a thread that waits for the lock.
 *
 * A child of fork() gets none of the memory (MADV_DONTFORK): nobody would serve its
 * faults, and what is missing would be zeros there.
 */
#include "config.h"

#include "pager.h"

#include <errno.h>
#include <stdlib.h>

#include "mapping.h"

static int init_locks(struct pager_area *a)
{
	pthread_rwlockattr_t attr;
	int rc = pthread_rwlockattr_init(&attr);

	if (rc)
		return -rc;
	/* There is always somebody who puts pages in place. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	rc = pthread_rwlock_init(&a->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	if (!rc) {
		rc = pthread_mutex_init(&a->mutex, NULL);
		if (rc)
			pthread_rwlock_destroy(&a->lock);
	}
	return -rc;
}

static void free_area(struct pager_area *a)
{
	free(a->loaded.v);
	a->loaded = (struct pager_run_list){0};
}

static void destroy_locks(struct pager_area *a)
{
	pthread_mutex_destroy(&a->mutex);
	pthread_rwlock_destroy(&a->lock);
}

int pager_add(struct pager_area *a)
{
	size_t length = a->pages * sys_page_size();
	int rc = init_locks(a);

	if (rc)
		return rc;
	rc = pager_threads_enter(a);
	if (rc) {
		destroy_locks(a);
		return rc;
	}
	rc = sys_not_inherited(a->base, length);
	if (!rc)
		rc = sys_userfault_register(a->userfault, a->base, length, !a->fixed);
	if (rc) {
		pager_threads_leave(a);
		destroy_locks(a);
	}
	return rc;
}

void pager_remove(struct pager_area *a, bool in_child)
{
	if (!in_child) {
		sys_userfault_unregister(a->userfault, a->base, a->pages * sys_page_size());
		pager_threads_leave(a);
		destroy_locks(a);
	}
	free_area(a);
}

void pager_lock(struct pager_area *a)
{
	pthread_rwlock_wrlock(&a->lock);
}

void pager_unlock(struct pager_area *a)
{
	pthread_rwlock_unlock(&a->lock);
}

int pager_drop(struct pager_area *a, size_t page, size_t pages)
{
	size_t size = sys_page_size();

	a->changes++;
	return pages ? sys_drop_private(a->base + page * size, pages * size) : 0;
}

static int scan(uintptr_t base, uintptr_t start, uintptr_t end, enum sys_pages which, struct ranges *ret)
{
	int pagemap = sys_pagemap_open(), rc = pagemap < 0 ? pagemap : 0;
	struct snapmap_range runs[64];

	for (uintptr_t at = start, next = end; !rc && at < end; at = next) {
		int n = sys_pagemap_scan(pagemap, at, end, which, runs, sizeof(runs) / sizeof(runs[0]), &next);

		if (n < 0 || next <= at)
			rc = n < 0 ? n : -EIO;
		for (int i = 0; !rc && i < n; i++)
			rc = ranges_append(ret, runs[i].offset - base, runs[i].length);
	}
	if (pagemap >= 0)
		sys_close(pagemap);
	return rc;
}

/* Without PAGEMAP_SCAN, or /proc: everything may be. */
int pager_find_stored(const struct pager_area *a, size_t page, size_t pages, struct ranges *ret)
{
	uintptr_t base = (uintptr_t)a->base, start = base + page * sys_page_size();
	int rc = -EOPNOTSUPP;

	if (a->userfault->tells_stores)
		rc = scan(base, start, start + pages * sys_page_size(), SYS_PAGES_STORED, ret);
	return rc == -ENOMEM ? rc : rc ? -EOPNOTSUPP : 0;
}

void pager_load(struct pager_area *a, size_t page, size_t pages)
{
	while (pages) {
		size_t n = pages < 16 ? pages : 16;

		pager_fill(a, page, n);
		page += n;
		pages -= n;
	}
}

/* What is in place already counts as well, the first first. */
void pager_set_limit(struct pager_area *a, size_t limit)
{
	const size_t page = sys_page_size();
	struct ranges clean = {0};
	uintptr_t base = (uintptr_t)a->base;
	bool first;

	pthread_mutex_lock(&a->mutex);
	first = limit && !atomic_load(&a->limit);
	if (!limit || first)
		a->loaded.n = a->loaded.first = a->loaded_pages = 0;
	atomic_store(&a->limit, limit);
	if (first && a->userfault->tells_stores && !scan(base, base, base + a->pages * page, SYS_PAGES_CLEAN, &clean))
		for (size_t i = 0; i < clean.n; i++)
			pager_note_loaded(a, (size_t)clean.v[i].offset / page, (size_t)clean.v[i].length / page);
	pthread_mutex_unlock(&a->mutex);
	ranges_free(&clean);
	pager_give_back(a);
}
