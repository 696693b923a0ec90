/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes, inode flags (chattr(1)) and project numbers. */
#include "config.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "sys.h"

/* Called with size 0 these two tell the size needed. */
ssize_t sys_xattr_list(int fd, char *list, size_t size)
{
	ssize_t n = flistxattr(fd, list, size);

	return n < 0 ? -errno : n;
}

ssize_t sys_xattr_get(int fd, const char *name, void *value, size_t size)
{
	ssize_t n = fgetxattr(fd, name, value, size);

	return n < 0 ? -errno : n;
}

int sys_xattr_set(int fd, const char *name, const void *value, size_t size)
{
	return fsetxattr(fd, name, value, size, 0) ? -errno : 0;
}

int sys_xattr_remove(int fd, const char *name)
{
	return fremovexattr(fd, name) ? -errno : 0;
}

/* The ioctl's number says long, its argument has always been an int. */
int sys_inode_flags_get(int fd, unsigned *ret)
{
	unsigned flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -errno;
	*ret = flags;
	return 0;
}

int sys_inode_flags_set(int fd, unsigned flags)
{
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) ? -errno : 0;
}

int sys_layout(int fd, struct sys_layout *ret)
{
	struct fsxattr attr;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr))
		return -errno;
	*ret = (struct sys_layout){
		.extents = attr.fsx_nextents,
		.realtime = attr.fsx_xflags & FS_XFLAG_REALTIME,
		.attributes = attr.fsx_xflags & FS_XFLAG_HASATTR,
	};
	return 0;
}

int sys_project_id_get(int fd, uint32_t *ret)
{
	struct fsxattr attr;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr))
		return -errno;
	*ret = attr.fsx_projid;
	return 0;
}

int sys_project_id_set(int fd, uint32_t id)
{
	struct fsxattr attr;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attr))
		return -errno;
	attr.fsx_projid = id;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attr) ? -errno : 0;
}
