/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap bench": options, signals, progress. What is measured, and how, is in bench/. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/compare.h"
#include "bench/harness.h"
#include "bench/makefs.h"
#include "bench/output.h"
#include "bench/report_html.h"
#include "bench/run.h"
#include "bench/show.h"

#include "cli.h"

enum {
	OPTION_MAKE_FS,
	OPTION_IMAGES,
	OPTION_QUICK,
	OPTION_FULL,
	OPTION_BARS,
	OPTION_SIZES,
	OPTION_FILTER,
	OPTION_ROUNDS,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_MARKDOWN,
	OPTION_HTML,
	OPTION_CHART,
	OPTION_READ,
	OPTION_COMPARE,
	OPTIONS,
};

static const struct own_option own_options[] = {
	[OPTION_MAKE_FS] = {"make-fs", "NAMES", "make these file systems and measure there, too; only root"},
	[OPTION_IMAGES] = {"images", "DIR", "lay them into DIR instead of into memory"},
	[OPTION_QUICK] = {"quick", NULL, "less than a minute"},
	[OPTION_FULL] = {"full", NULL, "all sizes, all numbers of pages, extents and threads"},
	[OPTION_BARS] = {"bars", NULL, "what has a bar only, and whether that is met"},
	[OPTION_SIZES] = {"sizes", "SIZES", "sizes of files, such as 4K,1M,256M"},
	[OPTION_FILTER] = {"filter", "WORDS", "only what has one of these words in its name or title"},
	[OPTION_ROUNDS] = {"rounds", "N", "measure each N times, however long that takes; at least 5"},
	[OPTION_JSON] = {"json", "FILE", "write all values to FILE as JSON"},
	[OPTION_CSV] = {"csv", "FILE", "write all values to FILE as CSV"},
	[OPTION_MARKDOWN] = {"markdown", "FILE", "put a table between two comments of the text FILE"},
	[OPTION_HTML] = {"html", "FILE", "write a report to look at to FILE, as one HTML page"},
	[OPTION_CHART] = {"chart", "FILE", "draw one workload as SVG: edit-dirty, or what --filter names"},
	[OPTION_READ] = {"read", "FILE", "measure nothing; take the results from FILE, as --json wrote it"},
	[OPTION_COMPARE] = {"compare", NULL, "of two such files, what got slower or faster; 1 if something got slower"},
	[OPTIONS] = {0},
};

static int take_option(size_t which, const char *value);

static const struct syntax syntax = {
	.name = "bench",
	.arguments = "[DIR]...",
	.groups = OPTIONS_QUIET,
	.help = "Measures what the library costs in each directory, the working directory if there\n"
		"is none, beside other ways to do the same. 'snapmap bench --compare OLD NEW' compares\n"
		"two runs. NAMES for --make-fs: xfs, xfs-exchange, btrfs, ext4, tmpfs, overlay,\n"
		"overlay-xfs, or all.\n",
	.own = own_options,
	.take = take_option,
};

#define ITEMS_MAX 64

/* The parts of a list, in one allocation with it. */
struct list {
	char *text;
	const char *items[ITEMS_MAX];
	size_t n;
};

static struct settings {
	struct list make_fs, words, sizes;
	uint64_t size[ITEMS_MAX];
	const char *images, *read;
	const char *files[OPTIONS]; /* by the option that names them */
	bool compare;
	struct run_options run;
} settings = {.run.level = LEVEL_STANDARD};

static struct progress progress;

/* Of one workload: the first word of --filter is its name. */
static int write_chart(const struct results *results, const char *path, struct why *why)
{
	return report_chart_write(results, settings.words.n ? settings.words.items[0] : "edit-dirty", path, why);
}

/* The kinds of files that results are written to. */
static const struct {
	size_t option;
	int (*write)(const struct results *results, const char *path, struct why *why);
} outputs[] = {
	{OPTION_JSON, results_json_write}, {OPTION_CSV, results_csv_write}, {OPTION_MARKDOWN, results_markdown_update},
	{OPTION_HTML, report_html_write},  {OPTION_CHART, write_chart},
};

#define OUTPUTS (sizeof(outputs) / sizeof(outputs[0]))

/* ---- options ---- */

/* Adds the parts of @value. -1 or an exit status. */
static int take_list(const char *option, const char *value, const char *separators, struct list *list)
{
	char *part, *rest;

	free(list->text);
	*list = (struct list){.text = strdup(value)};
	for (part = list->text ? strtok_r(list->text, separators, &rest) : NULL; part;
	     part = strtok_r(NULL, separators, &rest)) {
		if (list->n == ITEMS_MAX)
			return report_usage("bench", "option '--%s' takes at most %d", option, ITEMS_MAX);
		list->items[list->n++] = part;
	}
	return list->n ? -1 : report_usage("bench", "option '--%s' needs a value", option);
}

