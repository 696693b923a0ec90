/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an image had before it was written to, to put it back. */
#ifndef SNAPMAP_UNDO_H
#define SNAPMAP_UNDO_H

#include "ranges.h"

/**
 * struct undo - saved parts of a file
 * @fd: a file that has them at their own offsets, -1 if nothing was saved
 * @ranges: which parts
 * @size: size of the file at that time
 */
struct undo {
	int fd;
	struct ranges ranges;
	uint64_t size;
};

/* All quiet. Saves @ranges of @from into the empty file @fd, which belongs to @ret from now on, also on failure. */
int undo_save(int from, uint64_t size, const struct ranges *ranges, int fd, struct undo *ret);
/* Only the first @n ranges were really written to. */
void undo_limit(struct undo *undo, size_t n);
/* The saved bytes as far as they lie in the first @length bytes, into memory that shows the file. */
int undo_load(const struct undo *undo, char *base, uint64_t length);
/* Copies @ranges without the pages that hold what was saved of them. */
int undo_filter(const struct undo *undo, const char *base, const struct ranges *ranges, struct ranges *ret);
/* Size, bytes and holes as they were. May be repeated after a failure. */
int undo_put_back(const struct undo *undo, int to);
void undo_close(struct undo *undo);

#endif
