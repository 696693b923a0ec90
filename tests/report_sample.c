/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report_sample DIRECTORY: writes NAME.html and NAME.svg for each sample there is, for
 * tests/check_report. A chart that cannot be drawn is no file.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "bench/report_html.h"
#include "report_samples.h"

#define SEED 20260131

static int write_sample(const struct sample *sample, const char *dir)
{
	struct results *results = sample->make(SEED);
	struct why why = {""};
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/%s.html", dir, sample->name);
	rc = report_html_write(results, path, &why);
	if (rc)
		fprintf(stderr, "%s: %s\n", path, why.text);
	if (!rc && results->nworkloads > 1) {
		snprintf(path, sizeof(path), "%s/%s.svg", dir, sample->name);
		if (report_chart_write(results, results->workloads[1].id, path, &why))
			fprintf(stderr, "%s: %s\n", path, why.text);
	}
	report_sample_drop(results);
	return rc;
}

int main(int argc, char **argv)
{
	int rc = argc == 2 ? 0 : -1;

	for (const struct sample *s = report_samples; s->name && !rc; s++)
		rc = write_sample(s, argv[1]);
	return rc ? 1 : 0;
}
