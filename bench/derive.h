/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Quartiles, and ratios pair by pair, of what the rounds gave. */
#ifndef SNAPMAP_BENCH_DERIVE_H
#define SNAPMAP_BENCH_DERIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/results.h"

/* Where half of the values lie, and the middle one of all @n. */
struct spread {
	double low;
	double median;
	double high;
	size_t n;
};

/**
 * derive_spread() - quartiles of what a series gave
 * @series: the series
 * @ret: gets the quartiles
 *
 * Return: 0, or -ENODATA if it was not measured.
 */
int derive_spread(const struct results_series *series, struct spread *ret);

/**
 * derive_ratio() - how a series compares with the reference of its cell
 * @cell: the cell
 * @series: index of the series in it
 * @ret: gets the quartiles of the ratios, each of two values of the same round
 *
 * Return: 0, -ENODATA if there is no reference, if it is the series itself, or if one of
 * them was not measured.
 */
int derive_ratio(const struct results_cell *cell, size_t series, struct spread *ret);

/* Whether the quartiles are too far apart; see STATISTICS_NOISY. */
bool derive_is_noisy(const struct spread *spread);

/*
 * Whether the cell's first series exceeds the bar that was set for it: 1 if it does, 0 if it
 * does not, a negative errno if there is no bar or no measurement.
 */
int derive_misses_bar(const struct results_cell *cell);

#endif
