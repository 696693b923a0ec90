/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results as files. Each is written in memory first and published at once, by the library itself. */
#ifndef SNAPMAP_BENCH_OUTPUT_H
#define SNAPMAP_BENCH_OUTPUT_H

#include <stddef.h>

#include "bench/results.h"
#include "bench/why.h"

/* Makes @bytes the content of the file. These return 0 or a negative errno with @why. */
int output_write(const char *path, const void *bytes, size_t n, struct why *why);

int results_json_write(const struct results *results, const char *path, struct why *why);
/* On success @ret is to be freed with results_free(). */
int results_json_read(const char *path, struct results *ret, struct why *why);

/* A line for the value of every round. */
int results_csv_write(const struct results *results, const char *path, struct why *why);

/*
 * Puts a table between the lines "<!-- snapmap bench -->" and "<!-- end of snapmap bench -->"
 * of a text, in the place of what is there.
 */
int results_markdown_update(const struct results *results, const char *path, struct why *why);

#endif
