/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The charts of one workload as an SVG that stands alone: a title, a legend, and two charts beside each
 * other. It brings paper of its own, light or dark by what the reader prefers, since it does not
 * know the page that it will be on.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figure.h"
#include "bench/output.h"
#include "bench/report_check.h"
#include "bench/report_html.h"
#include "bench/report_text.h"

#define MARGIN 20
#define GAP 16
#define WIDTH (2 * CHART_WIDTH + GAP + 2 * MARGIN)
#define TITLE_HEIGHT 66
#define LEGEND_LINE 21
#define CAPTION 22
/* Of a character of the legend, which is set in a font that is not known here */
#define CHARACTER 7.4
#define SAMPLE 42

/* Characters, of which each has one byte that does not go on with another. */
static bool begins(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

/* How long a text will be, at most, if letters are @wide. What is not ASCII may be twice as wide. */
static double text_width(const char *text, double wide)
{
	double width = 0;

	for (; text && *text; text++)
		if (begins(*text))
			width += (unsigned char)*text < 0x80 ? wide : 2 * wide;
	return width;
}

/* The text, or as much of it as has room. */
static void write_text(FILE *out, const char *text, double wide, double room)
{
	char *part = strdup(text ? text : "");
	size_t n = part ? strlen(part) : 0;
	bool cut = false;

	if (!part)
		return;
	while (n && text_width(part, wide) + (cut ? wide : 0) > room) {
		do
			n--;
		while (n && !begins(part[n]));
		part[n] = 0;
		cut = true;
	}
	text_escape(out, part);
	if (cut)
		fputs("…", out);
	free(part);
}

/* "write in place (not atomic)" */
static char *label(const struct results_series *s)
{
	char *text;

	if (!s->lacks)
		return strdup(s->name);
	return asprintf(&text, "%s (%s)", s->name, s->lacks) < 0 ? NULL : text;
}

/* Places the legend's entries in lines; writes them if @out. Returns the height. */
static double legend(const struct figure *figure, double top, FILE *out)
{
	double x = MARGIN, y = top;

	for (size_t i = 0; i < figure->view.ncolumns; i++) {
		char *text = label(figure->view.columns[i]);
		double width = SAMPLE + text_width(text, CHARACTER);

		if (x > MARGIN && x + width > WIDTH - MARGIN) {
			x = MARGIN;
			y += LEGEND_LINE;
		}
		if (out) {
			fprintf(out, "<g transform='translate(%.1f,%.1f)'>", x, y);
			figure_write_sample(figure, i, out);
			fprintf(out, "<text class='label' x='%d' y='10.5'>", SAMPLE);
			write_text(out, text, CHARACTER, WIDTH - 2 * MARGIN - SAMPLE);
			fputs("</text></g>\n", out);
		}
		x += width + GAP;
		free(text);
	}
	return y + LEGEND_LINE - top;
}

static void write_style(FILE *out)
{
	fputs("<style>:root{", out);
	chart_write_palette(out, false);
	fputs("}@media (prefers-color-scheme:dark){:root{", out);
	chart_write_palette(out, true);
	fputs("}}\n", out);
	chart_write_rules(out);
	fputs(".sheet{fill:var(--paper);stroke:var(--grid)}.chart{color:var(--ink)}text{font-family:system-ui,sans-"
	      "serif;fill:currentColor}"
	      ".title{font-size:17px;font-weight:600}.label{font-size:13px}.place{font-size:14px;font-weight:600}"
	      ".ink{color:var(--ink)}.quiet{color:var(--quiet);font-size:12px}</style>\n",
	      out);
}

static size_t count_charts(const struct figure *figure)
{
	size_t n = 0;

	for (size_t i = 0; i < figure->view.results->nplaces; i++)
		n += figure->svgs[i] != NULL;
	return n;
}

static void write_title(const struct figure *figure, FILE *out)
{
	const struct results *r = figure->view.results;

	fprintf(out, "<text class='title' x='%d' y='32'>", MARGIN);
	write_text(out, view_workload(&figure->view)->title, 10, WIDTH - 2 * MARGIN);
	fprintf(out, "</text>\n<text class='quiet' x='%d' y='50'>", MARGIN);
	write_text(out, r->machine, CHARACTER, WIDTH * 0.5);
	fputs(", Linux ", out);
	write_text(out, r->kernel, CHARACTER, WIDTH * 0.2);
	fputs(". Medians; bars are quartiles, rings mark noise.</text>\n", out);
}

/* Charts are elements <svg> of a size of their own; a viewport places them. */
static void write_charts(const struct figure *figure, double top, FILE *out)
{
	size_t shown = 0;

	for (size_t i = 0; i < figure->view.results->nplaces; i++) {
		double x = MARGIN + (double)(shown % 2) * (CHART_WIDTH + GAP);
		double y = top + floor((double)shown / 2) * (CHART_HEIGHT + CAPTION + GAP);

		if (!figure->svgs[i])
			continue;
		shown++;
		fprintf(out, "<text class='place' x='%.0f' y='%.0f'>", x + 4, y + 14);
		write_text(out, figure->view.results->places[i].name, 9, CHART_WIDTH);
		fprintf(out, "</text>\n<svg x='%.0f' y='%.0f' width='%d' height='%d'>%s</svg>\n", x, y + CAPTION,
			CHART_WIDTH, CHART_HEIGHT, figure->svgs[i]);
	}
}

/* Where there is no chart: it is said, and the report says why. */
static void write_blanks(const struct figure *figure, double y, FILE *out)
{
	const struct results *r = figure->view.results;
	char *text;
	size_t n, blanks = 0;
	FILE *list = open_memstream(&text, &n);

	if (!list)
		return;
	for (size_t i = 0; i < r->nplaces; i++)
		if (!figure->svgs[i])
			fprintf(list, "%s%s", blanks++ ? ", " : "Not measured at ", r->places[i].name);
	if (fclose(list) || !blanks) {
		free(text);
		return;
	}
	fprintf(out, "<text class='quiet' x='%d' y='%.0f'>", MARGIN + 4, y);
	write_text(out, text, CHARACTER, WIDTH - 2 * MARGIN);
	fputs("</text>\n", out);
	free(text);
}

static void write_drawing(const struct figure *figure, FILE *out)
{
	double charts_top = TITLE_HEIGHT + legend(figure, TITLE_HEIGHT, NULL) + 14;
	double rows = ceil((double)count_charts(figure) / 2);
	double charts_end = charts_top + rows * (CHART_HEIGHT + CAPTION + GAP) - GAP;
	double height = charts_end + MARGIN + (count_charts(figure) < figure->view.results->nplaces ? LEGEND_LINE : 0);

	fprintf(out,
		"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %.0f' width='%d' height='%.0f' "
		"role='img'><title>",
		WIDTH, height, WIDTH, height);
	text_escape(out, view_workload(&figure->view)->title);
	fputs("</title>\n", out);
	write_style(out);
	chart_write_symbols(out);
	fprintf(out, "<g class='ink'><rect class='sheet' x='.5' y='.5' width='%d' height='%.0f' rx='8'/>\n", WIDTH - 1,
		height - 1);
	write_title(figure, out);
	legend(figure, TITLE_HEIGHT, out);
	write_charts(figure, charts_top, out);
	write_blanks(figure, charts_end + LEGEND_LINE, out);
	fputs("</g></svg>\n", out);
}

static int write_file(const struct figure *figure, const char *path, struct why *why)
{
	char *bytes;
	size_t n;
	FILE *out = open_memstream(&bytes, &n);
	int rc;

	if (out)
		write_drawing(figure, out);
	if (!out || fclose(out))
		return why_set(why, -ENOMEM, "cannot draw '%s': memory ran out", path);
	rc = output_write(path, bytes, n, why);
	free(bytes);
	return rc;
}

static int draw(struct figure *figure, const char *path, struct why *why)
{
	char complaint[GNUPLOT_COMPLAINT_SIZE];
	int rc = figures_draw(figure, 1, complaint);

	if (rc)
		return why_set(why, rc, "cannot draw '%s': %s", path, complaint);
	if (!count_charts(figure))
		return why_set(why, -ENODATA, "cannot draw '%s': nothing was measured of '%s' that a chart can show",
			       path, view_workload(&figure->view)->id);
	return write_file(figure, path, why);
}

static size_t find_workload(const struct results *results, const char *id)
{
	size_t i = 0;

	while (i < results->nworkloads && strcmp(results->workloads[i].id, id) != 0)
		i++;
	return i;
}

int report_chart_write(const struct results *results, const char *workload_id, const char *path, struct why *why)
{
	struct figure figure;
	size_t workload;
	int rc = report_check(results, why);

	if (rc)
		return rc;
	workload = find_workload(results, workload_id);
	if (workload == results->nworkloads)
		return why_set(why, -ENOENT, "cannot draw '%s': these results have no workload '%s'", path,
			       workload_id);
	rc = figure_make(results, workload, &figure);
	if (rc)
		return why_set(why, rc, "cannot draw '%s': memory ran out", path);
	rc = draw(&figure, path, why);
	figure_drop(&figure);
	return rc;
}
