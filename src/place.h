/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a file is: a directory held open, and a name in it. */
#ifndef SNAPMAP_PLACE_H
#define SNAPMAP_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

/**
 * struct place - a name that can be committed to
 * @dirfd: directory (O_PATH), -1 if the file has no name
 * @name: name in it; not a symbolic link when it was looked up
 * @link_dirfd: directory of the symbolic link that led there, or -1
 * @link_name: name of that link
 * @follow: links may be followed to find it again
 */
struct place {
	int dirfd;
	char name[NAME_MAX + 1];
	int link_dirfd;
	char link_name[NAME_MAX + 1];
	bool follow;
};

/* All of these are quiet. A place that was found must be given to place_close(). */
int place_find(const char *path, bool follow, struct place *ret);
int place_find_fd(int fd, struct place *ret);
void place_close(struct place *place);
int place_stat(const struct place *place, struct stat *ret);
int place_find_again(struct place *place);

#endif
