/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit, seen from the overlay: bringing an image up to the present bytes.
 *
 * Stores never touch the image. A commit stages it first: the private pages are
 * written into the image, which the mapping does not show, as the private pages
 * hide it. What the image had there is saved, so that a commit that fails can be
 * taken back. When the commit succeeded, the private pages go: the same bytes
 * appear from the image below. So a commit costs what was written, whatever the
 * size, and the data pointer stays.
 *
 * A file that was cut is staged as a new image instead, for saving the part that
 * was cut off could cost as much as the file. So is one whose process has forked,
 * for the other side of the fork has a mapping of the same image, which must not
 * change under it.
 *
 * Where the image is the file itself (exclusive.c), it is not for us to write to: what
 * a strategy needs more than the edits is staged in a file that goes away afterwards, and
 * the new bytes appear from below because the strategy has put them there.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "cluster.h"
#include "overlay.h"
#include "sys.h"

#define UNDO_IN_MEMORY ((uint64_t)4 << 20)

/* In the directory @dirfd; without one (-1), on the file system of the image. */
static int new_file(const struct overlay *o, int dirfd, mode_t mode, bool *ret_linkable, int *ret_fd)
{
	struct private_file_request place = {.dirfd = dirfd, .mode = mode, .linkable = true, .local_only = true};
	struct stat st;
	int rc = -EOPNOTSUPP;

	if (dirfd >= 0)
		rc = private_file_create(&place, ret_fd);
	*ret_linkable = !rc;
	place.linkable = false;
	if (rc == -EOPNOTSUPP || rc == -EINVAL) {
		if (dirfd < 0) {
			rc = sys_fstat(o->image.fd, &st);
			if (rc)
				return rc;
			place.near = &st;
			place.local_only = false;
		}
		rc = private_file_create(&place, ret_fd);
	}
	if (!rc)
		private_file_prepare(o->image.fd, *ret_fd);
	return rc;
}

#define BUFFER ((size_t)64 << 10)

/* Bytes of the image, as far as they count; behind that a file has zeros by itself. */
static int write_clean(const struct overlay *o, uint64_t at, uint64_t end, int fd)
{
	char buffer[BUFFER];
	int rc = 0;

	end = end < o->kept ? end : o->kept;
	while (!rc && at < end) {
		size_t n = end - at < BUFFER ? (size_t)(end - at) : BUFFER;

		rc = sys_pread_full(o->image.fd, buffer, n, at, &n);
		if (!rc && !n)
			return 0;
		if (!rc)
			rc = sys_pwrite_full(fd, buffer, n, at);
		at += n;
	}
	return rc;
}

static int write_edit(const struct overlay *o, const struct snapmap_range *r, int fd)
{
	int rc = sys_pwrite_full(fd, o->mapping.base + r->offset, (size_t)r->length, r->offset);

	/* A page that could not be read back from swap. */
	return rc == -EFAULT ? -EIO : rc;
}

/* @edits: those from *@next on. A work file shows all of its pages as they are. */
static int write_range(const struct overlay *o, const struct snapmap_range *r, const struct ranges *edits, size_t *next,
		       int fd)
{
	uint64_t at = r->offset, end = at + r->length;
	int rc = 0;

	if (o->spill)
		return write_edit(o, r, fd);
	for (; !rc && *next < edits->n && edits->v[*next].offset < end; ++*next) {
		const struct snapmap_range *edit = &edits->v[*next];

		rc = write_clean(o, at, edit->offset, fd);
		if (!rc)
			rc = write_edit(o, edit, fd);
		at = edit->offset + edit->length;
	}
	return rc ? rc : write_clean(o, at, end, fd);
}

/* @ret_ranges: how many of the ranges were at least begun. */
static int write_ranges(const struct overlay *o, const struct ranges *ranges, const struct ranges *edits, int fd,
			size_t *ret_ranges)
{
	size_t i, next = 0;
	int rc = 0;

	for (i = 0; !rc && i < ranges->n; i++)
		rc = write_range(o, &ranges->v[i], edits, &next, fd);
	*ret_ranges = i;
	return rc;
}

