/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much is written around an edit, so that a file does not fall into pieces. */
#ifndef SNAPMAP_CLUSTER_H
#define SNAPMAP_CLUSTER_H

#include <stdbool.h>

#include "ranges.h"

/* Whether a file of this size has so many extents that a commit of @edits is to write clusters. */
bool cluster_wanted(uint64_t size, uint64_t extents, const struct ranges *edits);
/**
 * struct cluster_job - a commit to a file of too many extents
 * @extents: so many
 * @sparing: each extent that is taken away costs time, so no commit takes away many more
 *	than its edits add
 * @image: a file with the first @kept bytes of what was not edited; behind them are
 *	zeros, up to @size
 */
struct cluster_job {
	const struct ranges *edits;
	uint64_t extents;
	bool sparing;
	int image;
	uint64_t kept, size;
};

/*
 * What to write instead of the edits: whole clusters, without pages that hold zeros and
 * were not edited, so that holes stay. -ENODATA if nothing is gained, for there are as
 * many holes; -ENOMEM, or the errno of reading: then the edits have to do.
 */
int cluster_widen(const struct cluster_job *job, struct ranges *ret);

#endif
