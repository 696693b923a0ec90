/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of reports share: pages of results, and what has to be in them. */
#ifndef SNAPMAP_REPORTING_H
#define SNAPMAP_REPORTING_H

#include "testing.h"

#include "report_samples.h"

bool report_has_gnuplot(void);
/* The page of these results, to be freed. */
char *report_page_of(const struct results *results);
/* How often @page has @text */
size_t report_count(const char *page, const char *text);
void report_expect(const char *page, const char *text);
void report_expect_none(const char *page, const char *text);

#endif
