/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waiting for every write(2) that is under way (seen on Linux 6.18): whoever asks the
 * right question gets the inode's lock after it. On ext4, btrfs and tmpfs looking for a
 * hole is one, which moves the offset. On XFS it is listing extents by ioctl_xfs_getbmapx(2),
 * declared here, for its header is not everywhere. A read behind the end would do on XFS
 * too, but moves the access time; so it is for what cannot be asked otherwise.
 */
#include "config.h"

#include <linux/types.h>
#include <sys/ioctl.h>

#include "sys.h"

struct bmap {
	__s64 offset, block, length;
	__s32 count, entries, iflags, oflags, unused1, unused2;
};

#define IN_NUMBER 32 /* bytes: the number is made from the shorter struct getbmap */
#define IOC_GETBMAPX _IOC(_IOC_READ | _IOC_WRITE, 'X', 56, IN_NUMBER)
#define HERE_TOO (1 << 3) /* BMV_IF_DELALLOC: extents without blocks too, so nothing is written out first */
#define SECTOR 512

/* One extent, in the last block. */
static int list_last_extent(int fd, uint64_t size)
{
	struct bmap v[2] = {{
		.offset = (__s64)(size / SECTOR),
		.length = 1,
		.count = 2,
		.iflags = HERE_TOO,
	}};

	return ioctl(fd, IOC_GETBMAPX, v);
}

/* @own_offset: it may be moved. From the last byte on, for the way to the first hole can be long. */
void sys_wait_for_writers(int fd, uint64_t size, enum sys_wait way, bool own_offset)
{
	uint64_t hole;
	char byte;

	if (way == SYS_WAIT_BY_EXTENTS && !list_last_extent(fd, size))
		return;
	if (way != SYS_WAIT_BY_EXTENTS && own_offset)
		(void)sys_seek_hole(fd, size ? size - 1 : 0, &hole);
	if (way != SYS_WAIT_BY_HOLES)
		(void)sys_pread(fd, &byte, 1, size);
}
