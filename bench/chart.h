/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Charts: cost against a parameter, both by their logarithms, drawn by gnuplot as SVG. */
#ifndef SNAPMAP_BENCH_CHART_H
#define SNAPMAP_BENCH_CHART_H

#include <stdbool.h>
#include <stdio.h>

#include "bench/gnuplot.h"
#include "bench/results.h"

/* Size of a drawing in its own units, which are pixels where there is room for it */
#define CHART_WIDTH 380
#define CHART_HEIGHT 260

/* How a series looks, in charts and in their legends. */
struct chart_style {
	unsigned color; /* class "sN" */
	unsigned shape; /* symbol "pN" */
	double size;
	const char *dash; /* NULL for a solid line; lengths as in SVG */
};

/**
 * struct chart_point - a measurement
 * @x: the parameter
 * @low: first quartile
 * @median: the point
 * @high: third quartile
 * @noisy: it gets a ring
 * @tip: what is shown when one points at it, in lines; any text
 */
struct chart_point {
	double x;
	double low, median, high;
	bool noisy;
	char *tip;
};

struct chart_series {
	struct chart_style style;
	struct chart_point *points;
	size_t npoints;
};

/**
 * struct chart - what is drawn
 * @axis: of the parameter
 * @unit: of the cost
 * @x_low: smallest parameter, larger than 0
 * @x_high: largest parameter
 * @y_low: smallest cost to have room, larger than 0
 * @y_high: largest cost
 * @parameters: where ticks may be, in ascending order
 * @series: drawn in this order, the last above the others
 * @title: what it shows, for those who do not see it; any text
 */
struct chart {
	enum results_axis axis;
	enum results_unit unit;
	double x_low, x_high;
	double y_low, y_high;
	const uint64_t *parameters;
	size_t nparameters;
	struct chart_series *series;
	size_t nseries;
	char *title;
};

/* The style of the series that is number @index among those of the library, or among the baselines. */
struct chart_style chart_style(bool library, const char *lacks, size_t index);

/* Whether a cost can be drawn at all: it needs a logarithm, and room on both sides. */
bool chart_can_show(double value);

/**
 * chart_draw() - draw charts
 * @charts: each with at least one point
 * @n: number of them
 * @svgs: gets one element <svg> for each, to be freed, to be put into HTML or another SVG
 * @ret_complaint: gets, on failure, a sentence on why there are none
 *
 * The drawings refer to the symbols of chart_write_symbols(), which have to be in the same document
 * once, and get their colors from the style sheet of chart_write_colors().
 *
 * Return: 0, or a negative errno as gnuplot_run().
 */
int chart_draw(const struct chart *charts, size_t n, char **svgs, char ret_complaint[GNUPLOT_COMPLAINT_SIZE]);

/* <defs> with a symbol for each shape. */
void chart_write_symbols(FILE *out);
/*
 * Rules for the classes in drawings. Colors are variables --s1 ..., --ink, --quiet, --grid, --warn and
 * --paper; chart_write_palette() declares them for light or dark paper.
 */
void chart_write_rules(FILE *out);
void chart_write_palette(FILE *out, bool dark);

/* ---- steps of chart_draw() */

/* What gnuplot is to do for one chart (chart_script.c). */
void chart_script(const struct chart *chart, FILE *out);
/* Makes what gnuplot wrote for one chart fit for a page (chart_svg.c). -EIO if that is no SVG. */
int chart_rewrite(const struct chart *chart, unsigned number, const char *svg, size_t n, FILE *out);

#endif
