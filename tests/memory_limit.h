/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running something with little memory: a control group, of either version, whichever is there. */
#ifndef SNAPMAP_TESTS_MEMORY_LIMIT_H
#define SNAPMAP_TESTS_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

/**
 * struct memory_limit - a group of processes
 * @dir: its directory
 * @throttles: who dirties pages of files faster than storage takes them has to wait. Groups
 *             of version 1 do not do that. They are out of memory if a file system needs some
 *             where it cannot wait (GFP_NOFS) while all of the group's is being written.
 */
struct memory_limit {
	char dir[400];
	bool throttles;
};

/* False, with the reason in @ret_why, if there is none to be had. */
bool memory_limit_open(size_t bytes, struct memory_limit *ret, const char **ret_why);
/* Puts the calling process in; for a child. False if that failed. */
bool memory_limit_enter(const struct memory_limit *limit);
/* Once nobody is in it any more. */
void memory_limit_close(struct memory_limit *limit);

#endif
