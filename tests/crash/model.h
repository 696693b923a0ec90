/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each version of a file is, by seed, id and number of the version alone: the
 * one who commits and the one who judges need not talk to each other. Each block
 * holds the id, its place, the version that wrote it and a checksum.
 */
#ifndef SNAPMAP_CRASH_MODEL_H
#define SNAPMAP_CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK 4096
#define MODEL_BLOCKS 512
#define MODEL_MAGIC "snapcrsh"

/* @version: that wrote it, 0 for zeros; @length: bytes of it, zeros follow */
struct model_block {
	uint64_t version;
	size_t length;
};

/* What the versions of a file are like. */
enum shape {
	SHAPE_ANY,
	SHAPE_SCATTERED,  /* many extents: only commits of many single blocks after the first version */
	SHAPE_FRAGMENTED, /* made of extents that lie across blocks; commits of some blocks that cut them */
};

struct model {
	uint64_t seed;
	uint32_t id;
	enum shape shape;
	uint64_t version;
	size_t size;
	struct model_block blocks[MODEL_BLOCKS];
};

/* Version 0: no file. */
void model_begin(struct model *m, uint64_t seed, uint32_t id, enum shape shape);
/* The next version. */
void model_step(struct model *m);
void model_go(struct model *m, uint64_t version);
/* Stores what this version wrote; @data: m->size bytes of the version before, resized. */
void model_store(const struct model *m, void *data);
/* Whether these are the bytes of this version. */
bool model_is(const struct model *m, const void *data, size_t size);
/* Looks for the version among those up to @newest, newest first: -1 if there is none. */
/* Says in @ret how long the version is, and where these bytes first differ from it. */
void model_differ(const struct model *m, const void *data, size_t size, char *ret, size_t capacity);
int64_t model_find(const struct model *m, uint64_t newest, const void *data, size_t size);
/* Says what is in there instead, in a few words. */
void model_describe(const void *data, size_t size, char *ret, size_t capacity);

#endif
