/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running another program, such as mkfs.xfs, and what it said. */
#ifndef SNAPMAP_BENCH_TOOL_H
#define SNAPMAP_BENCH_TOOL_H

#include <stdbool.h>

#include "bench/why.h"

/*
 * Runs @argv (found in PATH, /sbin and /usr/sbin; at most TOOL_OUTPUT bytes of what it
 * writes are kept in @ret_output, which may be NULL). It ends with this process.
 * 0, or a negative errno with @why, which has the last of its output if it failed.
 */
#define TOOL_OUTPUT 4096
int tool_run(const char *const argv[], char *ret_output, struct why *why);

/* Whether tool_run() would find it. */
bool tool_is_there(const char *name);

#endif
