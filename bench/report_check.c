/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether results are coherent, so that the report has not to ask at each step. */
#include "config.h"

#include "bench/report_check.h"

#include <errno.h>

static int bad(struct why *why, const char *what, size_t number)
{
	return why_set(why, -EINVAL, "the results are not coherent: %s %zu lacks something or names what is not there",
		       what, number);
}

static bool good_cell(const struct results *results, const struct results_cell *cell)
{
	if (cell->place >= results->nplaces || cell->workload >= results->nworkloads)
		return false;
	for (size_t i = 0; i < cell->nseries; i++)
		if (!cell->series[i].name || (cell->series[i].nvalues && !cell->series[i].values))
			return false;
	return true;
}

int report_check(const struct results *results, struct why *why)
{
	for (size_t i = 0; i < results->nplaces; i++)
		if (!results->places[i].name)
			return bad(why, "place", i);
	for (size_t i = 0; i < results->nworkloads; i++) {
		const struct results_workload *w = &results->workloads[i];

		if (!w->id || !w->title || !w->group)
			return bad(why, "workload", i);
	}
	for (size_t i = 0; i < results->ncells; i++)
		if (!good_cell(results, &results->cells[i]))
			return bad(why, "cell", i);
	return 0;
}