/* The first @length bytes of the image into an empty file, shared if possible. */
static int fill_from_image(const struct overlay *o, uint64_t length, int fd)
{
	struct sparse_copy copy = {.from = o->image.fd, .to = fd, .seekable = true, .zeros_are_holes = true};
	uint64_t written;
	int rc;

	if (!length)
		return 0;
	if (!sys_clone(o->image.fd, fd))
		return sys_ftruncate(fd, length);
	/* A clone that failed halfway has left something. */
	rc = sys_ftruncate(fd, 0);
	return rc ? rc : sparse_copy_range(&copy, 0, length, 0, &written);
}

static int flatten_into(const struct overlay *o, const struct ranges *dirty, struct image *image)
{
	size_t ranges;
	int rc = o->spill ? spill_copy(o, image->fd) : fill_from_image(o, o->kept, image->fd);

	if (!rc)
		rc = sys_ftruncate(image->fd, o->size);
	if (!rc && !o->spill)
		rc = write_ranges(o, dirty, dirty, image->fd, &ranges);
	if (rc)
		return error_set(rc, "write the new version of", NULL);
	image->size = o->size;
	return 0;
}

int overlay_write(const struct overlay *o, const struct ranges *ranges, const struct ranges *edits, int fd)
{
	size_t begun;

	return write_ranges(o, ranges, edits, fd, &begun);
}

int overlay_flatten(const struct overlay *o, const struct ranges *dirty, int dirfd, mode_t mode, struct image *ret)
{
	struct image image = o->image;
	int rc = file_size_allowed(o->size);

	image.unlimited = false;
	if (!rc)
		rc = new_file(o, dirfd, mode, &image.linkable, &image.fd);
	if (rc)
		return error_set(rc, "make a new version of", NULL);
	rc = flatten_into(o, dirty, &image);
	if (rc)
		sys_close(image.fd);
	else
		*ret = image;
	return rc;
}

static bool is_in_memory(const struct overlay *o)
{
	return fs_traits_of(o->image.fd)->flags & FS_IN_MEMORY;
}

/* On a full file system in memory, holes under a mapping are signals: see copy.c. */
static bool wants_memory(const struct overlay *o)
{
	return is_in_memory(o) && (o->image.unlimited || o->size > o->kept);
}

static int stage_fresh(struct overlay *o, int dirfd, struct staged *s)
{
	int rc;

	if (!wants_memory(o)) {
		rc = overlay_flatten(o, &s->edits, dirfd, 0, &s->image);
		if (!rc && o->spill)
			s->image.linkable = s->image.linkable && o->spill->beside;
		return rc;
	}
	s->image = o->image;
	s->image.linkable = false;
	s->image.unlimited = true;
	s->image.fd = -1;
	rc = file_size_allowed(o->size);
	if (!rc)
		rc = private_file_memory("snapmap-image", &s->image.fd);
	if (rc)
		return error_set(rc, "make a new version of", NULL);
	rc = flatten_into(o, &s->edits, &s->image);
	if (rc)
		close_fd(&s->image.fd);
	return rc;
}

static int save_undo(const struct overlay *o, const struct ranges *dirty, int dirfd, struct undo *ret)
{
	uint64_t bytes = 0;
	bool linkable;
	int fd, rc = -EFBIG;

	for (size_t i = 0; i < dirty->n; i++)
		bytes += dirty->v[i].length;
	/* A file on a disk costs transactions of its own, which little is not worth. */
	if (bytes <= UNDO_IN_MEMORY)
		rc = private_file_memory("snapmap-undo", &fd);
	if (rc)
		rc = new_file(o, dirfd, 0, &linkable, &fd);
	if (rc && !o->spill)
		rc = private_file_memory("snapmap-undo", &fd);
	return rc ? rc : undo_save(o->image.fd, o->image.size, dirty, fd, ret);
}

/* What cannot be put back now is owed until the next rollback or commit. */
static void restore(struct overlay *o, struct undo *undo)
{
	if (!undo_put_back(undo, o->image.fd)) {
		undo_close(undo);
		return;
	}
	o->debt = *undo;
	*undo = (struct undo){.fd = -1};
}

