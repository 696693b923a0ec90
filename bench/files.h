/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files to measure with, and edits of them. All functions return 0, a descriptor, or a negative errno. */
#ifndef SNAPMAP_BENCH_FILES_H
#define SNAPMAP_BENCH_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/workload.h"

#define PAGE ((size_t)4096)

/* Bytes that do not compress, written out. @stopped, if not NULL, may cut it off: -ECANCELED. */
int file_make(const char *path, uint64_t size, bool (*stopped)(void));
/* The same of @extents blocks, each between two holes. */
int file_make_fragmented(const char *path, unsigned extents, bool (*stopped)(void));
/* Nothing but a hole. */
int file_make_sparse(const char *path, uint64_t size);
/* Another file with the same bytes, by reflink. */
int file_clone(const char *from, const char *to);

/* Numbers that are the same in every run. */
uint64_t file_random(uint64_t *state);

/*
 * Picks job->count pages, sorted; -EOPNOTSUPP if the file has not many more than that. Each call goes on from @state, so two sides that
 * started with the same state edit the same pages.
 */
int pages_pick(const struct job *job, uint64_t *state, uint64_t *ret_pages);
/* Stores into each of them. */
void pages_edit(char *base, const uint64_t *pages, unsigned count, uint64_t value);

/* Whether any byte does. */
bool page_differs(const char *a, const char *b);

/* A byte of every page, so that all are mapped. */
unsigned pages_read(const char *base, uint64_t size);
/* Every word of it. */
uint64_t bytes_sum(const void *base, uint64_t size);

#endif
