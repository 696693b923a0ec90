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

#include "bench/statistics.h"

static struct spread spread_of(const struct quartiles *q, size_t n)
{
	return (struct spread){.low = q->low, .median = q->median, .high = q->high, .n = n};
}

static bool measured(const struct results_series *series)
{
	return series->status == STATUS_MEASURED && series->nvalues;
}

int derive_spread(const struct results_series *series, struct spread *ret)
{
	struct quartiles q;

	if (!measured(series))
		return -ENODATA;
	q = quartiles_of(series->values, series->nvalues);
	*ret = spread_of(&q, series->nvalues);
	return 0;
}

int derive_ratio(const struct results_cell *cell, size_t series, struct spread *ret)
{
	const struct results_series *ours, *theirs;
	struct quartiles q;
	size_t n;

	if (cell->status != STATUS_MEASURED || series >= cell->nseries || cell->reference >= cell->nseries ||
	    series == cell->reference)
		return -ENODATA;
	ours = &cell->series[series];
	theirs = &cell->series[cell->reference];
	if (!measured(ours) || !measured(theirs))
		return -ENODATA;
	n = ours->nvalues < theirs->nvalues ? ours->nvalues : theirs->nvalues;
	for (size_t i = 0; i < n; i++)
		if (!(theirs->values[i] > 0))
			return -ENODATA;
	q = quartiles_of_ratios(ours->values, theirs->values, n);
	*ret = spread_of(&q, n);
	return 0;
}

bool derive_is_noisy(const struct spread *spread)
{
	struct quartiles q = {spread->low, spread->median, spread->high};

	return quartiles_are_noisy(&q);
}

int derive_misses_bar(const struct results_cell *cell)
{
	struct spread spread;
	int rc;

	if (cell->bar <= 0 || !cell->nseries || cell->status != STATUS_MEASURED)
		return -ENODATA;
	if (cell->reference < cell->nseries)
		rc = derive_ratio(cell, 0, &spread);
	else
		rc = derive_spread(&cell->series[0], &spread);
	return rc ? rc : spread.median > cell->bar;
}
