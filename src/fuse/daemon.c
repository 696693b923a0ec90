/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Going to the background. The image is opened by the child, as threads and private
 * mappings do not follow a fork; the parent has the terminal until the child is ready,
 * so that errors are seen, and the exit status says how it went.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon.h"
#include "src/cli/tool.h"

static int to_parent = -1;
static bool detached;

/* The child has said what was wrong, if it ends before it is ready. */
static void __attribute__((noreturn)) wait_for_child(pid_t pid, int from_child)
{
	char byte;
	ssize_t got;
	int status;

	do
		got = read(from_child, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		tool_say(1, "was killed by signal %d before it was ready", WTERMSIG(status));
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

int daemon_begin(void)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid) {
		close(ends[1]);
		wait_for_child(pid, ends[0]);
	}
	close(ends[0]);
	to_parent = ends[1];
	setsid();
	return 0;
}

bool daemon_ready(void)
{
	bool told;
	int null;

	if (to_parent < 0)
		return true;
	openlog(tool_name, LOG_PID, LOG_DAEMON);
	detached = true;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	if (chdir("/"))
		daemon_log("cannot leave the directory that it was started in");
	told = write(to_parent, "", 1) == 1;
	close(to_parent);
	to_parent = -1;
	return told;
}

void daemon_log(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (detached)
		syslog(LOG_ERR, "%s", text);
	else
		tool_say(0, "%s", text);
}
