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

struct helper;

/* A file as the kernel has it: its number there, and else a name in the root. */
struct helper_file {
	uint64_t node, generation;
	char name[88];
};

/* cachestat(2) */
struct helper_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Before there are threads, locks and connections. @directory: where it will be mounted. 0 or a negative errno. */
int helpers_start(const char *directory);
/* After the threads have ended. */
void helpers_stop(void);

/* Waits for one that is free. @ret_by_name: the kernel keeps the name now. 0 or a negative errno. */
int helper_open(const struct helper_file *file, struct helper **ret, bool *ret_by_name);
/* Has dirty pages written; with @wait until that is done. */
int helper_flush(struct helper *h, bool wait);
int helper_count(struct helper *h, struct helper_counts *ret);
void helper_close(struct helper *h);

#endif
