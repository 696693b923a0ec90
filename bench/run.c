/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which cells there are, in which order, and how much time each may take.
 *
 * All workloads run at one place before the next place's turn. A cell that was
 * measured at one place tells how long it will take at the next, which is what the
 * estimate of the time left comes from.
 */
#include "config.h"

#include "bench/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/harness.h"
#include "bench/machine.h"
#include "bench/results_build.h"

/* A quick run ends within a minute: this is for all places, in seconds, making them aside. */
#define QUICK_SECONDS 45.0

/* Bars want their rounds; but those of cells where one takes long are fewer. */
#define BARS_SECONDS 30.0

/* Seconds for a cell, and seconds from which on a series is left out. */
static const struct {
	const char *name;
	double budget, limit;
} modes[] = {
	[LEVEL_QUICK] = {"quick", 0.25, 1.0},
	[LEVEL_STANDARD] = {"standard", 1.0, 10.0},
	[LEVEL_FULL] = {"full", 5.0, 1e9},
};

struct item {
	size_t place, index; /* into results.workloads */
	const struct workload *workload;
	struct point point;
	double expected; /* seconds; until one like it was measured, in proportion only */
	bool known;
};

struct run {
	struct place place; /* the one that was entered, if any */
	bool entered;
	const struct run_options *options;
	struct results *results;
	struct item *items;
	size_t nitems;
	double begin;
};

/* ---- which cells ---- */

static bool has_word(const char *text, const char *word)
{
	return strcasestr(text, word) != NULL;
}

static bool is_chosen(const struct workload *w, const struct run_options *o)
{
	if (o->bars && !workload_has_bar(w))
		return false;
	for (size_t i = 0; i < o->nwords; i++)
		if (has_word(w->id, o->words[i]) || has_word(w->title, o->words[i]))
			return true;
	return !o->nwords;
}

/* Bars hold for the sizes that they are meant for. */
static struct point point_of_size(const struct workload *w, uint64_t size)
{
	for (size_t i = 0; i < w->npoints; i++)
		if (w->points[i].value == size)
			return w->points[i];
	return (struct point){.value = size};
}

/* Until it is known better: making a file of that size and writing it a few times. */
static double guess(const struct workload *w, const struct point *p)
{
	double size = w->axis == AXIS_SIZE ? (double)p->value : (double)w->size;

	return 1 + (w->sparse ? 0 : (w->own_files ? 20 : 8) * size / (double)GIB);
}

