/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pins: blocks whose bytes must stay, because somebody outside has mapped them.
 *
 * Invariant: a pinned block is not written to. Who writes to the file takes a new block,
 * as if it was shared (mfs_map_own), and the allocator passes pinned blocks over, also
 * when they are free. Only blocks of data of files are pinned; in an image that lies,
 * such a block may be something else at the same time, and then it may change.
 *
 * Pins are only in memory, although the format has counts of its own. A count on the disk
 * would stay there after a crash with nobody left to take it back; and a block that has
 * lost its last pointer is free for everybody who comes after the crash, so the image may
 * well say so while it is pinned. A pin costs nothing on the disk, and pinning a file
 * takes time by its runs, not by its blocks.
 *
 * They are ranges, sorted, that do not overlap, with the number of those who want them.
 * Room for all that can become of them is taken when something is pinned, so that giving
 * it up cannot fail: R runs have at most 2 R ends, so there are fewer than 2 R ranges.
 */
#include "config.h"

#include <stdlib.h>

#include "fs.h"

static int compare_starts(const void *a, const void *b)
{
	const struct mfs_run *left = (const struct mfs_run *)a, *right = (const struct mfs_run *)b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* A file can have the same block twice. */
static size_t unite(struct mfs_run *runs, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		struct mfs_run *last = used ? &runs[used - 1] : NULL;
		uint64_t last_end = last ? (uint64_t)last->start + last->length : 0;
		uint64_t end = (uint64_t)runs[i].start + runs[i].length;

		if (last && runs[i].start <= last_end)
			last->length = (uint32_t)((end > last_end ? end : last_end) - last->start);
		else
			runs[used++] = runs[i];
	}
	return used;
}

int mfs_runs_of(const struct mfs_extents *extents, struct mfs_runs *ret)
{
	struct mfs_runs runs = {.v = (struct mfs_run *)malloc((extents->n + 1) * sizeof(*runs.v)), .n = extents->n};

	if (!runs.v)
		return -ENOMEM;
	for (size_t i = 0; i < extents->n; i++)
		runs.v[i] = (struct mfs_run){extents->v[i].block, (uint32_t)extents->v[i].length};
	qsort(runs.v, runs.n, sizeof(*runs.v), compare_starts);
	runs.n = unite(runs.v, runs.n);
	*ret = runs;
	return 0;
}

void mfs_runs_free(struct mfs_runs *runs)
{
	free(runs->v);
	*runs = (struct mfs_runs){0};
}

static void append(struct mfs_pins *pins, size_t *n, uint64_t start, uint64_t end, uint32_t count)
{
	struct mfs_pin *last = *n ? &pins->spare[*n - 1] : NULL;

	if (last && last->end == start && last->count == count)
		last->end = end;
	else
		pins->spare[(*n)++] = (struct mfs_pin){start, end, count};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The sum of what is pinned and @runs, from one end to the next. */
static void add(struct mfs_pins *pins, const struct mfs_runs *runs, int change)
{
	size_t i = 0, k = 0, n = 0;
	struct mfs_pin *old = pins->v;
	uint64_t at = 0;

	while (i < pins->n || k < runs->n) {
		uint64_t start = i < pins->n ? pins->v[i].start : UINT64_MAX;
		uint64_t run_start = k < runs->n ? runs->v[k].start : UINT64_MAX;
		uint64_t run_end = k < runs->n ? run_start + runs->v[k].length : UINT64_MAX;
		bool in_pin, in_run;
		uint64_t next;
		int64_t count;

		if (at < start && at < run_start)
			at = least(start, run_start);
		in_pin = start <= at;
		in_run = run_start <= at;
		next = least(in_pin ? pins->v[i].end : start, in_run ? run_end : run_start);
		count = (in_pin ? (int64_t)pins->v[i].count : 0) + (in_run ? change : 0);
		if (count > 0)
			append(pins, &n, at, next, (uint32_t)count);
		at = next;
		if (in_pin && at == pins->v[i].end)
			i++;
		if (in_run && at == run_end)
			k++;
	}
	pins->v = pins->spare;
	pins->spare = old;
	pins->n = n;
}

static int make_room(struct mfs_pins *pins, size_t runs)
{
	size_t capacity = 2 * runs + 2;
	struct mfs_pin *v;

	if (capacity <= pins->capacity)
		return 0;
	if (capacity < 2 * pins->capacity)
		capacity = 2 * pins->capacity;
	v = (struct mfs_pin *)realloc(pins->v, capacity * sizeof(*v));
	if (!v)
		return -ENOMEM;
	pins->v = v;
	v = (struct mfs_pin *)realloc(pins->spare, capacity * sizeof(*v));
	if (!v)
		return -ENOMEM;
	pins->spare = v;
	pins->capacity = capacity;
	return 0;
}

int mfs_pin(struct mfs *fs, const struct mfs_runs *runs)
{
	int rc = make_room(&fs->pins, fs->pins.runs + runs->n);

	if (rc)
		return rc;
	fs->pins.runs += runs->n;
	add(&fs->pins, runs, 1);
	return 0;
}

void mfs_unpin(struct mfs *fs, const struct mfs_runs *runs)
{
	fs->pins.runs -= runs->n;
	add(&fs->pins, runs, -1);
	if (!fs->pins.runs)
		mfs_pins_close(fs);
}

uint64_t mfs_pinned_until(const struct mfs *fs, uint64_t block)
{
	const struct mfs_pin *v = fs->pins.v;
	size_t low = 0, high = fs->pins.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (v[middle].end <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < fs->pins.n && v[low].start <= block ? v[low].end : 0;
}

void mfs_pins_close(struct mfs *fs)
{
	free(fs->pins.v);
	free(fs->pins.spare);
	fs->pins = (struct mfs_pins){0};
}
