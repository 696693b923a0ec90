/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options that are the program's own are taken, those for fstab are dropped, and all
 * others go on to libfuse and the kernel, which refuse what they do not know.
 */
#include "config.h"

#include <getopt.h>
#include <limits.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/tool.h"
#include "words.h"

/* Known to mount(8) or fstab(5) only. */
static bool is_dropped(const char *option)
{
	static const char *const dropped[] = {"rw",    "defaults", "auto",	 "noauto",	"nofail",  "_netdev",
					      "owner", "group",	   "users",	 "user",	"nouser",  "loop",
					      "async", "relatime", "norelatime", "strictatime", "lazytime"};

	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (!strcmp(option, dropped[i]))
			return true;
	return !strncmp(option, "x-", 2) || !strncmp(option, "X-", 2) || !strncmp(option, "comment=", 8);
}

static int pass_on(const char *option, struct words *w)
{
	size_t n = strlen(w->kernel);

	if (n + strlen(option) + 2 > sizeof(w->kernel))
		return tool_say(WORDS_FAILED, "there are too many options");
	snprintf(w->kernel + n, sizeof(w->kernel) - n, "%s%s", n ? "," : "", option);
	return WORDS_GO_ON;
}

static int take_option(const char *option, const struct words_own *own, void *arg, struct words *w)
{
	int status;

	if (!*option || is_dropped(option)) {
		if (!strcmp(option, "rw"))
			w->read_only = false;
		return WORDS_GO_ON;
	}
	if (!strcmp(option, "ro")) {
		w->read_only = true;
		return WORDS_GO_ON;
	}
	status = own->take(option, arg);
	return status == WORDS_NOT_OURS ? pass_on(option, w) : status;
}

static int take_list(char *list, const struct words_own *own, void *arg, struct words *w)
{
	char *rest = NULL;
	int status = WORDS_GO_ON;

	for (char *word = strtok_r(list, ",", &rest); word && status < 0; word = strtok_r(NULL, ",", &rest))
		status = take_option(word, own, arg, w);
	return status;
}

static int take(int option, char *word, const struct words_own *own, void *arg, struct words *w)
{
	switch (option) {
	case 'o':
		return take_list(optarg, own, arg, w);
	case 'r':
		w->read_only = true;
		return WORDS_GO_ON;
	case 'f':
		w->foreground = true;
		return WORDS_GO_ON;
	case 'n': /* mount(8) passes these on; they mean nothing here */
	case 's':
	case 'v':
	case 'w':
	case 't':
		return WORDS_GO_ON;
	case 'h':
		fputs(own->usage, stdout);
		return tool_output(0, WORDS_FAILED);
	case 'V':
		printf("%s %s\n", own->name, snapmap_version());
		return tool_output(0, WORDS_FAILED);
	case ':':
		return tool_say(WORDS_FAILED, "the option '%s' wants a value; see '%s --help'", word, own->name);
	default:
		return tool_say(WORDS_FAILED, "there is no option '%s'; see '%s --help'", word, own->name);
	}
}

bool words_kernel_options(const struct words *w, const char *name, const char *subtype, char *ret, size_t size)
{
	char escaped[2 * PATH_MAX + 1];
	size_t n = 0;

	for (const char *p = name; *p && n + 2 < sizeof(escaped); p++) {
		if (*p == ',' || *p == '\\')
			escaped[n++] = '\\';
		escaped[n++] = *p;
	}
	escaped[n] = 0;
	return snprintf(ret, size, "-ofsname=%s,subtype=%s,default_permissions%s%s%s%s", escaped, subtype,
			geteuid() ? "" : ",allow_other", w->read_only ? ",ro" : "", *w->kernel ? "," : "",
			w->kernel) < (int)size;
}

int words_read(int argc, char **argv, const struct words_own *own, void *arg, struct words *ret)
{
	static const struct option long_options[] = {
		{"foreground", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct words w = {0};
	int option, status = WORDS_GO_ON;

	opterr = 0;
	while (status < 0 && (option = getopt_long(argc, argv, ":o:t:fhnrsvwV", long_options, NULL)) != -1)
		status = take(option, argv[optind - 1], own, arg, &w);
	if (status >= 0)
		return status;
	if (argc - optind != 2)
		return tool_say(WORDS_FAILED, "it wants %s and a directory; see '%s --help'", own->what, own->name);
	w.source = argv[optind];
	w.directory = argv[optind + 1];
	*ret = w;
	return WORDS_GO_ON;
}
