/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first thing to see: for each operation and file system what the library takes, compared with the
 * baseline, and how that grows.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "bench/report_page.h"

/* The baseline at the first place that has one; @ret_same: it is the same wherever there is one. */
static const char *reference_of(const struct view *view, uint64_t parameter, bool *ret_same)
{
	const char *name = NULL;

	*ret_same = true;
	for (size_t i = 0; i < view->results->nplaces; i++) {
		const struct results_cell *cell = view_cell(view, i, parameter);

		if (!cell || cell->reference >= cell->nseries)
			continue;
		if (!name)
			name = cell->series[cell->reference].name;
		else if (strcmp(name, cell->series[cell->reference].name) != 0)
			*ret_same = false;
	}
	return name;
}

static void row_title(const struct page *page, const struct view *view)
{
	fprintf(page->out, "<tr><th scope=\"row\"><a href=\"#w%zu\">", view->workload);
	text_escape(page->out, view_workload(view)->title);
	fputs("</a>", page->out);
}

static void blank_row(const struct page *page, const struct view *view)
{
	row_title(page, view);
	fprintf(page->out, "</th><td class=\"none\" colspan=\"%zu\">not measured in this run</td></tr>\n",
		page->results->nplaces ? page->results->nplaces : 1);
}

static void row_head(const struct page *page, const struct view *view, size_t column)
{
	const struct results_workload *workload = view_workload(view);
	uint64_t parameter = view_typical(view);
	bool same;
	const char *reference = reference_of(view, parameter, &same);

	row_title(page, view);
	fputs("<span class=\"sub\">", page->out);
	if (column < view->ncolumns) {
		text_escape(page->out, view->columns[column]->name);
		page_lacks(page, view->columns[column]);
		fputs(workload->axis != AXIS_NONE ? ", " : "", page->out);
	}
	fputs(text_parameter(parameter, workload->axis).s, page->out);
	if (reference) {
		fputs(", against ", page->out);
		text_escape(page->out, reference);
		if (!same)
			fputs(" or what else there is", page->out);
	}
	fputs("</span></th>", page->out);
}

/*
 * The column to show at a place: the library's first that was measured there, since that is
 * the order of preference; without any, the first.
 */
static size_t choose_column(const struct view *view, size_t place)
{
	size_t first = view->ncolumns;

	for (size_t i = 0; i < view->ncolumns; i++) {
		struct spread value;
		enum results_status status;
		const char *reason;

		if (!view->columns[i]->library)
			continue;
		if (!view_measured(view, place, view_typical(view), i, &value, &status, &reason))
			return i;
		if (first == view->ncolumns)
			first = i;
	}
	return first;
}

static size_t first_column(const struct view *view)
{
	size_t i = 0;

	while (i < view->ncolumns && !view->columns[i]->library)
		i++;
	return i;
}

/* Where it is another series than the one that the row names, the cell does. */
static int cell(const struct page *page, struct notes *notes, const struct view *view, size_t place)
{
	size_t column = choose_column(view, place);
	int rc;

	fputs("<td>", page->out);
	if (column != first_column(view)) {
		fputs("<span class=\"sub\">", page->out);
		text_escape(page->out, view->columns[column]->name);
		page_lacks(page, view->columns[column]);
		fputs("</span>", page->out);
	}
	rc = page_measurement(page, notes, view, place, view_typical(view), column, false);
	fputs("</td>", page->out);
	return rc;
}

/* Workloads with baselines only are in the charts only; those with no series at all were not measured anywhere. */
static int row(const struct page *page, struct notes *notes, const struct view *view)
{
	int rc = 0;

	if (!view->nparameters) {
		blank_row(page, view);
		return 0;
	}
	if (first_column(view) == view->ncolumns && view->ncolumns)
		return 0;
	row_head(page, view, first_column(view));
	for (size_t i = 0; i < page->results->nplaces && !rc; i++)
		rc = cell(page, notes, view, i);
	fputs("</tr>\n", page->out);
	return rc;
}

static int group(const struct page *page, struct notes *notes, size_t first)
{
	const struct results *results = page->results;
	int rc = 0;

	fprintf(page->out, "<tbody><tr class=\"heading\"><th scope=\"rowgroup\" colspan=\"%zu\"><span>",
		results->nplaces + 1);
	text_escape(page->out, results->workloads[first].group);
	fputs("</span></th></tr>\n", page->out);
	for (size_t i = first; i < results->nworkloads && !rc; i++)
		if (page_same_group(results, i, first))
			rc = row(page, notes, &page->figures[i].view);
	fputs("</tbody>\n", page->out);
	return rc;
}

int page_summary(const struct page *page)
{
	static const char caption[] =
		"What the library takes: the median of all rounds; how many times that of the baseline; and how it "
		"grows, found by fitting. Of several ways it is the first that works at the place; the others are "
		"below.";
	struct notes notes = {.prefix = "note"};
	int rc = 0;

	fputs("<section id=\"summary\"><h2>Summary</h2>\n", page->out);
	if (!page->results->ncells) {
		fputs("<p class=\"alert\">Nothing was measured.</p></section>\n", page->out);
		return 0;
	}
	page_open_table(page, caption, "Summary");
	page_place_heads(page, "Operation");
	for (size_t i = 0; i < page->results->nworkloads && !rc; i++)
		if (page_begins_group(page->results, i))
			rc = group(page, &notes, i);
	page_close_table(page);
	page_close_notes(page, &notes);
	fputs("</section>\n", page->out);
	return rc;
}
