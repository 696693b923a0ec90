/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A commit into a file of an image: one transaction of the file system in memory, so it is
 * there for everybody at once, or not at all; minifs_sync() makes it durable.
 *
 * As long as the handle lives, no block of the file can have been written to: so the file
 * was changed if, and only if, it has other blocks than those that are pinned, or another
 * size. For the same reason each block that the commit writes to is a new one, and there
 * is nothing to put back but pointers if it fails.
 */
#include "config.h"

#include <string.h>

#include "minifs_edited.h"
#include "snapmap/map_mut.h"
#include "sys.h"

static const char changed_advice[] = "it was changed, replaced or removed in the image since the snapshot: look at it, "
				     "then merge, or overwrite with "
				     "SNAPMAP_COMMIT_FORCE";

/**
 * struct into - where a commit goes
 * @inode: the file
 * @changed: it is not what the handle was made of: all bytes are written, not only edits
 */
struct into {
	struct mfs_inode inode;
	bool changed;
};

/* The number behind the name, as far as the directory is still there; else 0. */
static int look_up(const struct mfs *fs, const struct edited_file *f, uint32_t *ret)
{
	struct mfs_place place = {0};
	struct mfs_inode dir;
	int rc = -ENOENT;

	if (mfs_inode_used(fs, f->dir))
		rc = mfs_inode_load(fs, f->dir, &dir);
	if (!rc && (!S_ISDIR(dir.mode) || dir.generation != f->dir_generation || !dir.links))
		rc = -ENOENT;
	if (!rc)
		rc = mfs_dir_find(fs, &dir, f->name, strlen(f->name), &place);
	if (rc && rc != -ENOENT)
		return rc;
	*ret = rc ? 0 : place.ino;
	return 0;
}

static int find_target(const struct edited_file *f, struct into *ret)
{
	const struct mfs *fs = &f->mapped.fs->fs;
	struct mfs_extents extents = {0};
	uint32_t ino = f->ino;
	int rc = f->name[0] ? look_up(fs, f, &ino) : 0;

	if (!rc && !ino)
		return -ENOENT;
	if (!rc)
		rc = mfs_inode_load(fs, ino, &ret->inode);
	if (!rc && !S_ISREG(ret->inode.mode))
		rc = S_ISDIR(ret->inode.mode) ? -EISDIR : -EINVAL;
	if (!rc)
		rc = mfs_extents_of(fs, &ret->inode, &extents);
	if (rc)
		return rc;
	ret->changed =
		ino != f->ino || ret->inode.size != f->patch.length || !mfs_extents_same(&extents, &f->mapped.extents);
	mfs_extents_free(&extents);
	return 0;
}

static bool is_zero_page(const char *page, size_t n)
{
	return !page[0] && !memcmp(page, page + 1, n - 1);
}

/* Pages that are not zeros; each becomes private, for the blocks below are let go. */
static int append_pages(const struct edited_file *f, uint64_t start, uint64_t end, struct ranges *ret)
{
	size_t page = sys_page_size(), size = f->edited.view.size;
	char *base = f->edited.view.mapping.base;
	int rc = 0;

	for (size_t at = (size_t)start; !rc && at < end && at < size; at += page) {
		size_t n = size - at < page ? size - at : page;

		rc = sys_populate(base + at, page);
		if (rc || is_zero_page(base + at, n))
			continue;
		*(volatile char *)(base + at) = base[at];
		rc = ranges_append(ret, at, n);
	}
	return rc;
}

/* All that there is: pages of pieces that count, and edits, between which there may be large holes. */
static int all_pages(const struct edited_file *f, struct ranges *ret)
{
	size_t page = sys_page_size(), i = 0, k = 0;
	struct ranges edits = {0};
	uint64_t at = 0;
	int rc = edited_dirty(f, &edits);

	while (!rc && (i < f->patch.n || k < edits.n)) {
		uint64_t piece = i < f->patch.n ? f->patch.pieces[i].at : UINT64_MAX;
		uint64_t edit = k < edits.n ? edits.v[k].offset : UINT64_MAX;
		uint64_t start = piece < edit ? piece : edit, end;

		if (piece <= edit) {
			end = piece + f->patch.pieces[i++].length;
			end = end < page_up(f->kept) ? end : page_up(f->kept);
		} else {
			end = (edit + edits.v[k++].length + page - 1) / page * page;
		}
		start = start > at ? start : at;
		rc = append_pages(f, start, end, ret);
		at = end > at ? end : at;
	}
	ranges_free(&edits);
	return rc;
}

static int write_ranges(struct mfs *fs, struct mfs_inode *inode, const char *base, const struct ranges *ranges)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < ranges->n; i++) {
		uint64_t offset = ranges->v[i].offset, length = ranges->v[i].length;
		ssize_t n = mfs_write(fs, inode, base + offset, (size_t)length, offset);

		rc = n < 0 ? (int)n : (uint64_t)n < length ? -EFBIG : 0;
	}
	return rc;
}

static int write_file(struct edited_file *f, struct into *into, const struct ranges *ranges)
{
	struct mfs *fs = &f->mapped.fs->fs;
	uint64_t kept = into->changed ? 0 : f->kept;
	int rc = 0;

	if (kept < into->inode.size)
		rc = mfs_resize(fs, &into->inode, kept);
	if (!rc && f->edited.view.size != into->inode.size)
		rc = mfs_resize(fs, &into->inode, f->edited.view.size);
	return rc ? rc : write_ranges(fs, &into->inode, f->edited.view.mapping.base, ranges);
}

