/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edits of a patchwork: what differs from the pieces, and giving it up. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "dirty.h"
#include "patchwork.h"
#include "sys.h"

/* Pages that belong to no file; without /proc it may be any. */
static int find_candidates(const char *base, size_t length, struct ranges *ret)
{
	struct dirty_area area = {base, length, length, -1};
	int rc = dirty_find(&area, DIRTY_SCAN, ret);

	if (rc && rc != -ENOMEM) {
		ranges_clip(ret, 0);
		rc = dirty_find(&area, DIRTY_PAGEMAP, ret);
	}
	if (rc && rc != -ENOMEM) {
		ranges_clip(ret, 0);
		rc = ranges_append(ret, 0, length);
	}
	return rc;
}

/* The piece that has the page, from @*hint on; NULL for zeros. */
static const char *original(const struct patchwork *p, const char *source, uint64_t at, size_t *hint)
{
	const struct piece *piece;

	while (*hint < p->n && p->pieces[*hint].at + p->pieces[*hint].length <= at)
		++*hint;
	piece = *hint < p->n ? &p->pieces[*hint] : NULL;
	return piece && piece->at <= at ? source + piece->from + (at - piece->at) : NULL;
}

static bool all_zeros(const char *bytes, size_t n)
{
	return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, n - 1));
}

/* @kept of the @n bytes are to be the original's, the others zeros. */
static bool same(const char *page, const char *of, size_t kept, size_t n)
{
	kept = kept < n ? kept : n;
	if (of ? memcmp(page, of, kept) != 0 : !all_zeros(page, kept))
		return false;
	return all_zeros(page + kept, n - kept);
}

static size_t bytes_up_to(uint64_t end, uint64_t at, size_t most)
{
	return end <= at ? 0 : end - at < most ? (size_t)(end - at) : most;
}

int patchwork_edits(const struct patchwork *p, const char *source, uint64_t kept, uint64_t size, struct ranges *ret)
{
	size_t page = sys_page_size(), hint = 0;
	struct ranges candidates = {0};
	int rc = size ? find_candidates(p->mapping.base, page_up((size_t)size), &candidates) : 0;

	for (size_t i = 0; !rc && i < candidates.n; i++) {
		uint64_t end = candidates.v[i].offset + candidates.v[i].length;

		for (uint64_t at = candidates.v[i].offset; !rc && at < end && at < size; at += page) {
			size_t n = bytes_up_to(size, at, page);
			const char *of = original(p, source, at, &hint);

			rc = of ? sys_populate(of, page) : 0;
			if (!rc && !same(p->mapping.base + at, of, bytes_up_to(kept, at, page), n))
				rc = ranges_append(ret, at, n);
		}
	}
	ranges_free(&candidates);
	return rc;
}

int patchwork_restore(const struct patchwork *p, const char *source, uint64_t start, uint64_t end)
{
	size_t page = sys_page_size(), hint = 0;
	int rc = 0;

	for (uint64_t at = page_down((size_t)start); !rc && at < end; at += page) {
		const char *of = original(p, source, at, &hint);
		size_t n = bytes_up_to(p->length, at, page);

		rc = of ? sys_populate(of, page) : 0;
		if (!rc && of)
			memcpy(p->mapping.base + at, of, n);
		if (!rc && !of)
			memset(p->mapping.base + at, 0, page);
	}
	return rc;
}