static int stage_in_place(struct overlay *o, int dirfd, struct staged *s)
{
	int rc = file_size_allowed(o->size);
	size_t written = 0;

	if (!rc)
		rc = save_undo(o, &s->written, dirfd, &s->undo);
	if (rc)
		return error_set(rc, "prepare the commit of", NULL);
	s->image = o->image;
	rc = o->size != o->image.size ? sys_ftruncate(o->image.fd, o->size) : 0;
	if (!rc)
		rc = write_ranges(o, &s->written, &s->edits, o->image.fd, &written);
	if (rc) {
		undo_limit(&s->undo, written);
		restore(o, &s->undo);
		return error_set(rc, "write the new version of", NULL);
	}
	s->image.size = o->size;
	return 0;
}

static void free_staged(struct staged *s)
{
	undo_close(&s->undo);
	ranges_free(&s->edits);
	ranges_free(&s->written);
}

static bool must_be_fresh(const struct overlay *o, const struct staged *s)
{
	if (overlay_is_exclusive(o))
		return true;
	if (o->spill)
		return spill_stages_fresh(o);
	return o->kept < o->image.size || s->generation != o->generation ||
	       (o->size > o->image.size && !o->image.unlimited && is_in_memory(o));
}

/*
 * A file that is cloned from the image has its extents. Counting them costs time by
 * their number, so it is done only if there may be too many.
 */
static bool spread(struct overlay *o, const struct ranges *edits, struct ranges *ret)
{
	struct cluster_job job = {
		.edits = edits,
		.image = o->image.fd,
		.kept = o->kept,
		.size = o->size,
	};

	o->extents += 2 * edits->n;
	if (!cluster_wanted(o->size, o->extents, edits) || sys_count_extents(o->image.fd, &o->extents))
		return false;
	job.extents = o->extents;
	return cluster_wanted(o->size, o->extents, edits) && !cluster_widen(&job, ret);
}

static int find_what_to_write(struct overlay *o, struct staged *s)
{
	if (!o->spill && !s->fresh && o->image.source == SNAPMAP_SOURCE_REFLINK && spread(o, &s->edits, &s->written))
		return 0;
	return ranges_copy(&s->edits, &s->written);
}

