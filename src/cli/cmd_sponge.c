/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap sponge": standard input becomes the file. It goes into the memory of
 * an editable handle that was cut to nothing, so that the commit takes over no
 * byte of the old file, but all its attributes.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "cli.h"

/* Room grows by doubling, for growing may move all of it; untouched room takes no memory. */
#define FIRST_ROOM ((size_t)16 << 20)
#define PIECE ((size_t)1 << 20)

static const struct syntax syntax = {
	.name = "sponge",
	.arguments = "FILE",
	.groups = OPTIONS_OPEN | OPTIONS_QUIET | OPTIONS_COMMIT,
	.min_operands = 1,
	.max_operands = 1,
	.help = "Reads standard input to its end, in memory, and then has it replace the content\n"
		"of FILE at once; so FILE may be where the input comes from. Mode, owner and\n"
		"other attributes stay. FILE is made if there is none. Whatever is there by the\n"
		"end of the input is replaced, also if it changed meanwhile. If reading fails or\n"
		"is interrupted nothing changes.\n",
};

static int open_target(const char *file, struct request *request, struct snapmap_mut **ret)
{
	struct progress progress;
	int rc;

	progress_begin(&progress, request, file);
	rc = snapmap_mut_open(file, &request->open, ret);
	if (rc == -ENOENT)
		rc = snapmap_mut_create(file, 0666, &request->open, ret);
	progress_end(&progress);
	return rc;
}

/* Short of address space, a small step may do where doubling does not. */
static int make_room(struct snapmap_mut *map, size_t used)
{
	size_t room = used * 2 < FIRST_ROOM ? FIRST_ROOM : used * 2;

	if (snapmap_mut_size(map) - used >= PIECE || !snapmap_mut_resize(map, room))
		return 0;
	return snapmap_mut_size(map) > used ? 0 : snapmap_mut_resize(map, used + PIECE);
}

/* Returns an exit status. */
static int absorb(struct snapmap_mut *map)
{
	int rc = snapmap_mut_resize(map, 0);
	size_t used = 0;
	ssize_t got = 1;

	while (!rc && got > 0) {
		rc = make_room(map, used);
		if (rc)
			break;
		got = io_read(STDIN_FILENO, (char *)snapmap_mut_data(map) + used, snapmap_mut_size(map) - used);
		if (got > 0)
			used += (size_t)got;
	}
	if (!rc && got < 0)
		return got == -ECANCELED ? STATUS_SIGNAL : report_error((int)got, "cannot read standard input");
	if (!rc)
		rc = snapmap_mut_resize(map, used);
	return rc ? report_open(rc) : STATUS_OK;
}

int cmd_sponge(int argc, char **argv)
{
	struct request request;
	struct snapmap_mut *map;
	int rc, status = options_parse(&syntax, argc, argv, &request);
	const char *file;

	if (status >= 0)
		return status;
	file = request.operands[0];
	request.commit.flags |= SNAPMAP_COMMIT_FORCE;
	signals_catch();
	rc = open_target(file, &request, &map);
	if (rc)
		return report_open(rc);
	status = absorb(map);
	if (signals_stopped()) {
		status = report_stopped(file);
	} else if (!status) {
		rc = snapmap_mut_commit_and_close(map, &request.commit);
		if (!rc)
			return STATUS_OK;
		status = report_commit(rc);
	}
	snapmap_mut_close(map);
	return status;
}
