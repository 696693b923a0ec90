/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Building results up: for measuring and for reading JSON. Pointers hold until the next of the same kind is added. */
#ifndef SNAPMAP_BENCH_RESULTS_BUILD_H
#define SNAPMAP_BENCH_RESULTS_BUILD_H

#include "bench/results.h"

/* Each gives a new element, all zeros, or NULL if memory ran out. */
struct results_place *results_add_place(struct results *results);
struct results_workload *results_add_workload(struct results *results);
struct results_cell *results_add_cell(struct results *results);
struct results_series *results_add_series(struct results_cell *cell);

/* 0 or -ENOMEM. @text, which may be NULL, is copied, and what the field held is freed. */
int results_add_value(struct results_series *series, double value);
int results_set(char **field, const char *text);

void results_free_cell(struct results_cell *cell);

/* As they stand in JSON and CSV. By name: the value, or -EINVAL. */
const char *results_axis_name(enum results_axis axis);
const char *results_unit_name(enum results_unit unit);
const char *results_status_name(enum results_status status);
int results_axis_by_name(const char *name);
int results_unit_by_name(const char *name);
int results_status_by_name(const char *name);

#endif
