/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much is written around an edit, so that a file does not fall into pieces. */
#ifndef SNAPMAP_CLUSTER_H
#define SNAPMAP_CLUSTER_H

#include <stdbool.h>

#include "ranges.h"

/* Whether a file of this size has so many extents that a commit of @edits is to write clusters. */
bool cluster_wanted(uint64_t size, uint64_t extents, const struct ranges *edits);
/*
 * What to write instead of @edits: whole clusters, without pages that hold zeros and
 * were not edited, so that holes stay. @image: a file with the first @kept bytes of
 * what was not edited; behind them are zeros, up to @size. -ENOMEM, or the errno of
 * reading: then the edits have to do.
 */
int cluster_widen(const struct ranges *edits, int image, uint64_t kept, uint64_t size, struct ranges *ret);

#endif
