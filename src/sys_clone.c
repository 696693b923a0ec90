/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sharing and copying of extents between files, and counting them. */
#include "config.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys.h"

/* Makes all of @to share the extents of @from (ioctl_ficlone(2)). */
int sys_clone(int from, int to)
{
	int rc;

	do
		rc = ioctl(to, FICLONE, from);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int sys_clone_range(int from, uint64_t from_offset, uint64_t length, int to, uint64_t to_offset)
{
	struct file_clone_range range = {
		.src_fd = from,
		.src_offset = from_offset,
		.src_length = length,
		.dest_offset = to_offset,
	};
	int rc;

	do
		rc = ioctl(to, FICLONERANGE, &range);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* copy_file_range(2): may copy less than asked; 0 means end of file. */
ssize_t sys_copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t length)
{
	off_t in = (off_t)from_offset, out = (off_t)to_offset;
	ssize_t n;

	do
		n = copy_file_range(from, &in, to, &out, length, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int sys_count_extents(int fd, uint64_t *ret)
{
	return sys_count_extents_from(fd, 0, ret);
}

/* Counts without listing, and without flushing first. Also behind the end of the file. */
int sys_count_extents_from(int fd, uint64_t offset, uint64_t *ret)
{
	struct fiemap map;

	memset(&map, 0, sizeof(map));
	map.fm_start = offset;
	map.fm_length = FIEMAP_MAX_OFFSET - offset;
	if (ioctl(fd, FS_IOC_FIEMAP, &map))
		return -errno;
	*ret = map.fm_mapped_extents;
	return 0;
}
