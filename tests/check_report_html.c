/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reports: everything that was measured is in them, nothing that comes from outside takes them over, and they are
 * written as a whole. tests/check_report looks at the same pages with a parser and a browser.
 */
#include "config.h"

#include "testing.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/report_html.h"
#include "bench/report_text.h"
#include "reporting.h"

static void escaped(const char *text, char *out)
{
	for (; *text; text++)
		out += sprintf(out,
			       *text == '<'    ? "&lt;"
			       : *text == '>'  ? "&gt;"
			       : *text == '&'  ? "&amp;"
			       : *text == '"'  ? "&quot;"
			       : *text == '\'' ? "&#39;"
					       : "%c",
			       *text);
	*out = 0;
}

/* --- everything is there */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Three digits without a unit; costs of the sample are between 1 us and 100 s. */
static void digits(double value, char *text, size_t n)
{
	while (value < 0.9995)
		value *= 1000;
	snprintf(text, n, "%.*f", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
}

/* The row of the raw numbers that begins at @at has the series' name, its median and all rounds. */
static const char *expect_series(const char *at, const struct results_series *s)
{
	double sorted[64];
	char text[64];
	const char *row = strstr(at, "<th scope=\"row\">"), *end;

	ck_assert(row && !strncmp(row + 16, s->name, strlen(s->name)));
	end = strstr(row, "</tr>");
	if (s->status != STATUS_MEASURED) {
		const char *reason;
		char wanted[256];

		escaped(s->reason, wanted);
		reason = strstr(row, wanted);
		ck_assert_msg(reason && reason < end, "no reason for %s", s->name);
		return end;
	}
	memcpy(sorted, s->values, s->nvalues * sizeof(double));
	qsort(sorted, s->nvalues, sizeof(double), by_value);
	ck_assert_uint_eq(s->nvalues, 7);
	digits(sorted[3], text, sizeof(text));
	ck_assert_msg(strstr(row, text) && strstr(row, text) < end, "no median %s", text);
	row = strstr(row, "class=\"rounds\"");
	for (size_t i = 0; i < s->nvalues; i++) {
		digits(s->values[i], text, sizeof(text));
		row = strstr(row, text);
		ck_assert_msg(row && row < end, "%s: round %zu of %s is missing: %s", s->name, i, s->name, text);
		row++;
	}
	return end;
}

static const char *expect_cell(const char *at, const struct results *r, const struct results_cell *cell)
{
	char head[256];

	snprintf(head, sizeof(head), "\">%s<span class=\"sub\">%s</span>", r->places[cell->place].name,
		 text_parameter(cell->parameter, r->workloads[cell->workload].axis).s);
	at = strstr(at, head);
	ck_assert_msg(at != NULL, "no cell %s", head);
	if (cell->status != STATUS_MEASURED)
		ck_assert(strstr(at, cell->reason) && strstr(at, cell->reason) < strstr(at, "</tr>"));
	else
		for (size_t i = 0; i < cell->nseries; i++)
			at = expect_series(at, &cell->series[i]);
	return at;
}

START_TEST(test_all_numbers_are_there)
{
	struct results *r = report_sample("many", test_seed());
	char *page = report_page_of(r);

	for (size_t w = 0; w < r->nworkloads; w++) {
		char id[64];
		const char *at;

		snprintf(id, sizeof(id), "id=\"raw%zu\"", w);
		at = strstr(page, id);
		ck_assert(at != NULL);
		for (size_t i = 0; i < r->ncells && r->workloads[w].unit == UNIT_SECONDS; i++)
			if (r->cells[i].workload == w)
				at = expect_cell(at, r, &r->cells[i]);
	}
	free(page);
	report_sample_drop(r);
}
END_TEST

START_TEST(test_summary_says_what_was_found)
{
	struct results *r = report_sample("many", 1);
	char *page = report_page_of(r), *end = strstr(page, "</section>");

	*end = 0;
	report_expect(page, r->machine);
	report_expect(page, r->kernel);
	report_expect(page, r->date);
	report_expect(page, r->places[3].options);
	report_expect(page, r->places[3].features);
	report_expect(page, "6 min 31 s");
	/* As the sample was made: open does not grow, extents do, a commit has a fixed part, threads the root. */
	ck_assert_uint_eq(report_count(page, ">constant<"), 6);
	ck_assert_uint_eq(report_count(page, ">linear<"), 4);
	ck_assert_uint_eq(report_count(page, ">~n^0.5<"), 6);
	ck_assert_uint_eq(report_count(page, ">constant to about "), 6);
	ck_assert_uint_eq(report_count(page, ", then linear<"), 6);
	/* The first that works: exchange at one place, replace at the others. */
	ck_assert_uint_eq(report_count(page, "<td><span class=\"sub\">snapmap, replace</span>"), 5);
	ck_assert_uint_eq(report_count(page, ">not supported<"), 2);
	free(page);
	report_sample_drop(r);
}
END_TEST

START_TEST(test_marks)
{
	struct results *r = report_sample("many", 1);
	char *page = report_page_of(r);

	report_expect(page, "<span class=\"flag\">noisy</span>");
	report_expect(page, "<span class=\"lacks\">not atomic</span>");
	report_expect(page, "cannot write to &#39;edit.dat&#39;: No space left on device");
	report_expect_none(page, ">over its bar of ");
	free(page);
	for (size_t i = 0; i < r->ncells; i++)
		r->cells[i].bar = r->cells[i].bar > 0 ? 1.01 : 0;
	page = report_page_of(r);
	report_expect(page, "<span class=\"flag\">over its bar of 1.01×</span>");
	free(page);
	report_sample_drop(r);
}
END_TEST

START_TEST(test_runs_without_measurements)
{
	struct results *r = report_sample("empty", 1);
	char *page = report_page_of(r);

	report_expect(page, "Nothing was measured.");
	free(page);
	report_sample_drop(r);
	r = report_sample("broken", 1);
	page = report_page_of(r);
	report_expect(page, ">not measured in this run</td>");
	/* In the summary once for both, in the place of charts, and among the raw numbers */
	ck_assert_uint_eq(report_count(page, "left out: not within the time of a quick run"),
			  report_has_gnuplot() ? 5 : 3);
	report_expect(page, "cannot open &#39;open.dat&#39;: Input/output error");
	free(page);
	report_sample_drop(r);
}
END_TEST

START_TEST(test_an_interrupted_run)
{
	struct results *r = report_sample("one", 1);
	char *page = report_page_of(r);

	report_expect(page, "The run was interrupted.");
	free(page);
	report_sample_drop(r);
}
END_TEST

/* --- what comes from outside */

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (*text < ' ')
			return false;
	return true;
}

