/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a file is: a directory held open, and a name in it.
 *
 * Directories are held by descriptor, so that neither chdir nor a renamed
 * directory leads a commit astray. A symbolic link at the end of a path is
 * resolved here, link by link, for a rename must replace the file and not the
 * link; the first link is remembered, to see later whether the path still leads
 * to the same file.
 */
#include "config.h"

#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base.h"
#include "sys.h"

#define LINKS_MAX 40 /* as the kernel */

/* Opens the directory part of @path, and copies the last part to @name. */
static int open_parent(int dirfd, const char *path, char *name)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	char parent[PATH_MAX];
	size_t n;

	if (!last[0] || !strcmp(last, ".") || !strcmp(last, ".."))
		return path[0] ? -EISDIR : -ENOENT;
	if (strlen(last) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(name, last);
	if (!slash)
		return sys_openat(dirfd, ".", O_PATH | O_DIRECTORY, 0);
	n = (size_t)(slash - path) + 1;
	if (n >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, n);
	parent[n] = 0;
	return sys_openat(dirfd, parent, O_PATH | O_DIRECTORY, 0);
}

/* One step: from a link at (dirfd, name) to what it names. */
static int follow_link(int *dirfd, char *name)
{
	char target[PATH_MAX];
	int next, rc = sys_readlink(*dirfd, name, target, sizeof(target));

	if (rc)
		return rc;
	next = open_parent(*dirfd, target, name);
	if (next < 0)
		return next;
	sys_close(*dirfd);
	*dirfd = next;
	return 0;
}

/* Follows links from (dirfd, name) to a name that is none, or does not exist. */
static int resolve(int dirfd, const char *name, bool follow, struct place *ret)
{
	cleanup_fd int at = sys_openat(dirfd, ".", O_PATH | O_DIRECTORY, 0);
	cleanup_fd int link_dirfd = -1;
	struct place place = {.link_dirfd = -1};
	struct stat st;
	int rc;

	if (at < 0)
		return at;
	strcpy(place.name, name);
	place.follow = follow;
	for (int links = 0;; links++) {
		rc = sys_fstatat(at, place.name, AT_SYMLINK_NOFOLLOW, &st);
		if (rc == -ENOENT || (!rc && !S_ISLNK(st.st_mode)))
			break;
		if (rc)
			return rc;
		if (!follow || links == LINKS_MAX)
			return -ELOOP;
		if (!links) {
			strcpy(place.link_name, place.name);
			link_dirfd = sys_openat(dirfd, ".", O_PATH | O_DIRECTORY, 0);
			if (link_dirfd < 0)
				return link_dirfd;
			/* A link in /proc stands for a descriptor, which is free to close. */
			if (fs_traits_of(link_dirfd)->flags & FS_PSEUDO)
				close_fd(&link_dirfd);
		}
		/* The kernel's own rules for links in directories of others (fs.protected_symlinks). */
		rc = sys_fstatat(at, place.name, 0, &st);
		if (rc && rc != -ENOENT)
			return rc;
		rc = follow_link(&at, place.name);
		if (rc)
			return rc;
	}
	place.dirfd = steal_fd(&at);
	place.link_dirfd = steal_fd(&link_dirfd);
	*ret = place;
	return 0;
}

/* The name itself need not exist; everything that leads to it must. */
int place_find(const char *path, bool follow, struct place *ret)
{
	char name[NAME_MAX + 1];
	cleanup_fd int dirfd = open_parent(AT_FDCWD, path, name);

	if (dirfd < 0)
		return dirfd;
	return resolve(dirfd, name, follow, ret);
}

/* -ENOENT if the file has no name that /proc knows, or another file has it now; or what limits say. */
int place_find_fd(int fd, struct place *ret)
{
	char path[PATH_MAX];
	struct stat st, named;
	struct place place;
	int rc = sys_fd_path(fd, path, sizeof(path));

	if (!rc)
		rc = sys_fstat(fd, &st);
	if (!rc)
		rc = place_find(path, false, &place);
	if (rc)
		return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENAMETOOLONG ? rc : -ENOENT;
	rc = place_stat(&place, &named);
	if (rc || named.st_dev != st.st_dev || named.st_ino != st.st_ino) {
		place_close(&place);
		return -ENOENT;
	}
	*ret = place;
	return 0;
}

void place_close(struct place *place)
{
	close_fd(&place->dirfd);
	close_fd(&place->link_dirfd);
}

/*
 * What the path names now: through the link again if there was one. -ESTALE if
 * that is not what has the name here any more: a commit to the name would not
 * reach it, and might hit another file.
 */
int place_stat(const struct place *place, struct stat *ret)
{
	struct stat direct;
	int rc;

	if (place->dirfd < 0)
		return -ENOENT;
	rc = sys_fstatat_fresh(place->dirfd, place->name, AT_SYMLINK_NOFOLLOW, &direct);
	if (!rc && place->link_dirfd >= 0) {
		struct stat through;

		rc = sys_fstatat_fresh(place->link_dirfd, place->link_name, 0, &through);
		if (!rc && (through.st_dev != direct.st_dev || through.st_ino != direct.st_ino))
			rc = -ESTALE;
	}
	if (!rc)
		*ret = direct;
	return rc;
}

/* Resolves the path anew, after somebody put something else there. */
int place_find_again(struct place *place)
{
	struct place now;
	bool linked = place->link_dirfd >= 0;
	int rc = resolve(linked ? place->link_dirfd : place->dirfd, linked ? place->link_name : place->name,
			 place->follow, &now);

	if (rc)
		return rc;
	place_close(place);
	*place = now;
	return 0;
}
