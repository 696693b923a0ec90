/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handles with SNAPMAP_SPILL. */
#ifndef SNAPMAP_SPILLING_H
#define SNAPMAP_SPILLING_H

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

#define ck_assert_sys(call) ck_assert_msg((call) >= 0, "%s: %s", #call, strerror(errno))

static inline struct snapmap_options spill_options(uint32_t flags, uint32_t source)
{
	return (struct snapmap_options){
		.size = sizeof(struct snapmap_options),
		.flags = SNAPMAP_SPILL | flags,
		.source = source,
	};
}

static inline struct snapmap_mut *open_spilled(const char *path, uint32_t flags, uint32_t source)
{
	struct snapmap_options o = spill_options(flags, source);
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_open(path, &o, &map));
	return map;
}

static inline char *bytes_of(struct snapmap_mut *map)
{
	return snapmap_mut_data(map);
}

static inline int error_of(const struct snapmap_mut *map)
{
	struct snapmap_info info;

	return snapmap_mut_get_info(map, &info) ? 1 : info.error;
}

/* Its exit status, or the signal that ended it, negated. */
static inline int death(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#endif
