/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running the program "snapmap", which stands in PATH, and what it wrote. */
#ifndef SNAPMAP_CHECK_CLI_H
#define SNAPMAP_CHECK_CLI_H

#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the last run() wrote; both end with a byte 0. */
static char out[1 << 16], err[1 << 14];

static inline void take_output(int fd, char *buffer, size_t n)
{
	ssize_t got = pread(fd, buffer, n - 1, 0);

	ck_assert_int_ge(got, 0);
	buffer[got] = 0;
	close(fd);
}

/* As a shell tells it. */
static inline int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static inline int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	return status_of(status);
}

/* Runs a line of shell; nothing is written to the test's directory for it. Returns the exit status. */
__attribute__((format(printf, 1, 2))) static inline int run(const char *format, ...)
{
	int to_out = memfd_create("out", MFD_CLOEXEC), to_err = memfd_create("err", MFD_CLOEXEC), status;
	char line[4096];
	va_list args;
	pid_t pid;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	ck_assert(to_out >= 0 && to_err >= 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		signal(SIGPIPE, SIG_DFL);
		dup2(to_out, STDOUT_FILENO);
		dup2(to_err, STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(99);
	}
	status = wait_for(pid);
	take_output(to_out, out, sizeof(out));
	take_output(to_err, err, sizeof(err));
	return status;
}

/* Checks the exit status of a line of shell, and shows its messages if it is another one. */
#define ck_run(status, ...)                                                                                 \
	do {                                                                                                \
		int got_ = run(__VA_ARGS__);                                                                \
		ck_assert_msg(got_ == (status), "status %d instead of %d; it said: %s", got_, status, err); \
	} while (0)

/* Checks that standard error is one line of ours which says @text. */
#define ck_error(text) \
	ck_assert_msg(is_one_line(err) && strstr(err, text), "\"%s\" is not one line with \"%s\"", err, text)

static inline bool is_one_line(const char *text)
{
	const char *end = strchr(text, '\n');

	return !strncmp(text, "snapmap: ", 9) && end && !end[1];
}

/*
 * Number of names in a directory, without those that FUSE gives to files which
 * were removed while open: it takes them away on its own, a little later.
 */
static inline size_t count_names(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	ck_assert(dir != NULL);
	for (struct dirent *d; (d = readdir(dir));)
		count += strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && strncmp(d->d_name, ".fuse_hidden", 12);
	closedir(dir);
	return count;
}

static inline bool file_says(const char *path, const char *text)
{
	return test_file_is(path, text, strlen(text));
}

static inline void write_text(const char *path, const char *text)
{
	test_write_file(path, text, strlen(text));
}

#endif
