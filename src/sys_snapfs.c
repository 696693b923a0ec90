/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking a file system for a snapshot: include/snapmap/snapfs.h. */
#include "config.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "sys.h"

/* What was made before a signal, and nobody opens, goes after a while. */
int sys_snapfs_snapshot(int fd, struct snapfs_snapshot *snapshot)
{
	int rc;

	do
		rc = ioctl(fd, SNAPFS_IOC_SNAPSHOT, snapshot);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int sys_snapfs_state(int fd, struct snapfs_state *ret)
{
	return ioctl(fd, SNAPFS_IOC_STATE, ret) ? -errno : 0;
}
