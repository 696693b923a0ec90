/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: links, renames, and the paths that /proc knows of descriptors. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#define FD_LINK_SIZE sizeof("/proc/thread-self/fd/-2147483648")

/* Of this thread: it may have descriptors of its own, and outlive the first one. */
static void fd_link(int fd, char *buf)
{
	snprintf(buf, FD_LINK_SIZE, "/proc/thread-self/fd/%d", fd);
}

/*
 * Gives a nameless file (O_TMPFILE) a name that must not exist. The direct way
 * wants CAP_DAC_READ_SEARCH, or since Linux 6.10 the opener's credentials; the
 * way through /proc works for everyone who has /proc.
 */
int sys_link_fd(int fd, int dirfd, const char *name)
{
	char path[FD_LINK_SIZE];
	int first;

	if (!linkat(fd, "", dirfd, name, AT_EMPTY_PATH))
		return 0;
	first = errno;
	if (first != ENOENT && first != EINVAL && first != EPERM)
		return -first;
	fd_link(fd, path);
	if (!linkat(AT_FDCWD, path, dirfd, name, AT_SYMLINK_FOLLOW))
		return 0;
	return errno == ENOENT ? -first : -errno;
}

int sys_link(int dirfd, const char *from, const char *to)
{
	return linkat(dirfd, from, dirfd, to, 0) ? -errno : 0;
}

int sys_rename(int dirfd, const char *from, const char *to, unsigned flags)
{
	return renameat2(dirfd, from, dirfd, to, flags) ? -errno : 0;
}

int sys_unlink(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, 0) ? -errno : 0;
}

/* The target as a string; -ENAMETOOLONG if it does not fit. */
int sys_readlink(int dirfd, const char *name, char *buf, size_t size)
{
	ssize_t n = readlinkat(dirfd, name, buf, size);

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = 0;
	return 0;
}

/* A new open file description of the same file, with an offset of its own. */
int sys_reopen(int fd, int flags)
{
	char path[FD_LINK_SIZE];

	fd_link(fd, path);
	return sys_openat(AT_FDCWD, path, flags, 0);
}

int sys_fd_path(int fd, char *buf, size_t size)
{
	char path[FD_LINK_SIZE];

	fd_link(fd, path);
	return sys_readlink(AT_FDCWD, path, buf, size);
}
