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
 * A file may come with far more. Then a commit does not pay for all that was done to it:
 * with many extents in a cluster a few clusters take away more of them than the edits can
 * add, and only so many are written, chosen at random.
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

#include "base.h"
#include "sys.h"

#define FEW 2048u
#define SMALLEST ((uint64_t)16 << 10)
#define LARGEST ((uint64_t)128 << 10)
#define EXTRA ((uint64_t)2048 << 10)
#define REMOVED 3u /* extents; an edit adds two at most */

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

static uint64_t extents_each(const struct cluster_job *job)
{
	return job->extents / (job->size / cluster_size(job->edits) + 1);
}

/* Of @n clusters: so many that they take away REMOVED for each edit, if all are alike. */
static size_t clusters_needed(const struct cluster_job *job, size_t n)
{
	uint64_t each = extents_each(job), needed;

	if (!job->sparing || each < 2)
		return n;
	needed = (REMOVED * job->edits->n + each - 2) / (each - 1);
	return needed < n ? (size_t)needed : n;
}

/* Takes out all but @wanted, spread over them, beginning anywhere. */
static int choose(size_t wanted, struct ranges *clusters)
{
	uint64_t start;
	size_t n = 0;
	int rc;

	if (wanted == clusters->n)
		return 0;
	rc = sys_random(&start);
	if (rc)
		return rc;
	start %= clusters->n;
	for (size_t i = 0; i < clusters->n; i++)
		if ((i * wanted + start) % clusters->n < wanted)
			clusters->v[n++] = clusters->v[i];
	clusters->n = n;
	return 0;
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

		if (!bytes_are_zero(c->buffer + i, length))
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

/* Those before @end, from *@k on, which no cluster has. */
static int append_edits(const struct ranges *edits, size_t *k, uint64_t end, struct ranges *ret)
{
	int rc = 0;

	for (; !rc && *k < edits->n && edits->v[*k].offset < end; ++*k)
		rc = ranges_append(ret, edits->v[*k].offset, edits->v[*k].length);
	return rc;
}

/* Returns how many edits are in clusters, or a negative errno. */
static ssize_t append_all(const struct cluster_job *job, const struct ranges *clusters, const struct clean *c,
			  struct ranges *ret)
{
	const struct ranges *edits = job->edits;
	size_t k = 0, inside = 0;
	int rc = 0;

	for (size_t i = 0; i < clusters->n; i++)
		sys_read_ahead(c->image, clusters->v[i].offset, clusters->v[i].length);
	for (size_t i = 0; !rc && i < clusters->n; i++) {
		uint64_t at = clusters->v[i].offset, end = at + clusters->v[i].length;

		rc = append_edits(edits, &k, at, ret);
		for (; !rc && k < edits->n && edits->v[k].offset < end; k++, inside++) {
			rc = append_clean(c, at, edits->v[k].offset, ret);
			if (!rc)
				rc = ranges_append(ret, edits->v[k].offset, edits->v[k].length);
			at = edits->v[k].offset + edits->v[k].length;
		}
		if (!rc)
			rc = append_clean(c, at, end, ret);
	}
	if (!rc)
		rc = append_edits(edits, &k, UINT64_MAX, ret);
	return rc ? rc : (ssize_t)inside;
}

/* Holes keep the pieces apart: whether the clusters are half as many then as they would be with edits only. */
static bool is_worth_it(const struct cluster_job *job, size_t clusters, size_t inside, size_t pieces)
{
	pieces -= job->edits->n - inside;
	return 2 * pieces <= extents_each(job) * clusters + 2 * inside;
}

int cluster_widen(const struct cluster_job *job, struct ranges *ret)
{
	struct clean clean = {.image = job->image, .kept = job->kept, .buffer = (char *)malloc(LARGEST)};
	struct ranges clusters = {0}, wide = {0};
	ssize_t rc = clean.buffer ? ranges_widen(job->edits, cluster_size(job->edits), job->size, &clusters) : -ENOMEM;

	if (!rc)
		rc = choose(clusters_needed(job, clusters.n), &clusters);
	if (!rc)
		rc = append_all(job, &clusters, &clean, &wide);
	if (rc >= 0)
		rc = is_worth_it(job, clusters.n, (size_t)rc, wide.n) ? 0 : -ENODATA;
	ranges_free(&clusters);
	free(clean.buffer);
	if (rc)
		ranges_free(&wide);
	else
		*ret = wide;
	return (int)rc;
}
