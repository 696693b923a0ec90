/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "reporting.h"

#include <string.h>
#include <unistd.h>

#include "bench/report_html.h"

bool report_has_gnuplot(void)
{
	return !access("/usr/bin/gnuplot", X_OK);
}

/* The page of a sample, to be freed. */
char *report_page_of(const struct results *results)
{
	struct why why = {""};
	char *page;
	size_t n;
	int rc = report_html_make(results, &page, &n, &why);

	ck_assert_msg(!rc, "%d: %s", rc, why.text);
	ck_assert_uint_eq(strlen(page), n);
	return page;
}

size_t report_count(const char *page, const char *text)
{
	size_t n = 0;

	for (page = strstr(page, text); page; page = strstr(page + 1, text))
		n++;
	return n;
}

void report_expect(const char *page, const char *text)
{
	ck_assert_msg(strstr(page, text) != NULL, "\"%s\" is not in the page", text);
}

void report_expect_none(const char *page, const char *text)
{
	ck_assert_msg(!strstr(page, text), "\"%s\" is in the page", text);
}
