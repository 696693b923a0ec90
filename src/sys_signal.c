/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals: dispositions, masks, and what a handler must leave as it was. Safe in signal handlers. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

int sys_sigaction(int signal, const struct sigaction *action, struct sigaction *ret)
{
	return sigaction(signal, action, ret) ? -errno : 0;
}

/* @how as for sigprocmask(2); for this thread. @ret may be NULL. */
void sys_sigmask(int how, const sigset_t *set, sigset_t *ret)
{
	pthread_sigmask(how, set, ret);
}

void sys_block_signals(sigset_t *ret)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, ret);
}

/* Sends this thread a signal that it has got already, with the same information, which may be the kernel's own. */
int sys_signal_again(int signal, siginfo_t *info)
{
	return syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal, info) ? -errno : 0;
}

int sys_errno_keep(void)
{
	return errno;
}

void sys_errno_put_back(int kept)
{
	errno = kept;
}
