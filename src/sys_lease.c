/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases (fcntl(2), F_SETLEASE).
 *
 * A lease that breaks sends a signal to its owner, SIGIO by default, which kills
 * a process that did not expect it. The lease taken here is for somebody who
 * asks F_GETLEASE instead of listening: its owner is a thread that has ended, so
 * that the signal has nobody to go to.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

struct unheard {
	int fd;
	int error;
};

static void *take_and_end(void *arg)
{
	struct unheard *u = (struct unheard *)arg;
	struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)syscall(SYS_gettid)};

	if (fcntl(u->fd, F_SETOWN_EX, &owner) || fcntl(u->fd, F_SETLEASE, F_RDLCK))
		u->error = -errno;
	return NULL;
}

/*
 * Takes a read lease on @fd, which must be an open file description of ours
 * alone, opened read-only. The thread is born with all signals blocked, and a
 * break that comes before it ends stays pending with it and is lost with it.
 *
 * Return: 0, -EAGAIN if the file is open for writing anywhere, -EACCES if the
 * caller neither owns it nor has CAP_LEASE, -EINVAL where there are no leases.
 */
int sys_lease_take_unheard(int fd)
{
	struct unheard u = {.fd = fd};
	sigset_t all, before;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	rc = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc)
		return -rc;
	rc = pthread_create(&thread, NULL, take_and_end, &u);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return -rc;
	pthread_join(thread, NULL);
	return u.error;
}

/* False from the moment somebody waits for the lease. */
bool sys_lease_held(int fd)
{
	return fcntl(fd, F_GETLEASE) == F_RDLCK;
}

void sys_lease_drop(int fd)
{
	fcntl(fd, F_SETLEASE, F_UNLCK);
}
