/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a cost grows, found from what was measured alone. */
#ifndef SNAPMAP_BENCH_FIT_H
#define SNAPMAP_BENCH_FIT_H

#include <stddef.h>

/**
 * struct fit_point - a median, and how sure it is
 * @x: what the cost may grow with
 * @low: a quarter of the rounds gave less
 * @median: the cost
 * @high: a quarter of the rounds gave more
 * @rounds: number of them
 */
struct fit_point {
	double x;
	double low;
	double median;
	double high;
	size_t rounds;
};

enum fit_law {
	FIT_UNCLEAR,
	FIT_CONSTANT,
	FIT_LINEAR,
	FIT_POWER, /* x to the power of the slope */
	FIT_BEND,  /* constant for small x, linear for large x */
};

/**
 * struct fit - the law that describes the points
 * @law: the verdict
 * @slope: exponent of x, by least squares of the logarithms. For FIT_UNCLEAR too, unless
 *	there are fewer than two points; then 0
 * @margin: the exponent is that sure, 90 of 100 times
 * @bend: for FIT_BEND, the x at which the constant part and the linear part are equal
 * @why: for FIT_UNCLEAR, what the data lack, in a few words; else NULL
 */
struct fit {
	enum fit_law law;
	double slope;
	double margin;
	double bend;
	const char *why;
};

/**
 * fit_growth() - find the law that points follow
 * @points: with different x; those without a logarithm are passed over
 * @n: number of them
 *
 * Return: the law. FIT_UNCLEAR if there are too few points, within too small a range or
 * too noisy, or if they follow none of the laws.
 */
struct fit fit_growth(const struct fit_point *points, size_t n);

#endif
