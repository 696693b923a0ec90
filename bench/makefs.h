/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File systems made for a run. They are mounted in a mount namespace of this process,
 * so they are gone with it, however it ends, and nobody else sees them.
 */
#ifndef SNAPMAP_BENCH_MAKEFS_H
#define SNAPMAP_BENCH_MAKEFS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench/why.h"

/**
 * struct makefs - where file systems are made
 * @images: directory for the images, or NULL for memory
 * @top: where they are mounted
 */
struct makefs {
	const char *images;
	char top[PATH_MAX];
};

/* Names that makefs_make() knows, NULL behind the last. */
const char *makefs_name(size_t i);
bool makefs_knows(const char *name);
/* Whether the programs that it takes are installed: 0, or -ENOENT with @why. */
int makefs_check(const char *name, struct why *why);

/*
 * Leaves the mount namespace that the process is in. @used: @nused paths that must stay
 * within reach; nothing is mounted over them. Root only; before any other thread is
 * started. 0, or a negative errno with @why.
 */
int makefs_begin(const char *images, const char *const *used, size_t nused, struct makefs *ret, struct why *why);
/*
 * Makes the file system @name and mounts it; @ret_dir gets the directory. It may take half
 * of the memory that is free, or three quarters of the disk below it: what is removed from
 * a file system is not free below it yet, and so it must not matter if it fills up.
 */
int makefs_make(struct makefs *makefs, const char *name, char ret_dir[PATH_MAX], struct why *why);
/* Takes it away again. */
void makefs_unmake(struct makefs *makefs, const char *name);

#endif
