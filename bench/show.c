/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/show.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/statistics.h"
#include "bench/workload.h"

#define NAME_WIDTH 40
#define VALUE_WIDTH 11
#define ACROSS 8 /* parameters beside each other */

/* ---- values ---- */

static void show_scaled(char *buffer, size_t n, double value, double step, const char *const *units, size_t nunits)
{
	size_t unit = 0;

	while (value >= step && unit + 1 < nunits) {
		value /= step;
		unit++;
	}
	snprintf(buffer, n, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[unit]);
}

void show_value(char *buffer, size_t n, double value, enum results_unit unit)
{
	static const char *const times[] = {"us", "ms", "s"};
	static const char *const bytes[] = {"B", "KiB", "MiB", "GiB"};

	if (unit == UNIT_SECONDS)
		show_scaled(buffer, n, value * 1e6, 1000, times, 3);
	else
		show_scaled(buffer, n, value, 1024, bytes, 4);
}

static void show_size(char *buffer, size_t n, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;

	while (bytes >= 1024 && bytes % 1024 == 0 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buffer, n, "%" PRIu64 " %s", bytes, units[unit]);
}

void show_parameter(char *buffer, size_t n, uint64_t parameter, enum results_axis axis)
{
	static const char *const words[] = {
		[AXIS_DIRTY] = "page", [AXIS_EXTENTS] = "extent", [AXIS_THREADS] = "thread"};

	if (axis == AXIS_NONE)
		buffer[0] = 0;
	else if (axis == AXIS_SIZE)
		show_size(buffer, n, parameter);
	else
		snprintf(buffer, n, "%" PRIu64 " %s%s", parameter, words[axis], parameter == 1 ? "" : "s");
}

/* ---- heads ---- */

void show_head(FILE *to, const struct results *r)
{
	fprintf(to, "%s\nLinux %s, libsnapmap %s, %s, %s, at least %u rounds\n", r->machine, r->kernel, r->library,
		r->date, r->mode, r->rounds);
	fprintf(to, "Medians; ~ stands before those whose quartiles lie more than %.0f %% apart, * behind baselines.\n",
		STATISTICS_NOISY * 100);
}

void show_place(FILE *to, const struct results_place *p)
{
	fprintf(to, "\n%s: %s on %s\n  mounted with %s\n  works: %s\n", p->name, p->type, p->device, p->options,
		p->features);
}

/* ---- a table ---- */

/* The cells of a workload at a place, up to ACROSS from @next on, which moves behind them. */
static size_t take_cells(const struct results *r, size_t place, size_t workload, size_t *next,
			 const struct results_cell **ret)
{
	size_t n = 0;

	for (; *next < r->ncells && n < ACROSS; (*next)++) {
		const struct results_cell *c = &r->cells[*next];

		if (c->place == place && c->workload == workload)
			ret[n++] = c;
	}
	return n;
}

static void show_median(FILE *to, const struct results_series *s, enum results_unit unit)
{
	struct quartiles q = quartiles_of(s->values, s->nvalues);
	char text[32] = "~", value[30];

	if (s->status == STATUS_MEASURED)
		show_value(value, sizeof(value), q.median, unit);
	else
		snprintf(value, sizeof(value), "%s", s->status == STATUS_BROKEN ? "FAILED" : "-");
	snprintf(text, sizeof(text), "%s%s", s->status == STATUS_MEASURED && quartiles_are_noisy(&q) ? "~" : "", value);
	fprintf(to, " %*s", VALUE_WIDTH, text);
}

/* A cell that was left out as a whole has no series. */
static const struct results_cell *fullest(const struct results_cell *const *cells, size_t n)
{
	const struct results_cell *best = cells[0];

	for (size_t i = 1; i < n; i++)
		if (cells[i]->nseries > best->nseries)
			best = cells[i];
	return best;
}

static void show_across(FILE *to, const struct results_workload *w, const struct results_cell *const *cells, size_t n)
{
	const struct results_cell *head = fullest(cells, n);
	char text[64];

	if (w->axis != AXIS_NONE) {
		fprintf(to, "    %-*s", NAME_WIDTH, "");
		for (size_t i = 0; i < n; i++) {
			show_parameter(text, sizeof(text), cells[i]->parameter, w->axis);
			fprintf(to, " %*s", VALUE_WIDTH, text);
		}
		putc('\n', to);
	}
	for (size_t s = 0; s < head->nseries; s++) {
		snprintf(text, sizeof(text), "%s%s", head->series[s].name, head->series[s].library ? "" : " *");
		fprintf(to, "    %-*s", NAME_WIDTH, text);
		for (size_t i = 0; i < n; i++)
			if (s < cells[i]->nseries)
				show_median(to, &cells[i]->series[s], w->unit);
			else
				fprintf(to, " %*s", VALUE_WIDTH, "-");
		putc('\n', to);
	}
}

