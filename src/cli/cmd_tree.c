/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap tree": what is below a directory, from the structure in memory. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

enum {
	OPTION_CROSS_MOUNTS
};

static const struct own_option own_options[] = {
	[OPTION_CROSS_MOUNTS] = {"cross-mounts", NULL, "also list what is mounted below"},
	{NULL, NULL, NULL},
};

static bool cross_mounts;

static int take_option(size_t which, const char *value)
{
	(void)value;
	cross_mounts |= which == OPTION_CROSS_MOUNTS;
	return -1;
}

static const struct syntax syntax = {
	.name = "tree",
	.arguments = "DIR",
	.groups = OPTIONS_OPEN | OPTIONS_QUIET,
	.min_operands = 1,
	.max_operands = 1,
	.help = "Lists what is below the directory, with sizes in bytes and the targets of symbolic\n"
		"links, sorted by name. On btrfs, where the user may make snapshots, it is all as it\n"
		"was at one instant; --strict fails elsewhere. What is mounted below is named, but not\n"
		"entered, unless --cross-mounts is given. What could not be read is told, and makes\n"
		"the exit status 1.\n",
	.own = own_options,
	.take = take_option,
};

struct totals {
	uint64_t files, dirs, bytes;
	bool failed;
};

/* Names are bytes: what could move the cursor or end the line is shown as "?". */
static void print_name(const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		putchar((unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i]);
}

static void print_kind(const struct snapmap_file *file)
{
	if (S_ISDIR(file->mode))
		putchar('/');
	else if (S_ISFIFO(file->mode))
		putchar('|');
	else if (S_ISSOCK(file->mode))
		putchar('=');
	else if (S_ISLNK(file->mode)) {
		printf(" -> ");
		print_name((const char *)file->contents, (size_t)file->size);
	}
}

static void print_file(const struct snapmap_file *file, unsigned depth)
{
	if (S_ISREG(file->mode))
		printf("%14" PRIu64 "  ", file->size);
	else
		printf("%14s  ", S_ISBLK(file->mode) ? "block" : S_ISCHR(file->mode) ? "character" : "");
	printf("%*s", (int)depth * 2, "");
	print_name(file->name, strlen(file->name));
	print_kind(file);
	if (file->flags & SNAPMAP_FILE_MOUNT && depth)
		printf("  (mounted)");
	putchar('\n');
}

static void list(const struct snapmap_file *file, unsigned depth, struct totals *totals)
{
	int error;

	if (signals_stopped())
		return;
	print_file(file, depth);
	if (file->dir) {
		totals->dirs++;
		for (size_t i = 0; i < file->dir->nfiles; i++)
			list(&file->dir->files[i], depth + 1, totals);
	} else {
		totals->files++;
		totals->bytes += S_ISREG(file->mode) ? file->size : 0;
	}
	error = file->dir && file->dir->error ? file->dir->error : file->error;
	if (!error || (file->flags & SNAPMAP_FILE_MOUNT))
		return;
	fflush(stdout);
	report("'%s' cannot be read: %s", file->name, strerror(-error));
	totals->failed = true;
}

static void remark(const struct snapmap_tree *tree)
{
	struct snapmap_tree_info info;

	if (!snapmap_tree_get_info(tree, &info) && info.consistency != SNAPMAP_CONSISTENCY_POINT_IN_TIME)
		report("remark: each directory is as it was when it was read, not all at one instant");
}

int cmd_tree(int argc, char **argv)
{
	struct totals totals = {0};
	struct snapmap_tree *tree;
	struct request request;
	int status, rc;

	status = options_parse(&syntax, argc, argv, &request);
	if (status >= 0)
		return status;
	if (cross_mounts)
		request.open.flags |= SNAPMAP_CROSS_MOUNTS;
	signals_catch();
	rc = snapmap_tree_open(request.operands[0], &request.open, &tree);
	if (rc)
		return report_open(rc);
	list(snapmap_tree_root(tree), 0, &totals);
	printf("%" PRIu64 " directories, %" PRIu64 " files, %" PRIu64 " bytes\n", totals.dirs, totals.files,
	       totals.bytes);
	if (!request.quiet)
		remark(tree);
	snapmap_tree_close(tree);
	if (signals_stopped())
		return report_stopped(NULL);
	return report_output(totals.failed ? STATUS_FAILED : STATUS_OK);
}
