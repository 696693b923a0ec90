/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a report to a file, by a commit of the library. */
#include "config.h"

#include "bench/report_file.h"

#include <errno.h>
#include <snapmap.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[512];

const char *report_last_error(void)
{
	return sentence;
}

void report_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
}

int report_file_write(const char *path, const char *bytes, size_t n)
{
	const struct snapmap_commit_options overwrite = {
		.size = sizeof(overwrite),
		.flags = SNAPMAP_COMMIT_FORCE,
	};
	struct snapmap_mut *map = NULL;
	int rc = snapmap_mut_open(path, NULL, &map);

	if (rc == -ENOENT)
		rc = snapmap_mut_create(path, 0666, NULL, &map);
	/* Cut to nothing first, so that no byte of an old file has to be kept. */
	if (!rc)
		rc = snapmap_mut_resize(map, 0);
	if (!rc)
		rc = snapmap_mut_resize(map, n);
	if (!rc) {
		memcpy(snapmap_mut_data(map), bytes, n);
		rc = snapmap_mut_commit_and_close(map, &overwrite);
	}
	if (rc) {
		report_fail("%s", snapmap_last_error());
		snapmap_mut_close(map);
	}
	return rc;
}
