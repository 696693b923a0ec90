/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cells of one workload, as a table of places, parameters and names of series. */
#ifndef SNAPMAP_BENCH_VIEW_H
#define SNAPMAP_BENCH_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "bench/derive.h"
#include "bench/fit.h"
#include "bench/results.h"

/**
 * struct view - which there are, each once
 * @results: the run, which has to live as long as this
 * @workload: index into results->workloads
 * @columns: one series for each name, in the order in which they appear; it says of all of its name
 *	whether they are the library, and what they lack
 * @parameters: in ascending order
 */
struct view {
	const struct results *results;
	size_t workload;
	const struct results_series **columns;
	size_t ncolumns;
	uint64_t *parameters;
	size_t nparameters;
};

/* 0, or -ENOMEM. */
int view_make(const struct results *results, size_t workload, struct view *ret);
void view_drop(struct view *view);

static inline const struct results_workload *view_workload(const struct view *view)
{
	return &view->results->workloads[view->workload];
}

/* NULL if there is none. */
const struct results_cell *view_cell(const struct view *view, size_t place, uint64_t parameter);
/* Index of the series of that column in @cell, cell->nseries if it has none; @cell may not be NULL. */
size_t view_series(const struct view *view, const struct results_cell *cell, size_t column);
/* The parameter to show where there is room for one; @view has some. */
uint64_t view_typical(const struct view *view);
/*
 * How the cost of a column grows with the parameter at a place. 0, -ENODATA without a measurement, or
 * -ENOMEM.
 */
int view_growth(const struct view *view, size_t place, size_t column, struct fit *ret);

/*
 * What there is of one column at one place and parameter: 0 and the quartiles, or -ENODATA and why not.
 * @ret_reason gets NULL or a text of the results. Where no cell has a series, @column may be 0.
 */
int view_measured(const struct view *view, size_t place, uint64_t parameter, size_t column, struct spread *ret,
		  enum results_status *ret_status, const char **ret_reason);

#endif