static int take_make_fs(const char *value)
{
	struct list *list = &settings.make_fs;
	int status = take_list("make-fs", value, ", ", list);

	if (status >= 0)
		return status;
	if (list->n == 1 && !strcmp(list->items[0], "all"))
		for (list->n = 0; makefs_name(list->n); list->n++)
			list->items[list->n] = makefs_name(list->n);
	for (size_t i = 0; i < list->n; i++)
		if (!makefs_knows(list->items[i]))
			return report_usage("bench", "there is no file system '%s' to make", list->items[i]);
	return -1;
}

/* Whole pages: what is edited are pages. */
static int take_sizes(const char *value)
{
	int status = take_list("sizes", value, ", ", &settings.sizes);

	for (size_t i = 0; status < 0 && i < settings.sizes.n; i++) {
		uint64_t *size = &settings.size[i];

		if (size_parse(settings.sizes.items[i], size) || !*size || *size > (uint64_t)1 << 46)
			return report_usage("bench", "'%s' is no size", settings.sizes.items[i]);
		*size = (*size + 4095) & ~(uint64_t)4095;
	}
	settings.run.sizes = settings.size;
	settings.run.nsizes = settings.sizes.n;
	return status;
}

static int take_rounds(const char *value)
{
	uint64_t rounds;

	if (size_parse(value, &rounds) || rounds < HARNESS_ROUNDS_MIN || rounds > HARNESS_ROUNDS_MAX)
		return report_usage("bench", "'%s' is no number of rounds from %u to %u", value, HARNESS_ROUNDS_MIN,
				    HARNESS_ROUNDS_MAX);
	settings.run.rounds = (unsigned)rounds;
	return -1;
}

static int take_option(size_t which, const char *value)
{
	switch (which) {
	case OPTION_MAKE_FS:
		return take_make_fs(value);
	case OPTION_SIZES:
		return take_sizes(value);
	case OPTION_ROUNDS:
		return take_rounds(value);
	case OPTION_FILTER:
		return take_list("filter", value, ", ", &settings.words);
	case OPTION_IMAGES:
		settings.images = value;
		break;
	case OPTION_QUICK:
		settings.run.level = LEVEL_QUICK;
		break;
	case OPTION_FULL:
		settings.run.level = LEVEL_FULL;
		break;
	case OPTION_BARS:
		settings.run.bars = true;
		break;
	case OPTION_JSON:
	case OPTION_CSV:
	case OPTION_MARKDOWN:
	case OPTION_HTML:
	case OPTION_CHART:
		settings.files[which] = value;
		break;
	case OPTION_READ:
		settings.read = value;
		break;
	default:
		settings.compare = true;
	}
	return -1;
}

/* ---- what is told meanwhile ---- */

/* What the line says, and since when. */
static struct telling {
	const char *what, *place;
	double share, left, since, drawn;
} telling;

static void draw(void)
{
	double now = clock_now(), left = telling.left - (now - telling.since);
	char line[256], text[48] = "";

	telling.drawn = now;
	if (left >= 90)
		snprintf(text, sizeof(text), ", %.0f min left", left / 60);
	else if (telling.left >= 0)
		snprintf(text, sizeof(text), ", %.0f s left", left > 1 ? left : 1);
	snprintf(line, sizeof(line), "%3.0f%%%s  %s: %s", telling.share * 100, text, telling.place, telling.what);
	progress_line(&progress, line);
}

static void tell_progress(const char *what, const char *place, double share, double seconds_left)
{
	telling = (struct telling){what, place, share, seconds_left, clock_now(), 0};
	draw();
}

/* Asked again and again, also while something takes long: so this is where the line is kept up to date. */
static bool stopped(void)
{
	if (progress.drawn && telling.what && clock_now() - telling.drawn > 1)
		draw();
	return signals_stopped() != 0;
}

static void tell_done(const struct results *results, size_t place, size_t workload)
{
	static size_t last = SIZE_MAX;

	progress_end(&progress);
	if (place != last)
		show_place(stdout, &results->places[place]);
	last = place;
	show_workload(stdout, results, place, workload, settings.run.bars);
	fflush(stdout);
}

/* ---- measuring ---- */

/* First those that are made, then those that were named. */
static struct spots {
	const char *names[2 * ITEMS_MAX + 1];
	size_t n;
	struct makefs makefs;
} spots;

static bool is_made(size_t spot)
{
	return spot < settings.make_fs.n;
}

static int enter(size_t spot, struct place *ret, struct why *why)
{
	const char *name = spots.names[spot];
	char dir[PATH_MAX];
	int rc;

	if (!is_made(spot))
		return place_begin(name, name, BELOW_UNKNOWN, NULL, ret, why);
	rc = makefs_make(&spots.makefs, name, dir, why);
	if (!rc)
		rc = place_begin(dir, name, settings.images ? BELOW_IMAGE : BELOW_MEMORY, settings.images, ret, why);
	if (rc)
		makefs_unmake(&spots.makefs, name);
	return rc;
}

static void leave(size_t spot, struct place *place)
{
	place_end(place);
	if (is_made(spot))
		makefs_unmake(&spots.makefs, spots.names[spot]);
}

