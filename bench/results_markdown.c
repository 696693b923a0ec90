/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A summary as a Markdown table, put between two comments of a text that is otherwise
 * left alone. A line is a place, a column one cell of the results; which, is said below.
 */
#include "config.h"

#include "bench/output.h"
#include "bench/show.h"
#include "bench/statistics.h"
#include "bench/workload.h"

#include <errno.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN "<!-- snapmap bench -->\n"
#define END "<!-- end of snapmap bench -->\n"
#define SIZE (256 * MIB)

/* @series: NULL for the first of the library that was measured and lacks nothing */
static const struct column {
	const char *head, *workload, *series;
} columns[] = {
	{"open a snapshot", "open-size", "snapmap"},
	{"plain mmap", "open-size", "open, mmap"},
	{"open to edit", "open-size", "snapmap_mut"},
	{"edit, commit, close", "edit-size", "snapmap"},
	{"the same by hand (*)", "edit-size", "write temporary, fsync, rename"},
	{"commit and go on", "commit-size", NULL},
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static bool is_wanted(const struct results_series *s, const char *name)
{
	if (s->status != STATUS_MEASURED || !s->nvalues)
		return false;
	return name ? !strcmp(s->name, name) : s->library && !s->lacks;
}

static const struct results_series *find(const struct results *r, size_t place, const struct column *column)
{
	for (size_t i = 0; i < r->ncells; i++) {
		const struct results_cell *c = &r->cells[i];

		if (c->place != place || c->parameter != SIZE ||
		    strcmp(r->workloads[c->workload].id, column->workload) != 0)
			continue;
		for (size_t s = 0; s < c->nseries; s++)
			if (is_wanted(&c->series[s], column->series))
				return &c->series[s];
	}
	return NULL;
}

static void put_row(FILE *f, const struct results *r, size_t place)
{
	char value[32];

	fprintf(f, "| %s |", r->places[place].name);
	for (size_t i = 0; i < COLUMNS; i++) {
		const struct results_series *s = find(r, place, &columns[i]);
		struct quartiles q;

		if (!s) {
			fputs(" - |", f);
			continue;
		}
		q = quartiles_of(s->values, s->nvalues);
		show_value(value, sizeof(value), q.median, UNIT_SECONDS);
		fprintf(f, " %s%s |", quartiles_are_noisy(&q) ? "~ " : "", value);
	}
	putc('\n', f);
}

static void put_table(FILE *f, const struct results *r)
{
	fprintf(f,
		"\nMedians for a file of %llu MiB; an edit changes 16 pages. ~ stands before those whose\n"
		"quartiles lie more than %.0f %% apart.\n\n| file system |",
		(unsigned long long)(SIZE / MIB), STATISTICS_NOISY * 100);
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(f, " %s |", columns[i].head);
	fputs("\n|---|", f);
	for (size_t i = 0; i < COLUMNS; i++)
		fputs("---|", f);
	putc('\n', f);
	for (size_t i = 0; i < r->nplaces; i++)
		put_row(f, r, i);
	fprintf(f,
		"\n(*) Without the library: read all, write all to a temporary file, edit that, fsync,\n"
		"rename, fsync the directory.\n\n"
		"Measured by `snapmap bench` %s on %.10s:\n%s; Linux %s;\n"
		"each is the median of at least %u rounds, in which all took turns.\n\n",
		r->library, r->date, r->machine, r->kernel, r->rounds);
}

/* Everything of @text but what stands between the comments. */
static bool put_text(FILE *f, const char *text, const struct results *r)
{
	const char *begin = strstr(text, BEGIN), *end = begin ? strstr(begin, END) : NULL;

	if (!end)
		return false;
	begin += strlen(BEGIN);
	fwrite(text, 1, (size_t)(begin - text), f);
	put_table(f, r);
	fputs(end, f);
	return true;
}

/* The content of a file as a string; NULL with @why. */
static char *read_text(const char *path, struct why *why)
{
	struct snapmap *map;
	char *text;

	if (snapmap_open(path, NULL, &map)) {
		why_set(why, -EIO, "%s", snapmap_last_error());
		return NULL;
	}
	text = strndup((const char *)snapmap_data(map), snapmap_size(map));
	snapmap_close(map);
	if (!text)
		why_set(why, -ENOMEM, "no memory to read '%s'", path);
	return text;
}

int results_markdown_update(const struct results *r, const char *path, struct why *why)
{
	char *old = read_text(path, why), *new = NULL;
	size_t n = 0;
	FILE *f;
	bool found;
	int rc;

	if (!old)
		return -EIO;
	f = open_memstream(&new, &n);
	found = f && put_text(f, old, r);
	free(old);
	if (!f || fclose(f))
		rc = why_set(why, -ENOMEM, "no memory to write '%s'", path);
	else if (!found)
		rc = why_set(why, -EINVAL, "'%s' has no lines \"%.*s\" and \"%.*s\" for the table to go between", path,
			     (int)strlen(BEGIN) - 1, BEGIN, (int)strlen(END) - 1, END);
	else
		rc = output_write(path, new, n, why);
	free(new);
	return rc;
}
