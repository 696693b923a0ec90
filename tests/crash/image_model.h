/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an image is at each version: between those who make it and those who judge it. */
#ifndef SNAPMAP_CRASH_IMAGE_MODEL_H
#define SNAPMAP_CRASH_IMAGE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "act.h"

#define IMAGE "f"		/* where it is, a name that belongs there */
#define IMAGE_VERSION "version" /* in it: the number, 8 bytes */
#define IMAGE_SLOTS 12

/* @written, @patched: what the bytes follow from; @patched 0: all are those of @written. @size 0: no file. */
struct image_file {
	uint64_t written, patched;
	size_t size, patch_at, patch_length;
};

struct image_model {
	uint64_t seed, version;
	struct image_file files[IMAGE_SLOTS];
};

struct minifs;

/* The next version, and if @fs is not NULL in there too. 0 or a negative errno. */
int image_step(struct image_model *m, struct minifs *fs);
void image_go(struct image_model *m, uint64_t seed, uint64_t version);
/* The name in the image of a file, and its bytes. */
void image_name(size_t slot, char *ret, size_t capacity);
void image_file_bytes(const struct image_file *f, unsigned char *bytes);

#endif
