/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The single steps in which the kernel exchanges blocks of two files on XFS. */
#ifndef SNAPMAP_EXCHANGE_STEPS_H
#define SNAPMAP_EXCHANGE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ranges.h"

/**
 * struct exchange_step - what one step does: a piece of one extent of each file goes to the other
 * @offset, @length: where, in bytes
 * @file, @donor: how many extents more these have afterwards; from -1 to 2
 * @hole: the file has none here
 * @left, @right: the extent of the file goes on there, and that part of it stays
 */
struct exchange_step {
	uint64_t offset, length;
	signed char file, donor;
	bool hole, left, right;
};

struct exchange_steps {
	struct exchange_step *v;
	size_t n, room;
};

/* The steps for @blocks, which are multiples of @block bytes, and written in @donor. */
int exchange_steps_list(int file, int donor, uint64_t block, const struct ranges *blocks, struct exchange_steps *ret);
void exchange_steps_free(struct exchange_steps *steps);

#endif
