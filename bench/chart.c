/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drawing charts: one run of gnuplot for all of them, whose output is a row of SVG documents. */
#include "config.h"

#include "bench/chart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int write_scripts(const struct chart *charts, size_t n, char **ret, size_t *ret_n)
{
	FILE *out = open_memstream(ret, ret_n);

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		chart_script(&charts[i], out);
	/* Ends the last document. */
	fputs("set output\n", out);
	if (fclose(out)) {
		free(*ret);
		return -ENOMEM;
	}
	return 0;
}

static int rewrite(const struct chart *chart, unsigned number, const char *svg, size_t n, char **ret)
{
	char *bytes;
	size_t size;
	FILE *out = open_memstream(&bytes, &size);
	int rc;

	if (!out)
		return -ENOMEM;
	rc = chart_rewrite(chart, number, svg, n, out);
	if (fclose(out) && !rc)
		rc = -ENOMEM;
	if (rc)
		free(bytes);
	else
		*ret = bytes;
	return rc;
}

/* Documents begin with "<?xml". */
static int split(const struct chart *charts, size_t n, const char *bytes, size_t size, char **svgs)
{
	static const char mark[] = "<?xml";
	const char *end = bytes + size, *at = strstr(bytes, mark);

	for (size_t i = 0; i < n; i++) {
		const char *next;
		int rc;

		if (!at)
			return -EIO;
		next = strstr(at + 1, mark);
		rc = rewrite(&charts[i], (unsigned)i, at, (size_t)((next ? next : end) - at), &svgs[i]);
		if (rc)
			return rc;
		at = next;
	}
	return at ? -EIO : 0;
}

int chart_draw(const struct chart *charts, size_t n, char **svgs, char ret_complaint[GNUPLOT_COMPLAINT_SIZE])
{
	char *script, *bytes;
	size_t size;
	int rc;

	memset(svgs, 0, n * sizeof(*svgs));
	ret_complaint[0] = 0;
	if (!n)
		return 0;
	rc = write_scripts(charts, n, &script, &size);
	if (rc) {
		snprintf(ret_complaint, GNUPLOT_COMPLAINT_SIZE, "memory ran out");
		return rc;
	}
	rc = gnuplot_run(script, size, &bytes, &size, ret_complaint);
	free(script);
	if (rc)
		return rc;
	rc = split(charts, n, bytes, size, svgs);
	free(bytes);
	if (!rc) {
		ret_complaint[0] = 0;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		free(svgs[i]);
		svgs[i] = NULL;
	}
	snprintf(ret_complaint, GNUPLOT_COMPLAINT_SIZE, "what gnuplot wrote is no chart that is understood here");
	return rc;
}
