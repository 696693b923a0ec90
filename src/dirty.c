/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding the pages of a private mapping that were written. See sys_pagemap.c
 * for what the kernel shows of them.
 *
 * Invariant: every written page is found. A page that was not written may be
 * listed in the anonymous part only if the way cannot tell it from one, and then
 * it holds zeros, which are dropped here, for nothing but zeros lies beneath. Zeros
 * that the guard has put in the place of a page look like written ones: overlay.c
 * drops them.
 */
#include "config.h"

#include "dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sys.h"

#define BATCH 64
#define ENTRIES 4096

static int scan_part(const struct dirty_area *a, int pagemap, size_t start, size_t stop, struct ranges *ret)
{
	enum sys_pages which = start < a->file_length ? SYS_PAGES_WRITTEN : SYS_PAGES_WRITTEN_ANONYMOUS;
	uintptr_t base = (uintptr_t)a->base, at = base + start, end = base + stop;
	struct snapmap_range runs[BATCH];

	while (at < end) {
		uintptr_t next = end;
		int n = sys_pagemap_scan(pagemap, at, end, which, runs, BATCH, &next);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			int rc = ranges_append(ret, runs[i].offset - base, runs[i].length);

			if (rc)
				return rc;
		}
		if (next <= at)
			return -EIO;
		at = next;
	}
	return 0;
}

static int find_by_scan(const struct dirty_area *a, int pagemap, struct ranges *ret)
{
	size_t middle = a->file_length < a->length ? a->file_length : a->length;
	int rc = scan_part(a, pagemap, 0, middle, ret);

	return rc ? rc : scan_part(a, pagemap, middle, a->length, ret);
}

static bool entry_is_written(uint64_t entry)
{
	const uint64_t present = 1ULL << 63, swapped = 1ULL << 62, of_file = 1ULL << 61;

	return (entry & (present | swapped)) && !(entry & of_file);
}

static int find_by_pagemap(const struct dirty_area *a, int pagemap, struct ranges *ret)
{
	size_t page = sys_page_size(), pages = a->length / page;
	uint64_t *entries = (uint64_t *)malloc(ENTRIES * sizeof(*entries));
	int rc = entries ? 0 : -ENOMEM;

	for (size_t first = 0; !rc && first < pages; first += ENTRIES) {
		size_t n = pages - first < ENTRIES ? pages - first : ENTRIES;

		rc = sys_pagemap_read(pagemap, (uintptr_t)a->base + first * page, entries, n);
		for (size_t i = 0; !rc && i < n; i++) {
			size_t offset = (first + i) * page;

			/* Here the shared zero page looks like any other. */
			if (entry_is_written(entries[i]) &&
			    (offset < a->file_length || !bytes_are_zero(a->base + offset, page)))
				rc = ranges_append(ret, offset, page);
		}
	}
	free(entries);
	return rc;
}

/* Pages that hold the same bytes as the image need not be written at all. */
static int find_by_comparing(const struct dirty_area *a, struct ranges *ret)
{
	size_t page = sys_page_size(), got;
	char *bytes = (char *)malloc(page);
	int rc = bytes ? 0 : -ENOMEM;

	for (size_t offset = 0; !rc && offset < a->length; offset += page) {
		got = 0;
		if (offset < a->file_length)
			rc = sys_pread_full(a->fd, bytes, page, offset, &got);
		if (rc)
			break;
		memset(bytes + got, 0, page - got);
		rc = sys_populate(a->base + offset, page);
		if (rc)
			break;
		if (memcmp(bytes, a->base + offset, page))
			rc = ranges_append(ret, offset, page);
	}
	free(bytes);
	return rc;
}

static int find(const struct dirty_area *a, enum dirty_way way, struct ranges *ret)
{
	int pagemap, rc;

	if (way == DIRTY_COMPARE)
		return find_by_comparing(a, ret);
	pagemap = sys_pagemap_open();
	if (pagemap < 0)
		return pagemap;
	rc = way == DIRTY_SCAN ? find_by_scan(a, pagemap, ret) : find_by_pagemap(a, pagemap, ret);
	sys_close(pagemap);
	return rc;
}

int dirty_find(const struct dirty_area *a, enum dirty_way way, struct ranges *ret)
{
	int rc;

	if (way != DIRTY_ANY)
		return find(a, way, ret);
	for (way = DIRTY_SCAN; way <= DIRTY_COMPARE; way++) {
		ranges_clip(ret, 0);
		rc = find(a, way, ret);
		/* Only the interface may be missing; everything else is an answer. */
		if (!rc || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE)
			break;
	}
	return rc;
}
