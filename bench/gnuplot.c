/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running gnuplot. Input and outputs are memory files rather than pipes: neither side waits for
 * the other, no signal tells of a reader that went away, and nothing has a name.
 */
#include "config.h"

#include "bench/gnuplot.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Its descriptors 0, 1 and 2 */
struct streams {
	int fd[3];
};

static int write_all(int fd, const char *bytes, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t part = pwrite(fd, bytes + done, n - done, (off_t)done);

		if (part < 0 && errno != EINTR)
			return -errno;
		if (part > 0)
			done += (size_t)part;
	}
	return 0;
}

static int read_all(int fd, char **ret, size_t *ret_n)
{
	struct stat st;
	size_t done = 0;
	ssize_t part = 1;
	char *bytes;

	if (fstat(fd, &st))
		return -errno;
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return -ENOMEM;
	while (done < (size_t)st.st_size && part) {
		part = pread(fd, bytes + done, (size_t)st.st_size - done, (off_t)done);
		if (part < 0 && errno != EINTR) {
			int rc = -errno;

			free(bytes);
			return rc;
		}
		if (part > 0)
			done += (size_t)part;
	}
	bytes[done] = 0;
	*ret = bytes;
	*ret_n = done;
	return 0;
}

static void close_streams(struct streams *s)
{
	for (int i = 0; i < 3; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
}

static int open_streams(struct streams *ret)
{
	struct streams s = {{-1, -1, -1}};

	for (int i = 0; i < 3; i++) {
		s.fd[i] = memfd_create("gnuplot", MFD_CLOEXEC);
		if (s.fd[i] < 0) {
			int rc = -errno;

			close_streams(&s);
			return rc;
		}
	}
	*ret = s;
	return 0;
}

/* Signals that this program blocks or ignores are to end gnuplot as usual. */
static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, defaults;
	int error;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGXFSZ);
	error = posix_spawnattr_setsigmask(attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(attributes, &defaults);
	if (!error)
		error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return error;
}

/* Its environment is empty but for the locale: variables could name start-up files and fonts. */
static int start(const struct streams *s, pid_t *ret)
{
	static char name[] = "gnuplot", defaults[] = "-d", from_input[] = "-", locale[] = "LC_ALL=C";
	char *argv[] = {name, defaults, from_input, NULL}, *envp[] = {locale, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int error;

	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return -error;
	error = posix_spawnattr_init(&attributes);
	if (error) {
		posix_spawn_file_actions_destroy(&actions);
		return -error;
	}
	error = set_signals(&attributes);
	for (int i = 0; i < 3 && !error; i++)
		error = posix_spawn_file_actions_adddup2(&actions, s->fd[i], i);
	if (!error)
		error = posix_spawnp(ret, name, &actions, &attributes, argv, envp);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

static int wait_for(pid_t pid, int *ret_status)
{
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* The first line of its own message that says something; it also prints where the error is, by a line and a caret. */
static void complain(int fd, int status, char complaint[GNUPLOT_COMPLAINT_SIZE])
{
	char *text, *line, *save;
	size_t n;

	if (WIFSIGNALED(status))
		snprintf(complaint, GNUPLOT_COMPLAINT_SIZE, "gnuplot was ended by signal %d", WTERMSIG(status));
	else
		snprintf(complaint, GNUPLOT_COMPLAINT_SIZE, "gnuplot failed with exit status %d", WEXITSTATUS(status));
	if (read_all(fd, &text, &n))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, "line ")) {
			snprintf(complaint, GNUPLOT_COMPLAINT_SIZE, "gnuplot failed: %s", line + strspn(line, " \t\""));
			break;
		}
	free(text);
}

static int run(const struct streams *s, const char *script, size_t n, char **ret, size_t *ret_n,
	       char complaint[GNUPLOT_COMPLAINT_SIZE])
{
	int status, rc = write_all(s->fd[0], script, n);
	pid_t pid;

	if (!rc)
		rc = start(s, &pid);
	if (!rc)
		rc = wait_for(pid, &status);
	if (rc) {
		snprintf(complaint, GNUPLOT_COMPLAINT_SIZE, "%s",
			 rc == -ENOENT ? "gnuplot is not installed (package gnuplot-nox)"
				       : "gnuplot cannot be started");
		return rc;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		complain(s->fd[2], status, complaint);
		return -EIO;
	}
	return read_all(s->fd[1], ret, ret_n);
}

int gnuplot_run(const char *script, size_t n, char **ret, size_t *ret_n, char ret_complaint[GNUPLOT_COMPLAINT_SIZE])
{
	struct streams s;
	int rc;

	snprintf(ret_complaint, GNUPLOT_COMPLAINT_SIZE, "gnuplot cannot be given its input");
	rc = open_streams(&s);
	if (rc)
		return rc;
	rc = run(&s, script, n, ret, ret_n, ret_complaint);
	close_streams(&s);
	return rc;
}
