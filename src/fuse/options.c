/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of mount.minifs. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"
#include "src/cli/size.h"
#include "src/cli/tool.h"

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

static int take_commit(const char *text, struct request *r)
{
	char *end;
	unsigned long seconds;

	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (!*text || *text == '-' || *end || errno || seconds > 1000000)
		return tool_say(WORDS_FAILED, "commit=%s is no number of seconds up to 1000000", text);
	r->commit = (unsigned)seconds;
	return WORDS_GO_ON;
}

static int take_dirty(const char *text, struct request *r)
{
	if (size_parse(text, &r->dirty) || r->dirty < DIRTY_LEAST)
		return tool_say(WORDS_FAILED, "dirty=%s is no size of 1M at least", text);
	return WORDS_GO_ON;
}

static int take(const char *option, void *arg)
{
	struct request *r = (struct request *)arg;

	if (!strncmp(option, "commit=", 7))
		return take_commit(option + 7, r);
	if (!strncmp(option, "dirty=", 6))
		return take_dirty(option + 6, r);
	if (strcmp(option, "writeback") != 0 && strcmp(option, "nowriteback") != 0)
		return WORDS_NOT_OURS;
	r->writeback = option[0] == 'w';
	return WORDS_GO_ON;
}

int request_read(int argc, char **argv, struct request *ret)
{
	static const struct words_own own = {
		.name = "mount.minifs",
		.what = "an image",
		.usage = usage,
		.take = take,
	};
	struct request r = {.commit = 5};
	int status = words_read(argc, argv, &own, &r, &r.words);

	if (status >= 0)
		return status;
	r.image = r.words.source;
	r.directory = r.words.directory;
	*ret = r;
	return WORDS_GO_ON;
}
