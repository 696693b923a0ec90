/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Results as JSON, written and read.
 *
 *	{
 *	  "format": "snapmap bench",	always
 *	  "version": 1,			of this description; a reader refuses another one
 *	  "machine", "kernel", "library", "date": strings
 *	  "mode": "quick", "standard" or "full"
 *	  "rounds": at least that many values has a series that was measured
 *	  "seconds": the run took
 *	  "interrupted": true or false; if true, cells may be missing
 *	  "places": [{"name", "type", "options", "device", "features": strings}, ...]
 *	  "workloads": [{"id", "title", "description", "group": strings,
 *			"axis": "none", "size", "dirty", "extents" or "threads",
 *			"unit": "seconds" or "bytes"}, ...]
 *	  "cells": [{"place", "workload": index into these arrays, from 0
 *		    "parameter": what the axis counts: bytes, pages, extents, threads
 *		    "reference": index into "series" of what the others are compared
 *			with, or null
 *		    "bar": what the first series is not to exceed, or 0
 *		    "status": "measured", "unsupported", "left out" or "broken"
 *		    "reason": a string, or null if measured
 *		    "series": [{"name": string, "library": true or false,
 *				"lacks": string or null
 *				"status", "reason": as of a cell
 *				"values": numbers, one for each round}, ...]}, ...]
 *	}
 *
 * Values with the same index ran side by side. A line holds one member, or one
 * element of an array, so that two files can be compared line by line.
 */
#include "config.h"

#include "bench/output.h"
#include "bench/results_build.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "snapmap bench"
#define SCHEMA 1

/* ---- writing ---- */

static json_t *series_to_json(const struct results_series *s)
{
	json_t *values = json_array();

	for (size_t i = 0; i < s->nvalues; i++)
		json_array_append_new(values, json_real(s->values[i]));
	return json_pack("{s:s, s:b, s:s?, s:s, s:s?, s:o}", "name", s->name, "library", s->library, "lacks", s->lacks,
			 "status", results_status_name(s->status), "reason", s->reason, "values", values);
}

static json_t *cell_to_json(const struct results *r, size_t i)
{
	const struct results_cell *c = &r->cells[i];
	json_t *series = json_array(), *reference = json_null();

	for (size_t j = 0; j < c->nseries; j++)
		json_array_append_new(series, series_to_json(&c->series[j]));
	if (c->reference < c->nseries)
		reference = json_integer((json_int_t)c->reference);
	return json_pack("{s:I, s:I, s:I, s:o, s:f, s:s, s:s?, s:o}", "place", (json_int_t)c->place, "workload",
			 (json_int_t)c->workload, "parameter", (json_int_t)c->parameter, "reference", reference, "bar",
			 c->bar, "status", results_status_name(c->status), "reason", c->reason, "series", series);
}

static json_t *workload_to_json(const struct results *r, size_t i)
{
	const struct results_workload *w = &r->workloads[i];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", w->id, "title", w->title, "description",
			 w->description, "group", w->group, "axis", results_axis_name(w->axis), "unit",
			 results_unit_name(w->unit));
}

static json_t *place_to_json(const struct results *r, size_t i)
{
	const struct results_place *p = &r->places[i];

	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", p->name, "type", p->type, "options", p->options, "device",
			 p->device, "features", p->features);
}

/* Takes @value. Whether it could be written. */
static bool put(FILE *f, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;

	json_decref(value);
	if (!text)
		return false;
	fputs(text, f);
	free(text);
	return true;
}

static bool put_member(FILE *f, const char *name, json_t *value)
{
	fprintf(f, "\"%s\":", name);
	return put(f, value) && fputs(",\n", f) >= 0;
}

static bool put_array(FILE *f, const char *name, const struct results *r, size_t n,
		      json_t *(*element)(const struct results *r, size_t i))
{
	fprintf(f, "\"%s\":[", name);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ",\n" : "\n", f);
		if (!put(f, element(r, i)))
			return false;
	}
	return fputs("]", f) >= 0;
}

