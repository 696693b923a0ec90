/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems in files: made, mounted through a loop device, unmounted, checked. Each returns 0 or -1. */
#ifndef SNAPMAP_CRASH_VOLUME_H
#define SNAPMAP_CRASH_VOLUME_H

#include <stddef.h>

#include "rows.h"

/* A new sparse image with a file system. */
int volume_make(const struct file_system *fs, const char *image);
/* The loop device goes with its last user. */
int volume_mount(const struct file_system *fs, const char *image, const char *dir);
int volume_unmount(const char *dir);
/* What the checker said if it found something is in @ret. */
int volume_check(const struct file_system *fs, const char *image, char *ret, size_t capacity);

#endif
