/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Being asked to stop. A handler only notes it: the work that runs looks here
 * now and then, takes itself back and cleans up. A signal that was ignored when
 * the program started stays ignored, as nohup(1) wants it.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>

#include "cli.h"

static const int stopping[] = {SIGINT, SIGTERM, SIGHUP};

static volatile sig_atomic_t stopped_by;
static sigset_t changed;

static void handle(int signal)
{
	stopped_by = signal;
}

static void change(int signal, const struct sigaction *action)
{
	struct sigaction old;

	if (sigaction(signal, NULL, &old) || old.sa_handler == SIG_IGN)
		return;
	if (!sigaction(signal, action, NULL))
		sigaddset(&changed, signal);
}

/*
 * System calls are interrupted rather than restarted, so that the loops around
 * them notice. A closed pipe must not end the program before it has cleaned up.
 */
void signals_catch(void)
{
	const struct sigaction note = {.sa_handler = handle}, ignore = {.sa_handler = SIG_IGN};

	sigemptyset(&changed);
	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++)
		change(stopping[i], &note);
	change(SIGPIPE, &ignore);
}

void signals_release(void)
{
	const struct sigaction action = {.sa_handler = SIG_DFL};

	for (int signal = 1; signal < NSIG; signal++)
		if (sigismember(&changed, signal) == 1)
			sigaction(signal, &action, NULL);
}

int signals_stopped(void)
{
	return stopped_by;
}

void signals_note(int signal)
{
	stopped_by = signal;
}

const sigset_t *signals_changed(void)
{
	return &changed;
}

/* The signals are let in only while waiting, so that none slips in between the look and the wait. */
int signals_wait(int fd, short events)
{
	struct pollfd wanted = {.fd = fd, .events = events};
	sigset_t block, old;
	int ready = -1;

	sigemptyset(&block);
	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++)
		sigaddset(&block, stopping[i]);
	sigprocmask(SIG_BLOCK, &block, &old);
	while (!stopped_by && ready < 0) {
		ready = ppoll(&wanted, 1, NULL, &old);
		if (ready < 0 && errno != EINTR)
			break;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	return stopped_by ? -ECANCELED : 0;
}