static int name_spot(const char *name, struct why *why)
{
	for (size_t i = 0; i < spots.n; i++)
		if (!strcmp(spots.names[i], name))
			return why_set(why, -EEXIST, "'%s' was named twice", name);
	if (spots.n == 2 * ITEMS_MAX)
		return why_set(why, -E2BIG, "these are too many places");
	spots.names[spots.n++] = name;
	return 0;
}

/* What would fail in the middle of a long run is tried before it. */
static int try_spots(struct why *why)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < spots.n; i++) {
		struct place place;

		rc = is_made(i) ? makefs_check(spots.names[i], why) : enter(i, &place, why);
		if (!rc && !is_made(i))
			place_end(&place);
	}
	return rc;
}

static int begin_making(struct why *why)
{
	const char *used[2 * ITEMS_MAX + OUTPUTS];
	size_t n = 0;

	for (size_t i = settings.make_fs.n; i < spots.n; i++)
		used[n++] = spots.names[i];
	for (size_t i = 0; i < OUTPUTS; i++)
		if (settings.files[outputs[i].option])
			used[n++] = settings.files[outputs[i].option];
	return makefs_begin(settings.images, used, n, &spots.makefs, why);
}

static int find_spots(const struct request *request, struct why *why)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < settings.make_fs.n; i++)
		rc = name_spot(settings.make_fs.items[i], why);
	for (int i = 0; !rc && i < request->count; i++)
		rc = name_spot(request->operands[i], why);
	if (!rc && !spots.n)
		rc = name_spot(".", why);
	if (!rc && settings.make_fs.n)
		rc = begin_making(why);
	return rc ? rc : try_spots(why);
}

/* -1 if there are results, else an exit status after a message. A run that failed may have results, too. */
static int measure(const struct request *request, struct results *ret, bool *ret_failed)
{
	struct run_options *run = &settings.run;
	struct why why = {""};
	int rc = find_spots(request, &why);

	run->nplaces = spots.n;
	run->names = spots.names;
	run->enter = enter;
	run->leave = leave;
	run->words = settings.words.items;
	run->nwords = settings.words.n;
	run->stopped = stopped;
	run->progress = tell_progress;
	run->done = tell_done;
	if (!rc)
		rc = run_measure(run, ret, &why);
	progress_end(&progress);
	if (rc)
		report("%s", why.text);
	*ret_failed = rc != 0;
	if (ret->ncells || (!rc && ret->nplaces))
		return -1;
	results_free(ret);
	return rc ? STATUS_FAILED : report_stopped(NULL);
}

/* ---- outputs ---- */

static int write_outputs(const struct results *results)
{
	struct why why;
	int status = STATUS_OK;

	for (size_t i = 0; i < OUTPUTS; i++) {
		const char *path = settings.files[outputs[i].option];

		if (path && outputs[i].write(results, path, &why)) {
			report("%s", why.text);
			status = STATUS_FAILED;
		}
	}
	return status;
}

static void show_end(const struct results *results)
{
	struct verdicts v = show_verdicts(results);

	putchar('\n');
	show_head(stdout, results);
	if (settings.run.bars)
		printf("%u bars met, %u missed\n", v.met, v.missed);
	if (results->interrupted)
		printf("interrupted: not all was measured\n");
}

static int show_read(struct results *ret)
{
	struct why why;

	if (results_json_read(settings.read, ret, &why)) {
		report("%s", why.text);
		return STATUS_FAILED;
	}
	for (size_t p = 0; p < ret->nplaces; p++)
		for (size_t w = 0; w < ret->nworkloads; w++)
			tell_done(ret, p, w);
	return -1;
}

/* ---- comparing ---- */

static int compare(const struct request *request)
{
	struct results old = {0}, new = {0};
	struct compared found = {0};
	struct why why;

	if (request->count != 2)
		return report_usage("bench", "option '--compare' needs two files");
	if (results_json_read(request->operands[0], &old, &why) ||
	    results_json_read(request->operands[1], &new, &why)) {
		results_free(&old);
		report("%s", why.text);
		return STATUS_FAILED;
	}
	found = compare_runs(stdout, &old, &new);
	results_free(&old);
	results_free(&new);
	if (!found.series) {
		report("'%s' and '%s' have nothing in common", request->operands[0], request->operands[1]);
		return STATUS_FAILED;
	}
	printf("%u series of the library are in both: %u slower, %u faster, the others the same within the noise\n",
	       found.series, found.slower, found.faster);
	if (found.baselines)
		printf("%u baselines took %.2f times as long as before\n", found.baselines, found.drift);
	return report_output(found.slower ? STATUS_FAILED : STATUS_OK);
}

int cmd_bench(int argc, char **argv)
{
	struct results results = {0};
	struct request request;
	bool failed = false;
	int status = options_parse(&syntax, argc, argv, &request);

	if (status >= 0)
		return status;
	if (settings.compare)
		return compare(&request);
	signals_catch();
	progress_start(&progress, request.quiet);
	status = settings.read ? show_read(&results) : measure(&request, &results, &failed);
	if (status >= 0)
		return status;
	show_end(&results);
	status = write_outputs(&results);
	results_free(&results);
	if (stopped())
		return report_stopped(NULL);
	return report_output(failed ? STATUS_FAILED : status);
}
