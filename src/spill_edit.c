/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An overlay over a work file: sizes, rollback, and what a commit takes.
 *
 * The image stays what rollback goes back to, and is written only by a commit. Where
 * extents can be shared, a commit stages a new clone of the work file: it is frozen,
 * so what is stored meanwhile cannot get into what is published, and it costs by the
 * extents. Elsewhere the pages that differ are written into the image, as from any
 * overlay.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "overlay.h"
#include "sys.h"

int spill_dirty(const struct overlay *o, struct ranges *ret)
{
	struct comparison c = {
		.work = o->spill->fd,
		.image = o->image.fd,
		.common = o->kept,
		.size = o->size,
		.shares = o->spill->shares,
	};
	/* What the image owes is no edit, and what was stored is one. */
	int rc = o->debt.fd >= 0 ? undo_put_back(&o->debt, o->image.fd) : 0;

	return rc ? rc : spill_compare(&c, ret);
}

/* Bytes behind the end may have been stored into; as growth they must be zeros. */
static int zero_tail(const struct overlay *o)
{
	const char *tail = o->mapping.base + o->size;
	size_t n = page_up(o->size) - o->size, i = 0;
	char *zeros;
	int rc;

	while (i < n && !tail[i])
		i++;
	if (i == n)
		return 0;
	zeros = (char *)calloc(1, n);
	if (!zeros)
		return -ENOMEM;
	/* Not by a store, which would be a signal if the disk is full. */
	rc = sys_pwrite_full(o->spill->fd, zeros, n, o->size);
	free(zeros);
	return rc;
}

static int grow_file(const struct overlay *o, size_t size)
{
	int rc = file_size_allowed(page_up(size));

	if (!rc)
		rc = zero_tail(o);
	return rc ? rc : sys_ftruncate(o->spill->fd, size);
}

int spill_grow(struct overlay *o, const struct mapping *to, size_t size)
{
	size_t start = to->base == o->mapping.base ? page_up(o->size) : 0;
	int rc = grow_file(o, size);

	if (!rc)
		rc = spill_put(o->spill, to, start, page_up(size) - start);
	if (rc)
		sys_ftruncate(o->spill->fd, o->size);
	else
		spill_moved(o->spill, to);
	return rc;
}

int spill_shrink(struct overlay *o, size_t size)
{
	size_t end = page_up(size), old_end = page_up(o->size);
	int rc = mapping_put_nothing(&o->mapping, end, old_end - end);

	if (rc)
		return rc;
	rc = sys_ftruncate(o->spill->fd, size);
	/* The same mappings as a moment before. */
	if (rc && spill_put(o->spill, &o->mapping, end, old_end - end))
		o->error = -ENOMEM;
	return rc;
}

static int copy_file(int from, uint64_t size, int to)
{
	struct sparse_copy copy = {.from = from, .to = to, .seekable = true, .zeros_are_holes = true, .paced = true};
	uint64_t copied, written;
	int rc;

	if (!size)
		return sys_ftruncate(to, 0);
	if (!sys_clone(from, to))
		return 0;
	/* A clone that failed halfway has left something. */
	rc = sys_ftruncate(to, 0);
	/* Only here does everybody know of data that has not been written out. */
	if (!(fs_traits_of(from)->flags & FS_LOCAL))
		rc = rc ? rc : sys_fsync(from);
	if (!rc)
		rc = sparse_copy_file(&copy, size, &copied, &written);
	return !rc && copied < size ? -EIO : rc;
}

int spill_copy(const struct overlay *o, int fd)
{
	return copy_file(o->spill->fd, o->size, fd);
}

bool spill_stages_fresh(const struct overlay *o)
{
	return o->spill->shares || o->kept < o->image.size;
}

int spill_stage_dir(const struct overlay *o, int dirfd)
{
	return o->spill->beside && dirfd >= 0 ? dirfd : o->spill->home;
}

/* --- back to the image */

/* What differs is written, at the price of reading all data of both files. A failure leaves some of it undone. */
static int write_differences(const struct overlay *o)
{
	struct undo undo = {.fd = o->image.fd, .size = o->image.size};
	struct comparison c = {
		.work = o->spill->fd,
		.image = o->image.fd,
		.common = o->image.size,
		.size = o->image.size,
		.shares = o->spill->shares,
	};
	int rc = sys_ftruncate(o->spill->fd, o->image.size);

	if (!rc)
		rc = spill_compare(&c, &undo.ranges);
	if (!rc)
		rc = undo_put_back(&undo, o->spill->fd);
	ranges_free(&undo.ranges);
	return rc;
}

/* In the same work file: its new parts are mapped, the others show by themselves. */
static int roll_back_in_place(struct overlay *o)
{
	size_t end = page_up((size_t)o->image.size), shown = page_up(o->size);
	int rc = -EOPNOTSUPP;

	if (o->spill->shares && o->image.size) {
		rc = sys_ftruncate(o->spill->fd, o->image.size);
		if (!rc)
			rc = sys_clone(o->image.fd, o->spill->fd);
	}
	if (rc)
		rc = write_differences(o);
	if (!rc && end > shown)
		rc = spill_put(o->spill, &o->mapping, shown, end - shown);
	/* Nothing lies behind the size that the handle still has. */
	if (rc)
		sys_ftruncate(o->spill->fd, o->size);
	return rc;
}

/* In another work file like the image. Nothing has changed if that fails. */
static int roll_back_by_copy(struct overlay *o)
{
	struct private_file_request request = {.dirfd = o->spill->home, .local_only = true};
	cleanup_fd int fd = -1;
	int rc = private_file_create(&request, &fd);

	if (rc)
		return rc;
	private_file_prepare(o->image.fd, fd);
	rc = copy_file(o->image.fd, o->image.size, fd);
	if (!rc)
		rc = spill_exchange(o->spill, &o->mapping, fd, page_up((size_t)o->image.size));
	if (!rc)
		fd = -1;
	return rc;
}

/* In place where that is all that is to be done, and where there is no room for more. */
int spill_rollback(struct overlay *o)
{
	size_t end = page_up((size_t)o->image.size);
	int rc = spill_stages_fresh(o) ? roll_back_by_copy(o) : -ENOSPC;

	if (rc == -ENOSPC || rc == -EDQUOT)
		rc = roll_back_in_place(o);
	if (rc)
		return rc;
	mapping_put_nothing(&o->mapping, end, o->mapping.span - end);
	guard_cut(o->live, end);
	guard_zero_again(o->live);
	o->size = o->kept = (size_t)o->image.size;
	return 0;
}
