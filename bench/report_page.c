/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pieces of the page: tables, notes below them, and cells with a measurement. */
#include "config.h"

#include "bench/report_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct note {
	const char *status, *reason;
};

bool page_same_group(const struct results *results, size_t i, size_t k)
{
	return !strcmp(results->workloads[i].group, results->workloads[k].group);
}

bool page_begins_group(const struct results *results, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (page_same_group(results, i, k))
			return false;
	return true;
}

void page_open_table(const struct page *page, const char *caption, const char *label)
{
	fputs("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"", page->out);
	text_escape(page->out, label);
	fputs("\"><table><caption><span>", page->out);
	text_escape(page->out, caption);
	fputs("</span></caption>\n", page->out);
}

void page_close_table(const struct page *page)
{
	fputs("</table></div>\n", page->out);
}

void page_place_heads(const struct page *page, const char *first)
{
	fprintf(page->out, "<thead><tr><th scope=\"col\">%s</th>", first);
	for (size_t i = 0; i < page->results->nplaces; i++) {
		fputs("<th scope=\"col\" class=\"place\">", page->out);
		text_escape(page->out, page->results->places[i].name);
		fputs("</th>", page->out);
	}
	fputs("</tr></thead>\n", page->out);
}

void page_lacks(const struct page *page, const struct results_series *series)
{
	if (!series->lacks)
		return;
	fputs(" <span class=\"lacks\">", page->out);
	text_escape(page->out, series->lacks);
	fputs("</span>", page->out);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static size_t find_note(const struct notes *notes, const char *status, const char *reason)
{
	size_t i = 0;

	while (i < notes->n && !(same_text(notes->list[i].status, status) && same_text(notes->list[i].reason, reason)))
		i++;
	return i;
}

int page_note(const struct page *page, struct notes *notes, const char *status, const char *reason)
{
	size_t i = find_note(notes, status, reason);

	if (i == notes->n) {
		struct note *list = reallocarray(notes->list, notes->n + 1, sizeof(*list));

		if (!list)
			return -ENOMEM;
		notes->list = list;
		notes->list[notes->n++] = (struct note){status, reason};
	}
	fprintf(page->out, "<sup><a href=\"#%s-%zu\" aria-label=\"note %zu\">%zu</a></sup>", notes->prefix, i + 1,
		i + 1, i + 1);
	return 0;
}

void page_close_notes(const struct page *page, struct notes *notes)
{
	if (notes->n)
		fputs("<ol class=\"notes\">\n", page->out);
	for (size_t i = 0; i < notes->n; i++) {
		fprintf(page->out, "<li id=\"%s-%zu\">", notes->prefix, i + 1);
		text_escape(page->out, notes->list[i].status);
		if (notes->list[i].reason) {
			fputs(": ", page->out);
			text_escape(page->out, notes->list[i].reason);
		}
		fputs("</li>\n", page->out);
	}
	if (notes->n)
		fputs("</ol>\n", page->out);
	free(notes->list);
	*notes = (struct notes){.prefix = notes->prefix};
}

void page_marks(const struct page *page, const struct results_cell *cell, size_t series, const struct spread *value)
{
	const struct results_workload *workload = &page->results->workloads[cell->workload];

	if (derive_is_noisy(value))
		fputs(" <span class=\"flag\">noisy</span>", page->out);
	if (series == 0 && derive_misses_bar(cell) == 1)
		fprintf(page->out, " <span class=\"flag\">over its bar of %s</span>",
			cell->reference < cell->nseries ? text_ratio(cell->bar).s
							: text_value(cell->bar, workload->unit).s);
}

/* The exponent; no minus before what is 0 when rounded. */
static struct text exponent(const struct fit *growth)
{
	double slope = growth->slope > -0.005 && growth->slope < 0 ? 0 : growth->slope;
	struct text text;

	snprintf(text.s, sizeof(text.s), "exponent %.2f\u00a0±\u00a0%.2f", slope, growth->margin);
	return text;
}

static void growth(const struct page *page, const struct view *view, size_t place, size_t column, bool exact)
{
	struct fit fit;

	if (view_workload(view)->axis == AXIS_NONE || view->nparameters < 2 || view_growth(view, place, column, &fit))
		return;
	fprintf(page->out, "<span class=\"sub\">%s</span>", text_law(&fit, view_workload(view)->axis).s);
	if (exact && fit.margin > 0 && fit.law != FIT_BEND)
		fprintf(page->out, "<span class=\"sub\">%s</span>", exponent(&fit).s);
}

static void ratio(const struct page *page, const struct results_cell *cell, size_t series)
{
	struct spread ratio;

	if (!derive_ratio(cell, series, &ratio))
		fprintf(page->out, " <span class=\"ratio\">%s</span>", text_ratio(ratio.median).s);
	else if (series == cell->reference)
		fputs(" <span class=\"ratio\">the baseline</span>", page->out);
}

int page_measurement(const struct page *page, struct notes *notes, const struct view *view, size_t place,
		     uint64_t parameter, size_t column, bool exact)
{
	const struct results_cell *cell = view_cell(view, place, parameter);
	enum results_status status;
	const char *reason;
	struct spread value;
	int rc = 0;

	if (!view_measured(view, place, parameter, column, &value, &status, &reason)) {
		fprintf(page->out, "<b>%s</b>", text_value(value.median, view_workload(view)->unit).s);
		ratio(page, cell, view_series(view, cell, column));
		page_marks(page, cell, view_series(view, cell, column), &value);
	} else {
		fprintf(page->out, "<span class=\"none\">%s</span>",
			status == STATUS_MEASURED ? "no value" : text_status(status));
		rc = reason ? page_note(page, notes, text_status(status), reason) : 0;
	}
	growth(page, view, place, column, exact);
	return rc;
}