START_TEST(test_names_from_outside_stay_text)
{
	struct results *r = report_sample("hostile", 1);
	char *page = report_page_of(r);

	for (size_t i = 0; i < r->nplaces; i++) {
		char text[2048];

		if (!is_plain(report_hostile[i]))
			continue;
		escaped(report_hostile[i], text);
		report_expect(page, text);
	}
	report_expect_none(page, "<script");
	report_expect_none(page, "<img");
	report_expect_none(page, "<!--");
	report_expect_none(page, "<![CDATA[");
	report_expect_none(page, "\x1b");
	report_expect_none(page, "\x01");
	report_expect_none(page, "\xff");
	report_expect(page, "not UTF-8: \xef\xbf\xbd");
	ck_assert_uint_eq(report_count(page, "<title"), report_count(page, "</title>"));
	ck_assert(access("pwned", F_OK));
	if (report_has_gnuplot())
		ck_assert_uint_eq(report_count(page, "<svg class='chart'"), r->nplaces);
	free(page);
	report_sample_drop(r);
}
END_TEST

START_TEST(test_pages_refer_to_nothing_outside)
{
	static const char *const bad[] = {
		"http:",   "https:",  "src=",	"url(",	   "@import",  "<script",  "<link",
		"<iframe", "<object", "xlink:", "onmouse", "<foreign", "<style>@", "javascript:"};

	for (const struct sample *s = report_samples; s->name; s++) {
		struct results *r = s->make(1);
		char *page = report_page_of(r);

		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			if (strcmp(s->name, "hostile") != 0 || strcmp(bad[i], "src=") != 0)
				report_expect_none(page, bad[i]);
		free(page);
		report_sample_drop(r);
	}
}
END_TEST

