/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs contenders in turns, on a machine that does other things too. */
#ifndef SNAPMAP_BENCH_HARNESS_H
#define SNAPMAP_BENCH_HARNESS_H

#include "bench/workload.h"

#define HARNESS_ROUNDS_MIN 5u
#define HARNESS_ROUNDS_MAX 10000u

/**
 * struct comparison - contenders and how often they run
 * @jobs: one for each series of the cell, with its contender
 * @cell: series that are not STATUS_MEASURED are passed over; the others get their
 *	values, or why they have none
 * @rounds: wanted, at least HARNESS_ROUNDS_MIN
 * @batch: at most so many runs make a round
 * @budget: seconds for all rounds; there will be fewer if they do not fit, but no
 *	fewer than HARNESS_ROUNDS_MIN
 * @limit: seconds; a series of which the fewest rounds take longer is left out
 * @settle_fd: a file system to be flushed after each turn, or -1
 */
struct comparison {
	const struct job *jobs;
	struct results_cell *cell;
	unsigned rounds;
	unsigned batch;
	double budget;
	double limit;
	int settle_fd;
};

/* 0, -ECANCELED if it was told to stop before enough rounds were there, or -ENOMEM. */
int harness_measure(const struct comparison *comparison);

#endif
