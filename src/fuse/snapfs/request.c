/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of snapfs. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/size.h"
#include "src/cli/tool.h"
#include "wrapper.h"

static const char usage[] =
	"Usage: snapfs LOWER DIRECTORY [-f] [-o OPTION,...]\n"
	"\n"
	"Serves the directory LOWER as a file system on DIRECTORY, which may be LOWER itself,\n"
	"and gives snapshots of its files to everyone who may read them. Returns once it is\n"
	"mounted; umount(8) ends it. Nobody should change what is in LOWER by other ways.\n"
	"\n"
	"  -f, --foreground       do not go to the background\n"
	"  -o ro                  only read\n"
	"  -o snapshots=N         how many snapshots a user may have (16384)\n"
	"  -o kept=SIZE           how many bytes may be kept for the snapshots of a user, such as\n"
	"                         10G; by itself a quarter of the file system of LOWER\n"
	"  -o full=snapshot       where bytes cannot be kept, the snapshot is lost: reading it\n"
	"                         fails with EIO (this is so by itself)\n"
	"  -o full=writer         where bytes cannot be kept, who changes the file gets the error\n"
	"  -o writeback           the kernel collects writes\n"
	"  -o timeout=SECONDS     how long the kernel may keep what it knows of files; for good by\n"
	"                         itself, and 0 for who changes LOWER by other ways nevertheless\n"
	"  -o OPTION              others are libfuse's and mount(8)'s, such as noatime, nodev, suid\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version of the library\n";

static int take_number(const char *option, const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (!*text || *text == '-' || *end || errno || !*ret)
		return tool_say(WORDS_FAILED, "%s wants a number from 1", option);
	return WORDS_GO_ON;
}

static int take_size(const char *text, uint64_t *ret)
{
	if (size_parse(text, ret) || !*ret)
		return tool_say(WORDS_FAILED, "kept=%s is no size", text);
	return WORDS_GO_ON;
}

static int take_full(const char *text, bool *ret)
{
	*ret = !strcmp(text, "writer");
	if (!*ret && strcmp(text, "snapshot") != 0)
		return tool_say(WORDS_FAILED, "full=%s is neither full=snapshot nor full=writer", text);
	return WORDS_GO_ON;
}

static int take_timeout(const char *text, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	if (!*text || *end || !(*ret >= 0 && *ret <= WRAPPER_TIMEOUT))
		return tool_say(WORDS_FAILED, "timeout=%s is no number of seconds", text);
	return WORDS_GO_ON;
}

static int take(const char *option, void *arg)
{
	struct request *r = (struct request *)arg;

	if (!strncmp(option, "snapshots=", 10))
		return take_number("snapshots", option + 10, &r->most_snapshots);
	if (!strncmp(option, "kept=", 5))
		return take_size(option + 5, &r->most_kept);
	if (!strncmp(option, "full=", 5))
		return take_full(option + 5, &r->writer_fails);
	if (!strncmp(option, "timeout=", 8))
		return take_timeout(option + 8, &r->timeout);
	if (strcmp(option, "writeback") != 0 && strcmp(option, "nowriteback") != 0)
		return WORDS_NOT_OURS;
	r->writeback = option[0] == 'w';
	return WORDS_GO_ON;
}

static int find_directory(const char *word, const char *use, char ret[4096])
{
	struct stat st;

	if (!realpath(word, ret) || stat(ret, &st))
		return tool_say(WORDS_FAILED, "cannot %s '%s': %s", use, word, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return tool_say(WORDS_FAILED, "cannot %s '%s': it is no directory", use, word);
	return WORDS_GO_ON;
}

static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return !strncmp(path, directory, n) && (n == 1 || path[n] == '/');
}

int request_read(int argc, char **argv, struct request *ret)
{
	static const struct words_own own = {
		.name = "snapfs", .what = "a directory to serve", .usage = usage, .take = take};
	int status;

	*ret = (struct request){.most_snapshots = 16384, .timeout = WRAPPER_TIMEOUT};
	status = words_read(argc, argv, &own, ret, &ret->words);
	if (status < 0)
		status = find_directory(ret->words.source, "serve", ret->lower);
	if (status < 0)
		status = find_directory(ret->words.directory, "mount on", ret->directory);
	if (status >= 0)
		return status;
	/* It would serve itself, and wait for itself. */
	if (is_below(ret->directory, ret->lower) && strcmp(ret->directory, ret->lower) != 0)
		return tool_say(WORDS_FAILED, "cannot mount '%s' on '%s': that is within it", ret->lower,
				ret->directory);
	return WORDS_GO_ON;
}
