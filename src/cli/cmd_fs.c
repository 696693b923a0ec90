/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap fs": files inside the image of a mini file system, without mounting it. Each
 * operation is a row of a table; those that change something are in the image all at
 * once when they end, or not at all.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"

static const struct {
	const char *name;
	int min, max; /* arguments behind the image; a maximum of 0: any number */
	bool writes;
	int (*run)(struct fs_job *job);
} operations[] = {
	{"ls", 0, 0, false, fs_ls},	 {"cat", 1, 0, false, fs_cat}, {"stat", 1, 0, false, fs_stat},
	{"df", 0, -1, false, fs_df},	 {"get", 2, 2, false, fs_get}, {"put", 2, 2, true, fs_put},
	{"clone", 2, 2, true, fs_clone},
};

enum {
	OPTION_LONG,
};

static bool wants_long;

static const struct own_option own[] = {
	[OPTION_LONG] = {"long", NULL, "ls: with mode, links, owner, size and time"},
	{0},
};

static int take(size_t which, const char *value)
{
	(void)which;
	(void)value;
	wants_long = true;
	return -1;
}

static const struct syntax syntax = {
	.name = "fs",
	.arguments = "OPERATION IMAGE [ARGUMENT]...",
	.groups = OPTIONS_QUIET,
	.min_operands = 2,
	.help = "Works on the files of a mini file system in the file IMAGE, which mkfs.minifs\n"
		"makes. Paths begin at its root.\n"
		"\n"
		"  ls IMAGE [PATH]...        names in directories, each on a line\n"
		"  cat IMAGE PATH...         write files to standard output\n"
		"  stat IMAGE PATH...        what is known of files\n"
		"  df IMAGE                  how full it is\n"
		"  get IMAGE PATH FILE       copy a file out; FILE changes all at once\n"
		"  put IMAGE FILE PATH       copy a file in, or standard input for '-'\n"
		"  clone IMAGE FROM TO       a new file TO that shares all blocks with FROM\n"
		"\n"
		"put and clone change the image all at once when they end. If somebody has it open\n"
		"for writing the exit status is 3, and nothing is written.\n",
	.own = own,
	.take = take,
};

int fs_failed(int rc)
{
	return rc == -EBUSY ? report_commit(rc) : report_open(rc);
}

static int run_on(struct fs_job *job, const char *image, bool writes, int (*run)(struct fs_job *job))
{
	int rc, status;

	signals_catch();
	rc = minifs_open(image, writes ? 0 : MINIFS_RDONLY, &job->fs);
	if (rc)
		return fs_failed(rc);
	status = run(job);
	if (!status && signals_stopped())
		status = report_stopped(writes ? image : NULL);
	if (!status && writes) {
		rc = minifs_sync(job->fs);
		status = rc ? fs_failed(rc) : STATUS_OK;
	}
	minifs_close(job->fs);
	return status;
}

int cmd_fs(int argc, char **argv)
{
	struct request request;
	struct fs_job job = {0};
	int status = options_parse(&syntax, argc, argv, &request);
	size_t i = 0;

	if (status >= 0)
		return status;
	while (i < sizeof(operations) / sizeof(operations[0]) && strcmp(operations[i].name, request.operands[0]) != 0)
		i++;
	if (i == sizeof(operations) / sizeof(operations[0]))
		return report_usage(syntax.name, "there is no operation '%s'", request.operands[0]);
	job.arguments = request.operands + 2;
	job.count = request.count - 2;
	job.quiet = request.quiet;
	job.long_format = wants_long;
	if (job.count < operations[i].min)
		return report_usage(syntax.name, "an argument is missing");
	if (operations[i].max && job.count > (operations[i].max < 0 ? 0 : operations[i].max))
		return report_usage(syntax.name, "one argument too many: '%s'", job.arguments[job.count - 1]);
	status = run_on(&job, request.operands[1], operations[i].writes, operations[i].run);
	return report_output(status);
}
