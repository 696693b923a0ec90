/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the pager asks of a tree: which entry a page belongs to, and what it is to show. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "tree.h"

/* Pages of zeros at a time. */
#define ZEROS 1024

/* For a directory that there was not even the memory to say so for. */
static const union {
	struct tree_dir dir;
	char page[65536];
} no_memory = {.dir = {.dir = {.error = -ENOMEM}}};

/* ---- entries by their pages ---- */

char *tree_address(const struct tree_listing *l, size_t page)
{
	return l->arena->area.base + page * sys_page_size();
}

size_t tree_pages(const struct tree_listing *l, size_t i)
{
	return (i + 1 < l->n ? l->entries[i + 1].first : l->end) - l->entries[i].first;
}

static struct tree_listing *find_listing(struct tree_arena *arena, size_t page)
{
	size_t low = 0, high;
	struct tree_listing *l;

	pthread_rwlock_rdlock(&arena->tree->lock);
	high = arena->nspans;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (arena->spans[middle]->first <= page)
			low = middle;
		else
			high = middle;
	}
	l = high ? arena->spans[low] : NULL;
	pthread_rwlock_unlock(&arena->tree->lock);
	return l && page < l->end ? l : NULL;
}

/* The last that begins no later: those before it without pages begin at the same one. */
static size_t find_entry(const struct tree_listing *l, size_t page)
{
	size_t low = 0, high = l->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (l->entries[middle].first <= page)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Nobody touches what no pointer leads to, but by mistake: NULL. */
static struct tree_listing *find(struct pager_area *area, size_t page, size_t *ret_entry)
{
	struct tree_listing *l = find_listing(caa_container_of(area, struct tree_arena, area), page);

	if (l)
		*ret_entry = find_entry(l, page);
	return l;
}

static pthread_mutex_t *lock_of(const struct tree_listing *l, size_t i)
{
	return &l->tree->locks[((uintptr_t)&l->entries[i] / sizeof(struct tree_entry)) % TREE_LOCKS];
}

void tree_lock_entry(const struct tree_listing *l, size_t i)
{
	pthread_mutex_lock(lock_of(l, i));
}

void tree_unlock_entry(const struct tree_listing *l, size_t i)
{
	pthread_mutex_unlock(lock_of(l, i));
}

/* Read by the program at any time, as a plain int. */
void tree_set_error(const struct snapmap_file *file, int error)
{
	int none = 0;

	__atomic_compare_exchange_n((int *)(uintptr_t)&file->error, &none, error, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);
}

/* ---- what the pager asks ---- */

struct tree_node *tree_node_of(struct tree_listing *l, size_t i)
{
	if (!l->entries[i].node)
		l->entries[i].node = (struct tree_node *)calloc(1, sizeof(struct tree_node));
	return l->entries[i].node;
}

static int make(struct tree_listing *l, size_t i, struct tree_node *node)
{
	if (node->kind == TREE_NEW && l->files[i].dir)
		return tree_list(l, i, node);
	if (node->kind == TREE_NEW)
		tree_read(l, i, node);
	return 0;
}

/* Under the lock of the entry. What is to be put in place, @page among it. */
static struct pager_loaded choose(const struct tree_listing *l, size_t i, const struct tree_node *node, size_t page,
				  size_t likely)
{
	size_t first = l->entries[i].first, end = first + tree_pages(l, i), most = end - page;

	switch (node->kind) {
	case TREE_DIR:
	case TREE_SMALL:
		return (struct pager_loaded){first, end - first};
	case TREE_LARGE:
		return (struct pager_loaded){page, likely < most ? likely : most};
	default:
		return (struct pager_loaded){page, ZEROS < most ? ZEROS : most};
	}
}

static bool is_whole(const struct tree_node *node)
{
	return node->kind == TREE_DIR || node->kind == TREE_SMALL;
}

static struct pager_loaded prepare_entry(struct tree_listing *l, size_t i, size_t page, size_t likely)
{
	struct tree_node *node = tree_node_of(l, i);
	int rc = node ? make(l, i, node) : -ENOMEM;

	if (rc) {
		tree_set_error(&l->files[i], rc);
		return (struct pager_loaded){page, 1};
	}
	if (is_whole(node) && node->there)
		return (struct pager_loaded){page, 0};
	if (is_whole(node) && !node->bytes) {
		rc = tree_read_again(l, i, node);
		if (rc)
			return (struct pager_loaded){page, 1};
	}
	return choose(l, i, node, page, likely);
}

static struct pager_loaded prepare(struct pager_area *area, size_t page, size_t likely)
{
	struct pager_loaded run = {page, 1};
	struct tree_listing *l;
	size_t i;

	l = find(area, page, &i);
	if (!l)
		return run;
	tree_lock_entry(l, i);
	run = prepare_entry(l, i, page, likely);
	if (run.pages && l->entries[i].node)
		l->entries[i].node->users++;
	tree_unlock_entry(l, i);
	return run;
}

/* Of the source's own memory, which has been copied: what is resident is counted here. */
static void drop_source(const struct tree_node *node, const struct tree_listing *l, size_t i)
{
	if (node->data)
		sys_drop_private((void *)(uintptr_t)node->data, tree_pages(l, i) * sys_page_size());
}

/* All is there, and nobody needs the bytes any more. */
static void settle(struct pager_area *area, const struct tree_listing *l, size_t i, struct tree_node *node)
{
	free(node->bytes);
	node->bytes = NULL;
	if (!node->passed_over)
		return;
	node->passed_over = false;
	pthread_mutex_lock(&area->mutex);
	pager_note_loaded(area, l->entries[i].first, tree_pages(l, i));
	pthread_mutex_unlock(&area->mutex);
}

static void done(struct pager_area *area, size_t page, size_t there)
{
	struct tree_listing *l;
	struct tree_node *node;
	size_t i;

	l = find(area, page, &i);
	if (!l)
		return;
	tree_lock_entry(l, i);
	node = l->entries[i].node;
	if (node) {
		node->users--;
		if (is_whole(node) && node->bytes && there == tree_pages(l, i))
			node->there = true;
		if (!node->users && node->there)
			settle(area, l, i, node);
		if (node->kind == TREE_LARGE && atomic_load(&area->limit))
			drop_source(node, l, i);
	}
	tree_unlock_entry(l, i);
}

static struct pager_bytes find_large(const struct tree_node *node, const struct tree_listing *l, size_t i, size_t at,
				     size_t most)
{
	size_t pages = tree_pages(l, i), size = sys_page_size();

	if (node->tail && at == pages - 1)
		return (struct pager_bytes){.from = node->tail, .pages = 1};
	pages -= node->tail ? 1 : 0;
	return (struct pager_bytes){.from = node->data + at * size, .pages = most < pages - at ? most : pages - at};
}

static struct pager_bytes find_bytes(struct pager_area *area, size_t page, size_t most)
{
	struct pager_bytes none = {.pages = 0}, zeros = {.pages = most};
	const struct tree_node *node;
	struct tree_listing *l;
	size_t i, at, pages;

	l = find(area, page, &i);
	if (!l)
		return none;
	node = l->entries[i].node;
	if (!node || node->kind == TREE_NEW)
		return l->files[i].dir ? (struct pager_bytes){.from = no_memory.page, .pages = 1} : zeros;
	at = page - l->entries[i].first;
	pages = tree_pages(l, i) - at;
	if (node->kind == TREE_LARGE)
		return find_large(node, l, i, at, most);
	if (node->kind == TREE_FAILED)
		return zeros;
	if (!node->bytes)
		return none;
	return (struct pager_bytes){.from = node->bytes + at * sys_page_size(), .pages = most < pages ? most : pages};
}

static void let_go(struct pager_area *area, void *held)
{
	(void)area;
	(void)held;
}

static void failed(struct pager_area *area, size_t page, int error)
{
	struct tree_listing *l;
	size_t i;

	l = find(area, page, &i);
	if (l)
		tree_set_error(&l->files[i], error);
}

/* Under the lock of the entry. */
static size_t give_back_entry(struct pager_area *area, struct tree_listing *l, size_t i, size_t page, size_t pages)
{
	struct tree_node *node = l->entries[i].node;
	struct snapmap_tree *t = l->tree;
	size_t first = l->entries[i].first, all = tree_pages(l, i), size = sys_page_size();

	if (!node || node->pinned || (node->kind != TREE_SMALL && node->kind != TREE_LARGE))
		return 0;
	if (node->kind == TREE_SMALL) {
		node->passed_over = node->users;
		if (node->users || !node->there)
			return 0;
		if (!node->saved &&
		    tree_store_put(&t->store, t->tmpdir, tree_address(l, first), all * size, &node->saved_at))
			return 0;
		node->saved = true;
		node->there = false;
		page = first;
		pages = all;
	}
	pager_lock(area);
	pager_drop(area, page, pages);
	pager_unlock(area);
	return pages;
}

static size_t give_back(struct pager_area *area, size_t page, size_t pages)
{
	struct tree_listing *l;
	size_t i, dropped;

	l = find(area, page, &i);
	if (!l)
		return 0;
	tree_lock_entry(l, i);
	dropped = give_back_entry(area, l, i, page, pages);
	tree_unlock_entry(l, i);
	return dropped;
}

const struct pager_ops tree_pager_ops = {
	.find = find_bytes,
	.let_go = let_go,
	.failed = failed,
	.prepare = prepare,
	.done = done,
	.give_back = give_back,
};
