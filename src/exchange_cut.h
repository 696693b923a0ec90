/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes whole extents of what an exchange is to take from a file. */
#ifndef SNAPMAP_EXCHANGE_CUT_H
#define SNAPMAP_EXCHANGE_CUT_H

#include <stdint.h>

#include "ranges.h"

/*
 * Cuts the extents of @file, on which nothing else changes, where an exchange of @blocks with
 * those of @donor would cut them, and gives it some in holes. @copies: an empty file beside it, open for reading and
 * writing. 0, -EAGAIN if somebody changed these blocks meanwhile, -EOPNOTSUPP if the file cannot share
 * blocks, or the errno of reading, writing and sharing.
 */
int exchange_cut(int file, int donor, uint64_t block, const struct ranges *blocks, int copies);

#endif
