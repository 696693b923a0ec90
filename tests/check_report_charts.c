/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Charts: each point is there with its values; whatever gnuplot does, there is a report. */
#include "config.h"

#include "reporting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/report_html.h"

START_TEST(test_each_point_has_its_values)
{
	struct results *r;
	size_t points = 0;
	char *page;

	if (!report_has_gnuplot())
		test_skip("gnuplot is not installed");
	r = report_sample("many", 1);
	page = report_page_of(r);
	for (size_t i = 0; i < r->ncells; i++)
		for (size_t k = 0; k < r->cells[i].nseries; k++)
			points += r->workloads[r->cells[i].workload].axis != AXIS_NONE &&
				  r->cells[i].series[k].status == STATUS_MEASURED;
	ck_assert_uint_eq(report_count(page, "class='hover'"), points);
	ck_assert_uint_eq(report_count(page, "of 7 rounds"), points);
	ck_assert_uint_eq(report_count(page, "<svg class='chart'"), 6 + 6 + 4 + 6);
	report_expect(page, "class='ring'");
	free(page);
	report_sample_drop(r);
}
END_TEST

/* Makes reports while PATH has nothing but a gnuplot that is @script, or none; they have to say @complaint. */
static void with_gnuplot(const char *script, const char *complaint)
{
	char dir[] = "gnuplot.XXXXXX", file[64];
	struct results *r = report_sample("many", 1);
	struct why why = {""};
	char *page;
	int rc;

	ck_assert(mkdtemp(dir) != NULL);
	snprintf(file, sizeof(file), "%s/gnuplot", dir);
	if (script) {
		test_write_file(file, script, strlen(script));
		ck_assert(!chmod(file, 0700));
	}
	ck_assert(!setenv("PATH", dir, 1));
	page = report_page_of(r);
	rc = report_chart_write(r, "commit-dirty", "chart.svg", &why);
	unlink(file);
	ck_assert_uint_eq(test_count_names(dir), 0);
	ck_assert(!rmdir(dir));
	report_expect(page, complaint);
	ck_assert_msg(strstr(why.text, complaint) != NULL, "\"%s\"", why.text);
	ck_assert_int_ne(rc, 0);
	ck_assert(access("chart.svg", F_OK));
	report_expect_none(page, "<svg class='chart'");
	report_expect(page, "constant to about ");
	report_expect(page, "id=\"raw1\"");
	free(page);
	report_sample_drop(r);
}

START_TEST(test_without_gnuplot_everything_else_is_there)
{
	with_gnuplot(NULL, "gnuplot is not installed");
}
END_TEST

START_TEST(test_gnuplot_that_fails)
{
	with_gnuplot("#!/bin/sh\necho ' line 7: undefined variable <b>' >&2\nexit 1\n", "line 7: undefined variable ");
	with_gnuplot("#!/bin/sh\nexit 3\n", "gnuplot failed with exit status 3");
	with_gnuplot("#!/bin/sh\nkill -9 $$\n", "gnuplot was ended by signal 9");
}
END_TEST

START_TEST(test_gnuplot_that_writes_something_else)
{
	static const char *const bad[] = {
		"",
		"rubbish",
		"<?xml ?><svg><g></svg>",
		"<?xml ?><svg><g a=1></g></svg>",
		"<?xml ?><svg><path d='",
		"<?xml ?><svg>",
		"<?xml ?></g>",
		"<?xml",
		"<?xml ?><svg><script>",
		"<?xml ?><svg></svg>",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char script[256];

		snprintf(script, sizeof(script), "#!/bin/sh\nprintf %%s \"%s\"\n", bad[i]);
		with_gnuplot(script, "no chart that is understood");
	}
}
END_TEST

/* It gets neither our variables nor our descriptors. */
START_TEST(test_gnuplot_starts_with_nothing)
{
	ck_assert(!setenv("GNUTERM", "dumb", 1) && !setenv("HOME", "/nonexistent", 1));
	with_gnuplot("#!/bin/sh\n[ -z \"$GNUTERM$HOME\" ] && [ \"$*\" = '-d -' ] && [ ! -e /proc/self/fd/4 ] && exit "
		     "9\nexit 1\n",
		     "gnuplot failed with exit status 9");
}
END_TEST

START_TEST(test_a_chart_is_a_file_of_its_own)
{
	struct results *r = report_sample("many", 1);
	struct why why = {""};
	char *svg;

	if (!report_has_gnuplot()) {
		report_sample_drop(r);
		test_skip("gnuplot is not installed");
	}
	ck_assert_msg(!report_chart_write(r, "commit-dirty", "chart.svg", &why), "%s", why.text);
	svg = (char *)test_read_file("chart.svg", NULL);
	ck_assert(!strncmp(svg, "<svg xmlns='http://www.w3.org/2000/svg' ", 40));
	ck_assert_uint_eq(report_count(svg, "<svg class='chart'"), 6);
	ck_assert_uint_eq(report_count(svg, "http"), 1);
	for (size_t i = 0; i < r->nplaces; i++)
		report_expect(svg, r->places[i].name);
	report_expect(svg, "write temporary, fsync, rename</text>");
	report_expect(svg, "write in place, fsync (not atomic)</text>");
	report_expect_none(svg, "Not measured");
	free(svg);
	ck_assert_int_eq(report_chart_write(r, "open-extents", "chart.svg", &why), 0);
	svg = (char *)test_read_file("chart.svg", NULL);
	report_expect(svg, ">Not measured at ext4, tmpfs</text>");
	free(svg);
	ck_assert_int_eq(report_chart_write(r, "memory", "memory.svg", &why), -ENODATA);
	ck_assert(access("memory.svg", F_OK));
	report_sample_drop(r);
}
END_TEST

static void add_file_tests(TCase *tc)
{
	tcase_add_test(tc, test_a_chart_is_a_file_of_its_own);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("report_charts");
	TCase *tc = tcase_create("chart");

	tcase_add_test(tc, test_each_point_has_its_values);
	tcase_add_test(tc, test_without_gnuplot_everything_else_is_there);
	tcase_add_test(tc, test_gnuplot_that_fails);
	tcase_add_test(tc, test_gnuplot_that_writes_something_else);
	tcase_add_test(tc, test_gnuplot_starts_with_nothing);
	suite_add_tcase(s, tc);
	test_each_fs(s, "file", add_file_tests);
	return s;
}
