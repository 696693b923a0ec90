/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What "snapmap bench" wrote, and starting it to be stopped. */
#ifndef SNAPMAP_BENCHING_H
#define SNAPMAP_BENCHING_H

#include "check_cli.h"

#include <jansson.h>

static inline json_t *load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);

	ck_assert_msg(root != NULL, "%s: %s", path, error.text);
	return root;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	ck_assert_msg(text != NULL, "no string \"%s\"", name);
	return text;
}

static inline json_t *array_of(const json_t *object, const char *name)
{
	json_t *array = json_object_get(object, name);

	ck_assert_msg(json_is_array(array), "no array \"%s\"", name);
	return array;
}

static inline bool is_measured(const json_t *series)
{
	return !strcmp(text_of(series, "status"), "measured");
}

/* Calls @act for each series of the library, or of the baselines, that was measured. */
static inline size_t each_series(json_t *root, bool library, void (*act)(json_t *values))
{
	json_t *cell, *series;
	size_t i, j, n = 0;

	json_array_foreach (array_of(root, "cells"), i, cell)
		json_array_foreach (array_of(cell, "series"), j, series)
			if (is_measured(series) && json_is_true(json_object_get(series, "library")) == library) {
				if (act)
					act(array_of(series, "values"));
				n++;
			}
	return n;
}

static inline void check_series(const json_t *series, size_t rounds)
{
	json_t *value;
	size_t i;

	ck_assert(text_of(series, "name")[0]);
	if (!is_measured(series)) {
		ck_assert(text_of(series, "reason")[0]);
		ck_assert_uint_eq(json_array_size(array_of(series, "values")), 0);
		return;
	}
	ck_assert(json_is_null(json_object_get(series, "reason")));
	ck_assert_uint_eq(json_array_size(array_of(series, "values")), rounds);
	json_array_foreach (array_of(series, "values"), i, value)
		ck_assert(json_number_value(value) > 0);
}

static inline void check_cell(const json_t *cell, size_t rounds)
{
	json_t *all = array_of(cell, "series"), *series;
	size_t i, first = SIZE_MAX;

	ck_assert(is_measured(cell));
	json_array_foreach (all, i, series) {
		ck_assert_str_ne(text_of(series, "status"), "broken");
		check_series(series, rounds);
		if (first == SIZE_MAX && is_measured(series) && !json_is_true(json_object_get(series, "library")))
			first = i;
	}
	ck_assert_uint_ne(first, SIZE_MAX);
	ck_assert_int_eq(json_integer_value(json_object_get(cell, "reference")), (json_int_t)first);
}

/* In a process group of its own, as a shell does it; @stderr of it is a pipe. */
static inline pid_t start(const char *line, int *ret_err)
{
	int ends[2];
	pid_t pid;

	ck_assert(!pipe2(ends, O_CLOEXEC));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		char script[1024];

		setpgid(0, 0);
		snprintf(script, sizeof(script), "exec %s >/dev/null", line);
		dup2(ends[1], STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(99);
	}
	setpgid(pid, pid);
	close(ends[1]);
	*ret_err = ends[0];
	return pid;
}

#endif
