/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fsck.minifs: looks for damage in an image, and repairs it. Exit statuses are those of fsck(8). */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <minifs.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stdio.h>

#include "src/cli/tool.h"

enum {
	CLEAN = 0,
	REPAIRED = 1,
	DAMAGED = 4,
	FAILED = 8,
	USAGE = 16,
};

static const char usage[] =
	"Usage: fsck.minifs [-n | -y] [-q] FILE\n"
	"\n"
	"Looks for damage in the image of a mini file system, and prints a sentence for each\n"
	"problem. Without -y nothing is changed.\n"
	"\n"
	"  -n            only report (the default)\n"
	"  -y, -a, -p    repair; the image changes all at once, at the end\n"
	"  -f            as always: check even if there is no sign of damage\n"
	"  -q, --quiet   no sentences about problems\n"
	"  -h, --help    this text\n"
	"  -V, --version the version of the library\n"
	"\n"
	"Exit status: 0 no problem, 1 repaired, 4 problems are left, 8 the check failed, 16 usage.\n";

struct wanted {
	bool repair, quiet;
};

static int take(int option, const char *word, struct wanted *w)
{
	switch (option) {
	case 'n':
	case 'y':
	case 'a':
	case 'p':
		w->repair = option != 'n';
		return -1;
	case 'f':
	case 'C': /* fsck(8) passes these on; they mean nothing here */
	case 'M':
	case 'T':
	case 'v':
		return -1;
	case 'q':
		w->quiet = true;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return tool_output(CLEAN, FAILED);
	case 'V':
		printf("fsck.minifs %s\n", snapmap_version());
		return tool_output(CLEAN, FAILED);
	default:
		return tool_say(USAGE, "there is no option '%s'; see 'fsck.minifs --help'", word);
	}
}

static void print_problem(void *arg, const char *sentence)
{
	(void)arg;
	puts(sentence);
}

static int check(const char *file, const struct wanted *w)
{
	struct minifs_check_result result = {0};
	int rc =
		minifs_check(file, w->repair ? MINIFS_CHECK_REPAIR : 0, w->quiet ? NULL : print_problem, NULL, &result);

	if (rc && rc != -EUCLEAN)
		return tool_say(FAILED, "%s", snapmap_last_error());
	if (!result.found && !rc)
		printf("%s: clean\n", file);
	else if (!rc)
		printf("%s: %llu problems, all repaired\n", file, (unsigned long long)result.found);
	else if (!result.found) /* what does not even look like an image */
		return tool_say(DAMAGED, "%s", snapmap_last_error());
	else if (!w->repair)
		printf("%s: %llu problems; repair them with -y\n", file, (unsigned long long)result.found);
	else
		printf("%s: %llu problems, of which %llu are repaired; try again with more room in the image\n", file,
		       (unsigned long long)result.found, (unsigned long long)result.repaired);
	return rc ? DAMAGED : result.found ? REPAIRED : CLEAN;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct wanted wanted = {0};
	int option, status = -1;

	tool_start("fsck.minifs");
	opterr = 0;
	while (status < 0 && (option = getopt_long(argc, argv, "nyapfqvC::MThV", options, NULL)) != -1)
		status = take(option, argv[optind - 1], &wanted);
	if (status >= 0)
		return status;
	if (argc - optind != 1)
		return tool_say(USAGE, "it wants one image; see 'fsck.minifs --help'");
	return tool_output(check(argv[optind], &wanted), FAILED);
}
