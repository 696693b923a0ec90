/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One workload as charts: which points there are, and what is told of each. */
#include "config.h"

#include "bench/figure.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report_text.h"

static size_t places(const struct figure *f)
{
	return f->view.results->nplaces;
}

/* Index among its kind: the library's series, or the baselines. */
static void choose_styles(struct figure *f)
{
	size_t next[2] = {0, 0};

	for (size_t i = 0; i < f->view.ncolumns; i++) {
		const struct results_series *s = f->view.columns[i];

		f->styles[i] = chart_style(s->library, s->lacks, next[s->library]++);
	}
}

/* The lines that are shown when one points at it. */
static char *write_tip(const struct figure *f, size_t place, uint64_t parameter, size_t column, const struct spread *s)
{
	const struct results_workload *workload = view_workload(&f->view);
	const struct results_series *series = f->view.columns[column];
	const struct results_cell *cell = view_cell(&f->view, place, parameter);
	struct spread ratio;
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return NULL;
	fprintf(out, "%s%s%s%s\n%s: %s\n", series->name, series->lacks ? " (" : "", series->lacks ? series->lacks : "",
		series->lacks ? ")" : "", text_parameter(parameter, workload->axis).s,
		text_value(s->median, workload->unit).s);
	fprintf(out, "quartiles %s and %s of %zu rounds", text_value(s->low, workload->unit).s,
		text_value(s->high, workload->unit).s, s->n);
	if (!derive_ratio(cell, view_series(&f->view, cell, column), &ratio))
		fprintf(out, "\n%s of %s", text_ratio(ratio.median).s, cell->series[cell->reference].name);
	if (derive_is_noisy(s))
		fputs("\nnoisy", out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static int add_point(struct figure *f, size_t place, uint64_t parameter, size_t column, struct chart_series *ret)
{
	struct spread s;
	enum results_status status;
	const char *reason;
	char *tip;
	int rc = view_measured(&f->view, place, parameter, column, &s, &status, &reason);

	if (rc)
		return rc == -ENODATA ? 0 : rc;
	if (!parameter || !chart_can_show(s.median) || !chart_can_show(s.high))
		return 0;
	tip = write_tip(f, place, parameter, column, &s);
	if (!tip)
		return -ENOMEM;
	ret->points[ret->npoints++] =
		(struct chart_point){(double)parameter, s.low, s.median, s.high, derive_is_noisy(&s), tip};
	return 0;
}

/* With one more, @chart->nseries, if it has points. */
static int add_series(struct figure *f, size_t place, size_t column, struct chart *chart)
{
	struct chart_series *series = &chart->series[chart->nseries];

	series->style = f->styles[column];
	series->points = calloc(f->view.nparameters, sizeof(*series->points));
	if (!series->points)
		return -ENOMEM;
	for (size_t i = 0; i < f->view.nparameters; i++) {
		int rc = add_point(f, place, f->view.parameters[i], column, series);

		if (rc) {
			chart->nseries++;
			return rc;
		}
	}
	if (series->npoints)
		chart->nseries++;
	else
		free(series->points);
	return 0;
}

static int name_chart(const struct figure *f, size_t place, struct chart *chart)
{
	if (asprintf(&chart->title, "%s: %s", f->view.results->places[place].name, view_workload(&f->view)->title) <
	    0) {
		chart->title = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Baselines first: the library's curves are drawn above them, and of each kind the first above the others. */
static int make_chart(struct figure *f, size_t place)
{
	const struct results_workload *workload = view_workload(&f->view);
	struct chart *chart = &f->charts[place];
	int rc;

	*chart = (struct chart){.axis = workload->axis, .unit = workload->unit};
	chart->parameters = f->view.parameters;
	chart->nparameters = f->view.nparameters;
	chart->series = calloc(f->view.ncolumns + 1, sizeof(*chart->series));
	rc = chart->series ? name_chart(f, place, chart) : -ENOMEM;
	for (int library = 0; library < 2; library++)
		for (size_t i = f->view.ncolumns; i-- > 0 && !rc;)
			if (f->view.columns[i]->library == library)
				rc = add_series(f, place, i, chart);
	return rc;
}

static void widen(struct chart *all, const struct chart_point *p)
{
	all->x_low = fmin(all->x_low, p->x);
	all->x_high = fmax(all->x_high, p->x);
	all->y_low = fmin(all->y_low, chart_can_show(p->low) ? p->low : p->median);
	all->y_high = fmax(all->y_high, p->high);
}

/* The same ranges for all places */
static void set_ranges(struct figure *f)
{
	struct chart all = {.x_low = INFINITY, .y_low = INFINITY};

	for (size_t i = 0; i < places(f); i++)
		for (size_t s = 0; s < f->charts[i].nseries; s++)
			for (size_t p = 0; p < f->charts[i].series[s].npoints; p++)
				widen(&all, &f->charts[i].series[s].points[p]);
	for (size_t i = 0; i < places(f); i++) {
		f->charts[i].x_low = all.x_low;
		f->charts[i].x_high = all.x_high;
		f->charts[i].y_low = all.y_low;
		f->charts[i].y_high = all.y_high;
	}
}

int figure_make(const struct results *results, size_t workload, struct figure *ret)
{
	struct figure f = {0};
	int rc = view_make(results, workload, &f.view);

	if (rc)
		return rc;
	f.styles = calloc(f.view.ncolumns + 1, sizeof(*f.styles));
	f.charts = calloc(results->nplaces + 1, sizeof(*f.charts));
	f.svgs = calloc(results->nplaces + 1, sizeof(*f.svgs));
	if (!f.styles || !f.charts || !f.svgs)
		rc = -ENOMEM;
	else
		choose_styles(&f);
	if (!rc && results->workloads[workload].axis != AXIS_NONE) {
		for (size_t i = 0; i < results->nplaces && !rc; i++)
			rc = make_chart(&f, i);
		set_ranges(&f);
	}
	if (rc)
		figure_drop(&f);
	else
		*ret = f;
	return rc;
}

static void drop_chart(struct chart *chart)
{
	for (size_t i = 0; i < chart->nseries; i++) {
		for (size_t k = 0; k < chart->series[i].npoints; k++)
			free(chart->series[i].points[k].tip);
		free(chart->series[i].points);
	}
	free(chart->series);
	free(chart->title);
}

void figure_drop(struct figure *f)
{
	for (size_t i = 0; f->view.results && i < places(f); i++) {
		if (f->charts)
			drop_chart(&f->charts[i]);
		if (f->svgs)
			free(f->svgs[i]);
	}
	free(f->svgs);
	free(f->charts);
	free(f->styles);
	view_drop(&f->view);
	*f = (struct figure){0};
}

/* @charts gets those that have something to show, @slots where their drawings belong. */
static size_t collect(struct figure *figures, size_t n, struct chart *charts, char ***slots)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < places(&figures[i]); k++)
			if (figures[i].charts[k].nseries) {
				charts[count] = figures[i].charts[k];
				slots[count++] = &figures[i].svgs[k];
			}
	return count;
}

int figures_draw(struct figure *figures, size_t n, char ret_complaint[GNUPLOT_COMPLAINT_SIZE])
{
	size_t most = n ? n * places(&figures[0]) : 0, count;
	struct chart *charts = calloc(most + 1, sizeof(*charts));
	char ***slots = calloc(most + 1, sizeof(char **));
	char **svgs = calloc(most + 1, sizeof(char *));
	int rc = -ENOMEM;

	snprintf(ret_complaint, GNUPLOT_COMPLAINT_SIZE, "memory ran out");
	if (charts && slots && svgs) {
		count = collect(figures, n, charts, slots);
		rc = chart_draw(charts, count, svgs, ret_complaint);
		for (size_t i = 0; i < count; i++)
			*slots[i] = svgs[i];
	}
	free(svgs);
	free(slots);
	free(charts);
	return rc;
}

void figure_write_sample(const struct figure *figure, size_t column, FILE *out)
{
	const struct chart_style *style = &figure->styles[column];

	fprintf(out, "<g class='s%u' fill='none'><path d='M1,6H33' stroke='currentColor' stroke-width='1.6'",
		style->color);
	if (style->dash)
		fprintf(out, " stroke-dasharray='%s'", style->dash);
	fprintf(out, "/><use href='#p%u' transform='translate(17,6) scale(3.4)'/></g>", style->shape);
}
