/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pager: memory whose pages are put in place when they are touched, by threads of
 * the library that serve its page faults (userfaultfd).
 *
 *   pager.c            areas, and what is asked of them
 *   pager_fill.c       putting pages in place
 *   pager_give_back.c  taking back pages that were only read
 *   pager_threads.c    the threads
 */
#ifndef SNAPMAP_PAGER_H
#define SNAPMAP_PAGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ranges.h"
#include "rcu.h"
#include "sys.h"

struct pager_area;
struct pager_service;

/**
 * struct pager_bytes - what some pages are to show
 * @from: memory that has it, of any alignment; NULL: zeros
 * @pages: so many pages, at least 1
 * @held: what keeps that memory, to be let go; may be NULL
 */
struct pager_bytes {
	const char *from;
	size_t pages;
	void *held;
};

struct pager_loaded {
	size_t first, pages;
};

/**
 * struct pager_ops - who knows what the pages of an area are to show
 * @find: the pages from @page on, @most of them at most; none: they cannot be read. Under the
 *	area's lock for reading
 * @let_go: ends the hold of a find()
 * @failed: a page of it could not be read; touching it is a SIGBUS now. May be NULL
 * @prepare: before find(), for a page that was touched; without locks, and may take its time.
 *	Returns the pages to be put in place because of that, @page among them, where @likely
 *	from there on seem to be worth it; or none: it is there already. NULL: those @likely
 * @done: ends a prepare() that returned pages. @there: that many, all of these; or 0
 * @give_back: of a fixed area, without locks: drops pages that can be had again. Returns how many
 */
struct pager_ops {
	struct pager_bytes (*find)(struct pager_area *area, size_t page, size_t most);
	void (*let_go)(struct pager_area *area, void *held);
	void (*failed)(struct pager_area *area, size_t page, int error);
	struct pager_loaded (*prepare)(struct pager_area *area, size_t page, size_t likely);
	void (*done)(struct pager_area *area, size_t page, size_t there);
	size_t (*give_back)(struct pager_area *area, size_t page, size_t pages);
};

#define PAGER_STREAMS 8

/* A place where pages are touched one after the other. */
struct pager_stream {
	size_t next, pages;
};

/* Pages that a thread is putting in place. @relied_on: somebody has left a page to it. */
struct pager_window {
	struct pager_window *next;
	size_t first, end;
	bool relied_on;
};

/* Pages that were put in place, the oldest first. */
struct pager_run_list {
	struct pager_loaded *v;
	size_t first, n, capacity; /* a ring */
};

/**
 * struct pager_area - some memory. Zero it first, and set the first five
 * @ops: what its pages show
 * @base, @pages: its memory, private and anonymous
 * @fixed: nobody stores there: it is mapped for reading
 * @user_only: it will do if only touches by the program itself are served, and system calls
 *	that touch a missing page fail: any user may have that. Tells which it is once it was added
 * @lock: for reading while pages are put in place, for writing to change what they show.
 *	Whoever has it must touch no page of the area
 * @changes: of what pages show, counted under the lock for writing
 * @mutex: over what follows down to @loaded; taken within the lock
 * @streams, @turn: how pages are being touched
 * @windows: pages that are being put in place
 * @limit: of pages that can be had again, to be kept in memory; 0: none. Set under the mutex
 * @loaded: these
 * @loaded_pages: so many
 * @users: threads that serve it
 * @faults, @pages_in, @pages_back: what was done so far
 * @userfault, @service, @node: pager_threads.c
 */
struct pager_area {
	const struct pager_ops *ops;
	char *base;
	size_t pages;
	bool fixed;
	bool user_only;
	const struct sys_userfault *userfault;
	struct pager_service *service;
	pthread_rwlock_t lock;
	uint64_t changes;
	pthread_mutex_t mutex;
	struct pager_stream streams[PAGER_STREAMS];
	unsigned turn;
	struct pager_window *windows;
	atomic_size_t limit;
	struct pager_run_list loaded;
	size_t loaded_pages;
	atomic_uint users;
	_Atomic uint64_t faults, pages_in, pages_back;
	struct cds_list_head node;
};

/* pager.c */
/* 0; -EPERM if this user may not serve faults of the kernel. Its memory belongs to the pager until it is removed. */
int pager_add(struct pager_area *area);
/* Its pages stay as they are; missing ones are zeros then. In a child of fork() nothing but the memory of @area is freed. */
void pager_remove(struct pager_area *area, bool in_child);
void pager_lock(struct pager_area *area);
void pager_unlock(struct pager_area *area);
/* Under that lock: these pages show something else when they are touched the next time. */
int pager_drop(struct pager_area *area, size_t page, size_t pages);
/* Puts pages in place that are about to be touched. Not under the lock. */
void pager_load(struct pager_area *area, size_t page, size_t pages);
/*
 * Pages in the range that were stored into since they were put in place: appends their
 * offsets from the area's start. Zeros in which nothing was stored may be among them.
 * -EOPNOTSUPP before Linux 6.7: then those are all that are in place.
 */
int pager_find_stored(const struct pager_area *area, size_t page, size_t pages, struct ranges *ret);
void pager_set_limit(struct pager_area *area, size_t pages);

/* pager_fill.c. A page was touched. */
void pager_serve(struct pager_area *area, size_t page);
/* Puts these in place. */
void pager_fill(struct pager_area *area, size_t page, size_t pages);

/* pager_give_back.c */
/* Under the mutex. */
void pager_note_loaded(struct pager_area *area, size_t page, size_t pages);
/* Without locks: down to the limit. */
void pager_give_back(struct pager_area *area);

/* pager_threads.c */
/* Whether the calling thread is one of the pager's: all signals are blocked there. */
bool pager_is_calling(void);
/* Starts the threads for the first area, ends them after the last. */
int pager_threads_enter(struct pager_area *area);
void pager_threads_leave(struct pager_area *area);
/*
 * For pager_give_back(), one at a time: memory that pages can be moved to, and an
 * ordinary page behind it. NULL if there is none.
 */
#define PAGER_SCRATCH_PAGES 64
char *pager_take_scratch(const struct pager_area *area);
void pager_put_scratch(void);
/* Around fork(), by fork.c. */
void pager_before_fork(void);
void pager_after_fork(void);
void pager_after_fork_in_child(void);

#endif
