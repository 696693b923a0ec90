/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The workloads, by groups: charts for each place with a legend, what is missing in them and why,
 * and how each series grows.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "bench/report_page.h"

/* --- legend */

static bool has_noise(const struct page *page, const struct figure *figure)
{
	for (size_t i = 0; i < page->results->nplaces; i++)
		for (size_t s = 0; s < figure->charts[i].nseries; s++)
			for (size_t p = 0; p < figure->charts[i].series[s].npoints; p++)
				if (figure->charts[i].series[s].points[p].noisy)
					return true;
	return false;
}

static void legend(const struct page *page, const struct figure *figure)
{
	static const char svg[] = "<svg class=\"sample\" viewBox=\"0 0 34 12\" aria-hidden=\"true\">";

	fputs("<ul class=\"legend\">\n", page->out);
	for (size_t i = 0; i < figure->view.ncolumns; i++) {
		fprintf(page->out, "<li>%s", svg);
		figure_write_sample(figure, i, page->out);
		fputs("</svg> ", page->out);
		text_escape(page->out, figure->view.columns[i]->name);
		page_lacks(page, figure->view.columns[i]);
		fputs("</li>\n", page->out);
	}
	if (has_noise(page, figure))
		fprintf(page->out,
			"<li>%s<use href=\"#ring\" class=\"ring\" transform=\"translate(17,6) scale(5)\"/></svg> "
			"noisy</li>\n",
			svg);
	fputs("</ul>\n", page->out);
}

/* --- what is missing */

/* Measured, but not to be seen in the chart */
static bool is_hidden(const struct figure *figure, uint64_t parameter, const struct spread *value)
{
	return view_workload(&figure->view)->axis != AXIS_NONE &&
	       (!parameter || !chart_can_show(value->median) || !chart_can_show(value->high));
}

struct gap {
	enum results_status status;
	const char *reason;
	bool hidden;
};

/* Whether there is a gap, and in @ret which. */
static int find_gap(const struct figure *figure, size_t place, size_t column, uint64_t parameter, struct gap *ret)
{
	struct gap gap = {0};
	struct spread value;
	int rc = view_measured(&figure->view, place, parameter, column, &value, &gap.status, &gap.reason);

	if (rc && rc != -ENODATA)
		return rc;
	gap.hidden = !rc && is_hidden(figure, parameter, &value);
	*ret = gap;
	return rc || gap.hidden;
}

static bool same_gap(const struct gap *a, const struct gap *b)
{
	return a->status == b->status && a->hidden == b->hidden &&
	       (a->reason && b->reason ? !strcmp(a->reason, b->reason) : a->reason == b->reason);
}

static void begin_gap(const struct page *page, const struct figure *figure, size_t column, bool *begun)
{
	fputs(*begun ? "<li>" : "<ul class=\"gaps\">\n<li>", page->out);
	*begun = true;
	text_escape(page->out, figure->view.columns[column]->name);
}

static void gap_reason(const struct page *page, const struct gap *gap)
{
	if (gap->hidden)
		fputs("measured, but its logarithm cannot be shown; see the raw numbers", page->out);
	else
		fputs(gap->status == STATUS_MEASURED ? "no value" : text_status(gap->status), page->out);
	if (gap->reason) {
		fputs(": ", page->out);
		text_escape(page->out, gap->reason);
	}
}

static void end_gap(const struct page *page, const struct gap *gap)
{
	fputs(": ", page->out);
	gap_reason(page, gap);
	fputs("</li>\n", page->out);
}

/* Parameters @from to before @to, unless these are all */
static void gap_parameters(const struct page *page, const struct view *view, size_t from, size_t to)
{
	enum results_axis axis = view_workload(view)->axis;

	if (axis == AXIS_NONE || to - from == view->nparameters)
		return;
	for (size_t i = from; i < to; i++)
		fprintf(page->out, "%s %s", i > from ? "," : " at", text_tick(view->parameters[i], axis).s);
	fputs(text_counted(axis), page->out);
}

/* One line for each reason in a row */
static int column_gaps(const struct page *page, const struct figure *figure, size_t place, size_t column, bool *begun)
{
	const struct view *view = &figure->view;
	struct gap gap = {0}, last = {0};
	size_t from = 0;
	int found, open = 0;

	for (size_t i = 0; i <= view->nparameters; i++) {
		found = i < view->nparameters ? find_gap(figure, place, column, view->parameters[i], &gap) : 0;
		if (found < 0)
			return found;
		if (open && (!found || !same_gap(&gap, &last))) {
			begin_gap(page, figure, column, begun);
			gap_parameters(page, view, from, i);
			end_gap(page, &last);
			open = 0;
		}
		if (found && !open) {
			from = i;
			last = gap;
			open = 1;
		}
	}
	return 0;
}

/* Whether nothing is to be seen at a place, for one reason, which @ret gets. 1, 0, or -ENOMEM. */
static int is_one_gap(const struct figure *figure, size_t place, struct gap *ret)
{
	const struct view *view = &figure->view;

	/* Cells that were not measured may have no series, and are a gap all the same. */
	for (size_t i = 0; !i || i < view->ncolumns; i++)
		for (size_t k = 0; k < view->nparameters; k++) {
			struct gap gap;
			int found = find_gap(figure, place, i, view->parameters[k], &gap);

			if (found != 1)
				return found;
			if (!i && !k)
				*ret = gap;
			else if (!same_gap(&gap, ret))
				return 0;
		}
	return 1;
}

