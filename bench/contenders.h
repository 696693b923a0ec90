/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All contenders, by the file that has them. See struct contender. */
#ifndef SNAPMAP_BENCH_CONTENDERS_H
#define SNAPMAP_BENCH_CONTENDERS_H

#include "bench/harness.h"

/* open.c: open and close a read-only handle */
extern const struct contender open_auto;
extern const struct contender open_reflink;
extern const struct contender open_copy;
extern const struct contender open_mut;
extern const struct contender open_and_touch;

/* bare_open.c: the same by system calls */
extern const struct contender bare_reflink;
extern const struct contender bare_copy;
extern const struct contender bare_mmap;
extern const struct contender bare_mmap_and_touch;

/* lease.c: handles over the file itself */
extern const struct contender open_lease;
extern const struct contender sum_lease;
extern const struct contender writer_wait;
extern const struct contender threads_lease;

/* bare_lease.c: the same by system calls */
extern const struct contender bare_open;
extern const struct contender bare_sum;
extern const struct contender bare_image;
extern const struct contender bare_threads;

/* scan.c: find the dirty pages */
extern const struct contender scan;

/* commit.c: edit pages and commit them, again and again */
extern const struct contender commit_replace;
extern const struct contender commit_clone;
extern const struct contender commit_exchange;

/* edit.c: one edit from beginning to end, also by system calls */
extern const struct contender edit_whole;
extern const struct contender bare_edit;

/* bare_commit.c: the same by system calls */
extern const struct contender bare_commit_replace;
extern const struct contender bare_commit_clone;
extern const struct contender bare_rewrite;

/* bare_exchange.c: two more ways */
extern const struct contender bare_exchange;
extern const struct contender bare_clone_back;

/* memory.c: bytes for one handle */
extern const struct contender memory_of_map;
extern const struct contender memory_of_map_mut;

#endif
