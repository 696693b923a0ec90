/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers with their units as people read them, and text that goes into HTML. */
#ifndef SNAPMAP_BENCH_REPORT_TEXT_H
#define SNAPMAP_BENCH_REPORT_TEXT_H

#include <stdint.h>
#include <stdio.h>

#include "bench/fit.h"
#include "bench/results.h"

/* Short texts are handed around by value. They need no escaping. */
struct text {
	char s[80];
};

/* "12.3 µs", "4 KiB": three digits, with the unit that suits them */
struct text text_value(double value, enum results_unit unit);
/* A parameter: "64 MiB", "1,000 pages", "1 thread"; empty for AXIS_NONE */
struct text text_parameter(uint64_t parameter, enum results_axis axis);
/* The same for the tick of a chart: "64 MiB", "1k", "1" */
struct text text_tick(uint64_t parameter, enum results_axis axis);
/* "1.23×" */
struct text text_ratio(double ratio);
/* "constant", "~n^0.5", "unclear: too much noise" */
struct text text_law(const struct fit *fit, enum results_axis axis);

/* What an axis counts: "size of the file", "edited pages" */
const char *text_axis(enum results_axis axis);
/* What is counted, behind a number: " pages"; empty for AXIS_SIZE and AXIS_NONE */
const char *text_counted(enum results_axis axis);
/* "not supported", "left out", "error", "measured" */
const char *text_status(enum results_status status);

/*
 * Writes a text from outside, NULL included, for HTML and XML, within elements and quoted attributes alike.
 * What neither may hold (control characters, bytes that are not UTF-8) becomes U+FFFD.
 */
void text_escape(FILE *out, const char *text);

#endif
