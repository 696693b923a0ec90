/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tokens of snapshots, and names made of them. */
#ifndef SNAPMAP_TOKEN_H
#define SNAPMAP_TOKEN_H

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <snapmap/snapfs.h>

/* Nobody guesses it. 0 or a negative errno. */
int token_make(char ret[SNAPFS_TOKEN_SIZE]);
/*
 * A name that the kernel keeps would keep the inode, and all pages of it: a job has it
 * forget one, which was found in a directory as @prefix and @token.
 */
void token_forget_name(struct fuse_session *session, fuse_ino_t parent, const char *prefix, const char *token);

#endif
