/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is made of the values of all rounds. Nothing here believes in a normal
 * distribution: a busy machine gives values far off, always to the same side.
 */
#ifndef SNAPMAP_BENCH_STATISTICS_H
#define SNAPMAP_BENCH_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

/* The spread between the quartiles, as a share of the median, above which a series counts as noisy. */
#define STATISTICS_NOISY 0.25

struct quartiles {
	double low;
	double median;
	double high;
};

/* All zeros for no values. The values are left as they are. */
struct quartiles quartiles_of(const double *values, size_t n);
/* Of values[i] / reference[i], the rounds that ran side by side. */
struct quartiles quartiles_of_ratios(const double *values, const double *reference, size_t n);
bool quartiles_are_noisy(const struct quartiles *q);

/*
 * Rank test of two sets of values (Mann-Whitney, normal approximation, mean ranks
 * for ties). Returns how many standard deviations @b ranks above what it would if
 * both came from the same source; 2.576 and above happen by chance once in 100
 * times in either direction. Five values all above five others give 2.61.
 */
double rank_test(const double *a, size_t na, const double *b, size_t nb);

#endif
