/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running the user's command as system(3) does: what is typed at the terminal
 * (^C, ^\) is for the command, which lives or dies by it, and not for us. What is
 * sent to us alone (SIGTERM, SIGHUP) is passed on, and remembered.
 */
#include "config.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

/* SIGTERM and SIGHUP, unless they are ignored, and SIGCHLD: blocked, and waited for. */
static void list_waited(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGCHLD);
	if (sigismember(signals_changed(), SIGTERM) == 1)
		sigaddset(ret, SIGTERM);
	if (sigismember(signals_changed(), SIGHUP) == 1)
		sigaddset(ret, SIGHUP);
}

/* Being blocked, no signal is lost between looking and waiting. */
static int wait_for(pid_t pid, const sigset_t *waited)
{
	int status;

	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);
		int signal;

		if (done == pid)
			return status;
		signal = sigwaitinfo(waited, NULL);
		if (signal > 0 && signal != SIGCHLD) {
			signals_note(signal);
			kill(pid, signal);
		}
	}
}

static int spawn(char *const argv[], const sigset_t *mask, const sigset_t *defaults, pid_t *ret)
{
	posix_spawnattr_t attributes;
	int error = posix_spawnattr_init(&attributes);

	if (error)
		return -error;
	posix_spawnattr_setsigmask(&attributes, mask);
	posix_spawnattr_setsigdefault(&attributes, defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	error = posix_spawnp(ret, argv[0], NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	return -error;
}

int run_program(char *const argv[], int *ret_wait_status)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
	struct sigaction old_int, old_quit, old_child;
	sigset_t waited, mask, defaults = *signals_changed();
	pid_t pid = -1;
	int rc;

	list_waited(&waited);
	sigprocmask(SIG_BLOCK, &waited, &mask);
	sigaction(SIGINT, &ignore, &old_int);
	sigaction(SIGQUIT, &ignore, &old_quit);
	/* Ignored, children would leave no status behind. */
	sigaction(SIGCHLD, &standard, &old_child);
	if (old_quit.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGQUIT);
	rc = spawn(argv, &mask, &defaults, &pid);
	if (!rc)
		*ret_wait_status = wait_for(pid, &waited);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGQUIT, &old_quit, NULL);
	sigaction(SIGCHLD, &old_child, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return rc;
}
