/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line: every command has the same options under the same names. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

enum {
	OPTION_SOURCE = 256,
	OPTION_STRICT,
	OPTION_STRATEGY,
	OPTION_NO_SYNC,
	OPTION_BREAK_LINKS,
	OPTION_CREATE,
	OPTION_OWN, /* the first of those that only this command has */
};

/* In the order of getopt's table; the commands that have them, and what the help says. */
static const struct {
	struct option option;
	unsigned int groups; /* 0: all commands */
	const char *help;
} known[] = {
	{{"source", required_argument, NULL, OPTION_SOURCE},
	 OPTIONS_OPEN,
	 "      --source=NAME     take the snapshot this way only: auto, reflink, copy, ..."},
	{{"strict", no_argument, NULL, OPTION_STRICT},
	 OPTIONS_OPEN,
	 "      --strict          fail unless the snapshot is a point in time"},
	{{"strategy", required_argument, NULL, OPTION_STRATEGY},
	 OPTIONS_COMMIT,
	 "      --strategy=NAME   commit this way only: auto, exchange, replace, clone, ..."},
	{{"no-sync", no_argument, NULL, OPTION_NO_SYNC},
	 OPTIONS_COMMIT,
	 "      --no-sync         do not wait until the result would survive a power cut"},
	{{"break-links", no_argument, NULL, OPTION_BREAK_LINKS},
	 OPTIONS_COMMIT,
	 "      --break-links     other names of a hard-linked file may keep the old content"},
	{{"force", no_argument, NULL, 'f'},
	 OPTIONS_FORCE,
	 "  -f, --force           overwrite the file although it changed meanwhile"},
	{{"create", no_argument, NULL, OPTION_CREATE},
	 OPTIONS_CREATE,
	 "      --create          begin with an empty file if there is none"},
	{{"quiet", no_argument, NULL, 'q'},
	 OPTIONS_QUIET,
	 "  -q, --quiet           no progress, no remarks; errors are still told"},
	{{"help", no_argument, NULL, 'h'}, 0, "  -h, --help            this text"},
	{{"version", no_argument, NULL, 'V'}, 0, "  -V, --version         the version of the library"},
};

#define OWN_MAX 32
#define KNOWN (sizeof(known) / sizeof(known[0]))

static bool belongs(size_t i, const struct syntax *syntax)
{
	return !known[i].groups || (known[i].groups & syntax->groups);
}

static int print_help(const struct syntax *syntax)
{
	printf("Usage: snapmap %s [OPTION]... %s\n\n%s\n", syntax->name, syntax->arguments, syntax->help);
	for (const struct own_option *own = syntax->own; own && own->name; own++) {
		char option[64];

		snprintf(option, sizeof(option), "--%s%s%s", own->name, own->value ? "=" : "",
			 own->value ? own->value : "");
		printf("      %-16s  %s\n", option, own->help);
	}
	for (size_t i = 0; i < KNOWN; i++)
		if (belongs(i, syntax))
			puts(known[i].help);
	return report_output(STATUS_OK);
}

static int print_version(void)
{
	printf("snapmap %s\n", snapmap_version());
	return report_output(STATUS_OK);
}

static int parse_source(const struct syntax *syntax, const char *name, uint32_t *ret)
{
	for (uint32_t source = 0;; source = source ? source << 1 : 1) {
		const char *candidate = snapmap_source_name(source);

		if (!strcmp(candidate, name) && strcmp(candidate, "unknown") != 0) {
			*ret = source;
			return -1;
		}
		if (source >> 31)
			break;
	}
	return report_usage(syntax->name, "there is no source '%s'", name);
}

static int parse_strategy(const struct syntax *syntax, const char *name, uint32_t *ret)
{
	for (uint32_t strategy = 0; strcmp(snapmap_strategy_name(strategy), "unknown") != 0; strategy++)
		if (!strcmp(snapmap_strategy_name(strategy), name)) {
			*ret = strategy;
			return -1;
		}
	return report_usage(syntax->name, "there is no strategy '%s'", name);
}

/* One option; -1 to go on. */
static int take(const struct syntax *syntax, int option, const char *word, struct request *r)
{
	switch (option) {
	case OPTION_SOURCE:
		return parse_source(syntax, optarg, &r->open.source);
	case OPTION_STRATEGY:
		return parse_strategy(syntax, optarg, &r->commit.strategy);
	case OPTION_STRICT:
		r->open.flags |= SNAPMAP_STRICT;
		return -1;
	case OPTION_NO_SYNC:
		r->commit.flags |= SNAPMAP_COMMIT_NOSYNC;
		return -1;
	case OPTION_BREAK_LINKS:
		r->commit.flags |= SNAPMAP_COMMIT_BREAK_LINKS;
		return -1;
	case 'f':
		r->commit.flags |= SNAPMAP_COMMIT_FORCE;
		return -1;
	case OPTION_CREATE:
		r->create = true;
		return -1;
	case 'q':
		r->quiet = true;
		return -1;
	case 'h':
		return print_help(syntax);
	case 'V':
		return print_version();
	case ':':
		return report_usage(syntax->name, "option '%s' needs a value", word);
	default:
		if (option >= OPTION_OWN)
			return syntax->take((size_t)(option - OPTION_OWN), optarg);
		return report_usage(syntax->name, "option '%s' is not known, or not used rightly", word);
	}
}

/* What getopt() needs, as far as this command has the options. */
static void list_options(const struct syntax *syntax, struct option *ret_long, char *ret_short)
{
	*ret_short++ = ':';
	for (size_t i = 0; i < KNOWN; i++) {
		if (!belongs(i, syntax))
			continue;
		*ret_long++ = known[i].option;
		if (known[i].option.val < OPTION_SOURCE)
			*ret_short++ = (char)known[i].option.val;
	}
	for (int i = 0; syntax->own && syntax->own[i].name; i++)
		*ret_long++ =
			(struct option){syntax->own[i].name, syntax->own[i].value ? required_argument : no_argument,
					NULL, OPTION_OWN + i};
	*ret_long = (struct option){0};
	*ret_short = 0;
}

int options_parse(const struct syntax *syntax, int argc, char **argv, struct request *ret)
{
	struct request r = {.open = {.size = sizeof(r.open)}, .commit = {.size = sizeof(r.commit)}};
	struct option long_options[KNOWN + OWN_MAX + 1];
	char short_options[KNOWN + 2];
	int option, status;

	list_options(syntax, long_options, short_options);
	opterr = 0;
	for (;;) {
		option = getopt_long(argc, argv, short_options, long_options, NULL);
		if (option == -1)
			break;
		status = take(syntax, option, argv[optind - 1], &r);
		if (status >= 0)
			return status;
	}
	r.operands = argv + optind;
	r.count = argc - optind;
	if (r.count < syntax->min_operands)
		return report_usage(syntax->name, "an argument is missing");
	if (syntax->max_operands && r.count > syntax->max_operands)
		return report_usage(syntax->name, "one argument too many: '%s'", r.operands[syntax->max_operands]);
	*ret = r;
	return -1;
}
