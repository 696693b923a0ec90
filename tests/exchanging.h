/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of commits by exchange share: the commit, and files whose trees of extents are full. */
#ifndef SNAPMAP_TESTS_EXCHANGING_H
#define SNAPMAP_TESTS_EXCHANGING_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)

#define need_exchange()                                     \
	do {                                                \
		if (!test_fs()->exchange)                   \
			test_skip("no exchange of blocks"); \
	} while (0)

static inline int commit_by(struct snapmap_mut *map, uint32_t strategy)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .strategy = strategy};

	return snapmap_mut_commit(map, &o);
}

static inline uint32_t strategy_of(struct snapmap_mut *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_mut_get_info(map, &info));
	return info.strategy;
}

static inline struct snapmap_mut *open_mut(const char *path)
{
	struct snapmap_mut *map;

	ck_ok(snapmap_mut_open(path, NULL, &map));
	return map;
}

/*
 * A file "f" of extents of @length pages, and as long a hole behind each. Written from
 * front to back, so that all blocks of its tree are full: each new extent can need one more.
 * Returns its bytes.
 */
static inline unsigned char *write_stripes(size_t extents, size_t length)
{
	size_t size = 2 * extents * length * PAGE, got;
	char *bytes = malloc(length * PAGE);
	int fd = open("f", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	memset(bytes, 1, length * PAGE);
	/* First, or else there would be blocks set aside in between. */
	ck_assert(fd >= 0 && !ftruncate(fd, (off_t)size));
	for (size_t i = 0; i < extents; i++)
		ck_assert_int_eq(pwrite(fd, bytes, length * PAGE, (off_t)(2 * i * length * PAGE)),
				 (ssize_t)(length * PAGE));
	ck_assert(!fsync(fd));
	close(fd);
	free(bytes);
	bytes = test_read_file("f", &got);
	ck_assert_uint_eq(got, size);
	return (unsigned char *)bytes;
}

#define LEAF ((size_t)251) /* extents in a block of 4 KiB of the tree */

/* @length pages from @page on, in the handle and in what is expected, if that is not NULL. */
static inline void edit_pages(struct snapmap_mut *map, unsigned char *bytes, size_t page, size_t length, int byte)
{
	memset((char *)snapmap_mut_data(map) + page * PAGE, byte, length * PAGE);
	if (bytes)
		memset(bytes + page * PAGE, byte, length * PAGE);
}

/* One edit of @length pages for each block of the tree, the first at @first. */
static inline void edit_each_leaf(struct snapmap_mut *map, unsigned char *bytes, size_t stripe, size_t first,
				  size_t length, int byte)
{
	size_t pages = snapmap_mut_size(map) / PAGE;

	for (size_t i = first; i + length < pages; i += 2 * LEAF * stripe)
		edit_pages(map, bytes, i, length, byte);
}

#endif
