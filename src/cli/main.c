/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program "snapmap": finds the command and runs it. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"info", "what a place supports, and why not more", cmd_info},
	{"cat", "write files to standard output, each from a snapshot", cmd_cat},
	{"edit", "run a command on a private copy, and commit what it made of it", cmd_edit},
	{"sponge", "replace a file by standard input, once that has ended", cmd_sponge},
	{"patch", "write standard input into a file at an offset", cmd_patch},
	{"fs", "list, read, copy and clone files inside the image of a mini file system", cmd_fs},
	{"tree", "list what is below a directory, at one instant where that can be had", cmd_tree},
	{"bench", "measure what things cost here, and on which file system they cost less", cmd_bench},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int (*find(const char *name))(int argc, char **argv)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run;
	return NULL;
}

static void print_usage(FILE *to)
{
	fprintf(to, "Usage: snapmap COMMAND [OPTION]... [ARGUMENT]...\n"
		    "\n"
		    "Files as memory that does not change, and atomic edits.\n"
		    "\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n"
		    "  snapmap help COMMAND    what a command does, and its options\n"
		    "  snapmap --version       the version of the library\n");
}

/* "help", "help COMMAND": the command explains itself. */
static int help(int argc, char **argv)
{
	char option[] = "--help";
	int (*run)(int argc, char **argv);

	if (argc < 2) {
		print_usage(stdout);
		return report_output(STATUS_OK);
	}
	run = find(argv[1]);
	if (!run)
		return report_usage(NULL, "there is no command '%s'", argv[1]);
	return run(2, (char *[]){argv[1], option, NULL});
}

static int version(void)
{
	printf("snapmap %s\n", snapmap_version());
	return report_output(STATUS_OK);
}

int main(int argc, char **argv)
{
	int (*run)(int argc, char **argv);

	io_claim_standard();
	if (argc < 2) {
		print_usage(stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return version();
	run = find(argv[1]);
	if (!run)
		return report_usage(NULL, "there is no %s '%s'", argv[1][0] == '-' ? "option" : "command", argv[1]);
	return run(argc - 1, argv + 1);
}
