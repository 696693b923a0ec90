/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much is written around an edit, so that a file does not fall into pieces.
 *
 * Each commit of scattered pages gives the file new extents, at most two for each
 * edit, and each later reflink of it costs time by their number. So once a file has
 * more than FEW, and more than it has clusters, a commit writes the whole cluster
 * around an edit, which is one extent then, whatever it was before. Few edits get
 * clusters of LARGEST bytes; many get smaller ones, so that what is written beyond
 * the edits stays below EXTRA bytes for up to EXTRA / SMALLEST of them, and below four
 * times the edits for more. A file with fewer extents than clusters of that size would
 * not have fewer afterwards, so nothing is written beyond the edits then.
 *
 * The bound: FEW, or the number of clusters if that is more, and two for each edit of
 * one commit, from the time before. There are size / LARGEST clusters with up to
 * EXTRA / LARGEST edits a commit, size / SMALLEST with any number. (As far as
 * the file system finds room for a cluster in one piece.)
 */
#include "config.h"

#include "cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

#define FEW 2048u
#define SMALLEST ((uint64_t)16 << 10)
#define LARGEST ((uint64_t)128 << 10)
#define EXTRA ((uint64_t)2048 << 10)

static uint64_t cluster_size(const struct ranges *edits)
{
	uint64_t size = LARGEST;

	while (size > SMALLEST && size * edits->n > EXTRA)
		size /= 2;
	return size;
}

bool cluster_wanted(uint64_t size, uint64_t extents, const struct ranges *edits)
{
	return extents > FEW && extents > size / cluster_size(edits);
}

static bool is_zero(const char *p, uint64_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/**
 * struct clean - pages that nobody edited
 * @image: where they are
 * @kept: as far as it counts
 * @buffer: LARGEST bytes
 *
 * They are read, and not looked at through the mapping of a handle: a page that is mapped
 * costs time whenever private pages are looked for.
 */
struct clean {
	int image;
	uint64_t kept;
	char *buffer;
};

static int append_read(const struct clean *c, uint64_t at, size_t n, struct ranges *ret)
{
	size_t page = sys_page_size(), got;
	int rc = sys_pread_full(c->image, c->buffer, n, at, &got);

	for (size_t i = 0; !rc && i < got; i += page) {
		size_t length = got - i < page ? got - i : page;

		if (!is_zero(c->buffer + i, length))
			rc = ranges_append(ret, at + i, length);
	}
	return rc;
}

static int append_clean(const struct clean *c, uint64_t at, uint64_t end, struct ranges *ret)
{
	int rc = 0;

	end = end < c->kept ? end : c->kept;
	while (!rc && at < end) {
		size_t n = end - at < LARGEST ? (size_t)(end - at) : (size_t)LARGEST;

		rc = append_read(c, at, n, ret);
		at += n;
	}
	return rc;
}

static int append_all(const struct ranges *clusters, const struct ranges *edits, const struct clean *c,
		      struct ranges *ret)
{
	size_t k = 0;
	int rc = 0;

	for (size_t i = 0; i < clusters->n; i++)
		sys_read_ahead(c->image, clusters->v[i].offset, clusters->v[i].length);
	for (size_t i = 0; !rc && i < clusters->n; i++) {
		uint64_t at = clusters->v[i].offset, end = at + clusters->v[i].length;

		for (; !rc && k < edits->n && edits->v[k].offset < end; k++) {
			rc = append_clean(c, at, edits->v[k].offset, ret);
			if (!rc)
				rc = ranges_append(ret, edits->v[k].offset, edits->v[k].length);
			at = edits->v[k].offset + edits->v[k].length;
		}
		if (!rc)
			rc = append_clean(c, at, end, ret);
	}
	return rc;
}

int cluster_widen(const struct ranges *edits, int image, uint64_t kept, uint64_t size, struct ranges *ret)
{
	struct clean clean = {.image = image, .kept = kept, .buffer = (char *)malloc(LARGEST)};
	struct ranges clusters = {0}, wide = {0};
	int rc = clean.buffer ? ranges_widen(edits, cluster_size(edits), size, &clusters) : -ENOMEM;

	if (!rc)
		rc = append_all(&clusters, edits, &clean, &wide);
	ranges_free(&clusters);
	free(clean.buffer);
	if (rc)
		ranges_free(&wide);
	else
		*ret = wide;
	return rc;
}