static int gaps(const struct page *page, const struct figure *figure, size_t place)
{
	bool begun = false;
	int rc = 0;

	for (size_t i = 0; i < figure->view.ncolumns && !rc; i++)
		rc = column_gaps(page, figure, place, i, &begun);
	if (begun)
		fputs("</ul>\n", page->out);
	return rc;
}

/* --- charts */

/* In the place of a chart */
static int blank(const struct page *page, const struct figure *figure, size_t place)
{
	struct gap gap;
	int one = is_one_gap(figure, place, &gap);

	if (one < 0)
		return one;
	fputs("<p class=\"blank\">", page->out);
	if (one)
		gap_reason(page, &gap);
	else
		fputs("not measured here", page->out);
	fputs("</p>\n", page->out);
	return one ? 0 : gaps(page, figure, place);
}

static int chart(const struct page *page, const struct figure *figure, size_t place)
{
	int rc;

	fputs("<figure><figcaption>", page->out);
	text_escape(page->out, page->results->places[place].name);
	fputs("</figcaption>\n", page->out);
	if (figure->svgs[place]) {
		fputs(figure->svgs[place], page->out);
		rc = gaps(page, figure, place);
	} else {
		rc = blank(page, figure, place);
	}
	fputs("</figure>\n", page->out);
	return rc;
}

static int charts(const struct page *page, const struct figure *figure)
{
	int rc = 0;

	if (figure->view.ncolumns)
		legend(page, figure);
	fputs("<div class=\"charts\">\n", page->out);
	for (size_t i = 0; i < page->results->nplaces && !rc; i++)
		rc = chart(page, figure, i);
	fputs("</div>\n", page->out);
	return rc;
}

/* --- tables */

static void row_head(const struct page *page, const struct results_series *series)
{
	fputs("<tr><th scope=\"row\">", page->out);
	text_escape(page->out, series->name);
	page_lacks(page, series);
	fputs("</th>", page->out);
}

/* Of a workload without an axis the values, else those at one parameter, and how they grow. */
static void write_caption(const struct view *view, char *caption, size_t n)
{
	enum results_axis axis = view_workload(view)->axis;

	if (axis == AXIS_NONE)
		snprintf(caption, n, "Medians, and how many times that of the baseline.");
	else
		snprintf(caption, n,
			 "Medians at %s, how many times that of the baseline, and how they grow with the %s: found by "
			 "fitting.",
			 text_parameter(view_typical(view), axis).s,
			 axis == AXIS_SIZE ? "size of the file" : text_counted(axis) + 1);
}

static int table_row(const struct page *page, struct notes *notes, const struct view *view, size_t column)
{
	int rc = 0;

	row_head(page, view->columns[column]);
	for (size_t i = 0; i < page->results->nplaces && !rc; i++) {
		fputs("<td>", page->out);
		rc = page_measurement(page, notes, view, i, view_typical(view), column, true);
		fputs("</td>", page->out);
	}
	fputs("</tr>\n", page->out);
	return rc;
}

static int table(const struct page *page, const struct view *view)
{
	char prefix[32], caption[192];
	struct notes notes = {.prefix = prefix};
	int rc = 0;

	snprintf(prefix, sizeof(prefix), "w%zu-note", view->workload);
	write_caption(view, caption, sizeof(caption));
	page_open_table(page, caption, "Values");
	page_place_heads(page, "Series");
	fputs("<tbody>\n", page->out);
	for (size_t i = 0; i < view->ncolumns && !rc; i++)
		rc = table_row(page, &notes, view, i);
	fputs("</tbody>\n", page->out);
	page_close_table(page);
	page_close_notes(page, &notes);
	return rc;
}

/* --- all of it */

static int body(const struct page *page, const struct figure *figure)
{
	const struct view *view = &figure->view;
	int rc = 0;

	if (!view->nparameters) {
		fputs("<p class=\"alert\">Not measured in this run.</p>\n", page->out);
		return 0;
	}
	if (view_workload(view)->axis != AXIS_NONE && !page->complaint[0]) {
		rc = charts(page, figure);
	} else if (view_workload(view)->axis != AXIS_NONE) {
		fputs("<p class=\"alert\">No charts: ", page->out);
		text_escape(page->out, page->complaint);
		fputs(".</p>\n", page->out);
	}
	return rc || !view->ncolumns ? rc : table(page, view);
}

static int workload(const struct page *page, size_t i)
{
	const struct results_workload *w = &page->results->workloads[i];
	int rc;

	fprintf(page->out, "<article id=\"w%zu\"><h3>", i);
	text_escape(page->out, w->title);
	fputs("</h3>\n<p>", page->out);
	text_escape(page->out, w->description);
	fprintf(page->out, " <a href=\"#raw%zu\">Raw numbers</a></p>\n", i);
	rc = body(page, &page->figures[i]);
	fputs("</article>\n", page->out);
	return rc;
}

int page_groups(const struct page *page)
{
	const struct results *results = page->results;
	int rc = 0;

	for (size_t i = 0; i < results->nworkloads && !rc; i++) {
		if (!page_begins_group(results, i))
			continue;
		fprintf(page->out, "<section class=\"group\" id=\"g%zu\"><h2>", i);
		text_escape(page->out, results->workloads[i].group);
		fputs("</h2>\n", page->out);
		for (size_t k = i; k < results->nworkloads && !rc; k++)
			if (page_same_group(results, k, i))
				rc = workload(page, k);
		fputs("</section>\n", page->out);
	}
	return rc;
}
