/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: links, renames, and the paths that /proc knows of descriptors. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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

int sys_mkdir(int dirfd, const char *name, mode_t mode)
{
	return mkdirat(dirfd, name, mode) ? -errno : 0;
}

int sys_rmdir(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, AT_REMOVEDIR) ? -errno : 0;
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

/* Records of names (struct dirent64), as many as fit; 0 at the end. */
ssize_t sys_list(int dirfd, void *buf, size_t n)
{
	ssize_t got = getdents64(dirfd, buf, n);

	return got < 0 ? -errno : got;
}

/* What is there, without following or mounting it. The name "" is @dirfd itself. */
int sys_look(int dirfd, const char *name, struct sys_entry *ret)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
	struct statx st;

	if (statx(dirfd, name, flags, STATX_BASIC_STATS, &st))
		return -errno;
	*ret = (struct sys_entry){
		.mode = st.stx_mode,
		.uid = st.stx_uid,
		.gid = st.stx_gid,
		.links = st.stx_nlink,
		.ino = st.stx_ino,
		.dev = makedev(st.stx_dev_major, st.stx_dev_minor),
		.size = st.stx_size,
		.mtime = {st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec},
		.is_mount = st.stx_attributes & STATX_ATTR_MOUNT_ROOT,
	};
	return 0;
}

/* The same by one step a name, for kernels and sandboxes without openat2(2). Mounts are not told. */
static int open_by_steps(int dirfd, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	int at = dirfd;

	for (;;) {
		size_t n = strcspn(path, "/");
		bool last = !path[n];
		int next;

		if (n > NAME_MAX || (n == 2 && !memcmp(path, "..", 2)))
			next = -EXDEV;
		else {
			memcpy(name, path, n);
			name[n] = 0;
			next = sys_openat(at, name, O_NOFOLLOW | (last ? flags : O_PATH | O_DIRECTORY), 0);
		}
		if (at != dirfd)
			sys_close(at);
		if (last || next < 0)
			return next;
		at = next;
		path += n + 1;
	}
}

/*
 * Opens what lies at or below the directory, on a way without links: -ELOOP, or -EXDEV
 * for a way out. Without @cross also for a way into another mount.
 */
int sys_open_beneath(int dirfd, const char *path, int flags, bool cross)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | (cross ? 0u : RESOLVE_NO_XDEV),
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR));
	if (fd < 0 && errno == ENOSYS)
		return open_by_steps(dirfd, path, flags);
	return fd < 0 ? -errno : (int)fd;
}
