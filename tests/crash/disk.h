/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that is a process: one file on a FUSE file system, for a loop device. It
 * answers one request after the other, so that its record is the order in which things
 * were done, and what was recorded before a flush had been answered before that flush
 * came. Marks come by a socket to the same process: what was answered before a mark was
 * sent stands before it in the record.
 */
#ifndef SNAPMAP_CRASH_DISK_H
#define SNAPMAP_CRASH_DISK_H

#include <sys/types.h>

#include "pages.h"
#include "record.h"

struct disk {
	pid_t server;
	int marks; /* socket for mark_send(): see mark.h */
};

/*
 * Mounts the disk over the regular file @path. @pages: what is on it; the server has a
 * copy of them. @record: descriptor to append to, or -1. 0 or -1.
 */
int disk_start(const char *path, const struct pages *pages, int record, struct disk *ret);
/* Unmounts it: nobody may have it open. 0, or -1 if somebody has. */
int disk_stop(const char *path, struct disk *d);

#endif
