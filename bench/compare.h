/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What got slower or faster from one run to another. */
#ifndef SNAPMAP_BENCH_COMPARE_H
#define SNAPMAP_BENCH_COMPARE_H

#include <stdio.h>

#include "bench/results.h"

/**
 * struct compared - what was found
 * @series: of the library, in both runs
 * @slower: of them, beyond the noise; @faster
 * @baselines: in both runs
 * @drift: median of new over old of all baselines; 1 if there are none
 */
struct compared {
	unsigned series, slower, faster, baselines;
	double drift;
};

/* Writes a line for each that got slower or faster. */
struct compared compare_runs(FILE *to, const struct results *old, const struct results *new);

#endif
