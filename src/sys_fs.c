/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems, kernel version and clocks. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#include "sys.h"

static int stat_fs(int fd, struct statfs *ret)
{
	int rc;

	do
		rc = fstatfs(fd, ret);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int sys_fs_magic(int fd, uint64_t *ret)
{
	struct statfs fs;
	int rc = stat_fs(fd, &fs);

	if (rc)
		return rc;
	*ret = (uint64_t)fs.f_type & 0xffffffff;
	return 0;
}

/* Bytes that an ordinary user may still take. */
int sys_fs_space(int fd, uint64_t *ret)
{
	struct statfs fs;
	int rc = stat_fs(fd, &fs);

	if (rc)
		return rc;
	*ret = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	return 0;
}

/* 6.18 is 618; two digits for the minor number last a while. */
int sys_kernel_version(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	if (uname(&name) || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return 0;
	return major * 100 + (minor < 99 ? minor : 99);
}

/* The clock that file systems take timestamps from. */
void sys_now_coarse(struct timespec *ret)
{
	clock_gettime(CLOCK_REALTIME_COARSE, ret);
}

void sys_now(struct timespec *ret)
{
	clock_gettime(CLOCK_REALTIME, ret);
}

/* Since some moment in the past, never set back. */
uint64_t sys_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void sys_clock_tick(struct timespec *ret)
{
	if (clock_getres(CLOCK_REALTIME_COARSE, ret))
		*ret = (struct timespec){.tv_nsec = 10000000};
}

void sys_sleep(const struct timespec *time)
{
	struct timespec rest = *time;

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR)
		;
}
