/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inotify(7): changes of files and directories. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sys.h"

int sys_inotify_open(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* The number of the watch; the same one for what is watched already. */
int sys_inotify_add(int fd, const char *path, uint32_t mask)
{
	int watch = inotify_add_watch(fd, path, mask);

	return watch < 0 ? -errno : watch;
}

void sys_inotify_remove(int fd, int watch)
{
	inotify_rm_watch(fd, watch);
}

/* Waits for either to be ready to be read, @ms at most (-1: for ever). Returns 1 for the first, 2 for the second, or both. */
int sys_wait_two(int first, int second, int ms)
{
	struct pollfd fds[] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
	int n = poll(fds, 2, ms);

	if (n <= 0)
		return 0;
	return (fds[0].revents ? 1 : 0) | (fds[1].revents ? 2 : 0);
}
