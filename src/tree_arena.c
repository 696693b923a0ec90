/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses of trees: spans of large reserved ranges, one for the entries of each directory. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tree.h"

/* Addresses are taken in spans of this, or less where there is less. */
#define ARENA ((size_t)1 << 42)
#define ARENA_LEAST ((size_t)1 << 24)

static int map_arena(struct snapmap_tree *t, size_t least, struct tree_arena *a)
{
	size_t n = ARENA;
	void *base = NULL;
	int rc;

	while (n < least)
		n *= 2;
	do {
		rc = sys_map(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &base);
		n /= rc ? 2 : 1;
	} while (rc && n >= least && n >= ARENA_LEAST);
	if (rc)
		return rc;
	a->tree = t;
	a->area.ops = &tree_pager_ops;
	a->area.base = (char *)base;
	a->area.pages = n / sys_page_size();
	a->area.fixed = a->area.user_only = true;
	rc = pager_add(&a->area);
	if (rc)
		sys_unmap(base, n);
	return rc;
}

static void share_limit(struct snapmap_tree *t)
{
	size_t n = 0, pages = (size_t)(t->options.resident_limit / sys_page_size());
	struct tree_arena *a;

	for (a = t->arenas; a; a = a->next)
		n++;
	for (a = t->arenas; a && t->options.resident_limit; a = a->next)
		pager_set_limit(&a->area, pages / n ? pages / n : 1);
}

int tree_arena_add(struct snapmap_tree *t, size_t pages)
{
	struct tree_arena *a = (struct tree_arena *)calloc(1, sizeof(*a));
	int rc = a ? map_arena(t, pages * sys_page_size(), a) : -ENOMEM;

	if (rc) {
		free(a);
		return rc;
	}
	a->next = t->arenas;
	t->arenas = a;
	share_limit(t);
	return 0;
}

/* Under the lock for writing. */
static int take_span(struct snapmap_tree *t, struct tree_listing *l, size_t pages)
{
	struct tree_arena *a = t->arenas;
	int rc = 0;

	while (a && a->area.pages - a->used < pages)
		a = a->next;
	if (!a) {
		rc = tree_arena_add(t, pages);
		a = t->arenas;
	}
	if (!rc && a->promised == a->capacity) {
		size_t capacity = a->capacity ? a->capacity * 2 : 64;
		void *spans = realloc(a->spans, capacity * sizeof(struct tree_listing *));

		if (spans) {
			a->spans = (struct tree_listing **)spans;
			a->capacity = capacity;
		} else {
			rc = -ENOMEM;
		}
	}
	if (rc)
		return rc;
	l->arena = a;
	l->first = a->used;
	a->used += pages;
	l->end = a->used;
	a->promised++;
	return 0;
}

/* Those that were begun later may be ready before. */
void tree_listing_publish(struct tree_listing *l)
{
	struct tree_arena *a = l->arena;
	size_t at;

	pthread_rwlock_wrlock(&l->tree->lock);
	if (l->end > l->first) {
		for (at = a->nspans++; at && a->spans[at - 1]->first > l->first; at--)
			a->spans[at] = a->spans[at - 1];
		a->spans[at] = l;
	}
	pthread_rwlock_unlock(&l->tree->lock);
}

struct tree_listing *tree_listing_create(struct snapmap_tree *t, size_t n, size_t names, size_t pages)
{
	uint32_t slots = tree_slots_for(n);
	size_t files = n * sizeof(struct snapmap_file), entries = n * sizeof(struct tree_entry);
	struct tree_listing *l =
		(struct tree_listing *)calloc(1, sizeof(*l) + files + entries + slots * sizeof(uint32_t) + names);
	char *p = (char *)(l + 1);
	int rc;

	if (!l)
		return NULL;
	l->tree = t;
	l->n = n;
	l->files = (struct snapmap_file *)(void *)p;
	l->entries = (struct tree_entry *)(void *)(p + files);
	l->slots = (uint32_t *)(void *)(p + files + entries);
	l->mask = slots - 1;
	l->names = p + files + entries + slots * sizeof(uint32_t);
	pthread_rwlock_wrlock(&t->lock);
	rc = take_span(t, l, pages);
	if (!rc) {
		l->next = t->listings;
		t->listings = l;
	}
	pthread_rwlock_unlock(&t->lock);
	if (rc) {
		free(l);
		return NULL;
	}
	return l;
}