/* Makes an image of the present bytes. Sets the error sentence; nothing changed then. */
int overlay_stage(struct overlay *o, struct ranges *dirty, int dirfd, struct staged *ret)
{
	struct staged s = {.undo = {.fd = -1}, .image = {.fd = -1}, .edits = *dirty};
	int rc;

	*dirty = (struct ranges){0};
	if (o->spill)
		dirfd = spill_stage_dir(o, dirfd);
	rc = overlay_repay(o);
	if (!rc)
		rc = fork_generation(&s.generation);
	s.fresh = must_be_fresh(o, &s);
	if (!rc)
		rc = find_what_to_write(o, &s);
	if (rc)
		error_set(rc, "prepare the commit of", NULL);
	else
		rc = s.fresh ? stage_fresh(o, dirfd, &s) : stage_in_place(o, dirfd, &s);
	if (rc) {
		free_staged(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* After a commit that failed. Keeps the error sentence. */
void overlay_unstage(struct overlay *o, struct staged *s)
{
	if (s->fresh)
		close_fd(&s->image.fd);
	else
		restore(o, &s->undo);
	free_staged(s);
}

/* The file is what it was staged for. */
static void go_on_with_file(struct overlay *o, struct staged *s)
{
	if (s->fresh)
		sys_close(s->image.fd);
	s->fresh = false;
	s->image = o->image;
	s->image.size = o->size;
}

/* The edits stay, and so do the addresses; the size is what the commit has decided. */
void overlay_keep(struct overlay *o, struct staged *s)
{
	if (s && s->fresh)
		sys_close(s->image.fd);
	if (s)
		free_staged(s);
	o->image.size = o->size;
}

/*
 * After a commit that succeeded: the staged image is the one that counts. Mapping
 * it can fail only for want of mappings; then the private pages stay in place,
 * which hold the same bytes, and the next rollback or commit tries again.
 */
void overlay_settle(struct overlay *o, struct staged *s)
{
	size_t old_end = page_up(o->kept), end = page_up(o->size);
	int rc = 0;

	if (overlay_is_exclusive(o))
		go_on_with_file(o, s);
	if (s->fresh) {
		sys_close(o->image.fd);
		o->remap_due = true;
		o->generation = s->generation;
	}
	o->image = s->image;
	if (!o->spill && !o->remap_due && end > old_end)
		rc = mapping_put_file(&o->mapping, o->image.fd, old_end, end - old_end);
	if (!rc && !o->remap_due)
		rc = overlay_drop(o, &s->edits);
	if (rc || o->remap_due)
		o->remap_due = overlay_remap(o) != 0;
	o->size = o->kept = (size_t)o->image.size;
	free_staged(s);
}

/* ---- without a staged image ---- */

/* Not one that a fork's other side has mapped, or that would have to grow where holes are signals. */
bool overlay_can_advance(const struct overlay *o)
{
	struct staged s = {0};

	if (overlay_is_exclusive(o))
		return true;
	if (o->size > o->kept && !o->image.unlimited && is_in_memory(o))
		return false;
	return !o->spill && o->debt.fd < 0 && !fork_generation(&s.generation) && s.generation == o->generation;
}

/* What the image should have is kept in memory until it can be written. The private pages stay. */
static int owe(struct overlay *o, struct ranges *dirty)
{
	struct undo debt = {.size = o->size};
	int rc = private_file_memory("snapmap-owed", &debt.fd);

	if (rc)
		return rc;
	rc = overlay_write(o, dirty, dirty, debt.fd);
	if (!rc)
		rc = sys_ftruncate(debt.fd, o->size);
	if (rc) {
		close_fd(&debt.fd);
		return rc;
	}
	debt.ranges = *dirty;
	*dirty = (struct ranges){0};
	o->debt = debt;
	o->image.size = o->kept = o->size;
	o->remap_due = true;
	return 0;
}

static int resize_image(const struct overlay *o)
{
	int rc = o->kept < o->image.size ? sys_ftruncate(o->image.fd, o->kept) : 0;

	return !rc && o->size > o->kept ? sys_ftruncate(o->image.fd, o->size) : rc;
}

/*
 * The image gets the size and the edits that the file has now. What cannot be
 * written for want of space is owed. An image that cannot be resized gives way to a
 * new one; if there cannot be one either, this is the end for the handle, though
 * not for the file.
 */
void overlay_advance(struct overlay *o, struct ranges *dirty, int dirfd)
{
	struct staged s = {.image = o->image, .generation = o->generation, .undo = {.fd = -1}, .edits = *dirty};
	bool exclusive = overlay_is_exclusive(o);
	int rc = exclusive ? 0 : resize_image(o);

	*dirty = (struct ranges){0};
	s.image.size = o->size;
	if (rc) {
		s.fresh = true;
		rc = stage_fresh(o, dirfd, &s);
	} else if (!exclusive && overlay_write(o, &s.edits, &s.edits, o->image.fd)) {
		rc = owe(o, &s.edits);
		if (!rc)
			return;
	}
	o->error = rc;
	if (rc)
		free_staged(&s);
	else
		overlay_settle(o, &s);
}

/*
 * Puts @fd in the place of the image. The new mapping is made whole beside the
 * old one, edits and all, and takes its place in one step.
 */
static int exchange_image(struct overlay *o, int fd)
{
	struct ranges dirty = {0};
	struct mapping fresh = {0};
	size_t length = page_up(o->kept);
	int rc = length ? mapping_open(fd, length, true, &fresh) : 0;

	if (!rc)
		rc = overlay_dirty(o, &dirty);
	ranges_clip(&dirty, length);
	if (!rc)
		rc = overlay_copy(o, &dirty, fresh.base);
	if (!rc)
		rc = guard_error(o->live);
	if (!rc && length)
		rc = sys_move_mapping(fresh.base, length, o->mapping.base);
	if (rc)
		mapping_close(&fresh);
	ranges_free(&dirty);
	return rc;
}

/* If that fails the handle's sticky error says that its bytes are not safe any more. */
void overlay_detach(struct overlay *o, int dirfd, mode_t mode)
{
	int at = o->spill ? spill_stage_dir(o, dirfd) : dirfd;
	bool linkable;
	int fd = -1;
	int rc = new_file(o, at, mode, &linkable, &fd);

	if (!rc)
		rc = fill_from_image(o, o->image.size, fd);
	if (!rc)
		rc = sys_ftruncate(fd, o->image.size);
	if (!rc && !o->spill)
		rc = exchange_image(o, fd);
	if (rc) {
		sys_close(fd);
		o->error = rc;
		return;
	}
	sys_close(o->image.fd);
	o->image.fd = fd;
	o->image.linkable = linkable && (!o->spill || o->spill->beside);
}
