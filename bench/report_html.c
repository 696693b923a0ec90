/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page: one file that refers to no other. It is HTML that is well-formed as XML too, so that
 * strict parsers can check it; and its policy forbids loading anything and running any script.
 */
#include "config.h"

#include "bench/report_html.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/output.h"
#include "bench/report_check.h"
#include "bench/report_page.h"

static void write_style(FILE *out)
{
	fputs("<style>:root{color-scheme:light dark;--back:#f5f7f9;", out);
	chart_write_palette(out, false);
	fputs("}\n@media screen and (prefers-color-scheme:dark){:root{--back:#0e1216;", out);
	chart_write_palette(out, true);
	fputs("}}\n", out);
	fputs(page_style, out);
	chart_write_rules(out);
	fputs("</style>\n", out);
}

static void write_start(const struct page *page)
{
	FILE *out = page->out;

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	      "'unsafe-inline'\"/>\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>snapmap bench",
	      out);
	if (page->results->kernel) {
		fputs(", Linux ", out);
		text_escape(out, page->results->kernel);
	}
	fputs("</title>\n", out);
	write_style(out);
	fputs("</head>\n<body>\n<svg class=\"symbols\" aria-hidden=\"true\">", out);
	chart_write_symbols(out);
	fputs("</svg>\n", out);
}

static int write_page(const struct page *page)
{
	static int (*const parts[])(const struct page *) = {page_summary, page_groups, page_method, page_raw};
	int rc;

	write_start(page);
	rc = page_head(page);
	fputs("<main>\n", page->out);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !rc; i++)
		rc = parts[i](page);
	fputs("</main>\n<footer><p>Written by snapmap bench, libsnapmap ", page->out);
	text_escape(page->out, page->results->library);
	fputs(".</p></footer>\n</body>\n</html>\n", page->out);
	return rc;
}

static void drop_figures(struct page *page)
{
	for (size_t i = 0; i < page->results->nworkloads; i++)
		figure_drop(&page->figures[i]);
	free(page->figures);
}

/* Charts that cannot be had are no error; the page says so. */
static int make_figures(struct page *page)
{
	size_t n = page->results->nworkloads;
	int rc = 0;

	page->figures = calloc(n + 1, sizeof(*page->figures));
	if (!page->figures)
		return -ENOMEM;
	for (size_t i = 0; i < n && !rc; i++)
		rc = figure_make(page->results, i, &page->figures[i]);
	if (!rc)
		rc = figures_draw(page->figures, n, page->complaint);
	if (rc != -ENOMEM)
		return 0;
	drop_figures(page);
	return rc;
}

static int print_page(struct page *page, char **ret, size_t *ret_n)
{
	char *bytes;
	size_t n;
	int rc;

	page->out = open_memstream(&bytes, &n);
	if (!page->out)
		return -ENOMEM;
	rc = write_page(page);
	if (fclose(page->out) && !rc)
		rc = -ENOMEM;
	if (rc) {
		free(bytes);
		return rc;
	}
	*ret = bytes;
	*ret_n = n;
	return 0;
}

int report_html_make(const struct results *results, char **ret, size_t *ret_n, struct why *why)
{
	struct page page = {.results = results};
	int rc = report_check(results, why);

	if (rc)
		return rc;
	rc = make_figures(&page);
	if (!rc) {
		rc = print_page(&page, ret, ret_n);
		drop_figures(&page);
	}
	return rc ? why_set(why, rc, "cannot make the report: %s", strerror(-rc)) : 0;
}

int report_html_write(const struct results *results, const char *path, struct why *why)
{
	char *bytes;
	size_t n;
	int rc = report_html_make(results, &bytes, &n, why);

	if (rc)
		return rc;
	rc = output_write(path, bytes, n, why);
	free(bytes);
	return rc;
}
