/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory for one file, which nobody else may enter. It lies beside the file
 * where that is possible: on the same file system the copy costs next to nothing,
 * and if the edit cannot be committed it is found where one looks for it.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

_Static_assert(sizeof(((struct workdir *)0)->file) >= PATH_MAX, "must take any path");

/* @ret: the directory that the file really lies in, through links. */
static int find_parent(const char *file, char *ret)
{
	char given[PATH_MAX];
	const char *up;

	if (!realpath(file, ret)) {
		if ((size_t)snprintf(given, sizeof(given), "%s", file) >= sizeof(given))
			return -ENAMETOOLONG;
		if (!realpath(dirname(given), ret))
			return -errno;
		return 0;
	}
	up = dirname(ret);
	memmove(ret, up, strlen(up) + 1);
	return 0;
}

/* @name: what the file will be called in there. */
static int create_in(const char *parent, const char *prefix, const char *name, struct workdir *ret)
{
	size_t n = (size_t)snprintf(ret->directory, sizeof(ret->directory), "%s/%ssnapmap-edit.XXXXXX", parent, prefix);

	if (n >= sizeof(ret->directory) || n + 1 + strlen(name) >= sizeof(ret->file))
		return -ENAMETOOLONG;
	if (!mkdtemp(ret->directory))
		return -errno;
	memcpy(ret->file, ret->directory, n);
	ret->file[n] = '/';
	strcpy(ret->file + n + 1, name);
	return 0;
}

int workdir_create(struct workdir *work, const char *file)
{
	const char *slash = strrchr(file, '/'), *tmpdir = getenv("TMPDIR");
	const char *name = slash ? slash + 1 : file;
	char parent[PATH_MAX];
	int rc = find_parent(file, parent);

	if (!rc)
		rc = create_in(parent, ".", name, work);
	if (rc)
		rc = create_in(tmpdir && tmpdir[0] ? tmpdir : "/tmp", "", name, work);
	return rc ? report_error(rc, "cannot make a directory for a private copy of '%s'", file) : STATUS_OK;
}

/* What lies in a directory, however deep. The command may have made anything there. */
static void remove_in(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0 && errno == EACCES && !fchmodat(parent, name, 0700, 0))
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	fchmod(fd, 0700);
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!unlinkat(fd, entry->d_name, 0) || (errno != EISDIR && errno != EPERM))
			continue;
		remove_in(fd, entry->d_name);
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

void workdir_remove(const struct workdir *work)
{
	remove_in(AT_FDCWD, work->directory);
	if (rmdir(work->directory) && errno != ENOENT)
		report_error(-errno, "cannot remove '%s'", work->directory);
}
