/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the pages of a private mapping that were written. */
#ifndef SNAPMAP_DIRTY_H
#define SNAPMAP_DIRTY_H

#include "ranges.h"

/* How to find out. Each later way works on more systems and costs more. */
enum dirty_way {
	DIRTY_ANY,     /* the first that works */
	DIRTY_SCAN,    /* PAGEMAP_SCAN: Linux 6.7 */
	DIRTY_PAGEMAP, /* reading /proc/self/pagemap */
	DIRTY_COMPARE, /* comparing with the image: no /proc at all */
};

/**
 * struct dirty_area - where to look
 * @base: first byte, aligned to a page
 * @length: bytes, whole pages
 * @file_length: how much of it is a mapping of @fd from its start, whole pages;
 *	what follows is anonymous memory
 */
struct dirty_area {
	const char *base;
	size_t length;
	size_t file_length;
	int fd;
};

/* Appends offsets from base. 0, -ENOMEM, or the errno of the way that was asked for. */
int dirty_find(const struct dirty_area *area, enum dirty_way way, struct ranges *ret);

#endif