static int add_item(struct run *r, size_t place, size_t index, const struct workload *w, struct point point)
{
	struct item *larger = (struct item *)reallocarray(r->items, r->nitems + 1, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	r->items = larger;
	r->items[r->nitems++] = (struct item){place, index, w, point, guess(w, &point), false};
	return 0;
}

static int add_points(struct run *r, size_t place, size_t index, const struct workload *w)
{
	const struct run_options *o = r->options;
	bool by_size = w->axis == AXIS_SIZE && o->nsizes;
	size_t n = by_size ? o->nsizes : w->npoints;

	for (size_t i = 0; i < n; i++) {
		struct point point = by_size ? point_of_size(w, o->sizes[i]) : w->points[i];

		if (!by_size && !o->bars && point.level > o->level)
			continue;
		if (add_item(r, place, index, w, point))
			return -ENOMEM;
	}
	return 0;
}

static bool has_points(const struct workload *w, const struct run_options *o)
{
	for (size_t i = 0; i < w->npoints; i++)
		if (o->bars || (w->axis == AXIS_SIZE && o->nsizes) || w->points[i].level <= o->level)
			return true;
	return false;
}

static int add_workload(struct run *r, const struct workload *w)
{
	struct results_workload *result = results_add_workload(r->results);

	if (!result || results_set(&result->id, w->id) || results_set(&result->title, w->title) ||
	    results_set(&result->description, w->description) || results_set(&result->group, w->group))
		return -ENOMEM;
	if (w->remark) {
		free(result->description);
		if (asprintf(&result->description, "%s %s", w->description, w->remark()) < 0)
			return (result->description = NULL, -ENOMEM);
	}
	result->axis = w->axis;
	result->unit = w->unit;
	return 0;
}

static int add_place(struct results *results, const struct place *place)
{
	struct results_place *p = results_add_place(results);

	if (!p || results_set(&p->name, place->name) || results_set(&p->type, place->type) ||
	    results_set(&p->options, place->options) || results_set(&p->device, place->device) ||
	    results_set(&p->features, place->features))
		return -ENOMEM;
	return 0;
}

static int plan(struct run *r)
{
	const struct workload *w;
	int rc = 0;

	for (size_t p = 0; !rc && p < r->options->nplaces; p++) {
		size_t index = 0;

		for (size_t i = 0; !rc && (w = workload_at(i)); i++) {
			if (!is_chosen(w, r->options) || !has_points(w, r->options))
				continue;
			if (!p)
				rc = add_workload(r, w);
			if (!rc)
				rc = add_points(r, p, index++, w);
		}
	}
	return rc;
}

/* ---- how long ---- */

static struct effort effort_for(const struct run *r, const struct item *item)
{
	const struct run_options *o = r->options;
	struct effort e = {.rounds = item->workload->rounds ? item->workload->rounds : 15, .budget = 1e9, .limit = 1e9};

	if (o->rounds) {
		e.rounds = o->rounds;
	} else if (o->bars) {
		e.budget = BARS_SECONDS;
	} else {
		e.budget = modes[o->level].budget;
		e.limit = modes[o->level].limit;
	}
	return e;
}

/* Seconds that the rest will take, as far as one can tell. */
static double seconds_left(const struct run *r, size_t next, double spent, double spent_guess)
{
	double scale = spent_guess > 0 ? spent / spent_guess : 1, left = 0;

	for (size_t i = next; i < r->nitems; i++)
		left += r->items[i].known ? r->items[i].expected : r->items[i].expected * scale;
	return left;
}

static void learn(struct run *r, size_t done, double seconds)
{
	for (size_t i = done + 1; i < r->nitems; i++)
		if (r->items[i].workload == r->items[done].workload &&
		    r->items[i].point.value == r->items[done].point.value) {
			r->items[i].expected = seconds;
			r->items[i].known = true;
		}
}

/* Of a quick run each place has its share of the time; what does not fit is left out. */
static bool is_too_late(const struct run *r, const struct item *item)
{
	double share = (double)(item->place + 1) / (double)r->options->nplaces;

	return r->options->level == LEVEL_QUICK && !r->options->bars && !r->options->rounds &&
	       clock_now() - r->begin > QUICK_SECONDS * share;
}

/* ---- running ---- */

static int measure_item(struct run *r, const struct item *item)
{
	struct results_cell *cell = results_add_cell(r->results);
	struct effort effort = effort_for(r, item);
	int rc;

	if (!cell)
		return -ENOMEM;
	cell->place = item->place;
	cell->workload = item->index;
	if (is_too_late(r, item)) {
		cell->parameter = item->point.value;
		cell->status = STATUS_LEFT_OUT;
		return results_set(&cell->reason, "not within the time of a quick run");
	}
	rc = cell_measure(&r->place, item->workload, &item->point, &effort, r->options->stopped, cell);
	if (rc) {
		results_free_cell(cell);
		r->results->ncells--;
	}
	return rc;
}

static void tell(const struct run *r, size_t i, double spent, double spent_guess)
{
	const struct item *item = &r->items[i];
	double left = seconds_left(r, i, spent, spent_guess);

	if (r->options->progress)
		r->options->progress(item->workload->title, r->options->names[item->place],
				     spent + left > 0 ? spent / (spent + left) : 0, left);
}

static void tell_done(const struct run *r, size_t i)
{
	const struct item *item = &r->items[i], *next = i + 1 < r->nitems ? item + 1 : NULL;

	if (!next || next->index != item->index || next->place != item->place)
		if (r->options->done)
			r->options->done(r->results, item->place, item->index);
}

static void leave(struct run *r)
{
	if (r->entered)
		r->options->leave(r->results->nplaces - 1, &r->place);
	r->entered = false;
}

/* Items are sorted by place. */
static int enter(struct run *r, size_t place, struct why *why)
{
	int rc;

	if (place < r->results->nplaces)
		return 0;
	leave(r);
	rc = r->options->enter(place, &r->place, why);
	if (rc)
		return rc;
	r->entered = true;
	return add_place(r->results, &r->place);
}

static int run_item(struct run *r, size_t i, struct why *why)
{
	int rc = enter(r, r->items[i].place, why);

	return rc ? rc : measure_item(r, &r->items[i]);
}

static int run_items(struct run *r, struct why *why)
{
	double spent = 0, spent_guess = 0;

	for (size_t i = 0; i < r->nitems; i++) {
		double begin = clock_now();
		int rc;

		tell(r, i, spent, spent_guess);
		rc = run_item(r, i, why);
		if (rc == -ECANCELED || r->options->stopped()) {
			r->results->interrupted = true;
			return 0;
		}
		if (rc)
			return rc;
		spent_guess += guess(r->items[i].workload, &r->items[i].point);
		spent += clock_now() - begin;
		learn(r, i, clock_now() - begin);
		tell_done(r, i);
	}
	return 0;
}

static int fill_head(struct run *r)
{
	struct results *results = r->results;

	results->rounds = r->options->rounds ? r->options->rounds : HARNESS_ROUNDS_MIN;
	if (results_set(&results->mode, modes[r->options->bars ? LEVEL_FULL : r->options->level].name) ||
	    results_set(&results->library, snapmap_version()))
		return -ENOMEM;
	return machine_describe(results);
}

int run_measure(const struct run_options *options, struct results *ret, struct why *why)
{
	struct run run = {.options = options, .results = ret, .begin = clock_now()};
	int rc = fill_head(&run);

	bare_stop_when(options->stopped);
	why_set(why, 0, "there is no memory");
	if (!rc)
		rc = plan(&run);
	if (!rc && !run.nitems)
		rc = why_set(why, -ENOENT, "nothing was chosen: no title or name has such a word");
	if (!rc)
		rc = run_items(&run, why);
	leave(&run);
	free(run.items);
	ret->seconds = clock_now() - run.begin;
	return rc;
}
