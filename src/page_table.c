/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See page_table.h. Invariant: an owner counts exactly the pages that stand for it. */
#include "config.h"

#include "page_table.h"

#include <errno.h>
#include <stdlib.h>

#define FAN_OUT_BITS 9
#define FAN_OUT ((size_t)1 << FAN_OUT_BITS)
#define LEVELS_MAX 7 /* of 64 bits */

/*
 * Either a node below, or what all pages below stand for: the page p of the whole
 * table for p * page + base, modulo 2^64, in the owner.
 */
struct entry {
	struct page_table_node *below;
	struct page_owner *owner;
	uint64_t base;
};

struct page_table_node {
	struct page_table_node *next_spare;
	struct entry entries[FAN_OUT];
};

/* Pages that one entry of a node stands for; the lowest nodes are at level 0. */
static size_t span_of(unsigned level)
{
	return (size_t)1 << (level * FAN_OUT_BITS);
}

void page_table_init(struct page_table *t, size_t pages, size_t page)
{
	*t = (struct page_table){.pages = pages, .page = page, .levels = 1};
	while (t->levels < LEVELS_MAX && pages > span_of(t->levels))
		t->levels++;
}

static void free_node(struct page_table_node *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < FAN_OUT; i++)
		free_node(node->entries[i].below);
	free(node);
}

void page_table_free(struct page_table *t)
{
	free_node(t->root);
	t->root = NULL;
}

/**
 * struct change - pages that are to stand for something else
 * @first, @end: these
 * @to: what their entries are to be
 * @spare: nodes that are there for it, so that nothing can fail half way
 */
struct change {
	struct page_table *table;
	size_t first, end;
	struct entry to;
	struct page_table_node *spare;
};

static void free_spare(struct change *c)
{
	while (c->spare) {
		struct page_table_node *node = c->spare;

		c->spare = node->next_spare;
		free(node);
	}
}

/* Nodes that are missing so that a run can begin or end with this page. */
static unsigned count_missing(const struct page_table *t, size_t page)
{
	struct entry e = {.below = t->root};
	unsigned missing = 0;

	if (page >= t->pages)
		return 0;
	for (unsigned level = t->levels; level && (page & (span_of(level) - 1)); level--) {
		missing += !e.below;
		if (e.below)
			e = e.below->entries[page >> ((level - 1) * FAN_OUT_BITS) & (FAN_OUT - 1)];
	}
	return missing;
}

static int get_spare(struct change *c)
{
	unsigned n = !c->table->root + count_missing(c->table, c->first) + count_missing(c->table, c->end);

	while (n--) {
		struct page_table_node *node = (struct page_table_node *)calloc(1, sizeof(*node));

		if (!node) {
			free_spare(c);
			return -ENOMEM;
		}
		node->next_spare = c->spare;
		c->spare = node;
	}
	return 0;
}

static struct page_table_node *take_spare(struct change *c)
{
	struct page_table_node *node = c->spare;

	c->spare = node->next_spare;
	node->next_spare = NULL;
	return node;
}

/* Pages in [first, first + span) that the table has at all. */
static uint64_t count_within(const struct page_table *t, size_t first, size_t span)
{
	return first >= t->pages ? 0 : span < t->pages - first ? span : t->pages - first;
}

static void lose(struct page_table *t, struct page_owner *owner, uint64_t pages)
{
	owner->pages -= pages;
	if (owner->pages || owner->listed)
		return;
	owner->listed = true;
	owner->next_idle = t->idle;
	t->idle = owner;
}

static void forget(struct page_table *t, const struct entry *e, size_t first, size_t span)
{
	if (e->below) {
		for (size_t i = 0; i < FAN_OUT; i++)
			forget(t, &e->below->entries[i], first + i * (span / FAN_OUT), span / FAN_OUT);
		free(e->below);
	} else if (e->owner) {
		lose(t, e->owner, count_within(t, first, span));
	}
}

static void split(struct change *c, struct entry *e)
{
	struct page_table_node *node = take_spare(c);

	for (size_t i = 0; i < FAN_OUT; i++)
		node->entries[i] = *e;
	*e = (struct entry){.below = node};
}

/* Changes what lies in the @span pages of an entry, from @first on. */
static void change(struct change *c, struct entry *e, size_t first, unsigned level)
{
	size_t span = span_of(level), end = first + span;

	if (c->end <= first || end <= c->first)
		return;
	if (c->first <= first && (end <= c->end || c->end == c->table->pages)) {
		forget(c->table, e, first, span);
		*e = c->to;
		if (e->owner)
			e->owner->pages += count_within(c->table, first, span);
		return;
	}
	if (!e->below)
		split(c, e);
	for (size_t i = 0, step = span_of(level - 1); i < FAN_OUT; i++)
		change(c, &e->below->entries[i], first + i * step, level - 1);
}

int page_table_set(struct page_table *t, size_t first, size_t pages, struct page_owner *owner, uint64_t offset)
{
	struct change c = {
		.table = t,
		.first = first,
		.end = first + pages,
		.to = {.owner = owner, .base = owner ? offset - first * t->page : 0},
	};
	struct entry root = {.below = t->root};

	if (!pages || (!owner && !t->root))
		return 0;
	if (!owner && pages == t->pages) {
		forget(t, &root, 0, span_of(t->levels));
		t->root = NULL;
		return 0;
	}
	if (get_spare(&c))
		return -ENOMEM;
	if (!t->root)
		t->root = take_spare(&c);
	for (size_t i = 0, step = span_of(t->levels - 1); i < FAN_OUT; i++)
		change(&c, &t->root->entries[i], i * step, t->levels - 1);
	free_spare(&c);
	return 0;
}

/* The entry for a page, and how many pages from there on it stands for. */
static struct entry look_up(const struct page_table *t, size_t page, size_t *ret_pages)
{
	struct entry e = {.below = t->root};
	unsigned level = t->levels;

	while (e.below) {
		level--;
		e = e.below->entries[page >> (level * FAN_OUT_BITS) & (FAN_OUT - 1)];
	}
	*ret_pages = span_of(level) - (page & (span_of(level) - 1));
	return e;
}

struct page_run page_table_find(const struct page_table *t, size_t page, size_t most)
{
	size_t pages, more;
	struct entry e = look_up(t, page, &pages), next;

	if (most > t->pages - page)
		most = t->pages - page;
	while (pages < most) {
		next = look_up(t, page + pages, &more);
		if (next.owner != e.owner || next.base != e.base)
			break;
		pages += more;
	}
	return (struct page_run){
		.owner = e.owner,
		.offset = e.owner ? e.base + page * t->page : 0,
		.pages = pages < most ? pages : most,
	};
}

/* Some of them may have got pages again. */
struct page_owner *page_table_next_idle(struct page_table *t)
{
	struct page_owner *owner;

	while ((owner = t->idle)) {
		t->idle = owner->next_idle;
		owner->listed = false;
		if (!owner->pages)
			return owner;
	}
	return NULL;
}
