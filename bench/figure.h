/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One workload as charts, one for each place. */
#ifndef SNAPMAP_BENCH_FIGURE_H
#define SNAPMAP_BENCH_FIGURE_H

#include "bench/chart.h"
#include "bench/view.h"

/**
 * struct figure - what reports show of a workload
 * @view: the numbers
 * @styles: how each column of @view looks, the same at all places
 * @charts: one for each place of the run. All have the same ranges, so that they can be compared.
 *	Those without a point have no series
 * @svgs: drawings of these, NULL where there is none
 */
struct figure {
	struct view view;
	struct chart_style *styles;
	struct chart *charts;
	char **svgs;
};

/* Without drawings. 0, or -ENOMEM. */
int figure_make(const struct results *results, size_t workload, struct figure *ret);
void figure_drop(struct figure *figure);

/* Draws all charts of all figures, by one run of gnuplot. As chart_draw(). */
int figures_draw(struct figure *figures, size_t n, char ret_complaint[GNUPLOT_COMPLAINT_SIZE]);

/* A sample of a column's line and point, for legends: what goes into an SVG, 34 wide and 12 high. */
void figure_write_sample(const struct figure *figure, size_t column, FILE *out);

#endif
