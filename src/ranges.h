/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sorted list of ranges that do not touch each other. */
#ifndef SNAPMAP_RANGES_H
#define SNAPMAP_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include "snapmap/types.h"

struct ranges {
	struct snapmap_range *v;
	size_t n;
	size_t capacity;
};

/* Appends; the offset must not lie before the end of the last range. 0 or -ENOMEM. */
int ranges_append(struct ranges *ranges, uint64_t offset, uint64_t length);
/* Appends to @ret the same ranges, each as whole units (a power of two), without what lies behind @end. */
int ranges_widen(const struct ranges *ranges, uint64_t unit, uint64_t end, struct ranges *ret);
int ranges_copy(const struct ranges *ranges, struct ranges *ret);
/* Cuts off everything from @end on. */
void ranges_clip(struct ranges *ranges, uint64_t end);
void ranges_free(struct ranges *ranges);

#endif
