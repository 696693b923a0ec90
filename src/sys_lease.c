/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases (fcntl(2), F_SETLEASE).
 *
 * A lease that breaks sends a signal to its owner, SIGIO by default, which kills
 * a process that did not expect it. So there are two kinds here:
 *  - a lease with a thread that waits for breaks: LEASE_SIGNAL is sent to that one
 *    thread, which has it blocked, and never to the process;
 *  - a lease that nobody listens to, for somebody who asks F_GETLEASE instead: its
 *    owner is a thread that has ended, so that the signal has nobody to go to.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

/*
 * A thread that waits for a signal also takes those meant for the whole process,
 * so it must be one that nobody sends. This one the kernel never does. It is no
 * real-time signal: a second one is merged with the first instead of queued, so it
 * cannot be lost for want of room in the queue (RLIMIT_SIGPENDING), but whoever gets
 * it has to look at all leases.
 */
#ifdef SIGSTKFLT
#define LEASE_SIGNAL SIGSTKFLT
#else
#define LEASE_SIGNAL SIGPWR
#endif

struct unheard {
	int fd;
	int error;
};

/*
 * Takes a read lease on @fd, which must be an open file description of ours
 * alone, opened with O_RDONLY and O_NONBLOCK. Breaks are told to the thread @owner.
 *
 * Return: 0, -EAGAIN if the file is open for writing anywhere, -EACCES if the
 * caller neither owns it nor has CAP_LEASE, -EINVAL where there are no leases.
 */
int sys_lease_take(int fd, pid_t owner)
{
	struct f_owner_ex to = {.type = F_OWNER_TID, .pid = owner};

	if (fcntl(fd, F_SETOWN_EX, &to) || fcntl(fd, F_SETSIG, LEASE_SIGNAL) || fcntl(fd, F_SETLEASE, F_RDLCK))
		return -errno;
	return 0;
}

/*
 * The same for a moment, by a thread of ours with all signals blocked: what a break sends
 * stays pending with it, and is lost with it.
 */
int sys_lease_take_briefly(int fd)
{
	struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = sys_gettid()};

	return fcntl(fd, F_SETOWN_EX, &owner) || fcntl(fd, F_SETLEASE, F_RDLCK) ? -errno : 0;
}

static void *take_and_end(void *arg)
{
	struct unheard *u = (struct unheard *)arg;

	u->error = sys_lease_take_briefly(u->fd);
	return NULL;
}

/*
 * The same, but nobody is told. The thread has all signals blocked, and a break that
 * comes before it ends stays pending with it and is lost with it.
 */
int sys_lease_take_unheard(int fd)
{
	struct unheard u = {.fd = fd};
	pthread_t thread;
	int rc = sys_thread_start(take_and_end, &u, &thread);

	if (rc)
		return rc;
	pthread_join(thread, NULL);
	return u.error;
}

/* False from the moment somebody waits for the lease. */
bool sys_lease_held(int fd)
{
	return fcntl(fd, F_GETLEASE) == F_RDLCK;
}

/*
 * Whether sys_lease_take() may have taken a lease on this open file description, ended
 * or not. Told by O_NONBLOCK, which hardly anybody gives to a regular file: owner and
 * signal are forgotten by the kernel when a lease ends.
 */
bool sys_lease_marked(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK);
}

void sys_lease_drop(int fd)
{
	fcntl(fd, F_SETLEASE, F_UNLCK);
}

/*
 * Gives a lease up. Return: 0 if it was held up to this moment; -EAGAIN if the
 * kernel had taken it away already, because a break took too long.
 */
int sys_lease_end(int fd)
{
	return fcntl(fd, F_SETLEASE, F_UNLCK) ? -errno : 0;
}

/*
 * Not LEASE_SIGNAL: since Linux 6.12 a pending signal of a timer that was set anew is
 * dropped when it is to be delivered, and with it another of the same number that had
 * been merged with it. Only threads of ours get it, and they have it blocked.
 */
#define TIMER_SIGNAL SIGVTALRM

/*
 * For the owner of leases, with all signals blocked: waits for a break, or for
 * sys_lease_wake(). Return: 1, and in @ret_fd the descriptor of one lease that
 * breaks or -1; 0 if nothing came within @ms milliseconds, -1 being no limit.
 */
int sys_lease_wait(int ms, int *ret_fd)
{
	const struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	siginfo_t info;
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, LEASE_SIGNAL);
	sigaddset(&set, TIMER_SIGNAL);
	do
		rc = sigtimedwait(&set, &info, ms < 0 ? NULL : &limit);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return 0;
	*ret_fd = info.si_code == POLL_MSG ? info.si_fd : -1;
	return 1;
}

void sys_lease_wake(pid_t owner)
{
	syscall(SYS_tgkill, getpid(), owner, LEASE_SIGNAL);
}

/* A timer that wakes the thread @owner as sys_lease_wake() does. Not there in a child of fork(). */
int sys_lease_timer_create(pid_t owner, timer_t *ret)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TIMER_SIGNAL};

	event._sigev_un._tid = owner;
	return timer_create(CLOCK_MONOTONIC, &event, ret) ? -errno : 0;
}

/* Once, after @ns nanoseconds; 0: not at all. */
void sys_lease_timer_set(timer_t timer, uint64_t ns)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)}};

	timer_settime(timer, 0, &when, NULL);
}

void sys_lease_timer_delete(timer_t timer)
{
	timer_delete(timer);
}

/* Seconds after which the kernel takes away a lease that breaks; 0: never. Negative if it cannot be asked. */
int sys_lease_break_time(void)
{
	int fd = sys_openat(AT_FDCWD, "/proc/sys/fs/lease-break-time", O_RDONLY, 0), seconds;
	char text[16];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = sys_pread(fd, text, sizeof(text) - 1, 0);
	sys_close(fd);
	if (n <= 0)
		return n < 0 ? (int)n : -EIO;
	text[n] = 0;
	seconds = atoi(text);
	return seconds < 0 ? 0 : seconds;
}
