/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several threads, each with a file of its own. */
#ifndef SNAPMAP_BENCH_THREADS_H
#define SNAPMAP_BENCH_THREADS_H

#include "bench/harness.h"

/* For struct contender: makes and removes one small file for each of job->count threads. */
int threads_start(const struct job *job, void **ret);
void threads_stop(void *state);
/* Each thread does it 1,000 times; @ret gets the seconds until the last is done. */
int threads_run(const struct job *job, int (*act)(const char *path), double *ret);

#endif
