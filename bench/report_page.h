/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the page share. Each part is one function in a file of its own. */
#ifndef SNAPMAP_BENCH_REPORT_PAGE_H
#define SNAPMAP_BENCH_REPORT_PAGE_H

#include <stdio.h>

#include "bench/figure.h"
#include "bench/report_text.h"

/**
 * struct page - the page being written
 * @figures: one for each workload
 * @complaint: why there are no charts, or empty
 * @out: gets the page. Errors of it, which are memory running out, show when it is closed.
 */
struct page {
	const struct results *results;
	struct figure *figures;
	char complaint[GNUPLOT_COMPLAINT_SIZE];
	FILE *out;
};

/* Parts of the page, in their order. 0, or -ENOMEM. */
int page_head(const struct page *page);
int page_summary(const struct page *page);
int page_groups(const struct page *page);
int page_method(const struct page *page);
int page_raw(const struct page *page);
extern const char page_style[];

/* --- pieces (report_page.c) */

/* The results that are @i, or begin a new group there. */
bool page_begins_group(const struct results *results, size_t i);
/* Whether workload @i has the same group as @k. */
bool page_same_group(const struct results *results, size_t i, size_t k);

/* A table in a box of its own, which is scrolled if it is wider than the page. The caption is shown. */
void page_open_table(const struct page *page, const char *caption, const char *label);
void page_close_table(const struct page *page);
/* <tr> with a first cell @first and one for each place; <thead> around it */
void page_place_heads(const struct page *page, const char *first);

/* " (not atomic)" */
void page_lacks(const struct page *page, const struct results_series *series);
/* What there is to be said of a series' values: that they are noisy, or over the bar */
void page_marks(const struct page *page, const struct results_cell *cell, size_t series, const struct spread *value);

/*
 * Reasons that are told below a table, each once, and referred to by number.
 */
struct notes {
	struct note *list;
	size_t n;
	const char *prefix; /* of ids */
};

/* Text of a note is @status, and @reason if there is one. -ENOMEM or 0; writes a link. */
int page_note(const struct page *page, struct notes *notes, const char *status, const char *reason);
/* Writes the list of them, and frees it. */
void page_close_notes(const struct page *page, struct notes *notes);

/*
 * What there is of a column at a place and parameter: the median, the ratio, marks, how it grows, and if @exact by
 * which exponent; or why there is none. -ENOMEM or 0.
 */
int page_measurement(const struct page *page, struct notes *notes, const struct view *view, size_t place,
		     uint64_t parameter, size_t column, bool exact);

#endif
