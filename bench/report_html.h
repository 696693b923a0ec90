/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reports for people: a page with everything, and a drawing of one workload. */
#ifndef SNAPMAP_BENCH_REPORT_HTML_H
#define SNAPMAP_BENCH_REPORT_HTML_H

#include "bench/results.h"
#include "bench/why.h"

/**
 * report_html_write() - write the page
 * @results: a run; places and workloads that cells name have to exist
 * @path: the file, which is overwritten if there is one: as a whole or not at all
 *
 * One file that refers to no other, for screens of any width, light and dark, and for paper. Without
 * gnuplot it has no charts, says so, and has everything else.
 *
 * Return: 0; -EINVAL if @results is not coherent, -ENOMEM, or an errno of writing the
 * file. @why then says what is wrong.
 */
int report_html_write(const struct results *results, const char *path, struct why *why);

/* The page itself, to be freed, with one more byte 0 behind. The same errors. */
int report_html_make(const struct results *results, char **ret, size_t *ret_n, struct why *why);

/**
 * report_chart_write() - write charts of one workload as an SVG file
 * @results: a run
 * @workload_id: id of the workload, which has to have an axis
 * @path: the file, overwritten as above
 *
 * The file stands alone and brings its own paper, so that it can be read on pages that are
 * light or dark. One chart for each place where something was measured.
 *
 * Return: 0; -EINVAL if @results is not coherent; -ENOENT if there is no such workload, or no
 * gnuplot; -ENODATA if nothing of it can be drawn; -EIO if gnuplot failed; -ENOMEM, or an errno
 * of writing the file. @why then says what is wrong.
 */
int report_chart_write(const struct results *results, const char *workload_id, const char *path, struct why *why);

#endif
