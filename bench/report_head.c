/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The top of the page: what was measured where, and where to find what. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "bench/report_page.h"

static void fact(const struct page *page, const char *name, const char *text)
{
	if (!text || !*text)
		return;
	fprintf(page->out, "<div><dt>%s</dt><dd>", name);
	text_escape(page->out, text);
	fputs("</dd></div>\n", page->out);
}

/* "4 min 12 s" */
static struct text duration(double seconds)
{
	struct text text;

	if (!(seconds >= 0 && seconds < 1e9))
		return (struct text){"unknown"};
	if (seconds < 60)
		snprintf(text.s, sizeof(text.s), "%.0f s", seconds);
	else
		snprintf(text.s, sizeof(text.s), "%.0f min %.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
	return text;
}

static void facts(const struct page *page)
{
	const struct results *r = page->results;
	struct text rounds;

	snprintf(rounds.s, sizeof(rounds.s), "at least %u for each cell", r->rounds);
	fputs("<dl class=\"facts\">\n", page->out);
	fact(page, "Machine", r->machine);
	fact(page, "Kernel", r->kernel);
	fact(page, "Library", r->library);
	fact(page, "Date", r->date);
	fact(page, "Mode", r->mode);
	fact(page, "Rounds", rounds.s);
	fact(page, "Took", duration(r->seconds).s);
	fputs("</dl>\n", page->out);
}

static void cell(const struct page *page, const char *text)
{
	fputs("<td class=\"wide\">", page->out);
	text_escape(page->out, text);
	fputs("</td>", page->out);
}

static void places(const struct page *page)
{
	page_open_table(page, "Where it was measured", "Where it was measured");
	fputs("<thead><tr><th scope=\"col\">Place</th><th scope=\"col\">File system</th><th scope=\"col\">Lies on</th>"
	      "<th scope=\"col\">The library finds</th><th scope=\"col\">Mount options</th></tr></thead>\n<tbody>\n",
	      page->out);
	for (size_t i = 0; i < page->results->nplaces; i++) {
		const struct results_place *p = &page->results->places[i];

		fputs("<tr><th scope=\"row\">", page->out);
		text_escape(page->out, p->name);
		fputs("</th>", page->out);
		cell(page, p->type);
		cell(page, p->device);
		cell(page, p->features);
		cell(page, p->options);
		fputs("</tr>\n", page->out);
	}
	fputs("</tbody>\n", page->out);
	page_close_table(page);
}

static void contents(const struct page *page)
{
	fputs("<nav aria-label=\"Contents\"><ul>\n<li><a href=\"#summary\">Summary</a></li>\n", page->out);
	for (size_t i = 0; i < page->results->nworkloads; i++)
		if (page_begins_group(page->results, i)) {
			fprintf(page->out, "<li><a href=\"#g%zu\">", i);
			text_escape(page->out, page->results->workloads[i].group);
			fputs("</a></li>\n", page->out);
		}
	fputs("<li><a href=\"#method\">Method</a></li>\n<li><a href=\"#raw\">Raw numbers</a></li>\n</ul></nav>\n",
	      page->out);
}

int page_head(const struct page *page)
{
	fputs("<header><h1>snapmap bench</h1>\n"
	      "<p class=\"lead\">What files as plain memory cost with libsnapmap on each file system, beside other "
	      "ways "
	      "to do the same.</p>\n",
	      page->out);
	facts(page);
	if (page->results->interrupted)
		fputs("<p class=\"alert\">The run was interrupted. What was not measured by then is left out.</p>\n",
		      page->out);
	if (page->complaint[0]) {
		fputs("<p class=\"alert\">This report has no charts: ", page->out);
		text_escape(page->out, page->complaint);
		fputs(".</p>\n", page->out);
	}
	contents(page);
	if (page->results->nplaces)
		places(page);
	fputs("</header>\n", page->out);
	return 0;
}
