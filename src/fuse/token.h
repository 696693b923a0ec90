/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tokens of snapshots. */
#ifndef SNAPMAP_TOKEN_H
#define SNAPMAP_TOKEN_H

#include <snapmap/snapfs.h>

/* Nobody guesses it. 0 or a negative errno. */
int token_make(char ret[SNAPFS_TOKEN_SIZE]);
#endif
