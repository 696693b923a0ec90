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

static void row_head(const struct page *page, const struct view *view, size_t column)
{
	const struct results_workload *workload = view_workload(view);
	uint64_t parameter = view_typical(view);
	bool same;
	const char *reference = reference_of(view, parameter, &same);

	fprintf(page->out, "<tr><th scope=\"row\"><a href=\"#w%zu\">", view->workload);
	text_escape(page->out, workload->title);
	fputs("</a><span class=\"sub\">", page->out);
	text_escape(page->out, view->columns[column]->name);
	page_lacks(page, view->columns[column]);
	if (workload->axis != AXIS_NONE)
		fprintf(page->out, ", %s", text_parameter(parameter, workload->axis).s);
	if (reference) {
		fputs(", against ", page->out);
		text_escape(page->out, reference);
		if (!same)
			fputs(" or what else there is", page->out);
	}
	fputs("</span></th>", page->out);
}

static int row(const struct page *page, struct notes *notes, const struct view *view, size_t column)
{
	bool grows = view_workload(view)->axis != AXIS_NONE && view->nparameters > 1;
	int rc = 0;

	row_head(page, view, column);
	for (size_t i = 0; i < page->results->nplaces && !rc; i++) {
		struct fit growth;

		rc = view_growth(view, i, column, &growth);
		if (!rc || rc == -ENODATA)
			rc = page_measurement(page, notes, view, i, view_typical(view), column,
					      grows && !rc ? &growth : NULL);
	}
	fputs("</tr>\n", page->out);
	return rc;
}

/* Workloads in which the library does not take part are in the charts only. */
static int rows(const struct page *page, struct notes *notes, const struct view *view)
{
	int rc = 0;

	for (size_t i = 0; i < view->ncolumns && !rc; i++)
		if (view->columns[i]->library)
			rc = row(page, notes, view, i);
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
		if (page_same_group(results, i, first) && page->figures[i].view.nparameters)
			rc = rows(page, notes, &page->figures[i].view);
	fputs("</tbody>\n", page->out);
	return rc;
}

int page_summary(const struct page *page)
{
	struct notes notes = {.prefix = "note"};
	int rc = 0;

	fputs("<section id=\"summary\"><h2>Summary</h2>\n", page->out);
	if (!page->results->ncells) {
		fputs("<p class=\"alert\">Nothing was measured.</p></section>\n", page->out);
		return 0;
	}
	page_open_table(
		page,
		"What the library takes: the median of all rounds; how many times that of the baseline; and how "
		"it grows with what the operation is about, found by fitting.",
		"Summary");
	page_place_heads(page, "Operation");
	for (size_t i = 0; i < page->results->nworkloads && !rc; i++)
		if (page_begins_group(page->results, i))
			rc = group(page, &notes, i);
	page_close_table(page);
	page_close_notes(page, &notes);
	fputs("</section>\n", page->out);
	return rc;
}
