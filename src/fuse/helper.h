/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes that ask the kernel about files that we serve. It may have to ask us for that, and
 * who waits for an answer of a program that is killed waits for its connection to end: so it
 * must not be one that holds the connection open.
 */
#ifndef SNAPMAP_HELPER_H
#define SNAPMAP_HELPER_H

#include <stdbool.h>
#include <stdint.h>

struct fuse_session;
struct helper;

/* cachestat(2) */
struct helper_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Before there are threads, locks and connections. @directory: where it will be mounted. 0 or a negative errno. */
int helpers_start(const char *directory);
/* After the threads have ended. */
void helpers_stop(void);

/*
 * Waits for one that is free, and opens a file by its number in the kernel. Where the kernel
 * does not open files by handles the file is looked up in the root, by a name that is good
 * for that once. 0 or a negative errno.
 */
int helper_open(uint64_t node, uint64_t generation, struct helper **ret);
/* Which number such a name stands for. */
bool helper_lookup(const char *name, uint64_t *ret);
/* Has dirty pages written; with @wait until that is done. */
int helper_flush(struct helper *h, bool wait);
int helper_count(struct helper *h, struct helper_counts *ret);
/* Has the kernel forget the name, if there was one. */
void helper_close(struct helper *h, struct fuse_session *session);

#endif
