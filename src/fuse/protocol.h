/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What servers that give snapshots have in common: see snapmap/snapfs.h. */
#ifndef SNAPMAP_PROTOCOL_H
#define SNAPMAP_PROTOCOL_H

#include <snapmap/snapfs.h>
#include <sys/types.h>

/* Nobody guesses it. 0 or a negative errno. */
int token_make(char ret[SNAPFS_TOKEN_SIZE]);
/* Whether that can be asked of a file of this type. 0 or a negative errno. */
int protocol_check(const struct snapfs_snapshot *asked, mode_t mode);
/* What there is of a range in a file of @file_size bytes: all but the token. */
struct snapfs_snapshot protocol_clip(uint64_t offset, uint64_t length, uint64_t file_size);

#endif
