/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mkfs.minifs: makes the image of a mini file system. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <minifs.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"
#include "src/cli/tool.h"

static const char usage[] = "Usage: mkfs.minifs [OPTION]... FILE [SIZE]\n"
			    "\n"
			    "Makes FILE the image of an empty mini file system. SIZE is in bytes, with K, M, G or T\n"
			    "in powers of 1024; without it that of the smallest image, 256 KiB. Until something is\n"
			    "stored in it, most of FILE is a hole.\n"
			    "\n"
			    "  -f, --force          overwrite a file that exists\n"
			    "  -l, --large          the format for large files, also in an image of 256 KiB\n"
			    "  -i, --inodes=COUNT   how many files there can be; else one for each 16 KiB\n"
			    "  -m, --mode=MODE      permissions of the root directory, in octal (755)\n"
			    "  -L, --label=LABEL    a name for people, up to 31 bytes\n"
			    "  -U, --uuid=UUID      else it is random\n"
			    "  -q, --quiet          say nothing if it went well\n"
			    "  -h, --help           this text\n"
			    "  -V, --version        the version of the library\n";

struct wanted {
	struct minifs_format_options format;
	uint8_t uuid[16];
	bool quiet;
};

static int read_number(const char *text, int base, unsigned long limit, uint32_t *ret)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, base);
	if (!*text || strchr("+- ", *text) || *end || errno || value > limit)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

static int hex(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *found = c ? strchr(digits, c) : NULL;
	int value = found ? (int)(found - digits) : -1;

	return value > 15 ? value - 6 : value;
}

/* 32 digits, with any hyphens between bytes. */
static int read_uuid(const char *text, uint8_t *ret)
{
	size_t n = 0;

	while (*text) {
		if (*text == '-') {
			text++;
			continue;
		}
		if (n == 16 || hex(text[0]) < 0 || hex(text[1]) < 0)
			return -EINVAL;
		ret[n++] = (uint8_t)(hex(text[0]) << 4 | hex(text[1]));
		text += 2;
	}
	return n == 16 ? 0 : -EINVAL;
}

/* -1 to go on, else the exit status. */
static int take(int option, const char *word, struct wanted *w)
{
	switch (option) {
	case 'f':
		w->format.flags |= MINIFS_FORMAT_FORCE;
		return -1;
	case 'l':
		w->format.flags |= MINIFS_FORMAT_LARGE;
		return -1;
	case 'i':
		if (read_number(optarg, 10, UINT32_MAX, &w->format.inodes) || !w->format.inodes)
			return tool_say(STATUS_USAGE, "'%s' is no number of inodes", optarg);
		return -1;
	case 'm':
		if (read_number(optarg, 8, 07777, &w->format.mode) || !w->format.mode)
			return tool_say(STATUS_USAGE, "'%s' are no permissions", optarg);
		return -1;
	case 'L':
		if (strlen(optarg) > 31)
			return tool_say(STATUS_USAGE, "the label '%s' is longer than 31 bytes", optarg);
		w->format.label = optarg;
		return -1;
	case 'U':
		if (read_uuid(optarg, w->uuid))
			return tool_say(STATUS_USAGE, "'%s' is no UUID", optarg);
		w->format.uuid = w->uuid;
		return -1;
	case 'q':
		w->quiet = true;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return tool_output(STATUS_OK, STATUS_FAILED);
	case 'V':
		printf("mkfs.minifs %s\n", snapmap_version());
		return tool_output(STATUS_OK, STATUS_FAILED);
	case ':':
		return tool_say(STATUS_USAGE, "the option '%s' wants a value; see 'mkfs.minifs --help'", word);
	default:
		return tool_say(STATUS_USAGE, "there is no option '%s'; see 'mkfs.minifs --help'", word);
	}
}

static int read_arguments(int argc, char **argv, struct wanted *w)
{
	static const struct option options[] = {
		{"force", no_argument, NULL, 'f'},	  {"large", no_argument, NULL, 'l'},
		{"inodes", required_argument, NULL, 'i'}, {"mode", required_argument, NULL, 'm'},
		{"label", required_argument, NULL, 'L'},  {"uuid", required_argument, NULL, 'U'},
		{"quiet", no_argument, NULL, 'q'},	  {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	  {0},
	};
	int option, status = -1;

	opterr = 0;
	while (status < 0 && (option = getopt_long(argc, argv, ":fli:m:L:U:qhV", options, NULL)) != -1)
		status = take(option, argv[optind - 1], w);
	if (status >= 0)
		return status;
	if (argc - optind < 1 || argc - optind > 2)
		return tool_say(STATUS_USAGE, "it wants a file, and perhaps a size; see 'mkfs.minifs --help'");
	if (argc - optind == 2 && size_parse(argv[optind + 1], &w->format.bytes))
		return tool_say(STATUS_USAGE, "'%s' is no size", argv[optind + 1]);
	return -1;
}

/* Of what was made, as it says itself. */
static int show(const char *file)
{
	struct minifs_space space;
	struct minifs *fs;

	if (minifs_open(file, MINIFS_RDONLY, &fs))
		return tool_say(STATUS_FAILED, "%s", snapmap_last_error());
	if (!minifs_statfs(fs, &space))
		printf("%s: %llu blocks of %llu bytes for data, %llu inodes, files up to %llu bytes\n", file,
		       (unsigned long long)space.blocks, (unsigned long long)space.block_size,
		       (unsigned long long)space.inodes, (unsigned long long)space.size_max);
	minifs_close(fs);
	return tool_output(STATUS_OK, STATUS_FAILED);
}

int main(int argc, char **argv)
{
	struct wanted wanted = {.format = {.size = sizeof(wanted.format)}};
	int rc, status;

	tool_start("mkfs.minifs");
	status = read_arguments(argc, argv, &wanted);
	if (status >= 0)
		return status;
	rc = minifs_format(argv[optind], &wanted.format);
	if (rc == -EEXIST)
		return tool_say(STATUS_FAILED, "'%s' exists; overwrite it with --force", argv[optind]);
	if (rc)
		return tool_say(STATUS_FAILED, "%s", snapmap_last_error());
	return wanted.quiet ? STATUS_OK : show(argv[optind]);
}
