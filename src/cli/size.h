/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers of bytes as people write them. */
#ifndef SNAPMAP_SIZE_H
#define SNAPMAP_SIZE_H

#include <stdint.h>

/* "4096", "0x1000", "4K", "4KiB": powers of 1024, "4KB" of 1000. 0, -EINVAL, or -EOVERFLOW. */
int size_parse(const char *text, uint64_t *ret);

#endif