/* ---- what is missing ---- */

struct note {
	const char *name, *reason;
};

static void add_note(struct note *notes, size_t capacity, size_t *n, const char *name, const char *reason)
{
	for (size_t i = 0; i < *n; i++)
		if (!strcmp(notes[i].name, name) && !strcmp(notes[i].reason, reason))
			return;
	if (*n < capacity)
		notes[(*n)++] = (struct note){name, reason};
}

/* Names that lack the same are told together. */
static void show_notes(FILE *to, struct note *notes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!notes[i].name)
			continue;
		fprintf(to, "    - %s", notes[i].name);
		for (size_t j = i + 1; j < n; j++)
			if (notes[j].name && !strcmp(notes[i].reason, notes[j].reason)) {
				fprintf(to, "; %s", notes[j].name);
				notes[j].name = NULL;
			}
		fprintf(to, ": %s\n", notes[i].reason);
	}
}

static void show_missing(FILE *to, const struct results_workload *w, const struct results_cell *const *cells, size_t n)
{
	struct note notes[64];
	char parameters[ACROSS][40];
	size_t nnotes = 0;

	for (size_t i = 0; i < n; i++) {
		if (!cells[i]->nseries && cells[i]->reason) {
			show_parameter(parameters[i], sizeof(parameters[i]), cells[i]->parameter, w->axis);
			add_note(notes, 64, &nnotes, w->axis == AXIS_NONE ? "all" : parameters[i], cells[i]->reason);
		}
		for (size_t s = 0; s < cells[i]->nseries; s++)
			if (cells[i]->series[s].reason)
				add_note(notes, 64, &nnotes, cells[i]->series[s].name, cells[i]->series[s].reason);
	}
	show_notes(to, notes, nnotes);
}

/* ---- bars ---- */

/* Of the ratio to the reference; without a reference, of the value. False if there is nothing to judge. */
static bool judged(const struct results_cell *c, struct quartiles *ret)
{
	const struct results_series *s = c->series;

	if (c->bar == 0 || !c->nseries || s->status != STATUS_MEASURED)
		return false;
	*ret = c->reference < c->nseries ? quartiles_of_ratios(s->values, c->series[c->reference].values, s->nvalues)
					 : quartiles_of(s->values, s->nvalues);
	return true;
}

static void show_verdict(FILE *to, const struct results_cell *c, const struct results_workload *w)
{
	char parameter[40], value[32], bar[32];
	struct quartiles q;

	if (!judged(c, &q))
		return;
	show_parameter(parameter, sizeof(parameter), c->parameter, w->axis);
	fprintf(to, "    bar%s%s: %s, ", parameter[0] ? " at " : "", parameter, c->series[0].name);
	if (c->reference < c->nseries) {
		fprintf(to, "%.2f times (%.2f to %.2f) as much as %s, where it may be %.2f: ", q.median, q.low, q.high,
			c->series[c->reference].name, c->bar);
	} else {
		show_value(value, sizeof(value), q.median, w->unit);
		show_value(bar, sizeof(bar), c->bar, w->unit);
		fprintf(to, "%s, where it may be %s: ", value, bar);
	}
	fprintf(to, "%s\n", q.median <= c->bar ? "met" : "MISSED");
}

struct verdicts show_verdicts(const struct results *r)
{
	struct verdicts v = {0};
	struct quartiles q;

	for (size_t i = 0; i < r->ncells; i++)
		if (judged(&r->cells[i], &q)) {
			v.met += q.median <= r->cells[i].bar;
			v.missed += q.median > r->cells[i].bar;
		}
	return v;
}

void show_workload(FILE *to, const struct results *r, size_t place, size_t workload, bool bars)
{
	const struct results_workload *w = &r->workloads[workload];
	const struct results_cell *cells[ACROSS];
	size_t next = 0, n;

	fprintf(to, "\n  %s\n", w->title);
	while ((n = take_cells(r, place, workload, &next, cells)) > 0) {
		show_across(to, w, cells, n);
		show_missing(to, w, cells, n);
		for (size_t i = 0; bars && i < n; i++)
			show_verdict(to, cells[i], w);
	}
}
