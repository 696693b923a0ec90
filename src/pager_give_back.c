/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking pages back that were only read: they come again from where they came from.
 *
 * No store may be lost that comes at the same moment. So pages that look clean are
 * first moved out of sight, in one step that the kernel refuses for pages in use
 * (UFFDIO_MOVE); who touches one from then on waits, as for any page that is not there.
 * Then they are compared with what they are to show. Those that differ after all are moved
 * back; the others are dropped.
 *
 * Areas that nobody can store into need none of this.
 *
 * The oldest go first: what is in use comes again, and is young then.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pager.h"

static int grow(struct pager_run_list *l)
{
	size_t capacity = l->capacity ? l->capacity * 2 : 64;
	struct pager_loaded *v = (struct pager_loaded *)malloc(capacity * sizeof(*v));

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		v[i] = l->v[(l->first + i) % l->capacity];
	free(l->v);
	*l = (struct pager_run_list){.v = v, .n = l->n, .capacity = capacity};
	return 0;
}

/* Without memory for it they are never given back. */
void pager_note_loaded(struct pager_area *a, size_t page, size_t pages)
{
	struct pager_run_list *l = &a->loaded;

	if (!atomic_load(&a->limit) || (l->n == l->capacity && grow(l)))
		return;
	l->v[(l->first + l->n++) % l->capacity] = (struct pager_loaded){page, pages};
	a->loaded_pages += pages;
}

/* The oldest that are too many. False if there are none. */
static bool take_oldest(struct pager_area *a, struct pager_loaded *ret)
{
	struct pager_run_list *l = &a->loaded;
	size_t limit;
	bool any;

	pthread_mutex_lock(&a->mutex);
	limit = atomic_load(&a->limit);
	any = limit && a->loaded_pages > limit && l->n;
	if (any) {
		struct pager_loaded *oldest = &l->v[l->first];

		*ret = *oldest;
		if (ret->pages > PAGER_SCRATCH_PAGES)
			ret->pages = PAGER_SCRATCH_PAGES;
		oldest->first += ret->pages;
		oldest->pages -= ret->pages;
		a->loaded_pages -= ret->pages;
		if (!oldest->pages) {
			l->first = (l->first + 1) % l->capacity;
			l->n--;
		}
	}
	pthread_mutex_unlock(&a->mutex);
	return any;
}

/* It differs: nobody else has its bytes. So this does not fail. */
static void put_back(const struct sys_userfault *u, char *to, char *page)
{
	size_t size = sys_page_size(), moved = 0;

	while (sys_userfault_move(u, to, page, size, &moved) && !moved &&
	       sys_userfault_copy(u, to, page, size, false, &moved) && !moved)
		sys_sleep(&(struct timespec){.tv_nsec = 1000000});
}

/* Whether a page is what it is to show. */
static bool is_had_again(struct pager_area *a, size_t page, const char *bytes, char *buf)
{
	struct pager_bytes b = a->ops->find(a, page, 1);
	bool same = b.from && !sys_copy_memory(buf, b.from, sys_page_size()) && !memcmp(bytes, buf, sys_page_size());

	if (b.held)
		a->ops->let_go(a, b.held);
	return same;
}

/*
 * Under the lock: pages of @run that are in the scratch now, which has one page more.
 * Returns how many are gone for good.
 */
static size_t look_through(struct pager_area *a, const struct pager_loaded *run, char *scratch, size_t got)
{
	size_t size = sys_page_size(), gone = 0;

	for (size_t i = 0; i < got / size; i++) {
		if (is_had_again(a, run->first + i, scratch + i * size, scratch + PAGER_SCRATCH_PAGES * size))
			gone++;
		else
			put_back(a->userfault, a->base + (run->first + i) * size, scratch + i * size);
	}
	return gone;
}

/* Only pages in which nothing was stored, as far as can be seen. */
static void give_back_run(struct pager_area *a, const struct pager_loaded *run, int pagemap, char *scratch)
{
	size_t size = sys_page_size(), got;
	uintptr_t base = (uintptr_t)a->base + run->first * size, next;
	struct snapmap_range clean[PAGER_SCRATCH_PAGES];
	int n;

	pager_lock(a);
	n = sys_pagemap_scan(pagemap, base, base + run->pages * size, SYS_PAGES_CLEAN, clean, PAGER_SCRATCH_PAGES,
			     &next);
	for (int i = 0; i < n; i++) {
		struct pager_loaded part = {.pages = clean[i].length / size};

		part.first = (clean[i].offset - (uintptr_t)a->base) / size;
		sys_userfault_move(a->userfault, scratch, (char *)(uintptr_t)clean[i].offset, clean[i].length, &got);
		atomic_fetch_add(&a->pages_back, look_through(a, &part, scratch, got));
		sys_drop_private(scratch, PAGER_SCRATCH_PAGES * size);
	}
	pager_unlock(a);
}

/* Nobody can have stored there. */
static void give_back_fixed(struct pager_area *a)
{
	struct pager_loaded run;

	while (take_oldest(a, &run))
		atomic_fetch_add(&a->pages_back, a->ops->give_back(a, run.first, run.pages));
}

static void give_back_clean(struct pager_area *a)
{
	struct pager_loaded run;
	char *scratch;
	int pagemap;

	if (!a->userfault->moves || !a->userfault->tells_stores)
		return;
	scratch = pager_take_scratch(a);
	if (!scratch)
		return;
	pagemap = sys_pagemap_open();
	while (pagemap >= 0 && take_oldest(a, &run))
		give_back_run(a, &run, pagemap, scratch);
	if (pagemap >= 0)
		sys_close(pagemap);
	pager_put_scratch();
}

void pager_give_back(struct pager_area *a)
{
	if (a->fixed)
		give_back_fixed(a);
	else
		give_back_clean(a);
}
