/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CSV (RFC 4180): a line for the value of every round, with all that tells what it is. */
#include "config.h"

#include "bench/output.h"
#include "bench/results_build.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void put_text(FILE *f, const char *text)
{
	putc('"', f);
	for (; *text; text++) {
		if (*text == '"')
			putc('"', f);
		putc(*text, f);
	}
	fputs("\",", f);
}

static void put_series(FILE *f, const struct results *r, const struct results_cell *cell,
		       const struct results_series *s)
{
	const struct results_workload *w = &r->workloads[cell->workload];

	for (size_t i = 0; i < s->nvalues; i++) {
		put_text(f, r->places[cell->place].name);
		put_text(f, r->places[cell->place].type);
		put_text(f, w->id);
		fprintf(f, "%s,%" PRIu64 ",", results_axis_name(w->axis), cell->parameter);
		put_text(f, s->name);
		fprintf(f, "%s,%zu,%.6g,%s\n", s->library ? "library" : "baseline", i, s->values[i],
			results_unit_name(w->unit));
	}
}

int results_csv_write(const struct results *r, const char *path, struct why *why)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int rc;

	if (!f)
		return why_set(why, -ENOMEM, "no memory to write '%s'", path);
	fputs("place,type,workload,axis,parameter,series,kind,round,value,unit\n", f);
	for (size_t i = 0; i < r->ncells; i++)
		for (size_t j = 0; j < r->cells[i].nseries; j++)
			put_series(f, r, &r->cells[i], &r->cells[i].series[j]);
	rc = fclose(f) ? why_set(why, -ENOMEM, "no memory to write '%s'", path) : output_write(path, text, n, why);
	free(text);
	return rc;
}
