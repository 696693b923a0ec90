/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap cat": files from snapshots. Once the snapshot is there nothing is left
 * to take back, so signals do then what they do to any other program.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct syntax syntax = {
	.name = "cat",
	.arguments = "PATH...",
	.groups = OPTIONS_OPEN | OPTIONS_QUIET,
	.min_operands = 1,
	.help = "Writes the files to standard output, each as it was at one instant: whatever\n"
		"happens to it meanwhile, truncation included, does not show. A file that could\n"
		"not be copied in one instant is written nevertheless, with a remark, unless\n"
		"--strict is given.\n",
};

/* Nothing wrong with standard output, but with the bytes: have the library say what. */
static int report_bytes(const struct snapmap *map, const char *path)
{
	int rc = snapmap_prefault(map, 0, snapmap_size(map));

	return rc ? report_open(rc) : report_error(-EFAULT, "cannot read '%s'", path);
}

static int write_map(const struct snapmap *map, const char *path)
{
	int rc = io_write(STDOUT_FILENO, snapmap_data(map), snapmap_size(map));

	if (rc == -EFAULT)
		return report_bytes(map, path);
	return rc ? report_error(rc, "cannot write to standard output") : STATUS_OK;
}

static void remark(const struct snapmap *map, const char *path)
{
	struct snapmap_info info;

	if (!snapmap_get_info(map, &info) && info.consistency != SNAPMAP_CONSISTENCY_POINT_IN_TIME)
		report("remark: '%s' may have changed while it was copied", path);
}

static int open_map(const char *path, struct request *request, struct snapmap **ret)
{
	struct progress progress;
	int rc;

	signals_catch();
	progress_begin(&progress, request, path);
	rc = snapmap_open(path, &request->open, ret);
	progress_end(&progress);
	if (rc)
		return report_open(rc);
	signals_release();
	if (!signals_stopped())
		return STATUS_OK;
	snapmap_close(*ret);
	return report_stopped(NULL);
}

static int cat(const char *path, struct request *request)
{
	struct snapmap *map;
	int status = open_map(path, request, &map);

	if (status)
		return status;
	if (!request->quiet)
		remark(map, path);
	status = write_map(map, path);
	snapmap_close(map);
	return status;
}

/* Goes on with the next file after one that cannot be opened, as cat(1) does. */
int cmd_cat(int argc, char **argv)
{
	struct request request;
	int status = options_parse(&syntax, argc, argv, &request);

	if (status >= 0)
		return status;
	status = STATUS_OK;
	for (int i = 0; i < request.count && !signals_stopped(); i++) {
		int one = cat(request.operands[i], &request);

		if (one)
			status = one;
	}
	if (close(STDOUT_FILENO) && !status)
		return report_error(-errno, "cannot write to standard output");
	return status;
}
