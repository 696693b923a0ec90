/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of mount.minifs: IMAGE DIRECTORY [-o OPTION,...], as mount(8) calls
 * its helpers. Options that are ours are taken, those for fstab are dropped, and all
 * others go on to libfuse and the kernel, which refuse what they do not know.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"
#include "src/cli/size.h"
#include "src/cli/tool.h"
#include <snapmap.h>

enum {
	FAILED = 1,
};

#define DIRTY_LEAST ((uint64_t)1 << 20)

static const char usage[] =
	"Usage: mount.minifs IMAGE DIRECTORY [-f] [-o OPTION,...]\n"
	"\n"
	"Mounts the image of a mini file system, and returns once it is mounted. It is in the\n"
	"image what fsync(2) was called for, what is older than some seconds, and all of it\n"
	"after umount.minifs, or some time after umount.\n"
	"\n"
	"  -f, --foreground       do not go to the background\n"
	"  -o ro                  only read; others may have the image open meanwhile\n"
	"  -o commit=SECONDS      how often changes become the image (5); 0: only by fsync(2)\n"
	"  -o dirty=SIZE          how much may be changed before there has to be a commit, such as\n"
	"                         100M; by itself an eighth of memory, at most 1G\n"
	"  -o writeback           the kernel collects writes; a full image may be told late, by\n"
	"                         fsync(2) or close(2)\n"
	"  -o OPTION              others are libfuse's and mount(8)'s, such as allow_other,\n"
	"                         noatime, nodev, suid\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version of the library\n";

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

static int take_commit(const char *text, struct request *r)
{
	char *end;
	unsigned long seconds;

	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (!*text || *text == '-' || *end || errno || seconds > 1000000)
		return tool_say(FAILED, "commit=%s is no number of seconds up to 1000000", text);
	r->commit = (unsigned)seconds;
	return -1;
}

static int take_dirty(const char *text, struct request *r)
{
	if (size_parse(text, &r->dirty) || r->dirty < DIRTY_LEAST)
		return tool_say(FAILED, "dirty=%s is no size of 1M at least", text);
	return -1;
}

static int pass_on(const char *option, struct request *r)
{
	size_t n = strlen(r->kernel);

	if (n + strlen(option) + 2 > sizeof(r->kernel))
		return tool_say(FAILED, "there are too many options");
	snprintf(r->kernel + n, sizeof(r->kernel) - n, "%s%s", n ? "," : "", option);
	return -1;
}

static int take_option(const char *option, struct request *r)
{
	if (!*option || is_dropped(option)) {
		if (!strcmp(option, "rw"))
			r->read_only = false;
		return -1;
	}
	if (!strcmp(option, "ro")) {
		r->read_only = true;
		return -1;
	}
	if (!strncmp(option, "commit=", 7))
		return take_commit(option + 7, r);
	if (!strncmp(option, "dirty=", 6))
		return take_dirty(option + 6, r);
	if (!strcmp(option, "writeback") || !strcmp(option, "nowriteback")) {
		r->writeback = option[0] == 'w';
		return -1;
	}
	return pass_on(option, r);
}

static int take_list(char *list, struct request *r)
{
	char *rest = NULL;
	int status = -1;

	for (char *word = strtok_r(list, ",", &rest); word && status < 0; word = strtok_r(NULL, ",", &rest))
		status = take_option(word, r);
	return status;
}

static int take(int option, char *word, struct request *r)
{
	switch (option) {
	case 'o':
		return take_list(optarg, r);
	case 'r':
		r->read_only = true;
		return -1;
	case 'f':
		r->foreground = true;
		return -1;
	case 'n': /* mount(8) passes these on; they mean nothing here */
	case 's':
	case 'v':
	case 'w':
	case 't':
		return -1;
	case 'h':
		fputs(usage, stdout);
		return tool_output(0, FAILED);
	case 'V':
		printf("mount.minifs %s\n", snapmap_version());
		return tool_output(0, FAILED);
	case ':':
		return tool_say(FAILED, "the option '%s' wants a value; see 'mount.minifs --help'", word);
	default:
		return tool_say(FAILED, "there is no option '%s'; see 'mount.minifs --help'", word);
	}
}

int request_read(int argc, char **argv, struct request *ret)
{
	static const struct option long_options[] = {
		{"foreground", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	struct request r = {.commit = 5};
	int option, status = -1;

	opterr = 0;
	while (status < 0 && (option = getopt_long(argc, argv, ":o:t:fhnrsvwV", long_options, NULL)) != -1)
		status = take(option, argv[optind - 1], &r);
	if (status >= 0)
		return status;
	if (argc - optind != 2)
		return tool_say(FAILED, "it wants an image and a directory; see 'mount.minifs --help'");
	r.image = argv[optind];
	r.directory = argv[optind + 1];
	*ret = r;
	return -1;
}
