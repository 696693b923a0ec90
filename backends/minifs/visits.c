/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The blocks of pointers that one walk through a file has seen. No sound file leads to
 * one twice; a few blocks of an image that lies could lead to each other so often that
 * the walk never ends. So it does as much as there are such blocks, and no more.
 */
#include "config.h"

#include <stdlib.h>

#include "fs.h"

#define SIZE_MIN 64u

static size_t slot_of(const uint32_t *v, size_t size, uint32_t block)
{
	size_t i = (block * (size_t)0x9e3779b1u) & (size - 1);

	while (v[i] && v[i] != block)
		i = (i + 1) & (size - 1);
	return i;
}

/* At most half full. */
static int grow(struct mfs_visits *seen)
{
	size_t size = seen->size ? 2 * seen->size : SIZE_MIN;
	uint32_t *v;

	if (2 * seen->n < seen->size)
		return 0;
	v = (uint32_t *)calloc(size, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < seen->size; i++)
		if (seen->v[i])
			v[slot_of(v, size, seen->v[i])] = seen->v[i];
	free(seen->v);
	seen->v = v;
	seen->size = size;
	return 0;
}

/* -EUCLEAN for the second time. Block 0 is never one. */
int mfs_visit_once(struct mfs_visits *seen, uint32_t block)
{
	int rc = grow(seen);
	size_t i;

	if (rc)
		return rc;
	i = slot_of(seen->v, seen->size, block);
	if (seen->v[i])
		return -EUCLEAN;
	seen->v[i] = block;
	seen->n++;
	return 0;
}

void mfs_visits_free(struct mfs_visits *seen)
{
	free(seen->v);
}
