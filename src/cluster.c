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

#include <string.h>

#include "sys.h"

#define FEW 2048u
#define SMALLEST ((uint64_t)16 << 10)
#define LARGEST ((uint64_t)128 << 10)
#define EXTRA ((uint64_t)2 << 20)

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

/* Pages from @at to before @end that nobody edited. */
static int append_clean(const char *base, uint64_t at, uint64_t end, struct ranges *ret)
{
	uint64_t page = sys_page_size();
	int rc = at < end ? sys_populate(base + at, end - at) : 0;

	while (!rc && at < end) {
		uint64_t n = end - at < page ? end - at : page;

		if (!is_zero(base + at, n))
			rc = ranges_append(ret, at, n);
		at += n;
	}
	return rc;
}

int cluster_widen(const struct ranges *edits, const char *base, uint64_t size, struct ranges *ret)
{
	struct ranges clusters = {0};
	int rc = ranges_widen(edits, cluster_size(edits), size, &clusters);
	size_t k = 0;

	for (size_t i = 0; !rc && i < clusters.n; i++) {
		uint64_t at = clusters.v[i].offset, end = at + clusters.v[i].length;

		for (; !rc && k < edits->n && edits->v[k].offset < end; k++) {
			rc = append_clean(base, at, edits->v[k].offset, ret);
			if (!rc)
				rc = ranges_append(ret, edits->v[k].offset, edits->v[k].length);
			at = edits->v[k].offset + edits->v[k].length;
		}
		if (!rc)
			rc = append_clean(base, at, end, ret);
	}
	ranges_free(&clusters);
	if (rc)
		ranges_free(ret);
	return rc;
}
