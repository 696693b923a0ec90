/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap patch": standard input is stored at an offset. Only pages that come
 * out different are stored into, so that the commit writes no others.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define PIECE ((size_t)256 << 10)

static const struct syntax syntax = {
	.name = "patch",
	.arguments = "FILE OFFSET",
	.groups = OPTIONS_OPEN | OPTIONS_QUIET | OPTIONS_COMMIT | OPTIONS_FORCE,
	.min_operands = 2,
	.max_operands = 2,
	.help = "Writes standard input over the bytes of FILE from OFFSET on, all at once when\n"
		"the input has ended. Past its end the file grows; bytes in between are zeros.\n"
		"OFFSET is decimal, or hexadecimal after 0x; K, M, G, T, P and E, also as KiB\n"
		"and so on, multiply by powers of 1024, KB and so on by powers of 1000. If FILE\n"
		"changes meanwhile the exit status is 3, and nothing is written.\n",
};

static int store(struct snapmap_mut *map, uint64_t offset, const char *bytes, size_t n)
{
	bool changed;
	int rc = 0;

	if (snapmap_mut_size(map) < offset || snapmap_mut_size(map) - offset < n)
		rc = snapmap_mut_resize(map, (size_t)offset + n);
	return rc ? rc : io_store(map, (size_t)offset, bytes, n, &changed);
}

/* Returns an exit status. */
static int absorb(struct snapmap_mut *map, uint64_t offset)
{
	char *buffer = (char *)malloc(PIECE);
	ssize_t got = buffer ? 1 : -ENOMEM;
	int rc = 0;

	while (!rc && got > 0) {
		got = io_read(STDIN_FILENO, buffer, PIECE);
		if (got > 0) {
			rc = store(map, offset, buffer, (size_t)got);
			offset += (uint64_t)got;
		}
	}
	free(buffer);
	if (rc)
		return report_open(rc);
	if (got == -ECANCELED)
		return STATUS_SIGNAL;
	return got < 0 ? report_error((int)got, "cannot read standard input") : STATUS_OK;
}

static int patch(const char *file, uint64_t offset, struct request *request)
{
	struct progress progress;
	struct snapmap_mut *map;
	int rc, status;

	signals_catch();
	progress_begin(&progress, request, file);
	rc = snapmap_mut_open(file, &request->open, &map);
	progress_end(&progress);
	if (rc)
		return report_open(rc);
	status = absorb(map, offset);
	if (signals_stopped()) {
		status = report_stopped(file);
	} else if (!status) {
		rc = snapmap_mut_commit_and_close(map, &request->commit);
		if (!rc)
			return STATUS_OK;
		status = report_commit(rc);
	}
	snapmap_mut_close(map);
	return status;
}

int cmd_patch(int argc, char **argv)
{
	struct request request;
	int rc, status = options_parse(&syntax, argc, argv, &request);
	uint64_t offset;

	if (status >= 0)
		return status;
	rc = size_parse(request.operands[1], &offset);
	if (rc)
		return report_usage(syntax.name,
				    rc == -EOVERFLOW ? "the offset '%s' is too large" : "'%s' is no offset",
				    request.operands[1]);
	return patch(request.operands[0], offset, &request);
}
