/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where programs for the administrator are is not in everybody's path. */
static void search_path(char *ret, size_t n)
{
	const char *path = getenv("PATH");

	snprintf(ret, n, "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
}

bool tool_is_there(const char *name)
{
	char path[4096], file[4096 + 64], *rest = path, *dir;

	search_path(path, sizeof(path));
	while ((dir = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/%s", dir, name);
		if (!access(file, X_OK))
			return true;
	}
	return false;
}

static void be_tool(const char *const argv[], int output, pid_t parent)
{
	int null = open("/dev/null", O_RDONLY);
	char path[4096];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	search_path(path, sizeof(path));
	setenv("PATH", path, 1);
	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* Keeps the last bytes, as a string. */
static void read_output(int fd, char *output)
{
	size_t used = 0;
	ssize_t n;

	for (;;) {
		if (used > TOOL_OUTPUT / 2) {
			memmove(output, output + TOOL_OUTPUT / 4, used - TOOL_OUTPUT / 4);
			used -= TOOL_OUTPUT / 4;
		}
		n = read(fd, output + used, TOOL_OUTPUT - 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	output[used] = 0;
}

static int end_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int judge(const char *name, int status, char *output, struct why *why)
{
	size_t n = strlen(output);

	while (n && output[n - 1] == '\n')
		output[--n] = 0;
	if (status == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return why_set(why, -ENOENT, "the program %s is not installed", name);
	return why_set(why, -EIO, "%s failed: %s", name, n ? output : "it said nothing");
}

int tool_run(const char *const argv[], char *ret_output, struct why *why)
{
	char output[TOOL_OUTPUT];
	pid_t parent = getpid(), pid;
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC))
		return why_set(why, -errno, "cannot run %s: %s", argv[0], strerror(errno));
	pid = fork();
	if (!pid)
		be_tool(argv, ends[1], parent);
	close(ends[1]);
	if (pid > 0)
		read_output(ends[0], output);
	close(ends[0]);
	if (pid < 0)
		return why_set(why, -errno, "cannot run %s: %s", argv[0], strerror(errno));
	rc = judge(argv[0], end_of(pid), output, why);
	if (!rc && ret_output)
		memcpy(ret_output, output, TOOL_OUTPUT);
	return rc;
}
