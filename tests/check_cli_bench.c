/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap bench": what it writes is complete, what it compares is right, and nothing
 * stays behind. What anything costs is no test's business.
 */
#include "config.h"

#include "benching.h"

/* A run that takes as little as one can. */
#define SMALL "--quick --rounds=5 --filter=open-touch,edit-size --sizes=128K,256K"

/* ---- outputs ---- */

START_TEST(test_json_is_complete)
{
	json_t *root, *place, *cell;
	size_t i;

	ck_run(0, "snapmap bench " SMALL " --json=r.json .");
	root = load("r.json");
	ck_assert_str_eq(text_of(root, "format"), "snapmap bench");
	ck_assert_str_eq(text_of(root, "mode"), "quick");
	ck_assert(text_of(root, "machine")[0] && text_of(root, "kernel")[0] && text_of(root, "library")[0]);
	ck_assert_uint_eq(strlen(text_of(root, "date")), strlen("2000-01-01T00:00:00Z"));
	ck_assert(json_is_false(json_object_get(root, "interrupted")));
	ck_assert_uint_eq(json_array_size(array_of(root, "places")), 1);
	place = json_array_get(array_of(root, "places"), 0);
	ck_assert(text_of(place, "type")[0] && text_of(place, "options")[0] && text_of(place, "device")[0]);
	ck_assert(strstr(text_of(place, "features"), "copy") && strstr(text_of(place, "features"), "replace"));
	ck_assert_uint_eq(json_array_size(array_of(root, "workloads")), 2);
	ck_assert_uint_eq(json_array_size(array_of(root, "cells")), 4);
	json_array_foreach (array_of(root, "cells"), i, cell)
		check_cell(cell, 5);
	json_decref(root);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* What a place cannot do is told, on the terminal, too. */
START_TEST(test_what_is_missing_is_told)
{
	json_t *root, *cell, *series;
	bool lacks = false;
	size_t i;

	ck_run(0, "snapmap bench " SMALL " --json=r.json .");
	root = load("r.json");
	cell = json_array_get(array_of(root, "cells"), 3);
	json_array_foreach (array_of(cell, "series"), i, series) {
		ck_assert_msg(strstr(out, text_of(series, "name")) != NULL, "%s", out);
		if (strcmp(text_of(series, "name"), "snapmap, exchange") != 0)
			continue;
		lacks = true;
		ck_assert_int_eq(is_measured(series), test_fs()->exchange);
		if (!is_measured(series))
			ck_assert_msg(strstr(out, text_of(series, "reason")) != NULL, "%s", out);
	}
	ck_assert(lacks);
	json_decref(root);
}
END_TEST

static size_t count_lines(const char *path)
{
	size_t n, lines = 0;
	char *text = test_read_file(path, &n);

	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	free(text);
	return lines;
}

START_TEST(test_csv_has_a_line_for_each_round)
{
	json_t *root;
	size_t series;

	ck_run(0, "snapmap bench " SMALL " --json=r.json --csv=r.csv .");
	root = load("r.json");
	series = each_series(root, true, NULL) + each_series(root, false, NULL);
	ck_assert_uint_eq(count_lines("r.csv"), 1 + 5 * series);
	json_decref(root);
	/* The same from what was written before. */
	ck_run(0, "snapmap bench --read=r.json --csv=again.csv && cmp r.csv again.csv >&2");
}
END_TEST

START_TEST(test_markdown_goes_between_the_comments)
{
	write_text("t.md", "a\n<!-- snapmap bench -->\nb\n<!-- end of snapmap bench -->\nc\n");
	ck_run(0, "snapmap bench --quick --rounds=5 --filter=open-size --sizes=4K --markdown=t.md .");
	ck_run(0, "head -n 2 t.md | tr '\\n' ' '; tail -n 2 t.md | tr '\\n' ' '");
	ck_assert_str_eq(out, "a <!-- snapmap bench --> <!-- end of snapmap bench --> c ");
	ck_run(0, "grep -c '^| \\. |' t.md; ! grep -qx b t.md");
	ck_assert_str_eq(out, "1\n");
	write_text("t.md", "a\n");
	ck_run(1, "snapmap bench --quick --rounds=5 --filter=open-size --sizes=4K --markdown=t.md .");
	ck_error("has no lines");
	ck_assert(file_says("t.md", "a\n"));
}
END_TEST

START_TEST(test_html_has_what_was_measured)
{
	ck_run(0, "snapmap bench --quick --rounds=5 --filter=open-size --sizes=4K,1M --html=r.html --json=r.json .");
	ck_run(0, "head -n 1 r.html; grep -c '<h3>Open and close, by size</h3>' r.html");
	ck_assert_str_eq(out, "<!DOCTYPE html>\n1\n");
	/* JSON has six digits, so that the third can be another one; rows are the same. */
	ck_run(0, "snapmap bench --read=r.json --html=again.html && grep -o '<tr>' r.html >r && grep -o '<tr>' "
		  "again.html >again");
	ck_run(0, "cmp r again >&2");
	ck_run(1, "snapmap bench --read=r.json --html=no/such/r.html");
	ck_error("no/such/r.html");
	ck_run(1, "snapmap bench --read=r.json --chart=r.svg");
	ck_error("'edit-dirty'");
	if (!access("/usr/bin/gnuplot", X_OK))
		ck_run(0, "snapmap bench --read=r.json --filter=open-size --chart=r.svg && grep -q '</svg>' r.svg");
}
END_TEST

START_TEST(test_several_places)
{
	json_t *root;

	ck_run(0, "mkdir a b && snapmap bench --quick --rounds=5 --filter=open-touch --sizes=4K --json=r.json a b");
	root = load("r.json");
	ck_assert_str_eq(text_of(json_array_get(array_of(root, "places"), 1), "name"), "b");
	ck_assert_uint_eq(json_array_size(array_of(root, "cells")), 2);
	json_decref(root);
	ck_run(1, "snapmap bench a b a");
	ck_error("twice");
	ck_assert_uint_eq(count_names("a"), 0);
	ck_assert_uint_eq(count_names("b"), 0);
}
END_TEST

/* ---- comparing ---- */

static void save(json_t *root, const char *path)
{
	ck_assert_int_eq(json_dump_file(root, path, JSON_REAL_PRECISION(9)), 0);
}

static void change_values(json_t *values, double (*change)(size_t i))
{
	for (size_t i = 0; i < json_array_size(values); i++)
		json_array_set_new(values, i, json_real(json_number_value(json_array_get(values, i)) * change(i)));
}

static double three_times(size_t i)
{
	(void)i;
	return 3;
}

/* The median is half as much again; but so far from each other are the values. */
static double noise(size_t i)
{
	static const double factors[] = {0.7, 1.9, 1.5, 1.6, 0.9};

	return factors[i % 5];
}

static void make_slower(json_t *values)
{
	change_values(values, three_times);
}

static void make_noisy(json_t *values)
{
	change_values(values, noise);
}

/* Values that are far from each other by themselves would hide what is looked for. */
static void make_even(json_t *values)
{
	for (size_t i = 0; i < json_array_size(values); i++)
		json_array_set_new(values, i, json_real(1e-3 * (1 + 0.01 * (double)i)));
}

static void measure_even(void)
{
	json_t *root;

	ck_run(0, "snapmap bench " SMALL " --json=old.json .");
	root = load("old.json");
	each_series(root, true, make_even);
	each_series(root, false, make_even);
	save(root, "old.json");
	json_decref(root);
}

/* Writes new.json: old.json with a change to series of the library, of the baselines, or of both. */
static size_t doctor(void (*library)(json_t *values), void (*baselines)(json_t *values))
{
	json_t *root = load("old.json");
	size_t n = each_series(root, true, library);

	each_series(root, false, baselines);
	save(root, "new.json");
	json_decref(root);
	return n;
}

static size_t count_of(const char *word)
{
	size_t n = 0;

	for (const char *p = out; (p = strstr(p, word)); p++)
		n += p == out || p[-1] == '\n';
	return n;
}

START_TEST(test_compare_finds_a_slowdown_and_not_noise)
{
	size_t n;

	measure_even();
	ck_run(0, "snapmap bench --compare old.json old.json");
	ck_assert_uint_eq(count_of("slower") + count_of("faster"), 0);

	n = doctor(make_slower, NULL);
	ck_run(1, "snapmap bench --compare old.json new.json");
	ck_assert_uint_eq(count_of("slower"), n);
	ck_assert_msg(strstr(out, "3.00 times") != NULL, "%s", out);
	ck_run(0, "snapmap bench --compare new.json old.json");
	ck_assert_uint_eq(count_of("faster"), n);

	doctor(make_noisy, NULL);
	ck_run(0, "snapmap bench --compare old.json new.json");
	ck_assert_uint_eq(count_of("slower") + count_of("faster"), 0);
}
END_TEST

/* All took three times as long: that is the machine. */
START_TEST(test_compare_is_not_misled_by_a_slow_machine)
{
	measure_even();
	doctor(make_slower, make_slower);
	ck_run(0, "snapmap bench --compare old.json new.json");
	ck_assert_uint_eq(count_of("slower") + count_of("faster"), 0);
	ck_assert_msg(strstr(out, "3.00 times as long") != NULL, "%s", out);
}
END_TEST

START_TEST(test_compare_of_what_is_no_result)
{
	measure_even();
	ck_run(2, "snapmap bench --compare old.json");
	ck_error("needs two files");
	ck_run(1, "snapmap bench --compare old.json missing.json");
	ck_error("missing.json");
	write_text("bad.json", "{\"format\": \"snapmap bench\", \"version\": 1}");
	ck_run(1, "snapmap bench --compare bad.json old.json");
	ck_error("'bad.json' is damaged");
	ck_run(0, "head -c 1000 old.json >bad.json");
	ck_run(1, "snapmap bench --read=bad.json");
	ck_error("bad.json");
	write_text("bad.json", "[]");
	ck_run(1, "snapmap bench --read=bad.json");
	ck_error("was not written by");
	ck_run(0, "sed 's/\"parameter\": *[0-9]*/\"parameter\":1/g' old.json >other.json");
	ck_run(1, "snapmap bench --compare old.json other.json");
	ck_error("nothing in common");
}
END_TEST

/* ---- the command line ---- */

START_TEST(test_usage_errors)
{
	static const struct {
		const char *line, *text;
	} wrong[] = {
		{"--speed", "'--speed' is not known"}, {"--rounds=4 .", "'4' is no number of rounds"},
		{"--rounds=many", "'many'"},	       {"--sizes=1M,big", "'big' is no size"},
		{"--sizes=0", "'0' is no size"},       {"--make-fs=ntfs", "no file system 'ntfs'"},
		{"--filter=", "needs a value"},	       {"--json", "'--json' needs a value"},
		{"--strategy=clone .", "not known"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_run(2, "snapmap bench %s", wrong[i].line);
		ck_error(wrong[i].text);
	}
	ck_run(1, "snapmap bench --filter=nosuchthing .");
	ck_error("nothing was chosen");
	ck_run(1, "snapmap bench --quick missing");
	ck_error("'missing'");
	ck_run(0, "snapmap help bench");
	ck_assert(strstr(out, "--make-fs=NAMES") && strstr(out, "--compare"));
	ck_assert_uint_eq(count_names("."), 0);
}
END_TEST

START_TEST(test_bars)
{
	ck_run(0, "snapmap bench --bars --rounds=5 --filter=memory-map .");
	ck_assert_msg(strstr(out, "bars met") != NULL, "%s", out);
	ck_assert_int_eq(strstr(out, "bar: struct snapmap") != NULL,
			 test_fs()->reflink && !strstr(test_fs()->name, "overlay"));
}
END_TEST

/* ---- stopping ---- */

/* All that it said, into err. */
static void take_output_of_pipe(int end)
{
	size_t n = 0;
	ssize_t got;

	while ((got = read(end, err + n, sizeof(err) - 1 - n)) > 0)
		n += (size_t)got;
	err[n] = 0;
	close(end);
}

/* Until the run has made a file to measure with, in its own directory; false if it ended before. */
static bool wait_for_work(pid_t pid)
{
	for (;;) {
		if (!system("test -e snapmap-bench.*/file-1"))
			return true;
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return false;
		usleep(10000);
	}
}

START_TEST(test_stopped_it_writes_what_it_has_and_leaves_nothing)
{
	static const int signals[] = {SIGINT, SIGTERM};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		json_t *root;
		int end;
		pid_t pid = start("snapmap bench --rounds=10000 --filter=open-size,edit-dirty --json=r.json .", &end);

		ck_assert(wait_for_work(pid));
		ck_assert_int_eq(kill(-pid, signals[i]), 0);
		ck_assert_int_eq(wait_for(pid), 128 + signals[i]);
		take_output_of_pipe(end);
		ck_error("stopped by signal");
		root = load("r.json");
		ck_assert(json_is_true(json_object_get(root, "interrupted")));
		json_decref(root);
		ck_assert_uint_eq(count_names("."), 1);
		ck_assert_int_eq(unlink("r.json"), 0);
	}
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_json_is_complete);
	tcase_add_test(tc, test_what_is_missing_is_told);
	tcase_add_test(tc, test_csv_has_a_line_for_each_round);
	tcase_add_test(tc, test_markdown_goes_between_the_comments);
	tcase_add_test(tc, test_html_has_what_was_measured);
	tcase_add_test(tc, test_several_places);
	tcase_add_test(tc, test_compare_finds_a_slowdown_and_not_noise);
	tcase_add_test(tc, test_compare_is_not_misled_by_a_slow_machine);
	tcase_add_test(tc, test_compare_of_what_is_no_result);
	tcase_add_test(tc, test_usage_errors);
	tcase_add_test(tc, test_bars);
	tcase_add_test(tc, test_stopped_it_writes_what_it_has_and_leaves_nothing);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli_bench");

	test_each_fs(s, "cli_bench", add_tests);
	return s;
}
