/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Building results up, and freeing them. */
#include "config.h"

#include "bench/results_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_series(struct results_series *s)
{
	free(s->name);
	free(s->lacks);
	free(s->reason);
	free(s->values);
}

void results_free_cell(struct results_cell *cell)
{
	for (size_t i = 0; i < cell->nseries; i++)
		free_series(&cell->series[i]);
	free(cell->series);
	free(cell->reason);
	*cell = (struct results_cell){0};
}

static void free_workload(struct results_workload *w)
{
	free(w->id);
	free(w->title);
	free(w->description);
	free(w->group);
}

static void free_place(struct results_place *p)
{
	free(p->name);
	free(p->type);
	free(p->options);
	free(p->device);
	free(p->features);
}

void results_free(struct results *r)
{
	for (size_t i = 0; i < r->ncells; i++)
		results_free_cell(&r->cells[i]);
	for (size_t i = 0; i < r->nworkloads; i++)
		free_workload(&r->workloads[i]);
	for (size_t i = 0; i < r->nplaces; i++)
		free_place(&r->places[i]);
	free(r->cells);
	free(r->workloads);
	free(r->places);
	free(r->machine);
	free(r->kernel);
	free(r->library);
	free(r->date);
	free(r->mode);
	*r = (struct results){0};
}

/* Room for one more, all zeros, in an array of @n elements; NULL if memory ran out. */
static void *grow(void **array, size_t n, size_t size)
{
	char *larger = (char *)reallocarray(*array, n + 1, size);

	if (!larger)
		return NULL;
	*array = larger;
	return memset(larger + n * size, 0, size);
}

struct results_place *results_add_place(struct results *r)
{
	struct results_place *p = (struct results_place *)grow((void **)&r->places, r->nplaces, sizeof(*p));

	r->nplaces += p != NULL;
	return p;
}

struct results_workload *results_add_workload(struct results *r)
{
	struct results_workload *w = (struct results_workload *)grow((void **)&r->workloads, r->nworkloads, sizeof(*w));

	r->nworkloads += w != NULL;
	return w;
}

struct results_cell *results_add_cell(struct results *r)
{
	struct results_cell *c = (struct results_cell *)grow((void **)&r->cells, r->ncells, sizeof(*c));

	r->ncells += c != NULL;
	return c;
}

struct results_series *results_add_series(struct results_cell *cell)
{
	struct results_series *s = (struct results_series *)grow((void **)&cell->series, cell->nseries, sizeof(*s));

	cell->nseries += s != NULL;
	return s;
}

int results_add_value(struct results_series *s, double value)
{
	double *place = (double *)grow((void **)&s->values, s->nvalues, sizeof(*place));

	if (!place)
		return -ENOMEM;
	*place = value;
	s->nvalues++;
	return 0;
}

int results_set(char **field, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static const char *const axes[] = {[AXIS_NONE] = "none",
				   [AXIS_SIZE] = "size",
				   [AXIS_DIRTY] = "dirty",
				   [AXIS_EXTENTS] = "extents",
				   [AXIS_THREADS] = "threads"};
static const char *const units[] = {[UNIT_SECONDS] = "seconds", [UNIT_BYTES] = "bytes"};
static const char *const statuses[] = {[STATUS_MEASURED] = "measured",
				       [STATUS_UNSUPPORTED] = "unsupported",
				       [STATUS_LEFT_OUT] = "left out",
				       [STATUS_BROKEN] = "broken"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int find(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -EINVAL;
}

const char *results_axis_name(enum results_axis axis)
{
	return axes[axis];
}

const char *results_unit_name(enum results_unit unit)
{
	return units[unit];
}

const char *results_status_name(enum results_status status)
{
	return statuses[status];
}

int results_axis_by_name(const char *name)
{
	return find(axes, COUNT(axes), name);
}

int results_unit_by_name(const char *name)
{
	return find(units, COUNT(units), name);
}

int results_status_by_name(const char *name)
{
	return find(statuses, COUNT(statuses), name);
}
