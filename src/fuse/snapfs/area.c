/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory for temporary files, in what is wrapped: SNAPFS_DIR of its root, which in
 * the mount is hidden by the directory of snapshots. Files in it have no name where that
 * is possible; what a crash left is removed. Its lock keeps a second program away.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/cli/tool.h"
#include "wrapper.h"

#define FAILED 1
#define LOCK "lock"

/* A trap that somebody laid there is refused. */
static int check_area(int fd, const char *lower)
{
	struct stat st;

	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077))
		return tool_say(FAILED,
				"cannot use '%s/%s': it belongs to somebody else, or is open to others; move it away",
				lower, SNAPFS_DIR);
	return -1;
}

/* Somebody wraps a directory above: two would not see what the other changes. */
static int check_above(const char *lower)
{
	char path[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "%s", lower);
	while ((slash = strrchr(path, '/')) && slash[1]) {
		char lock[PATH_MAX + sizeof(SNAPFS_DIR) + sizeof(LOCK) + 2];
		bool taken;
		int fd;

		slash[slash == path] = 0;
		snprintf(lock, sizeof(lock), "%s/%s/%s", path, SNAPFS_DIR, LOCK);
		fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			continue;
		taken = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
		close(fd);
		if (taken)
			return tool_say(FAILED, "cannot serve '%s': '%s' above it is served by snapfs already", lower,
					path);
	}
	return -1;
}

static void clear(int area)
{
	int fd = openat(area, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, LOCK) != 0)
			unlinkat(area, entry->d_name, 0);
	closedir(dir);
}

static int take_lock(const char *lower)
{
	wrapper.lock = openat(wrapper.area, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	/* What cannot be written to needs no bytes kept, and nobody to keep away. */
	if (wrapper.lock < 0 && errno == EROFS)
		return -1;
	if (wrapper.lock < 0)
		return tool_say(FAILED, "cannot make '%s/%s/%s': %s", lower, SNAPFS_DIR, LOCK, strerror(errno));
	if (flock(wrapper.lock, LOCK_EX | LOCK_NB))
		return tool_say(FAILED, "cannot serve '%s': snapfs serves it already", lower);
	clear(wrapper.area);
	return -1;
}

int area_open(void)
{
	const char *lower = wrapper.request->lower;
	int status = check_above(lower);

	if (status >= 0)
		return status;
	if (mkdirat(wrapper.root.fd, SNAPFS_DIR, 0700) && errno != EEXIST) {
		if (errno == EROFS)
			return -1;
		return tool_say(FAILED, "cannot make '%s/%s': %s", lower, SNAPFS_DIR, strerror(errno));
	}
	wrapper.area = openat(wrapper.root.fd, SNAPFS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (wrapper.area < 0)
		return tool_say(FAILED, "cannot use '%s/%s': %s", lower, SNAPFS_DIR, strerror(errno));
	status = check_area(wrapper.area, lower);
	return status < 0 ? take_lock(lower) : status;
}

/* Where nameless files are not to be had it loses its name at once. */
static int named_file(void)
{
	static atomic_uint count;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "kept-%u", atomic_fetch_add(&count, 1));
	fd = openat(wrapper.area, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlinkat(wrapper.area, name, 0);
	return fd;
}

int area_file(void)
{
	int fd;

	if (wrapper.area < 0)
		return -EROFS;
	fd = openat(wrapper.area, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = named_file();
	return fd < 0 ? -errno : fd;
}