/* Between the quotes after @prefix */
static size_t next_value(const char **at, const char *prefix, char *value, size_t size)
{
	const char *found = strstr(*at, prefix);
	size_t n = 0;

	if (!found)
		return 0;
	found += strlen(prefix);
	for (char quote = *found++; found[n] != quote && n + 1 < size; n++)
		value[n] = found[n];
	value[n] = 0;
	*at = found + n;
	return n;
}

static size_t count_id(const char *page, const char *id)
{
	char one[80], other[80];

	snprintf(one, sizeof(one), " id=\"%s\"", id);
	snprintf(other, sizeof(other), " id='%s'", id);
	return report_count(page, one) + report_count(page, other);
}

START_TEST(test_each_id_is_there_once)
{
	for (const struct sample *s = report_samples; s->name; s++) {
		struct results *r = s->make(1);
		char *page = report_page_of(r), id[64];

		for (const char *at = page; next_value(&at, " id=", id, sizeof(id));)
			ck_assert_msg(count_id(page, id) == 1, "%s: id %s", s->name, id);
		for (const char *at = page; next_value(&at, " href=", id, sizeof(id));)
			ck_assert_msg(id[0] == '#' && count_id(page, id + 1) == 1, "%s: link to %s", s->name, id);
		free(page);
		report_sample_drop(r);
	}
}
END_TEST

START_TEST(test_incoherent_results_are_refused)
{
	struct results *r = report_sample("one", 1);
	struct why why = {""};
	char *page = NULL, *name = r->places[0].name;
	size_t n;

	r->cells[3].place = r->nplaces;
	ck_assert_int_eq(report_html_make(r, &page, &n, &why), -EINVAL);
	ck_assert(strstr(why.text, "cell 3") != NULL);
	ck_assert_int_eq(report_chart_write(r, "commit-dirty", "chart.svg", &why), -EINVAL);
	r->cells[3].place = 0;
	r->cells[4].workload = r->nworkloads;
	ck_assert_int_eq(report_html_make(r, &page, &n, &why), -EINVAL);
	r->cells[4].workload = 0;
	r->places[0].name = NULL;
	ck_assert_int_eq(report_html_make(r, &page, &n, &why), -EINVAL);
	ck_assert(strstr(why.text, "place 0") != NULL);
	ck_assert(!page);
	r->places[0].name = name;
	ck_assert_int_eq(report_chart_write(r, "no-such", "chart.svg", &why), -ENOENT);
	ck_assert(strstr(why.text, "no-such") != NULL);
	report_sample_drop(r);
}
END_TEST

/* --- texts */

