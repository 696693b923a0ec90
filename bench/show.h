/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results as text to read. */
#ifndef SNAPMAP_BENCH_SHOW_H
#define SNAPMAP_BENCH_SHOW_H

#include <stdio.h>

#include "bench/results.h"

/* "4.1 us", "2.9 KiB"; three digits that count */
void show_value(char *buffer, size_t n, double value, enum results_unit unit);
/* "64 MiB", "100 pages"; "" without an axis */
void show_parameter(char *buffer, size_t n, uint64_t parameter, enum results_axis axis);

/* Machine, kernel and so on. */
void show_head(FILE *to, const struct results *results);
void show_place(FILE *to, const struct results_place *place);

/*
 * A table of the cells of a workload at a place: contenders downwards, parameters
 * across, medians. Below it why something is missing, and with @bars the verdicts.
 */
void show_workload(FILE *to, const struct results *results, size_t place, size_t workload, bool bars);

/* Counts of bars; cells without a measured value that the bar is for count for none. */
struct verdicts {
	unsigned met, missed;
};
struct verdicts show_verdicts(const struct results *results);

#endif
