/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of the programs beside "snapmap": one line each, whatever the names in them. */
#include "config.h"

#include "src/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *tool_name = "";

void tool_start(const char *name)
{
	tool_name = name;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* A single write, so that lines of several programs do not mix. */
int tool_say(int status, const char *format, ...)
{
	char line[2048];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s: ", tool_name);
	va_list args;

	va_start(args, format);
	vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	n = strlen(line);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[n] = '\n';
	if (write(STDERR_FILENO, line, n + 1) < 0)
		return status;
	return status;
}

int tool_output(int status, int failed)
{
	int error = ferror(stdout) ? EIO : 0;

	if (fclose(stdout))
		error = errno;
	return error ? tool_say(failed, "cannot write to standard output: %s", strerror(error)) : status;
}
