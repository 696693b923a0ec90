/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory to measure in: what is known of it, and the files there. */
#ifndef SNAPMAP_BENCH_PLACE_H
#define SNAPMAP_BENCH_PLACE_H

#include <limits.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/why.h"

struct pool;

/**
 * struct place - a directory to measure in
 * @name: for people, and to find it again in another run
 * @dir: a directory of the run's own in there, which place_end() removes
 * @type: of the file system
 * @options: of its mount
 * @device: what it lies on
 * @features: what the library can do there
 * @probe: the same in full
 * @in_memory: what is written takes memory in the end
 * @images: directory of the image below it, which may have less room than it seems, or ""
 * @cached: what was written once stays in memory: there is no cold cache
 * @pool: its files
 */
struct place {
	char name[256];
	char dir[PATH_MAX];
	char type[32];
	char options[512];
	char device[512];
	char features[256];
	struct snapmap_probe probe;
	bool in_memory;
	char images[PATH_MAX];
	bool cached;
	struct pool *pool;
};

/* What the caller knows of what lies below a place. */
enum below {
	BELOW_UNKNOWN,
	BELOW_MEMORY,
	BELOW_IMAGE, /* in the directory @images */
};

/* 0 or a negative errno with @why. */
int place_begin(const char *dir, const char *name, enum below below, const char *images, struct place *ret,
		struct why *why);
/* Removes all that place_begin() and the measuring made. */
void place_end(struct place *place);

/* NULL if it works here, else why not. */
const char *place_lacks_source(const struct place *place, uint32_t source);
const char *place_lacks_strategy(const struct place *place, uint32_t strategy);
/* Bytes of memory that are not in use. */
uint64_t place_memory(void);
/* Bytes that can be written to a directory; at a place, without harm to what is below it. */
uint64_t place_room_of(const char *dir);
uint64_t place_room(const struct place *place);

/* What bars are meant for: file systems as they are, and not a layer above them. */
bool place_has_reflink(const struct place *place);
bool place_has_lease(const struct place *place);
bool place_has_exchange(const struct place *place);
bool place_has_copy_only(const struct place *place);

/* ---- files (pool.c) ---- */

enum shape_kind {
	SHAPE_DENSE,
	SHAPE_SPARSE,	  /* one hole */
	SHAPE_FRAGMENTED, /* blocks with a hole between each two */
};

/* @amount: bytes; of SHAPE_FRAGMENTED, blocks */
struct shape {
	enum shape_kind kind;
	uint64_t amount;
};

uint64_t shape_size(const struct shape *shape);
/* Bytes that it takes on the disk. */
uint64_t shape_room(const struct shape *shape);

/* @trim: the file system lies in an image of ours, which is to shrink with it */
int pool_open(const char *dir, bool reflink, bool trim, struct pool **ret);
/* Removes all files. */
void pool_close(struct pool *pool);
/* Has what was removed be free, also in the image. */
void pool_give_back(const struct pool *pool);
/* A file of that shape that nobody changes; the string belongs to the pool, until the next call. */
int pool_get(struct pool *pool, const struct shape *shape, bool (*stopped)(void), const char **ret);
/* One like it for the contender @slot to change. It is used up with the next pool_get_own() of that slot. */
int pool_get_own(struct pool *pool, const struct shape *shape, unsigned slot, bool (*stopped)(void), const char **ret);
/*
 * Makes room, by removing files that were used the longest time ago, but for those of
 * @shape. -ENOSPC if there is no way to have @need bytes beside the files of that shape.
 */
int pool_make_room(struct pool *pool, const struct place *place, const struct shape *shape, unsigned own_files,
		   uint64_t need, struct why *why);

#endif
