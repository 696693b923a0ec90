/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quartiles, and ratios pair by pair.
 *
 * Rounds of one cell were run side by side, so what disturbs the machine for longer than
 * a round disturbs both values of a pair alike, and their ratio hardly. The ratio of
 * two medians would lose that.
 */
#include "config.h"

#include "bench/derive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double at_quarter(const double *sorted, size_t n, unsigned quarter)
{
	double position = (double)(n - 1) * quarter / 4.0;
	size_t below = (size_t)position;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (sorted[below + 1] - sorted[below]) * (position - (double)below);
}

/* Sorts the values. */
static struct spread spread_of(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return (struct spread){
		.low = at_quarter(values, n, 1),
		.median = at_quarter(values, n, 2),
		.high = at_quarter(values, n, 3),
		.n = n,
	};
}

int derive_spread(const double *values, size_t n, struct spread *ret)
{
	double *copy;

	if (!n)
		return -ENODATA;
	copy = malloc(n * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, values, n * sizeof(*copy));
	*ret = spread_of(copy, n);
	free(copy);
	return 0;
}

static bool measured(const struct results_series *series)
{
	return series->status == STATUS_MEASURED && series->nvalues;
}

int derive_ratio(const struct results_cell *cell, size_t series, struct spread *ret)
{
	const struct results_series *ours, *theirs;
	double *ratios;
	size_t rounds, n = 0;

	if (cell->status != STATUS_MEASURED || series >= cell->nseries || cell->reference >= cell->nseries ||
	    series == cell->reference)
		return -ENODATA;
	ours = &cell->series[series];
	theirs = &cell->series[cell->reference];
	if (!measured(ours) || !measured(theirs))
		return -ENODATA;
	rounds = ours->nvalues < theirs->nvalues ? ours->nvalues : theirs->nvalues;
	ratios = malloc(rounds * sizeof(*ratios));
	if (!ratios)
		return -ENOMEM;
	for (size_t i = 0; i < rounds; i++)
		if (theirs->values[i] > 0)
			ratios[n++] = ours->values[i] / theirs->values[i];
	if (n)
		*ret = spread_of(ratios, n);
	free(ratios);
	return n ? 0 : -ENODATA;
}

bool derive_is_noisy(const struct spread *spread)
{
	return spread->high - spread->low > DERIVE_NOISY * spread->median;
}

int derive_misses_bar(const struct results_cell *cell)
{
	struct spread spread;
	int rc;

	if (cell->bar <= 0 || !cell->nseries || cell->status != STATUS_MEASURED || !measured(&cell->series[0]))
		return -ENODATA;
	if (cell->reference < cell->nseries)
		rc = derive_ratio(cell, 0, &spread);
	else
		rc = derive_spread(cell->series[0].values, cell->series[0].nvalues, &spread);
	return rc ? rc : spread.median > cell->bar;
}
