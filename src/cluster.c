/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much is written around an edit, so that a file does not fall into pieces.
 *
 * Each commit of scattered pages gives the file new extents, and each later reflink
 * of it costs time by their number. So once a file has more than FEW, a commit
 * writes whole clusters: each is one extent then, whatever it was before. There are
 * at most CLUSTERS of them, or size / LARGEST for large files, so that is what the
 * number of extents comes to in the end (twice that, where what lies between two
 * clusters is an extent too).
 */
#include "config.h"

#include "cluster.h"

#include "sys.h"

#define FEW 512u
#define CLUSTERS 2048u
#define SMALLEST ((uint64_t)64 << 10)
#define LARGEST ((uint64_t)1 << 20)

uint64_t cluster_size(int file, const struct stat *st, uint64_t extents)
{
	uint64_t page = sys_page_size(), block = (uint64_t)st->st_blksize, size = (uint64_t)st->st_size;
	uint64_t unit = block > page && !(block & (block - 1)) ? block : page;
	uint32_t counted = 0;
	bool realtime;

	if (!sys_layout(file, &counted, &realtime) && counted)
		extents = counted;
	if (extents <= FEW)
		return unit;
	if (unit < SMALLEST)
		unit = SMALLEST;
	while (unit < LARGEST && unit < size / CLUSTERS)
		unit *= 2;
	return unit;
}
