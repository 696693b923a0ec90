/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file's blocks as runs: blocks that follow each other in the file and in the image.
 * Who reads all pointers of a large file has most of them in a row, so a block of
 * pointers is first looked at as a whole.
 */
#include "config.h"

#include <stdlib.h>

#include "fs.h"

#define CHUNK 64u

/* @run: found, and not yet passed on. */
struct run_walk {
	const struct mfs *fs;
	uint64_t from, to;
	struct mfs_visits seen;
	struct mfs_extent run;
	mfs_visit_run *visit;
	void *arg;
};

static int pass_on(struct run_walk *w)
{
	int rc = w->run.length ? w->visit(w->arg, &w->run) : 0;

	w->run.length = 0;
	return rc;
}

static int found(struct run_walk *w, uint64_t at, uint32_t block, uint64_t n)
{
	const struct mfs *fs = w->fs;
	int rc = 0;

	if (!mfs_is_data(fs, block) || n > fs->geo.blocks - block)
		return -EUCLEAN;
	if (w->run.length && w->run.at + w->run.length == at && w->run.block + w->run.length == block) {
		w->run.length += n;
		return 0;
	}
	rc = pass_on(w);
	w->run = (struct mfs_extent){at, block, n};
	return rc;
}

/* Without a way out of the loop, so that the compiler takes many at once. */
static bool chunk_in_a_row(const le32 *pointers, uint32_t first)
{
	uint32_t differs = 0;

	for (uint32_t i = 0; i < CHUNK; i++)
		differs |= get32(pointers[i]) ^ (first + i);
	return !differs;
}

static bool all_in_a_row(const le32 *pointers)
{
	uint32_t first = get32(pointers[0]);

	for (uint32_t i = 0; i < MFS_PER_BLOCK; i += CHUNK)
		if (!chunk_in_a_row(pointers + i, first + i))
			return false;
	/* From the last number on there would be holes. */
	return first && first <= UINT32_MAX - (MFS_PER_BLOCK - 1);
}

static int walk_pointers(struct run_walk *w, const le32 *pointers, uint64_t first)
{
	uint64_t from = w->from > first ? w->from - first : 0;
	uint64_t to = w->to - first < MFS_PER_BLOCK ? w->to - first : MFS_PER_BLOCK;
	int rc = 0;

	if (all_in_a_row(pointers))
		return found(w, first + from, get32(pointers[from]), to - from);
	for (uint64_t i = from; !rc && i < to; i++)
		if (get32(pointers[i]))
			rc = found(w, first + i, get32(pointers[i]), 1);
	return rc;
}

static int walk_tree(struct run_walk *w, uint32_t block, unsigned level, uint64_t first)
{
	uint64_t span = (uint64_t)1 << (10 * level);
	const le32 *pointers;
	int rc = 0;

	if (!block || first + span <= w->from || first >= w->to)
		return 0;
	if (!level)
		return found(w, first, block, 1);
	if (!mfs_is_data(w->fs, block))
		return -EUCLEAN;
	rc = mfs_visit_once(&w->seen, block);
	if (rc)
		return rc;
	pointers = (const le32 *)mfs_at(w->fs, block);
	if (level == 1)
		return walk_pointers(w, pointers, first);
	span >>= 10;
	for (unsigned i = 0; !rc && i < MFS_PER_BLOCK; i++)
		rc = walk_tree(w, get32(pointers[i]), level - 1, first + i * span);
	return rc;
}

int mfs_map_runs(const struct mfs *fs, const struct mfs_inode *inode, uint64_t from, uint64_t to, mfs_visit_run *visit,
		 void *arg)
{
	struct run_walk w = {.fs = fs, .from = from, .to = to, .visit = visit, .arg = arg};
	uint64_t first = 0;
	int rc = 0;

	for (unsigned slot = 0; !rc && slot < MFS_POINTERS; slot++) {
		unsigned level = slot < MFS_DIRECT ? 0 : slot - MFS_DIRECT + 1;

		rc = walk_tree(&w, inode->pointers[slot], level, first);
		first += (uint64_t)1 << (10 * level);
	}
	if (!rc)
		rc = pass_on(&w);
	mfs_visits_free(&w.seen);
	return rc;
}

static int keep_run(void *arg, const struct mfs_extent *run)
{
	struct mfs_extents *extents = (struct mfs_extents *)arg;

	if (extents->n == extents->capacity) {
		size_t capacity = extents->capacity ? extents->capacity * 2 : 4;
		struct mfs_extent *v = (struct mfs_extent *)realloc(extents->v, capacity * sizeof(*v));

		if (!v)
			return -ENOMEM;
		extents->v = v;
		extents->capacity = capacity;
	}
	extents->v[extents->n++] = *run;
	return 0;
}

/* All of the file up to its end, in the order of the file. */
int mfs_extents_of(const struct mfs *fs, const struct mfs_inode *inode, struct mfs_extents *ret)
{
	struct mfs_extents extents = {0};
	uint64_t blocks = inode->size / MFS_BLOCK + (inode->size % MFS_BLOCK != 0);
	int rc = mfs_map_runs(fs, inode, 0, blocks, keep_run, &extents);

	if (rc)
		mfs_extents_free(&extents);
	else
		*ret = extents;
	return rc;
}

void mfs_extents_free(struct mfs_extents *extents)
{
	free(extents->v);
	*extents = (struct mfs_extents){0};
}

bool mfs_extents_same(const struct mfs_extents *a, const struct mfs_extents *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].at != b->v[i].at || a->v[i].block != b->v[i].block || a->v[i].length != b->v[i].length)
			return false;
	return true;
}