START_TEST(test_numbers_have_the_unit_that_suits_them)
{
	static const struct {
		double value;
		enum results_unit unit;
		const char *text;
	} cases[] = {
		{0, UNIT_SECONDS, "0"},
		{1e-9, UNIT_SECONDS, "1 ns"},
		{1.234e-6, UNIT_SECONDS, "1.23 µs"},
		{9.999e-6, UNIT_SECONDS, "10.0 µs"},
		{99.96e-6, UNIT_SECONDS, "100 µs"},
		{999.4e-6, UNIT_SECONDS, "999 µs"},
		{999.9e-6, UNIT_SECONDS, "1.00 ms"},
		{1e-5, UNIT_SECONDS, "10 µs"},
		{86400, UNIT_SECONDS, "86400 s"},
		{1e300, UNIT_SECONDS, "1e+300 s"},
		{-0.5, UNIT_SECONDS, "-500 ms"},
		{NAN, UNIT_SECONDS, "not a number"},
		{INFINITY, UNIT_BYTES, "not a number"},
		{4096, UNIT_BYTES, "4 KiB"},
		{1536, UNIT_BYTES, "1.50 KiB"},
		{1048575, UNIT_BYTES, "1.00 MiB"},
		{100, UNIT_BYTES, "100 B"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(text_value(cases[i].value, cases[i].unit).s, cases[i].text);
	ck_assert_str_eq(text_parameter(1, AXIS_DIRTY).s, "1 page");
	ck_assert_str_eq(text_parameter(100000, AXIS_DIRTY).s, "100,000 pages");
	ck_assert_str_eq(text_parameter(1234567, AXIS_EXTENTS).s, "1,234,567 extents");
	ck_assert_str_eq(text_parameter((uint64_t)4 << 30, AXIS_SIZE).s, "4 GiB");
	ck_assert_str_eq(text_parameter(8, AXIS_NONE).s, "");
	ck_assert_str_eq(text_tick(100000, AXIS_DIRTY).s, "100k");
	ck_assert_str_eq(text_ratio(1.234).s, "1.23×");
	ck_assert_str_eq(text_ratio(0.0000613).s, "0.000061×");
	ck_assert_str_eq(text_ratio(1234.5).s, "1234×");
}
END_TEST

/* --- files */

static void write_page(const char *path)
{
	struct results *r = report_sample("empty", 1);
	struct why why = {""};

	ck_assert_msg(!report_html_write(r, path, &why), "%s", why.text);
	report_sample_drop(r);
}

START_TEST(test_a_file_is_made_or_overwritten)
{
	struct stat st;
	char *bytes, *again;
	size_t n, m;

	write_page("report.html");
	bytes = (char *)test_read_file("report.html", &n);
	ck_assert(!strncmp(bytes, "<!DOCTYPE html>", 15) && !strcmp(bytes + n - 8, "</html>\n"));
	test_make_file("report.html", 1 << 20, 1);
	ck_assert(!chmod("report.html", 0640));
	write_page("report.html");
	again = (char *)test_read_file("report.html", &m);
	ck_assert(n == m && !memcmp(bytes, again, n));
	ck_assert(!stat("report.html", &st) && (st.st_mode & 07777) == 0640);
	ck_assert_uint_eq(test_count_names("."), 1);
	free(bytes);
	free(again);
}
END_TEST

START_TEST(test_what_cannot_be_written_is_told)
{
	struct results *r = report_sample("empty", 1);
	struct why why = {""};

	ck_assert_int_eq(report_html_write(r, "no/such/file.html", &why), -ENOENT);
	ck_assert(strstr(why.text, "no/such/file.html") != NULL);
	ck_assert_int_eq(report_html_write(r, ".", &why), -EISDIR);
	ck_assert_uint_eq(test_count_names("."), 0);
	report_sample_drop(r);
}
END_TEST

static void add_file_tests(TCase *tc)
{
	tcase_add_test(tc, test_a_file_is_made_or_overwritten);
	tcase_add_test(tc, test_what_cannot_be_written_is_told);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("report_html");
	TCase *tc = tcase_create("page");

	tcase_add_test(tc, test_all_numbers_are_there);
	tcase_add_test(tc, test_summary_says_what_was_found);
	tcase_add_test(tc, test_marks);
	tcase_add_test(tc, test_runs_without_measurements);
	tcase_add_test(tc, test_an_interrupted_run);
	tcase_add_test(tc, test_names_from_outside_stay_text);
	tcase_add_test(tc, test_pages_refer_to_nothing_outside);
	tcase_add_test(tc, test_each_id_is_there_once);
	tcase_add_test(tc, test_incoherent_results_are_refused);
	tcase_add_test(tc, test_numbers_have_the_unit_that_suits_them);
	suite_add_tcase(s, tc);
	test_each_fs(s, "file", add_file_tests);
	return s;
}
