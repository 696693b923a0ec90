/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loop devices that are gone with whoever uses them. */
#ifndef SNAPMAP_BENCH_LOOP_H
#define SNAPMAP_BENCH_LOOP_H

#include <stdint.h>

#include "bench/why.h"

/*
 * A device of @size bytes that hold nothing. They lie in a nameless file in @dir, or
 * in memory if @dir is NULL, and take room as they are written. Device and file
 * are gone once the descriptor is closed and nothing is mounted from it.
 *
 * Returns the descriptor, or a negative errno with @why; @ret_path gets "/dev/loopN".
 */
int loop_create(const char *dir, uint64_t size, char ret_path[64], struct why *why);

#endif
