/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Between two values the one in proportion. */
static double at_quarter(const double *sorted, size_t n, unsigned quarter)
{
	double position = (double)(n - 1) * quarter / 4.0;
	size_t below = (size_t)position;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (sorted[below + 1] - sorted[below]) * (position - (double)below);
}

static struct quartiles quartiles_sorting(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return (struct quartiles){at_quarter(values, n, 1), at_quarter(values, n, 2), at_quarter(values, n, 3)};
}

struct quartiles quartiles_of(const double *values, size_t n)
{
	double *sorted = n ? (double *)malloc(n * sizeof(*sorted)) : NULL;
	struct quartiles q = {0};

	if (!sorted)
		return q;
	memcpy(sorted, values, n * sizeof(*sorted));
	q = quartiles_sorting(sorted, n);
	free(sorted);
	return q;
}

struct quartiles quartiles_of_ratios(const double *values, const double *reference, size_t n)
{
	double *ratios = n ? (double *)malloc(n * sizeof(*ratios)) : NULL;
	struct quartiles q = {0};

	if (!ratios)
		return q;
	for (size_t i = 0; i < n; i++)
		ratios[i] = reference[i] > 0 ? values[i] / reference[i] : 0;
	q = quartiles_sorting(ratios, n);
	free(ratios);
	return q;
}

bool quartiles_are_noisy(const struct quartiles *q)
{
	return q->high - q->low > STATISTICS_NOISY * fabs(q->median);
}

double rank_test(const double *a, size_t na, const double *b, size_t nb)
{
	double wins = 0, deviation = sqrt((double)na * (double)nb * (double)(na + nb + 1) / 12);

	for (size_t i = 0; i < na; i++)
		for (size_t j = 0; j < nb; j++)
			wins += b[j] > a[i] ? 1 : b[j] < a[i] ? 0 : 0.5;
	return deviation > 0 ? (wins - (double)na * (double)nb / 2) / deviation : 0;
}
