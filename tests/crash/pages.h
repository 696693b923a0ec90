/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a disk as a table of blocks. A block is zeros, or points into a record,
 * which nobody writes to, or is a copy of its own: so making any state of a disk costs
 * a pointer for each block that was written.
 */
#ifndef SNAPMAP_CRASH_PAGES_H
#define SNAPMAP_CRASH_PAGES_H

#include <stddef.h>
#include <stdint.h>

struct pages {
	uint64_t size;
	const unsigned char **at;
	unsigned char *own; /* address space for copies of all blocks */
};

/* 0 or -1 */
int pages_new(uint64_t size, struct pages *ret);
void pages_free(struct pages *p);
void pages_clear(struct pages *p);

/* What lies beyond the end is left out. */
void pages_read(const struct pages *p, uint64_t offset, size_t n, void *ret);
void pages_write(struct pages *p, uint64_t offset, size_t n, const void *data);
void pages_zero(struct pages *p, uint64_t offset, size_t n);
/* As pages_write(), but @data stays for as long as the table. */
void pages_refer(struct pages *p, uint64_t offset, size_t n, const void *data);

#endif
