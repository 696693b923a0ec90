/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of mapped files of images share. */
#ifndef SNAPMAP_MINIFS_MAPPING_H
#define SNAPMAP_MINIFS_MAPPING_H

#include "minifs_testing.h"

#define IMAGE ((uint64_t)16 << 20)

static inline struct snapmap *map_file(struct minifs *fs, const char *path)
{
	struct snapmap *map;

	ck_ok(minifs_map(fs, path, NULL, &map));
	return map;
}

static inline struct snapmap_mut *edit_file(struct minifs *fs, const char *path)
{
	struct snapmap_mut *map;

	ck_ok(minifs_map_mut(fs, path, NULL, &map));
	return map;
}

/* Size and bytes as test_fill() makes them, and zeros in the rest of the last page. */
static inline bool shows(const struct snapmap *map, size_t n, uint64_t seed)
{
	size_t room = (n + BLOCK - 1) / BLOCK * BLOCK;
	char *bytes = (char *)calloc(1, room + 1);
	bool same;

	test_fill(bytes, n, seed);
	same = snapmap_size(map) == n && !memcmp(snapmap_data(map), bytes, room);
	free(bytes);
	return same;
}

/* A file in as many pieces as it has blocks: two are written in turn. */
static inline void put_file_in_pieces(struct minifs *fs, const char *path, size_t n, uint64_t seed)
{
	char *bytes = (char *)malloc(n + 1);

	test_fill(bytes, n, seed);
	ck_ok(minifs_create(fs, path, 0644));
	ck_ok(minifs_create(fs, "between", 0644));
	for (size_t at = 0; at < n; at += BLOCK) {
		size_t part = n - at < BLOCK ? n - at : BLOCK;

		ck_is(minifs_pwrite(fs, path, bytes + at, part, at), (long long)part);
		ck_is(minifs_pwrite(fs, "between", "x", 1, at), 1);
	}
	ck_ok(minifs_unlink(fs, "between"));
	free(bytes);
}

static inline struct snapmap_info info_of(const struct snapmap *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_get_info(map, &info));
	return info;
}

#endif
