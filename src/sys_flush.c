/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing out, and flushing to the disk.
 *
 * What is on disk after fsync(2) has succeeded may not be all: a file system that gives up
 * meanwhile, after an error of its disk, say, throws away what it has not written, and then
 * fsync(2) finds nothing to wait for (seen on Linux 6.18 with XFS and ext4). Before it throws
 * anything away it refuses other calls, which are made here for nothing but that:
 *
 *  - XFS to look at a file;
 *  - ext4 that was shut down to read or write no bytes of one;
 *  - ext4 that has given up its journal to begin a change: an attribute is removed that is
 *    not there. Through overlayfs that gets to what lies below, unlike the others.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

#define NOT_THERE "user.snapmap.is-never-there"

static int check_no_bytes(int fd)
{
	char byte;
	ssize_t rc = sys_pread(fd, &byte, 0, 0);

	if (rc != -EBADF)
		return (int)rc;
	do
		rc = sys_pwrite(fd, &byte, 0, 0);
	while (rc == -EINTR);
	return (int)rc;
}

/*
 * Whoever may not change the file learns nothing by this. Only of what is open for writing
 * it is known that it is not on a mount that is read-only.
 */
static int check_change(int fd)
{
	int flags = sys_fd_flags(fd), rc;

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return 0;
	rc = sys_xattr_remove(fd, NOT_THERE);
	return rc == -EIO || rc == -EROFS || rc == -ESHUTDOWN ? -EIO : 0;
}

/* After a flush that succeeded: 0, or the error of a file system that has given up meanwhile. */
int sys_check_flushed(int fd)
{
	uint64_t magic = 0;
	struct stat st;
	int rc = sys_fstat(fd, &st);

	if (!rc && S_ISREG(st.st_mode))
		rc = check_no_bytes(fd);
	if (!rc && !sys_fs_magic(fd, &magic) && (magic == EXT4_SUPER_MAGIC || magic == OVERLAYFS_SUPER_MAGIC))
		rc = check_change(fd);
	return rc;
}

int sys_fsync(int fd)
{
	int rc;

	do
		rc = fsync(fd);
	while (rc && errno == EINTR);
	return rc ? -errno : sys_check_flushed(fd);
}

/* Everything of the file system that @fd is on. */
int sys_syncfs(int fd)
{
	return syncfs(fd) ? -errno : sys_check_flushed(fd);
}

/*
 * Writes dirty pages to storage, without asking the storage to flush. What
 * matters here is the side effect: afterwards the next store through anybody's
 * shared mapping faults and so moves the file's timestamps.
 */
int sys_write_out(int fd)
{
	int rc;

	do
		rc = sync_file_range(fd, 0, 0,
				     SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}