static bool put_results(FILE *f, const struct results *r)
{
	bool ok = fputs("{\n", f) >= 0;

	ok = ok && put_member(f, "format", json_string(FORMAT)) && put_member(f, "version", json_integer(SCHEMA)) &&
	     put_member(f, "machine", json_string(r->machine)) && put_member(f, "kernel", json_string(r->kernel)) &&
	     put_member(f, "library", json_string(r->library)) && put_member(f, "date", json_string(r->date)) &&
	     put_member(f, "mode", json_string(r->mode)) && put_member(f, "rounds", json_integer(r->rounds)) &&
	     put_member(f, "seconds", json_real(r->seconds)) &&
	     put_member(f, "interrupted", json_boolean(r->interrupted));
	ok = ok && put_array(f, "places", r, r->nplaces, place_to_json) && fputs(",\n", f) >= 0 &&
	     put_array(f, "workloads", r, r->nworkloads, workload_to_json) && fputs(",\n", f) >= 0 &&
	     put_array(f, "cells", r, r->ncells, cell_to_json);
	return ok && fputs("\n}\n", f) >= 0;
}

/* A string that is not UTF-8, from the name of a directory, is what can fail here besides memory. */
int results_json_write(const struct results *r, const char *path, struct why *why)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	bool ok = f && put_results(f, r);
	int rc;

	if (f && fclose(f))
		ok = false;
	rc = ok ? output_write(path, text, n, why)
		: why_set(why, -EINVAL, "'%s' was not written: no memory, or a name that is not UTF-8", path);
	free(text);
	return rc;
}

/* ---- reading: each returns 0, -EINVAL, or -ENOMEM ---- */

static int take_text(json_t *object, const char *name, char **ret, bool may_be_null)
{
	json_t *value = json_object_get(object, name);

	if (may_be_null && (!value || json_is_null(value)))
		return 0;
	return json_is_string(value) ? results_set(ret, json_string_value(value)) : -EINVAL;
}

static int take_index(json_t *object, const char *name, size_t limit, size_t *ret)
{
	json_t *value = json_object_get(object, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0 || (size_t)json_integer_value(value) >= limit)
		return -EINVAL;
	*ret = (size_t)json_integer_value(value);
	return 0;
}

static int take_name(json_t *object, const char *name, int (*by_name)(const char *name), int *ret)
{
	json_t *value = json_object_get(object, name);
	int found = json_is_string(value) ? by_name(json_string_value(value)) : -EINVAL;

	if (found < 0)
		return found;
	*ret = found;
	return 0;
}

static int take_number(json_t *object, const char *name, double *ret)
{
	json_t *value = json_object_get(object, name);

	if (!json_is_number(value))
		return -EINVAL;
	*ret = json_number_value(value);
	return 0;
}

static int take_values(json_t *object, struct results_series *s)
{
	json_t *values = json_object_get(object, "values"), *value;
	size_t i;
	int rc = json_is_array(values) ? 0 : -EINVAL;

	json_array_foreach (values, i, value)
		if (!rc)
			rc = json_is_number(value) ? results_add_value(s, json_number_value(value)) : -EINVAL;
	return rc;
}

static int take_series(json_t *object, struct results_cell *c)
{
	struct results_series *s = results_add_series(c);
	int rc = s ? 0 : -ENOMEM, status = 0;

	if (!rc)
		rc = take_text(object, "name", &s->name, false);
	if (!rc)
		rc = take_text(object, "lacks", &s->lacks, true);
	if (!rc)
		rc = take_text(object, "reason", &s->reason, true);
	if (!rc)
		rc = take_name(object, "status", results_status_by_name, &status);
	if (!rc)
		rc = take_values(object, s);
	if (rc)
		return rc;
	s->library = json_is_true(json_object_get(object, "library"));
	s->status = (enum results_status)status;
	return 0;
}

static int take_all_series(json_t *object, struct results_cell *c)
{
	json_t *array = json_object_get(object, "series"), *element;
	size_t i;
	int rc = json_is_array(array) ? 0 : -EINVAL;

	json_array_foreach (array, i, element)
		if (!rc)
			rc = take_series(element, c);
	if (rc)
		return rc;
	c->reference = c->nseries;
	if (!json_is_null(json_object_get(object, "reference")))
		rc = take_index(object, "reference", c->nseries, &c->reference);
	return rc;
}

static int take_cell(json_t *object, struct results *r)
{
	struct results_cell *c = results_add_cell(r);
	size_t parameter = 0;
	int rc = c ? 0 : -ENOMEM, status = 0;

	if (!rc)
		rc = take_index(object, "place", r->nplaces, &c->place);
	if (!rc)
		rc = take_index(object, "workload", r->nworkloads, &c->workload);
	if (!rc)
		rc = take_index(object, "parameter", SIZE_MAX, &parameter);
	if (!rc)
		rc = take_number(object, "bar", &c->bar);
	if (!rc)
		rc = take_name(object, "status", results_status_by_name, &status);
	if (!rc)
		rc = take_text(object, "reason", &c->reason, true);
	if (!rc)
		rc = take_all_series(object, c);
	if (rc)
		return rc;
	c->parameter = parameter;
	c->status = (enum results_status)status;
	return 0;
}