/* The handle stands for what is in the file now. */
static void settle(struct edited_file *f, struct mapped *now)
{
	mapped_leave(&f->mapped);
	f->mapped = *now;
	f->patch.pieces = now->pieces;
	f->patch.n = now->extents.n;
	f->patch.length = f->edited.view.size;
	f->kept = f->edited.view.size;
	f->edited.view.info.size = f->edited.view.size;
	f->edited.view.info.extents = now->extents.n;
	f->edited.view.info.strategy = SNAPMAP_STRATEGY_IMAGE;
}

/* A page of the memory of its own. */
static int privatize(const struct edited_file *f, uint64_t at)
{
	size_t page = sys_page_size();
	char *base = f->edited.view.mapping.base;
	int rc;

	if (at >= page_up(f->edited.view.size))
		return 0;
	rc = sys_populate(base + at, page);
	if (!rc)
		*(volatile char *)(base + at) = base[at];
	return rc;
}

/* The blocks of @old in [@at, @end) of the file, as far as @now has others there: those are let go. */
static int keep_what_shows(const struct edited_file *f, const struct mfs_extents *now)
{
	const struct mfs_extents *old = &f->mapped.extents;
	size_t k = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < old->n; i++) {
		const struct mfs_extent *o = &old->v[i];
		uint64_t at = o->at, end = o->at + o->length;

		while (!rc && at < end) {
			const struct mfs_extent *e;

			while (k < now->n && now->v[k].at + now->v[k].length <= at)
				k++;
			e = k < now->n && now->v[k].at <= at ? &now->v[k] : NULL;
			if (e && e->block + (at - e->at) == o->block + (at - o->at)) {
				at = e->at + e->length;
			} else {
				rc = privatize(f, at * MFS_BLOCK);
				at++;
			}
		}
	}
	return rc;
}

/* Up to the end of the transaction. What another file has, to which the name leads, may not be written to either. */
static int publish(struct edited_file *f, struct into *into, const struct ranges *ranges)
{
	struct minifs *fs = f->mapped.fs;
	struct mapped before, now;
	int rc = mapped_take(fs, &into->inode, &before);
	bool held = !rc && into->inode.ino != f->ino;

	if (rc)
		return rc;
	if (held)
		rc = mfs_hold(&fs->fs, into->inode.ino);
	held = held && !rc;
	if (!rc)
		rc = write_file(f, into, ranges);
	if (!rc)
		rc = mapped_take(fs, &into->inode, &now);
	if (!rc) {
		rc = keep_what_shows(f, &now.extents);
		if (rc)
			mapped_give(&now);
	}
	rc = mfs_end(&fs->fs, rc);
	if (!rc)
		settle(f, &now);
	mapped_give(&before);
	if (held) {
		mfs_release(&fs->fs, rc ? into->inode.ino : f->ino, 1);
		f->ino = rc ? f->ino : into->inode.ino;
	}
	return rc;
}

static int commit_locked(struct edited_file *f, uint32_t flags, bool *ret_conflict)
{
	struct ranges ranges = {0};
	struct into into;
	int rc = find_target(f, &into);

	*ret_conflict = (rc == -ENOENT || (!rc && into.changed)) && !(flags & SNAPMAP_COMMIT_FORCE);
	if (*ret_conflict)
		return -EBUSY;
	if (!rc)
		rc = into.changed ? all_pages(f, &ranges) : edited_dirty(f, &ranges);
	if (!rc && (ranges.n || into.changed || f->kept != f->patch.length || f->edited.view.size != f->patch.length))
		rc = publish(f, &into, &ranges);
	ranges_free(&ranges);
	return rc;
}

int edited_commit(struct edited_view *view, uint32_t flags, uint32_t strategy)
{
	struct edited_file *f = edited_of(view);
	struct minifs *fs = f->mapped.fs;
	bool conflict = false;
	int rc;

	if (strategy != SNAPMAP_STRATEGY_AUTO && strategy != SNAPMAP_STRATEGY_IMAGE)
		return error_set(-EOPNOTSUPP, "commit", "a file of an image has only the strategy image");
	pthread_rwlock_wrlock(&fs->lock);
	rc = mapped_error(&f->mapped) ? -EIO : 0;
	if (!rc && atomic_load(&fs->closed))
		rc = -ESTALE;
	if (!rc)
		rc = commit_locked(f, flags, &conflict);
	pthread_rwlock_unlock(&fs->lock);
	switch (rc) {
	case 0:
		return 0;
	case -ESTALE:
		return error_set(rc, "commit", "its image was closed: nothing could make it durable");
	case -EIO:
		return error_set(rc, "commit", "bytes of it, or of the image, could not be read: open the image anew");
	case -ENOENT:
		return error_set(rc, "commit", "its name is gone from the image: make a file of that name first");
	case -ENOSPC:
		return error_set(rc, "commit", "the image is full, and what is edited needs new blocks first");
	default:
		return error_set(rc, "commit", conflict ? changed_advice : NULL);
	}
}
