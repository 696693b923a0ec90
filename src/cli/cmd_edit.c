/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap edit": a command works on a private copy; what it made of it is
 * compared with the snapshot and committed.
 *
 * The snapshot is taken before the copy is made from it, so that whatever others
 * do to the file while the command runs is a conflict at the commit. The result
 * is read by its path, since many editors write by rename.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

#define PIECE ((size_t)1 << 20)

static const struct syntax syntax = {
	.name = "edit",
	.arguments = "FILE -- COMMAND...",
	.groups = OPTIONS_OPEN | OPTIONS_QUIET | OPTIONS_COMMIT | OPTIONS_FORCE | OPTIONS_CREATE,
	.min_operands = 2,
	.help = "Runs COMMAND on a private copy of FILE, and if that succeeds commits the copy's\n"
		"content at once. Each argument that is just {} becomes the path of the copy; if\n"
		"there is none the path comes last. If COMMAND fails nothing changes, and its exit\n"
		"status is passed on (128+N if signal N killed it). If FILE changed meanwhile the\n"
		"exit status is 3, FILE is left alone, and the edit is kept under a name that is\n"
		"told.\n",
};

/* @created: the file is to appear with the commit. @changed: the result differs from the snapshot. */
struct edit {
	const char *file;
	struct request *request;
	struct snapmap_mut *map;
	struct workdir work;
	bool created, changed;
};

/* ---- before the command ---- */

/* Returns an exit status. */
static int open_file(struct edit *e)
{
	struct progress progress;
	int rc;

	progress_begin(&progress, e->request, e->file);
	rc = snapmap_mut_open(e->file, &e->request->open, &e->map);
	if (rc == -ENOENT && e->request->create) {
		rc = snapmap_mut_create(e->file, 0666, &e->request->open, &e->map);
		e->created = !rc;
	}
	progress_end(&progress);
	return rc ? report_open(rc) : STATUS_OK;
}

static const struct snapmap_probe_entry *find_strategy(const struct snapmap_probe *probe, uint32_t id)
{
	for (uint32_t i = 0; i < probe->nstrategies; i++)
		if (probe->strategies[i].id == id)
			return &probe->strategies[i];
	return NULL;
}

/*
 * Whether a commit has a chance: better to hear it before an hour of editing than
 * after. What the probe cannot know the commit will tell.
 */
static int check_chances(const struct edit *e)
{
	uint32_t id = e->request->commit.strategy;
	const struct snapmap_probe_entry *entry;
	struct snapmap_probe probe;

	if (e->created || snapmap_probe(e->file, &probe) || (id == SNAPMAP_STRATEGY_AUTO && probe.strategy))
		return STATUS_OK;
	entry = find_strategy(&probe, id ? id : SNAPMAP_STRATEGY_REPLACE);
	if (!entry || !entry->error)
		return STATUS_OK;
	if (entry->error != -EMLINK)
		return report_error(0, "cannot edit '%s': %s", e->file, entry->reason);
	if (e->request->commit.flags & SNAPMAP_COMMIT_BREAK_LINKS)
		return STATUS_OK;
	return report_error(0,
			    "cannot edit '%s': %s; allow with --break-links that the other names keep the old content, "
			    "or see --strategy",
			    e->file, entry->reason);
}

/* Returns an exit status. */
static int make_copy(const struct edit *e)
{
	const struct snapmap_commit_options options = {.size = sizeof(options), .flags = SNAPMAP_COMMIT_NOSYNC};
	int rc = snapmap_mut_link(e->map, e->work.file, &options);

	return rc ? report_open(rc) : STATUS_OK;
}

/* ---- the command ---- */

/* COMMAND with the path put in; to be freed. Only whole arguments: a path within a script would be run as code. */
static char **make_arguments(char **command, int count, char *path)
{
	char **argv = (char **)calloc((size_t)count + 2, sizeof(*argv));
	bool found = false;

	if (!argv)
		return NULL;
	for (int i = 0; i < count; i++) {
		bool place = i > 0 && !strcmp(command[i], "{}");

		argv[i] = place ? path : command[i];
		found = found || place;
	}
	if (!found)
		argv[count] = path;
	return argv;
}

