/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What gnuplot is to do for a chart. The script holds numbers and texts of our own only: names from outside
 * never get there. Tips are numbers, and colors that no drawing has stand for classes; chart_svg.c
 * puts in what they mean.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "bench/chart.h"
#include "bench/chart_marks.h"
#include "bench/report_text.h"

#define FONT_SIZE 11
/* Width of the area with the curves, and of a character */
#define PLOT_WIDTH (CHART_WIDTH - 66)
#define CHARACTER 6.2
#define TICKS_MAX 7

static void write_frame(FILE *out)
{
	fprintf(out,
		"reset\nset encoding utf8\n"
		"set terminal svg size %d,%d dynamic noenhanced font 'sans-serif,%d' rounded\nset output\n"
		"unset key\nset border 3 lc rgb '%s' lw 1\nset tics nomirror scale 0.5,0\n"
		"set tics textcolor rgb 'black'\nset grid xtics ytics lt 1 lc rgb '%s' lw 1\nset grid back\n"
		"set lmargin 8\nset rmargin 2.5\nset tmargin 0.5\nset bmargin 2.8\n",
		CHART_WIDTH, CHART_HEIGHT, FONT_SIZE, MARK_AXIS, MARK_GRID);
}

/* Room beside the first and the last parameter */
static double x_room(const struct chart *chart)
{
	return fmax(pow(chart->x_high / chart->x_low, 0.04), chart->x_high > chart->x_low ? 1.15 : 3);
}

static double x_position(const struct chart *chart, double x)
{
	double room = log(x_room(chart));

	return PLOT_WIDTH * (log(x / chart->x_low) + room) / (log(chart->x_high / chart->x_low) + 2 * room);
}

/* Where something was measured, as far as the texts do not touch each other. */
static void write_x(const struct chart *chart, FILE *out)
{
	const char *comma = "";
	double free_from = -1e9;

	fprintf(out, "set logscale x\nset xrange [%.9g:%.9g]\nset xlabel '%s' offset 0,0.3\nset xtics (",
		chart->x_low / x_room(chart), chart->x_high * x_room(chart), text_axis(chart->axis));
	for (size_t i = 0; i < chart->nparameters; i++) {
		double x = (double)chart->parameters[i], half, middle;
		struct text text = text_tick(chart->parameters[i], chart->axis);

		if (x < chart->x_low || x > chart->x_high)
			continue;
		half = (double)strlen(text.s) * CHARACTER / 2 + 3;
		middle = x_position(chart, x);
		if (middle - half < free_from)
			continue;
		free_from = middle + half;
		fprintf(out, "%s'%s' %.17g", comma, text.s, x);
		comma = ", ";
	}
	fputs(")\n", out);
}

struct range {
	double low, high;
};

/* A decade at least: else noise would look like growth. */
static struct range y_range(const struct chart *chart)
{
	double low = chart->y_low / 1.3, high = chart->y_high * 1.3;
	double missing = 10 / (high / low);

	if (missing > 1) {
		low /= sqrt(missing);
		high *= sqrt(missing);
	}
	return (struct range){low, high};
}

static void write_y_tick(const struct chart *chart, struct range range, double y, const char **comma, FILE *out)
{
	if (y < range.low || y > range.high)
		return;
	fprintf(out, "%s'%s' %.17g", *comma, text_value(y, chart->unit).s, y);
	*comma = ", ";
}

/* At powers of ten, or of two for bytes, and at 2 and 5 between them where there is room */
static void write_y(const struct chart *chart, FILE *out)
{
	struct range range = y_range(chart);
	double base = chart->unit == UNIT_BYTES ? 2 : 10;
	double first = floor(log(range.low) / log(base)), last = ceil(log(range.high) / log(base));
	double step = ceil((last - first) / TICKS_MAX);
	bool between = base > 2 && range.high / range.low < 200;
	const char *comma = "";

	fprintf(out, "set logscale y\nset yrange [%.9g:%.9g]\nset ytics (", range.low, range.high);
	for (double power = ceil(first / step) * step; power <= last; power += step) {
		write_y_tick(chart, range, pow(base, power), &comma, out);
		if (between) {
			write_y_tick(chart, range, 2 * pow(base, power), &comma, out);
			write_y_tick(chart, range, 5 * pow(base, power), &comma, out);
		}
	}
	fputs(")\n", out);
}

/* Rows "x median low high tip"; a second block has those with a ring. */
static void write_data(const struct chart *chart, FILE *out)
{
	double floor_at = y_range(chart).low;
	size_t tip = 0;

	for (size_t i = 0; i < chart->nseries; i++) {
		const struct chart_series *s = &chart->series[i];

		fprintf(out, "$d%zu << END\n", i);
		for (size_t k = 0; k < s->npoints; k++)
			fprintf(out, "%.17g %.17g %.17g %.17g %zu\n", s->points[k].x, s->points[k].median,
				fmax(s->points[k].low, floor_at), s->points[k].high, tip++);
		fputs("END\n", out);
	}
	fputs("$rings << END\n", out);
	for (size_t i = 0; i < chart->nseries; i++)
		for (size_t k = 0; k < chart->series[i].npoints; k++)
			if (chart->series[i].points[k].noisy)
				fprintf(out, "%.17g %.17g\n", chart->series[i].points[k].x,
					chart->series[i].points[k].median);
	fputs("END\n", out);
}

static bool has_rings(const struct chart *chart)
{
	for (size_t i = 0; i < chart->nseries; i++)
		for (size_t k = 0; k < chart->series[i].npoints; k++)
			if (chart->series[i].points[k].noisy)
				return true;
	return false;
}

/* Bars from quartile to quartile, then the curve */
static void write_series(const struct chart_series *s, size_t i, FILE *out)
{
	char dash[32] = "1";

	if (s->style.dash)
		snprintf(dash, sizeof(dash), "(%s)", s->style.dash);
	fprintf(out, "$d%zu using 1:3:(0):($4-$3) with vectors nohead lw 2.5 lc rgb '" MARK_BAR "', ", i,
		s->style.color);
	fprintf(out, "$d%zu using 1:2 with linespoints lw 1.6 pt %u ps %.2f dt %s lc rgb '" MARK_SERIES "', ", i,
		s->style.shape, s->style.size, dash, s->style.color);
}

void chart_script(const struct chart *chart, FILE *out)
{
	write_frame(out);
	write_x(chart, out);
	write_y(chart, out);
	write_data(chart, out);
	fputs("plot ", out);
	for (size_t i = 0; i < chart->nseries; i++)
		write_series(&chart->series[i], i, out);
	if (has_rings(chart))
		fprintf(out, "$rings using 1:2 with points pt 7 ps 1.25 lc rgb '%s', ", MARK_RING);
	for (size_t i = 0; i < chart->nseries; i++)
		fprintf(out, "%s$d%zu using 1:2:(sprintf('%%d', $5)) with labels hypertext point pt 7 ps 2 lc rgb '%s'",
			i ? ", " : "", i, MARK_HOVER);
	fputs("\n", out);
}
