/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Address space: a reserved span, a file at its start, zeros behind it. */
#ifndef SNAPMAP_MAPPING_H
#define SNAPMAP_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping {
	char *base;
	size_t span; /* bytes of address space, whole pages, never 0 */
};

size_t page_up(size_t n);
size_t page_down(size_t n);

/* Could a file of this size be mapped at all? -EFBIG if not. */
int mapping_check_size(uint64_t size);
int mapping_open(int fd, uint64_t size, bool editable, struct mapping *ret);
/* Addresses for a file of this size, which hold nothing yet. */
int mapping_open_empty(size_t size, struct mapping *ret);
void mapping_close(struct mapping *mapping);
int mapping_reserve(struct mapping *mapping, size_t span, struct mapping *ret_moved);
/* Parts of an editable mapping; offsets and lengths in whole pages, length 0 does nothing. */
int mapping_put_file(const struct mapping *mapping, int fd, size_t offset, size_t length);
int mapping_put_zeros(const struct mapping *mapping, size_t offset, size_t length);
int mapping_put_nothing(const struct mapping *mapping, size_t offset, size_t length);
int mapping_prefault(const struct mapping *mapping, size_t size, uint64_t offset, uint64_t length);

#endif
