/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages: one line each, in the words of the command line. The library's
 * sentences name its functions and flags; what has an option here is called by
 * that, and names of files cannot break the line or drive the terminal.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define LINE_SIZE 2048

static const struct {
	const char *theirs, *ours;
} words[] = {
	{"merge, overwrite with SNAPMAP_COMMIT_FORCE, or save elsewhere with snapmap_mut_link",
	 "merge, or overwrite with --force"},
	{"save it with a name of its own", "use the path of a file"},
	{"SNAPMAP_COMMIT_FORCE", "--force"},
	{"SNAPMAP_COMMIT_BREAK_LINKS", "--break-links"},
	{"SNAPMAP_COMMIT_NOSYNC", "--no-sync"},
	{"SNAPMAP_STRICT", "--strict"},
	{"the strategy clone", "--strategy=clone"},
	{"with tmpdir", "with TMPDIR"},
};

/* Puts @ours where @line says @theirs, as far as it fits. */
static void replace(char *line, const char *theirs, const char *ours)
{
	char *found = strstr(line, theirs);
	char rest[LINE_SIZE];

	if (!found)
		return;
	snprintf(rest, sizeof(rest), "%s", found + strlen(theirs));
	snprintf(found, (size_t)(line + LINE_SIZE - found), "%s%s", ours, rest);
}

/* A single write, so that lines of several programs do not mix. */
static void put_line(char *line)
{
	size_t n;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		replace(line, words[i].theirs, words[i].ours);
	line[LINE_SIZE - 2] = 0;
	n = strlen(line);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[n] = '\n';
	io_write(STDERR_FILENO, line, n + 1);
}

/* @prefix and the formatted text; @error, if not 0, a negative errno, is spelled out behind. */
static void put(const char *prefix, int error, const char *format, va_list args)
{
	char line[LINE_SIZE];
	size_t n;

	n = (size_t)snprintf(line, sizeof(line), "snapmap: %s", prefix);
	vsnprintf(line + n, sizeof(line) - n, format, args);
	n = strlen(line);
	if (error)
		snprintf(line + n, sizeof(line) - n, ": %s", strerror(-error));
	put_line(line);
}

void report(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put("", 0, format, args);
	va_end(args);
}

int report_usage(const char *command, const char *format, ...)
{
	char with_hint[256], prefix[64] = "";
	va_list args;

	if (command)
		snprintf(prefix, sizeof(prefix), "%s: ", command);
	snprintf(with_hint, sizeof(with_hint), "%s; see 'snapmap help%s%s'", format, command ? " " : "",
		 command ? command : "");
	va_start(args, format);
	put(prefix, 0, with_hint, args);
	va_end(args);
	return STATUS_USAGE;
}

int report_error(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put("", error, format, args);
	va_end(args);
	return STATUS_FAILED;
}

/* After an open, or any other call that does not publish. */
int report_open(int rc)
{
	if (rc == -ECANCELED && signals_stopped())
		return report_stopped(NULL);
	report("%s", snapmap_last_error());
	return STATUS_FAILED;
}

int report_commit(int rc)
{
	report("%s", snapmap_last_error());
	return rc == -EBUSY ? STATUS_CONFLICT : STATUS_FAILED;
}

/* @file: what would have been changed, or NULL. */
int report_stopped(const char *file)
{
	int signal = signals_stopped();

	if (file)
		report("stopped by signal %d; '%s' is as it was", signal, file);
	else
		report("stopped by signal %d", signal);
	return STATUS_SIGNAL + signal;
}

/* Only closing tells of the last errors; a full disk must not look like success. */
int report_output(int status)
{
	bool failed = ferror(stdout);

	if (fclose(stdout) || failed)
		return report_error(-errno, "cannot write to standard output");
	return status;
}
