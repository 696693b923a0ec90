/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every cell and series: median, quartiles, all rounds, ratio, and what became of it. */
#include "config.h"

#include <errno.h>

#include "bench/report_page.h"

static void cell_head(const struct page *page, const struct results_cell *cell)
{
	const struct results *r = page->results;
	size_t rows = cell->nseries ? cell->nseries : 1;

	fprintf(page->out, "<tr><th scope=\"rowgroup\" rowspan=\"%zu\">", rows);
	text_escape(page->out, r->places[cell->place].name);
	fprintf(page->out, "<span class=\"sub\">%s</span>",
		text_parameter(cell->parameter, r->workloads[cell->workload].axis).s);
	if (cell->bar > 0)
		fprintf(page->out, "<span class=\"sub\">bar %s</span>",
			cell->reference < cell->nseries ? text_ratio(cell->bar).s
							: text_value(cell->bar, r->workloads[cell->workload].unit).s);
	fputs("</th>", page->out);
}

static void status(const struct page *page, enum results_status status, const char *reason)
{
	fputs(text_status(status), page->out);
	if (reason) {
		fputs(": ", page->out);
		text_escape(page->out, reason);
	}
}

/* All rounds, in their order */
static void rounds(const struct page *page, const struct results_series *series, enum results_unit unit)
{
	fprintf(page->out, "<td><details><summary>%zu</summary><span class=\"rounds\">", series->nvalues);
	for (size_t i = 0; i < series->nvalues; i++)
		fprintf(page->out, "%s%s", i ? ", " : "", text_value(series->values[i], unit).s);
	fputs("</span></details></td>", page->out);
}

static void ratio(const struct page *page, const struct results_cell *cell, size_t i)
{
	struct spread ratio;

	if (i == cell->reference)
		fputs("<td>the baseline</td>", page->out);
	else if (derive_ratio(cell, i, &ratio))
		fputs("<td></td>", page->out);
	else
		fprintf(page->out, "<td>%s <span class=\"range\">%s – %s</span></td>", text_ratio(ratio.median).s,
			text_ratio(ratio.low).s, text_ratio(ratio.high).s);
}

static int series(const struct page *page, const struct results_cell *cell, size_t i)
{
	const struct results_series *s = &cell->series[i];
	enum results_unit unit = page->results->workloads[cell->workload].unit;
	struct spread value;
	int rc = derive_spread(s, &value);

	fputs("<th scope=\"row\">", page->out);
	text_escape(page->out, s->name);
	page_lacks(page, s);
	fputs("</th>", page->out);
	if (rc) {
		fputs("<td colspan=\"4\"></td><td class=\"wide\">", page->out);
	} else {
		fprintf(page->out, "<td><b>%s</b></td><td class=\"range\">%s – %s</td>",
			text_value(value.median, unit).s, text_value(value.low, unit).s,
			text_value(value.high, unit).s);
		rounds(page, s, unit);
		ratio(page, cell, i);
		fputs("<td class=\"wide\">", page->out);
	}
	status(page, s->status, s->reason);
	if (!rc)
		page_marks(page, cell, i, &value);
	fputs("</td></tr>\n", page->out);
	return 0;
}

static int cell(const struct page *page, const struct results_cell *cell)
{
	int rc = 0;

	fputs("<tbody>", page->out);
	cell_head(page, cell);
	if (cell->status != STATUS_MEASURED || !cell->nseries) {
		fputs("<td colspan=\"5\"></td><td class=\"wide\">", page->out);
		status(page, cell->status, cell->reason);
		fputs("</td></tr>\n", page->out);
	} else {
		for (size_t i = 0; i < cell->nseries && !rc; i++) {
			fputs(i ? "<tr>" : "", page->out);
			rc = series(page, cell, i);
		}
	}
	fputs("</tbody>\n", page->out);
	return rc;
}

static int workload(const struct page *page, size_t i)
{
	const struct results *r = page->results;
	int rc = 0;

	fprintf(page->out, "<details class=\"raw\" id=\"raw%zu\"><summary>", i);
	text_escape(page->out, r->workloads[i].title);
	fputs(" <code>", page->out);
	text_escape(page->out, r->workloads[i].id);
	fputs("</code></summary>\n", page->out);
	page_open_table(page, r->workloads[i].title, r->workloads[i].title);
	fputs("<thead><tr><th scope=\"col\">Place</th><th scope=\"col\">Series</th><th scope=\"col\">Median</th>"
	      "<th scope=\"col\">Quartiles</th><th scope=\"col\">Rounds</th><th scope=\"col\">Ratio</th>"
	      "<th scope=\"col\">Status</th></tr></thead>\n",
	      page->out);
	for (size_t k = 0; k < r->ncells && !rc; k++)
		if (r->cells[k].workload == i)
			rc = cell(page, &r->cells[k]);
	page_close_table(page);
	fputs("</details>\n", page->out);
	return rc;
}

int page_raw(const struct page *page)
{
	int rc = 0;

	fputs("<section id=\"raw\"><h2>Raw numbers</h2>\n"
	      "<p>Every cell in the order in which it was measured. The number of rounds opens their values.</p>\n",
	      page->out);
	for (size_t i = 0; i < page->results->nworkloads && !rc; i++)
		rc = workload(page, i);
	fputs("</section>\n", page->out);
	return rc;
}
