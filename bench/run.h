/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A run: the workloads of the table at some places. */
#ifndef SNAPMAP_BENCH_RUN_H
#define SNAPMAP_BENCH_RUN_H

#include "bench/place.h"
#include "bench/workload.h"

/**
 * struct run_options - what to measure
 * @nplaces: places
 * @names: of them
 * @enter: makes one ready, before the first cell there. 0 or a negative errno with @why.
 * @leave: after the last one. There is no more than one at a time, so that it can have
 *	all memory and all of the disk.
 * @level: which points
 * @bars: only workloads that have bars, all their points, as often as the bars want it
 * @rounds: so many in any case, or 0
 * @sizes: instead of the points of workloads by size; @nsizes, 0 for those of the table
 * @words: only workloads of which id or title has one of these; @nwords, 0 for all
 * @stopped: whether to give up
 * @progress: told before each cell: what, at which place, the share that is done, and
 *	the seconds that may be left; at first no more than a guess. May be NULL.
 * @done: told after each workload at a place, and after a place with a NULL @workload:
 *	indices into the results. May be NULL.
 */
struct run_options {
	size_t nplaces;
	const char *const *names;
	int (*enter)(size_t place, struct place *ret, struct why *why);
	void (*leave)(size_t place, struct place *what);
	enum level level;
	bool bars;
	unsigned rounds;
	const uint64_t *sizes;
	size_t nsizes;
	const char *const *words;
	size_t nwords;
	bool (*stopped)(void);
	void (*progress)(const char *what, const char *place, double share, double seconds_left);
	void (*done)(const struct results *results, size_t place, size_t workload);
};

/*
 * Measures. @ret, all zeros before, is to be freed with results_free() in any case; it has
 * what was measured until the end, an error, or until it was told to stop. 0, or a
 * negative errno with @why; -ENOENT if no workload was chosen.
 */
int run_measure(const struct run_options *options, struct results *ret, struct why *why);

/* ---- one cell (cell.c) ---- */

/**
 * struct effort - how much time a cell may take
 * @rounds: wanted
 * @budget: and @limit, see struct comparison
 */
struct effort {
	unsigned rounds;
	double budget;
	double limit;
};

/*
 * Measures a point of a workload at a place. @cell, all zeros but for place and
 * workload, gets the rest. 0, -ECANCELED without enough rounds, or -ENOMEM.
 */
int cell_measure(struct place *place, const struct workload *workload, const struct point *point,
		 const struct effort *effort, bool (*stopped)(void), struct results_cell *cell);

#endif
