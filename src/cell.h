/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct snapmap_cell from the inside.
 *
 *   cell.c        the snapshots: readers, new ones, old ones
 *   cell_watch.c  what to look at to notice that a path leads to something else
 */
#ifndef SNAPMAP_CELL_INTERNAL_H
#define SNAPMAP_CELL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CELL_NAME_MAX 256

/**
 * struct cell_mark - a name in a directory that is watched
 * @watch: of the directory; or of the file itself
 * @name: "" for the directory or file itself
 */
struct cell_mark {
	int watch;
	char name[CELL_NAME_MAX];
};

/**
 * struct cell_watch - all names on the way to a file, links followed
 * @fd: of inotify, or -1
 * @marks: @n of them, room for @capacity
 * @complete: nothing on the way can change without being noticed
 */
struct cell_watch {
	int fd;
	struct cell_mark *marks;
	size_t n, capacity;
	bool complete;
};

void cell_watch_open(struct cell_watch *watch);
void cell_watch_close(struct cell_watch *watch);
/* Before the file is looked at: watches the way to it anew. @path is absolute. */
void cell_watch_follow(struct cell_watch *watch, const char *path);
/* Takes what has happened. Whether any of it matters. */
bool cell_watch_take(struct cell_watch *watch);

#endif
