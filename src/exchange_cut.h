/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes whole extents of what an exchange is to take from a file. */
#ifndef SNAPMAP_EXCHANGE_CUT_H
#define SNAPMAP_EXCHANGE_CUT_H

#include <stdint.h>

#include "exchange_steps.h"

/*
 * Cuts the extents of @file where these steps of an exchange would cut them, and gives it
 * some where they find holes, in units of @block bytes. Nothing else about it changes. @copies: an empty
 * file beside it, open for reading and writing. 0, -EAGAIN if somebody changed these blocks meanwhile,
 * -EOPNOTSUPP if the file cannot share blocks, or the errno of reading, writing and sharing.
 */
int exchange_cut(int file, const struct exchange_steps *steps, uint64_t block, int copies);

#endif