static int take_workload(json_t *object, struct results *r)
{
	struct results_workload *w = results_add_workload(r);
	int rc = w ? 0 : -ENOMEM, axis = 0, unit = 0;

	if (!rc)
		rc = take_text(object, "id", &w->id, false);
	if (!rc)
		rc = take_text(object, "title", &w->title, false);
	if (!rc)
		rc = take_text(object, "description", &w->description, false);
	if (!rc)
		rc = take_text(object, "group", &w->group, false);
	if (!rc)
		rc = take_name(object, "axis", results_axis_by_name, &axis);
	if (!rc)
		rc = take_name(object, "unit", results_unit_by_name, &unit);
	if (rc)
		return rc;
	w->axis = (enum results_axis)axis;
	w->unit = (enum results_unit)unit;
	return 0;
}

static int take_place(json_t *object, struct results *r)
{
	struct results_place *p = results_add_place(r);
	int rc = p ? 0 : -ENOMEM;

	if (!rc)
		rc = take_text(object, "name", &p->name, false);
	if (!rc)
		rc = take_text(object, "type", &p->type, false);
	if (!rc)
		rc = take_text(object, "options", &p->options, false);
	if (!rc)
		rc = take_text(object, "device", &p->device, false);
	if (!rc)
		rc = take_text(object, "features", &p->features, false);
	return rc;
}

static int take_head(json_t *root, struct results *r)
{
	double rounds = 0;
	int rc = take_text(root, "machine", &r->machine, false);

	if (!rc)
		rc = take_text(root, "kernel", &r->kernel, false);
	if (!rc)
		rc = take_text(root, "library", &r->library, false);
	if (!rc)
		rc = take_text(root, "date", &r->date, false);
	if (!rc)
		rc = take_text(root, "mode", &r->mode, false);
	if (!rc)
		rc = take_number(root, "rounds", &rounds);
	if (!rc)
		rc = take_number(root, "seconds", &r->seconds);
	if (!rc && !(rounds >= 0 && rounds <= 1e6))
		rc = -EINVAL;
	if (rc)
		return rc;
	r->rounds = (unsigned)rounds;
	r->interrupted = json_is_true(json_object_get(root, "interrupted"));
	return 0;
}

/* Adds @n in the head if not NULL: which element it was that could not be read. */
static int take_array(json_t *root, const char *name, struct results *r, int (*take)(json_t *object, struct results *r),
		      const char *path, struct why *why)
{
	json_t *array = json_object_get(root, name), *element;
	size_t i;

	if (!json_is_array(array))
		return why_set(why, -EINVAL, "'%s' is damaged: it has no array \"%s\"", path, name);
	json_array_foreach (array, i, element) {
		int rc = take(element, r);

		if (rc)
			return why_set(why, rc, "'%s' is damaged: element %zu of \"%s\" is not what it must be", path,
				       i, name);
	}
	return 0;
}

static int take_results(json_t *root, const char *path, struct results *r, struct why *why)
{
	json_t *format = json_object_get(root, "format");
	int rc;

	if (!json_is_string(format) || strcmp(json_string_value(format), FORMAT) != 0)
		return why_set(why, -EINVAL, "'%s' was not written by \"snapmap bench --json\"", path);
	if (json_integer_value(json_object_get(root, "version")) != SCHEMA)
		return why_set(why, -EINVAL, "'%s' was written by another version of the program", path);
	rc = take_head(root, r);
	if (rc)
		return why_set(why, rc, "'%s' is damaged: its head is not complete", path);
	rc = take_array(root, "places", r, take_place, path, why);
	if (!rc)
		rc = take_array(root, "workloads", r, take_workload, path, why);
	return rc ? rc : take_array(root, "cells", r, take_cell, path, why);
}

int results_json_read(const char *path, struct results *ret, struct why *why)
{
	struct results results = {0};
	json_error_t error;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	int rc;

	if (!root)
		return why_set(why, -EINVAL, "cannot read '%s': %s (line %d)", path, error.text, error.line);
	rc = take_results(root, path, &results, why);
	json_decref(root);
	if (rc)
		results_free(&results);
	else
		*ret = results;
	return rc;
}
