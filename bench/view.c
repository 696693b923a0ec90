/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cells of one workload as a table. Cells come in any order, and not every cell has every
 * series: what a file system cannot do may be missing. Searching is by going through
 * all cells; there are some hundreds.
 */
#include "config.h"

#include "bench/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool has_column(const struct view *view, const char *name)
{
	for (size_t i = 0; i < view->ncolumns; i++)
		if (!strcmp(view->columns[i]->name, name))
			return true;
	return false;
}

static bool has_parameter(const struct view *view, uint64_t parameter)
{
	for (size_t i = 0; i < view->nparameters; i++)
		if (view->parameters[i] == parameter)
			return true;
	return false;
}

static void add_cell(struct view *view, const struct results_cell *cell)
{
	for (size_t i = 0; i < cell->nseries; i++)
		if (!has_column(view, cell->series[i].name))
			view->columns[view->ncolumns++] = &cell->series[i];
	if (!has_parameter(view, cell->parameter))
		view->parameters[view->nparameters++] = cell->parameter;
}

int view_make(const struct results *results, size_t workload, struct view *ret)
{
	struct view view = {.results = results, .workload = workload};
	size_t series = 1;

	for (size_t i = 0; i < results->ncells; i++)
		series += results->cells[i].nseries;
	view.columns = calloc(series, sizeof(const struct results_series *));
	view.parameters = calloc(results->ncells + 1, sizeof(uint64_t));
	if (!view.columns || !view.parameters) {
		view_drop(&view);
		return -ENOMEM;
	}
	for (size_t i = 0; i < results->ncells; i++)
		if (results->cells[i].workload == workload)
			add_cell(&view, &results->cells[i]);
	qsort(view.parameters, view.nparameters, sizeof(uint64_t), by_number);
	*ret = view;
	return 0;
}

void view_drop(struct view *view)
{
	free(view->columns);
	free(view->parameters);
	*view = (struct view){0};
}

const struct results_cell *view_cell(const struct view *view, size_t place, uint64_t parameter)
{
	for (size_t i = 0; i < view->results->ncells; i++) {
		const struct results_cell *cell = &view->results->cells[i];

		if (cell->workload == view->workload && cell->place == place && cell->parameter == parameter)
			return cell;
	}
	return NULL;
}

size_t view_series(const struct view *view, const struct results_cell *cell, size_t column)
{
	size_t i = 0;

	while (i < cell->nseries && strcmp(cell->series[i].name, view->columns[column]->name) != 0)
		i++;
	return i;
}

uint64_t view_typical(const struct view *view)
{
	return view->parameters[view->nparameters / 2];
}

int view_measured(const struct view *view, size_t place, uint64_t parameter, size_t column, struct spread *ret,
		  enum results_status *ret_status, const char **ret_reason)
{
	const struct results_cell *cell = view_cell(view, place, parameter);
	const struct results_series *series = NULL;

	*ret_status = STATUS_LEFT_OUT;
	*ret_reason = NULL;
	if (!cell)
		return -ENODATA;
	if (cell->status != STATUS_MEASURED) {
		*ret_status = cell->status;
		*ret_reason = cell->reason;
		return -ENODATA;
	}
	if (view_series(view, cell, column) < cell->nseries)
		series = &cell->series[view_series(view, cell, column)];
	if (!series)
		return -ENODATA;
	*ret_status = series->status;
	*ret_reason = series->reason;
	return derive_spread(series, ret);
}

int view_growth(const struct view *view, size_t place, size_t column, struct fit *ret)
{
	struct fit_point *points = calloc(view->nparameters + 1, sizeof(*points));
	size_t n = 0;

	if (!points)
		return -ENOMEM;
	for (size_t i = 0; i < view->nparameters; i++) {
		struct spread s;
		enum results_status status;
		const char *reason;

		if (!view_measured(view, place, view->parameters[i], column, &s, &status, &reason))
			points[n++] = (struct fit_point){(double)view->parameters[i], s.low, s.median, s.high, s.n};
	}
	*ret = fit_growth(points, n);
	free(points);
	return n ? 0 : -ENODATA;
}
