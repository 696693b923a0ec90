/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems, kernel version and clocks. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/*
 * The line of the mount that @fd was opened through, to be freed: "ID PARENT DEVICE ROOT
 * POINT ... - TYPE SOURCE OPTIONS", see proc_pid_mountinfo(5). NULL where that cannot be
 * found out.
 */
static char *mount_line(int fd)
{
	char *line = NULL;
	size_t capacity = 0;
	bool found = false;
	struct statx st;
	FILE *mounts;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) || !(st.stx_mask & STATX_MNT_ID))
		return NULL;
	mounts = fopen("/proc/thread-self/mountinfo", "re");
	if (!mounts)
		return NULL;
	while (!found && getline(&line, &capacity, mounts) > 0)
		found = strtoull(line, NULL, 10) == st.stx_mnt_id && strstr(line, " - ");
	fclose(mounts);
	if (found)
		return line;
	free(line);
	return NULL;
}

/* Calls @take for options of the file system until one is taken. */
static bool each_option(int fd, bool (*take)(const char *option, void *arg), void *arg)
{
	char *line = mount_line(fd), *rest = line ? strstr(line, " - ") + 3 : NULL, *save = NULL;
	bool taken = false;

	for (unsigned field = 0; field < 2 && rest; field++)
		rest = strchr(rest + 1, ' ');
	for (char *one = rest ? strtok_r(rest + 1, ",\n", &save) : NULL; one && !taken;
	     one = strtok_r(NULL, ",\n", &save))
		taken = take(one, arg);
	free(line);
	return taken;
}

static bool is_option(const char *option, void *arg)
{
	return !strcmp(option, (const char *)arg);
}

static bool is_owner(const char *option, void *arg)
{
	if (strncmp(option, "user_id=", 8) != 0)
		return false;
	*(uint32_t *)arg = (uint32_t)strtoul(option + 8, NULL, 10);
	return true;
}

/* Who mounted a FUSE file system, and so serves it. -ENOENT if that cannot be found out. */
int sys_mount_owner(int fd, uint32_t *ret)
{
	return each_option(fd, is_owner, ret) ? 0 : -ENOENT;
}

/* Where the mount is that @fd was opened through. Bytes that would end a field are in octal. */
int sys_mount_point(int fd, char *ret, size_t size)
{
	char *line = mount_line(fd), *from = line;
	size_t n = 0;

	for (unsigned field = 0; field < 4 && from; field++) {
		from = strchr(from, ' ');
		from += from != NULL;
	}
	while (from && *from && *from != ' ' && n + 1 < size) {
		bool octal = from[0] == '\\' && from[1] && from[2] && from[3];

		ret[n++] = octal ? (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0')) : from[0];
		from += octal ? 4 : 1;
	}
	if (size)
		ret[n] = 0;
	n = from && *from == ' ' ? n : 0;
	free(line);
	return n ? 0 : -ENOENT;
}

/* An option of the file system, by the mount that @fd was opened through. False also where that cannot be found out. */
bool sys_mount_has_option(int fd, const char *option)
{
	return each_option(fd, is_option, (void *)(uintptr_t)option);
}