/* Returns what the exit status should be if it is not to be committed, else 0. */
static int judge(const struct edit *e, const char *command, int wait_status)
{
	if (signals_stopped())
		return report_stopped(e->file);
	if (WIFSIGNALED(wait_status)) {
		report("'%s' was killed by signal %d; '%s' is as it was", command, WTERMSIG(wait_status), e->file);
		return STATUS_SIGNAL + WTERMSIG(wait_status);
	}
	if (WEXITSTATUS(wait_status))
		report("'%s' ended with status %d; '%s' is as it was", command, WEXITSTATUS(wait_status), e->file);
	return WEXITSTATUS(wait_status);
}

static int run_command(struct edit *e, char **command, int count)
{
	char **argv = make_arguments(command, count, e->work.file);
	int wait_status = 0, rc;

	if (!argv)
		return report_error(-ENOMEM, "cannot run '%s'", command[0]);
	rc = signals_stopped() ? 0 : run_program(argv, &wait_status);
	free((void *)argv);
	if (!rc)
		return judge(e, command[0], wait_status);
	report_error(rc, "cannot run '%s'", command[0]);
	return rc == -ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

/* ---- after the command ---- */

static int open_result(const struct edit *e, int *ret_fd, size_t *ret_size)
{
	int fd = open(e->work.file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	*ret_size = (size_t)st.st_size;
	return 0;
}

/* Stores the bytes from @fd that differ. */
static int store_result(struct edit *e, int fd, size_t size)
{
	char *buffer = (char *)malloc(PIECE);
	int rc = buffer ? 0 : -ENOMEM;

	for (size_t at = 0; !rc && at < size;) {
		ssize_t got = io_read(fd, buffer, size - at < PIECE ? size - at : PIECE);

		if (got > 0)
			rc = io_store(e->map, at, buffer, (size_t)got, &e->changed);
		else
			rc = got ? (int)got : -EIO;
		at += got > 0 ? (size_t)got : 0;
	}
	free(buffer);
	return rc;
}

/* Returns an exit status. */
static int take_result(struct edit *e)
{
	size_t size = 0;
	int fd = -1, rc = open_result(e, &fd, &size);

	if (rc)
		return report_error(rc, "cannot read the edited copy of '%s', which is as it was", e->file);
	if (size != snapmap_mut_size(e->map)) {
		e->changed = true;
		rc = snapmap_mut_resize(e->map, size);
	}
	if (!rc)
		rc = store_result(e, fd, size);
	close(fd);
	if (signals_stopped())
		return report_stopped(e->file);
	return rc ? report_error(rc, "cannot read the edited copy of '%s', which is as it was", e->file) : STATUS_OK;
}

/* Returns an exit status. An edit that could not be committed stays where it is. */
static int commit(struct edit *e, bool *ret_keep)
{
	int rc, status;

	/* Nobody's work is lost if there is none. */
	if (!e->changed && !e->created && !(e->request->commit.flags & SNAPMAP_COMMIT_FORCE))
		return STATUS_OK;
	rc = snapmap_mut_commit_and_close(e->map, &e->request->commit);
	if (!rc) {
		e->map = NULL;
		return STATUS_OK;
	}
	status = report_commit(rc);
	report("the edit is kept in '%s'", e->work.file);
	*ret_keep = true;
	return status;
}

static int edit_copy(struct edit *e)
{
	bool keep = false;
	int status = make_copy(e);

	if (!status)
		status = run_command(e, e->request->operands + 1, e->request->count - 1);
	if (!status)
		status = take_result(e);
	if (!status)
		status = commit(e, &keep);
	if (!keep)
		workdir_remove(&e->work);
	return status;
}

int cmd_edit(int argc, char **argv)
{
	struct request request;
	struct edit e = {.request = &request};
	int status = options_parse(&syntax, argc, argv, &request);

	if (status >= 0)
		return status;
	/* getopt() takes away one "--", which may have stood before FILE. */
	if (!strcmp(request.operands[1], "--") && request.count > 2) {
		request.operands[1] = request.operands[0];
		request.operands++;
		request.count--;
	}
	e.file = request.operands[0];
	signals_catch();
	status = open_file(&e);
	if (!status)
		status = check_chances(&e);
	if (!status)
		status = workdir_create(&e.work, e.file);
	if (!status)
		status = edit_copy(&e);
	snapmap_mut_close(e.map);
	return status;
}
