/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much is written around an edit, so that a file does not fall into pieces. */
#ifndef SNAPMAP_CLUSTER_H
#define SNAPMAP_CLUSTER_H

#include <stdint.h>
#include <sys/stat.h>

/*
 * Bytes, a power of two: what a commit to @file writes as a whole wherever an edit
 * touches it. @extents: as far as they are known, else 0.
 */
uint64_t cluster_size(int file, const struct stat *st, uint64_t extents);

#endif
