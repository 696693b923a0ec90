/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the strategies share that write into the file itself. */
#ifndef SNAPMAP_IN_PLACE_H
#define SNAPMAP_IN_PLACE_H

#include "commit.h"
#include "publish.h"

/* Why such a file is not written to. */
extern const char in_place_loses[];
/* Why there is no place for a file beside it. */
extern const char in_place_nowhere[];

/* Set the error sentence; @what: "clone into", say. */
/* The file itself, for writing; -EBUSY if the name leads to another one. */
int in_place_open(const struct commit *commit, const char *what, int flags, int *ret_fd);
/*
 * Holds the temporary name of the file, so that all who commit to it through this
 * library, in whatever way, do so one after the other. Where it cannot be had,
 * because the directory may not be written, nobody with the same rights can
 * replace the file either.
 */
int in_place_take_turn(const struct commit *commit, const char *what, struct publication *ret);
void in_place_end_turn(struct publication *turn);
/* Quiet. What is the same in all their probes: is there a file that may be written to? */
int in_place_probe(const struct target *target, struct stat *ret, const char **ret_why);

#endif
