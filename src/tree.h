/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct snapmap_tree from the inside.
 *
 *   tree.c           making it
 *   tree_arena.c     its addresses
 *   tree_pager.c     what the pager asks
 *   tree_list.c      reading directories
 *   tree_contents.c  what is in files
 *   tree_way.c       opening what was read
 *   tree_lookup.c    finding files by name
 *   tree_store.c     bytes of small files while they are not in memory
 *
 * Addresses are given out upwards, never back. A directory that is read takes a span of
 * them for its entries: a page for each directory in it, which is where struct snapmap_dir
 * will be, and pages for the contents of each file.
 *
 * Locks, outermost first: that of an entry (tree_lock_entry()), that of the tree, that of
 * the pager's area. The pager calls find() with its own only, so find() takes none: what it
 * looks at is held by prepare().
 */
#ifndef SNAPMAP_TREE_INTERNAL_H
#define SNAPMAP_TREE_INTERNAL_H

#include "backends/backend.h"
#include "handle.h"
#include "mapping.h"
#include "pager.h"
#include "snapmap/map.h"
#include "snapmap/tree.h"

#define TREE_LOCKS 64

struct tree_listing;

enum tree_kind {
	TREE_NEW,
	TREE_DIR,
	TREE_SMALL,
	TREE_LARGE,
	TREE_FAILED, /* zeros */
};

/**
 * struct tree_node - an entry that was touched. Under the lock of the entry
 * @kind: what it turned out to be
 * @bytes: of a directory or a small file, all of its pages; NULL while they are not needed
 * @users: who is putting its pages in place
 * @there: all pages of a small one are in place
 * @saved: they can be had from the store, at @saved_at
 * @pinned: never given back
 * @passed_over: it was to be given back while it had users
 * @map, @view: what shows a large file; one of the two
 * @data: its bytes
 * @tail: its last page, if the file had grown; or NULL
 * @listing: of a directory
 */
struct tree_node {
	enum tree_kind kind;
	char *bytes;
	unsigned users;
	bool there, saved, pinned, passed_over;
	uint64_t saved_at;
	struct snapmap *map;
	struct mapping view;
	const char *data;
	char *tail;
	struct tree_listing *listing;
};

/**
 * struct tree_entry - beside each struct snapmap_file
 * @first: its first page in the arena; that of the next one if it has no page
 * @node: NULL until it is touched
 */
struct tree_entry {
	size_t first;
	struct tree_node *node;
};

/**
 * struct tree_listing - the entries of a directory
 * @tree: whose
 * @arena: where their addresses are
 * @first, @end: pages there
 * @n: entries
 * @files, @entries: they, side by side
 * @slots: hashed, an index and one, 0: none; @mask and one of them. See tree_lookup.c
 * @names: all their names and link targets
 * @next: all listings of the tree
 */
struct tree_listing {
	struct snapmap_tree *tree;
	struct tree_arena *arena;
	size_t first, end;
	size_t n;
	struct snapmap_file *files;
	struct tree_entry *entries;
	uint32_t *slots;
	uint32_t mask;
	char *names;
	struct tree_listing *next;
};

/* What is at the start of a directory's page. */
struct tree_dir {
	struct snapmap_dir dir;
	const struct snapmap_file *file;
	const struct tree_listing *listing;
};

/**
 * struct tree_arena - addresses
 * @area: for the pager
 * @tree: whose
 * @used: pages that were given out
 * @spans: the listings that have them, in order; @nspans of them, room for @capacity, of which
 *	@promised is for those that are not whole yet as well
 * @next: another one
 */
struct tree_arena {
	struct pager_area area;
	struct snapmap_tree *tree;
	size_t used;
	struct tree_listing **spans;
	size_t nspans, promised, capacity;
	struct tree_arena *next;
};

/* Bytes of small files. */
struct tree_store {
	pthread_mutex_t lock;
	int fd;
	uint64_t end;
};

/**
 * struct snapmap_tree
 * @fd: the directory, or its twin in the snapshot
 * @image: the snapshot; its fd is -1: none
 * @never_written: nobody can change anything there
 * @cross: into what is mounted as well
 * @watched: the threads that serve breaks of leases are kept for it
 * @depth: fork_depth() when it was made
 * @euid: who reads
 * @options: how files are to be read; @tmpdir is its own
 * @locks: of entries
 * @lock: over the arenas' spans, and the lists
 * @first: where the root is
 * @path: of the root
 */
struct snapmap_tree {
	int fd;
	struct tree_image image;
	bool never_written, cross, watched;
	unsigned depth;
	uid_t euid;
	struct options options;
	char *tmpdir;
	pthread_mutex_t locks[TREE_LOCKS];
	pthread_rwlock_t lock;
	struct tree_arena *arenas;
	struct tree_listing *listings;
	struct tree_listing *first;
	struct tree_store store;
	_Atomic uint64_t dirs, nentries, nfiles, nfuzzy;
	char tried[400];
	char *path;
};

/* tree_arena.c */
/* More addresses, for @pages at least. Under the lock for writing, or before anybody else has the tree. */
int tree_arena_add(struct snapmap_tree *tree, size_t pages);
/* With @pages of addresses; NULL if there are not so many left, or no memory. Under no lock but that of an entry. */
struct tree_listing *tree_listing_create(struct snapmap_tree *tree, size_t n, size_t names, size_t pages);
/* It is whole: from now on it is found by its pages. */
void tree_listing_publish(struct tree_listing *listing);

/* tree_pager.c */
extern const struct pager_ops tree_pager_ops;
char *tree_address(const struct tree_listing *listing, size_t page);
/* Pages of the entry. */
size_t tree_pages(const struct tree_listing *listing, size_t i);
void tree_lock_entry(const struct tree_listing *listing, size_t i);
void tree_unlock_entry(const struct tree_listing *listing, size_t i);
/* Under that lock. NULL: there is no memory for it. */
struct tree_node *tree_node_of(struct tree_listing *listing, size_t i);
/* The first error stays. */
void tree_set_error(const struct snapmap_file *file, int error);

/* tree_way.c */
/* Opens what the entry is, on the way that was read. It may have become another: see the callers. */
int tree_open_dir(struct snapmap_tree *tree, const struct snapmap_file *file);
int tree_open_file(struct snapmap_tree *tree, const struct snapmap_file *file, struct source *ret);

/* tree_list.c. Under the lock of the entry. A failure is in what it makes. -ENOMEM. */
int tree_list(struct tree_listing *parent, size_t i, struct tree_node *node);

/* tree_contents.c. Under the lock of the entry. */
void tree_read(struct tree_listing *listing, size_t i, struct tree_node *node);
int tree_read_again(struct tree_listing *listing, size_t i, struct tree_node *node);
void tree_node_free(struct tree_node *node);

/* tree_lookup.c */
uint32_t tree_slots_for(size_t n);
void tree_hash(struct tree_listing *listing);
uint32_t tree_hash_name(const char *name, size_t n);

/* tree_store.c. Quiet. */
void tree_store_init(struct tree_store *store);
void tree_store_close(struct tree_store *store);
int tree_store_put(struct tree_store *store, const char *tmpdir, const void *bytes, size_t n, uint64_t *ret_at);
int tree_store_get(struct tree_store *store, void *bytes, size_t n, uint64_t at);

#endif
