/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling a change from noise. A series of the library got slower if all of this holds:
 *
 * - the rank test of the values of both runs says so, with one chance in 100 of being
 *   wrong;
 * - the lower quartile of the new ones lies above the upper quartile of the old ones;
 * - the medians are at least a tenth apart;
 * - where both runs have the same reference, the same three hold for the ratios to it.
 *   So a machine that was slower all the time is no change.
 *
 * Faster is the same the other way round.
 */
#include "config.h"

#include "bench/compare.h"

#include <stdlib.h>
#include <string.h>

#include "bench/show.h"
#include "bench/statistics.h"

#define UNLIKELY 2.576 /* standard deviations: one chance in 100, in both directions together */
#define LEAST 1.10

struct pair {
	const struct results_series *old, *new;
};

/* 1: slower, -1: faster, 0: neither */
static int judge(const double *old, size_t nold, const double *new, size_t nnew)
{
	struct quartiles a = quartiles_of(old, nold), b = quartiles_of(new, nnew);
	double z = rank_test(old, nold, new, nnew);

	if (z > UNLIKELY && b.low > a.high && b.median > a.median * LEAST)
		return 1;
	if (z < -UNLIKELY && b.high < a.low && b.median * LEAST < a.median)
		return -1;
	return 0;
}

static double *ratios(const struct results_series *s, const struct results_series *reference)
{
	double *r = (double *)malloc((s->nvalues + 1) * sizeof(*r));

	for (size_t i = 0; r && i < s->nvalues; i++)
		r[i] = i < reference->nvalues && reference->values[i] > 0 ? s->values[i] / reference->values[i] : 1;
	return r;
}

static int judge_ratios(const struct pair *p, const struct pair *reference)
{
	double *old = ratios(p->old, reference->old), *new = ratios(p->new, reference->new);
	int verdict = old && new ? judge(old, p->old->nvalues, new, p->new->nvalues) : 0;

	free(old);
	free(new);
	return verdict;
}

/* ---- finding the same in both ---- */

static bool same_cell(const struct results *a, const struct results_cell *ca, const struct results *b,
		      const struct results_cell *cb)
{
	return ca->parameter == cb->parameter && !strcmp(a->places[ca->place].name, b->places[cb->place].name) &&
	       !strcmp(a->workloads[ca->workload].id, b->workloads[cb->workload].id);
}

static const struct results_cell *find_cell(const struct results *in, const struct results *of,
					    const struct results_cell *cell)
{
	for (size_t i = 0; i < in->ncells; i++)
		if (same_cell(in, &in->cells[i], of, cell))
			return &in->cells[i];
	return NULL;
}

static const struct results_series *find_series(const struct results_cell *cell, const char *name)
{
	for (size_t i = 0; i < cell->nseries; i++)
		if (!strcmp(cell->series[i].name, name) && cell->series[i].status == STATUS_MEASURED &&
		    cell->series[i].nvalues)
			return &cell->series[i];
	return NULL;
}

static bool find_reference(const struct results_cell *old, const struct results_cell *new, struct pair *ret)
{
	if (old->reference >= old->nseries || new->reference >= new->nseries)
		return false;
	ret->old = &old->series[old->reference];
	ret->new = &new->series[new->reference];
	return !strcmp(ret->old->name, ret->new->name) && ret->old->nvalues && ret->new->nvalues;
}

/* ---- telling ---- */

static void tell(FILE *to, const struct results *r, const struct results_cell *cell, const struct pair *p, int verdict)
{
	const struct results_workload *w = &r->workloads[cell->workload];
	double old = quartiles_of(p->old->values, p->old->nvalues).median;
	double new = quartiles_of(p->new->values, p->new->nvalues).median;
	char parameter[40], before[32], after[32];

	show_parameter(parameter, sizeof(parameter), cell->parameter, w->axis);
	show_value(before, sizeof(before), old, w->unit);
	show_value(after, sizeof(after), new, w->unit);
	fprintf(to, "%s  %s, %s%s%s, %s: %s before, %s now, %.2f times\n", verdict > 0 ? "slower" : "faster",
		r->places[cell->place].name, w->id, parameter[0] ? ", " : "", parameter, p->new->name, before, after,
		old > 0 ? new / old : 0);
}

struct work {
	FILE *to;
	const struct results *new;
	struct compared result;
	double *drifts;
};

static void compare_series(struct work *w, const struct results_cell *old_cell, const struct results_cell *cell,
			   const struct results_series *s)
{
	struct pair p = {find_series(old_cell, s->name), find_series(cell, s->name)}, reference;
	int verdict;

	if (!p.old || !p.new)
		return;
	if (!s->library) {
		double old = quartiles_of(p.old->values, p.old->nvalues).median;

		if (old > 0)
			w->drifts[w->result.baselines++] = quartiles_of(p.new->values, p.new->nvalues).median / old;
		return;
	}
	w->result.series++;
	verdict = judge(p.old->values, p.old->nvalues, p.new->values, p.new->nvalues);
	if (verdict && find_reference(old_cell, cell, &reference) && judge_ratios(&p, &reference) != verdict)
		verdict = 0;
	if (!verdict)
		return;
	w->result.slower += verdict > 0;
	w->result.faster += verdict < 0;
	tell(w->to, w->new, cell, &p, verdict);
}

struct compared compare_runs(FILE *to, const struct results *old, const struct results *new)
{
	struct work w = {.to = to, .new = new, .result = {.drift = 1}};
	size_t n = 1;

	for (size_t i = 0; i < new->ncells; i++)
		n += new->cells[i].nseries;
	w.drifts = (double *)calloc(n, sizeof(*w.drifts));
	for (size_t i = 0; w.drifts && i < new->ncells; i++) {
		const struct results_cell *cell = &new->cells[i], *old_cell = find_cell(old, new, cell);

		for (size_t s = 0; old_cell && s < cell->nseries; s++)
			compare_series(&w, old_cell, cell, &cell->series[s]);
	}
	if (w.result.baselines)
		w.result.drift = quartiles_of(w.drifts, w.result.baselines).median;
	free(w.drifts);
	return w.result;
}
