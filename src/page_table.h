/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What pages stand for: an owner and an offset in it, for each page of an area, or
 * nothing. Long runs cost no more than short ones: a tree of the fixed fan-out of the
 * processor's own page tables, in which one entry can stand for all that is below it.
 */
#ifndef SNAPMAP_PAGE_TABLE_H
#define SNAPMAP_PAGE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct page_owner - to be embedded in what pages can stand for
 * @pages: so many pages do
 * @next_idle, @listed: among those that none stands for any more
 */
struct page_owner {
	uint64_t pages;
	struct page_owner *next_idle;
	bool listed;
};

struct page_table_node;

/**
 * struct page_table - what each of some pages stands for
 * @root: NULL while it is empty
 * @pages: so many
 * @levels: of nodes
 * @page: bytes of one
 * @idle: owners that may have lost their last page
 */
struct page_table {
	struct page_table_node *root;
	size_t pages;
	unsigned levels;
	size_t page;
	struct page_owner *idle;
};

/**
 * struct page_run - pages that stand for neighbours
 * @owner: NULL: they stand for nothing
 * @offset: of the first one, in the owner, in bytes
 * @pages: so many
 */
struct page_run {
	struct page_owner *owner;
	uint64_t offset;
	size_t pages;
};

void page_table_init(struct page_table *table, size_t pages, size_t page);
void page_table_free(struct page_table *table);
/*
 * Lets @pages from @first on stand for @owner, the first one for @offset. 0, or -ENOMEM
 * with nothing changed. Never fails for all pages at once with no owner.
 */
int page_table_set(struct page_table *table, size_t first, size_t pages, struct page_owner *owner, uint64_t offset);
/* The run that begins with @page, of at most @most pages. */
struct page_run page_table_find(const struct page_table *table, size_t page, size_t most);
/* An owner that has lost its last page, each one once; or NULL. */
struct page_owner *page_table_next_idle(struct page_table *table);

#endif
