/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* btrfs subvolumes, by libbtrfsutil. Without it all of this is -EOPNOTSUPP. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "sys.h"

#ifdef HAVE_BTRFSUTIL
#include <btrfsutil.h>

/* libbtrfsutil leaves the errno of the call that failed. */
static int result(enum btrfs_util_error error)
{
	if (error == BTRFS_UTIL_OK)
		return 0;
	return errno ? -errno : -EIO;
}

/* A read-only snapshot of the subvolume that @fd is the root of, as @name in @dirfd. */
int sys_subvolume_snapshot(int fd, int dirfd, const char *name)
{
	errno = 0;
	return result(
		btrfs_util_create_snapshot_fd2(fd, dirfd, name, BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY, NULL, NULL));
}

int sys_subvolume_delete(int dirfd, const char *name)
{
	errno = 0;
	return result(btrfs_util_delete_subvolume_fd(dirfd, name, 0));
}

int sys_subvolume_set_read_only(int fd, bool read_only)
{
	errno = 0;
	return result(btrfs_util_set_subvolume_read_only_fd(fd, read_only));
}

#else

int sys_subvolume_snapshot(int fd, int dirfd, const char *name)
{
	(void)fd;
	(void)dirfd;
	(void)name;
	return -EOPNOTSUPP;
}

int sys_subvolume_delete(int dirfd, const char *name)
{
	(void)dirfd;
	(void)name;
	return -EOPNOTSUPP;
}

int sys_subvolume_set_read_only(int fd, bool read_only)
{
	(void)fd;
	(void)read_only;
	return -EOPNOTSUPP;
}

#endif
