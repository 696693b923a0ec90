/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pieces of an unchanging source, put together at addresses that follow each other. */
#ifndef SNAPMAP_PATCHWORK_H
#define SNAPMAP_PATCHWORK_H

#include "mapping.h"
#include "ranges.h"

/**
 * struct piece - a part of the view
 * @at: where in the view
 * @from: where in the source
 * @length: how long
 *
 * In bytes, whole pages. Pieces are sorted by @at and do not overlap; what is between
 * them are zeros.
 */
struct piece {
	uint64_t at, from, length;
};

/**
 * struct patchwork_source - where the pieces are
 * @base: memory that shows it. What the pieces are made of must not change there
 * @fd: has the same bytes, at the same offsets, in all pages of @base that were not
 *	written; -1 if there is no such file
 * @twins: pages of @base were never written, and can be mapped a second time
 */
struct patchwork_source {
	const char *base;
	int fd;
	bool twins;
};

/**
 * struct patchwork - a view
 * @mapping: its addresses
 * @pieces: @n of them
 * @length: bytes that are pieces or zeros between them: the end of the file
 * @editable: a store makes a private page
 * @copied: bytes that could not be mapped and were copied
 */
struct patchwork {
	struct mapping mapping;
	const struct piece *pieces;
	size_t n;
	uint64_t length;
	bool editable;
	uint64_t copied;
};

/* All quiet. */

/* Takes addresses, and fills them. The pieces stay the caller's, and have to stay. */
int patchwork_open(struct patchwork *p, const struct patchwork_source *source);
void patchwork_close(struct patchwork *p);
/* The parts of [@start, @end), whole pages, anew, into @to: the mapping, or one that is to take its place. */
int patchwork_fill(struct patchwork *p, const struct patchwork_source *source, const struct mapping *to, uint64_t start,
		   uint64_t end);
/*
 * Appends the pages of the first @size bytes that differ from the pieces, of which only
 * the first @kept bytes count: behind that all is zeros. @source: its memory.
 */
int patchwork_edits(const struct patchwork *p, const char *source, uint64_t kept, uint64_t size, struct ranges *ret);
/* Stores the bytes of the pieces in [@start, @end). */
int patchwork_restore(const struct patchwork *p, const char *source, uint64_t start, uint64_t end);

#endif
