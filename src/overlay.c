/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An editable mapping: an image, and private pages over it.
 *
 * Stores never touch the image, so the image is what rollback goes back to.
 */
#include "config.h"

#include "overlay.h"

#include <errno.h>
#include <string.h>

#include "sys.h"

static int map_work_file(struct spill *spill, size_t size, struct mapping *ret)
{
	int rc = mapping_open_empty(size, ret);

	if (!rc)
		rc = spill_put(spill, ret, 0, page_up(size));
	if (!rc)
		spill_moved(spill, ret);
	return rc;
}

static void unmap(struct overlay *o)
{
	if (o->spill)
		spill_close(o->spill, &o->mapping);
	else
		mapping_close(&o->mapping);
}

int overlay_open(struct image *image, struct spill *spill, bool guarded, struct overlay *ret)
{
	struct overlay o = {.image = *image, .spill = spill, .debt = {.fd = -1}, .extents = image->extents};
	int rc = fork_generation(&o.generation);

	if (!rc)
		rc = spill ? map_work_file(spill, (size_t)image->size, &o.mapping)
			   : mapping_open(image->fd, image->size, true, &o.mapping);
	if (!rc && guarded)
		rc = guard_add(&o.mapping, true, &o.live);
	image->fd = -1;
	if (rc) {
		unmap(&o);
		sys_close(o.image.fd);
		return error_set(rc, "map", NULL);
	}
	o.size = o.kept = (size_t)o.image.size;
	*ret = o;
	return 0;
}

void overlay_close(struct overlay *o)
{
	if (o->live)
		registry_remove(o->live);
	unmap(o);
	close_fd(&o->image.fd);
	undo_close(&o->debt);
}

int overlay_error(const struct overlay *o)
{
	if (spill_is_foreign(o->spill))
		return -ESTALE;
	return o->error ? o->error : guard_error(o->live);
}

bool overlay_resized(const struct overlay *o)
{
	return o->size != o->image.size || o->kept != o->image.size;
}

static struct dirty_area area_of(const struct overlay *o)
{
	return (struct dirty_area){
		.base = o->mapping.base,
		.length = page_up(o->size),
		.file_length = page_up(o->kept),
		.fd = o->image.fd,
	};
}

/* Where the image owes something, a page is an edit only if it differs from what is owed. */
static int without_debt(const struct overlay *o, struct ranges *dirty)
{
	struct ranges edits = {0};
	int rc = undo_filter(&o->debt, o->mapping.base, dirty, &edits);

	ranges_free(dirty);
	*dirty = edits;
	return rc;
}

/* Zeros in the place of a lost page are not an edit. */
static int without_lost(const struct overlay *o, struct ranges *dirty)
{
	struct ranges edits = {0};
	int rc = guard_filter(o->live, dirty, &edits);

	ranges_free(dirty);
	*dirty = edits;
	return rc;
}

static int find_private_pages(const struct overlay *o, struct ranges *ret)
{
	struct dirty_area area = area_of(o);
	int rc = area.length ? dirty_find(&area, DIRTY_ANY, ret) : 0;

	ranges_clip(ret, o->size);
	if (!rc && o->debt.fd >= 0)
		rc = without_debt(o, ret);
	if (!rc && guard_error(o->live))
		rc = without_lost(o, ret);
	return rc;
}

/* Sets the error sentence. */
int overlay_dirty(const struct overlay *o, struct ranges *ret)
{
	int rc = o->spill ? spill_dirty(o, ret) : find_private_pages(o, ret);

	if (rc) {
		ranges_free(ret);
		return error_set(rc, "find the written pages of", NULL);
	}
	return 0;
}

/* Bytes behind the end may have been stored into; as growth they must be zeros. */
static void zero_tail(const struct overlay *o)
{
	char *p = o->mapping.base + o->size;
	size_t n = page_up(o->size) - o->size;

	for (size_t i = 0; i < n; i++)
		if (p[i]) {
			memset(p + i, 0, n - i);
			return;
		}
}

int overlay_copy(const struct overlay *o, const struct ranges *dirty, char *to)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < dirty->n; i++) {
		size_t offset = (size_t)dirty->v[i].offset, length = (size_t)dirty->v[i].length;

		rc = sys_populate(o->mapping.base + offset, length);
		if (!rc)
			rc = sys_populate(to + offset, length);
		if (!rc)
			memcpy(to + offset, o->mapping.base + offset, length);
	}
	return rc;
}

/* Makes @to show what the overlay shows now, page by page that was written. */
static int move_to(struct overlay *o, const struct mapping *to, struct live *live)
{
	struct dirty_area area = area_of(o);
	struct ranges dirty = {0};
	int rc = mapping_put_file(to, o->image.fd, 0, area.file_length);

	if (!rc)
		rc = mapping_put_zeros(to, area.file_length, area.length - area.file_length);
	guard_zero_again(live);
	if (!rc && area.length)
		rc = dirty_find(&area, DIRTY_ANY, &dirty);
	if (!rc)
		rc = overlay_copy(o, &dirty, to->base);
	ranges_free(&dirty);
	return rc;
}

/* The span in which the guard is to look from now on too. NULL in @ret: nothing changes. */
static int guard_span(const struct overlay *o, const struct mapping *span, struct live **ret)
{
	struct live *live;

	*ret = NULL;
	if (!o->live || (o->live->mapping.base == span->base && o->live->mapping.span == span->span))
		return 0;
	live = registry_add(span, true, true);
	if (!live)
		return -ENOMEM;
	guard_inherit(live, o->live);
	*ret = live;
	return 0;
}

/* ... and nowhere else any more. */
static void guard_only(struct overlay *o, struct live *live)
{
	if (!live)
		return;
	guard_inherit(live, o->live);
	registry_remove(o->live);
	o->live = live;
}

static int fill_grown(struct overlay *o, const struct mapping *to, struct live *live, size_t size)
{
	size_t old_end = page_up(o->size);
	int rc;

	if (o->spill) {
		rc = spill_grow(o, to, size);
		guard_zero_again(live);
		return rc;
	}
	rc = to->base != o->mapping.base ? move_to(o, to, live) : 0;
	return rc ? rc : mapping_put_zeros(to, old_end, page_up(size) - old_end);
}

static int grow_into(struct overlay *o, struct mapping *to, size_t size)
{
	bool moves = to->base != o->mapping.base;
	struct live *live;
	int rc = guard_span(o, to, &live);

	if (!rc)
		rc = fill_grown(o, to, live, size);
	if (rc && moves) {
		if (live)
			registry_remove(live);
		mapping_close(to);
		return rc;
	}
	guard_only(o, live);
	if (moves) {
		mapping_close(&o->mapping);
		o->mapping = *to;
	}
	return rc;
}

static int grow(struct overlay *o, size_t size)
{
	struct mapping to;
	int rc = 0;

	if (page_down(o->size) != o->size)
		rc = sys_populate(o->mapping.base + page_down(o->size), 1);
	if (!rc)
		rc = mapping_reserve(&o->mapping, page_up(size), &to);
	if (!rc)
		rc = grow_into(o, &to, size);
	if (!rc && !o->spill)
		zero_tail(o);
	return rc;
}

static int shrink(struct overlay *o, size_t size)
{
	size_t end = page_up(size);

	return o->spill ? spill_shrink(o, size) : mapping_put_nothing(&o->mapping, end, page_up(o->size) - end);
}

int overlay_resize(struct overlay *o, size_t size)
{
	int rc;

	if (size > (size_t)PTRDIFF_MAX - sys_page_size())
		return error_set(-EFBIG, "resize", NULL);
	rc = size > o->size ? grow(o, size) : shrink(o, size);
	if (rc)
		return error_set(rc, "resize", NULL);
	guard_cut(o->live, page_up(size));
	o->size = size;
	if (o->kept > size)
		o->kept = size;
	return 0;
}

int overlay_remap(struct overlay *o)
{
	size_t end = page_up((size_t)o->image.size);
	int rc = o->spill ? 0 : mapping_put_file(&o->mapping, o->image.fd, 0, end);

	if (rc)
		return rc;
	guard_cut(o->live, end);
	guard_zero_again(o->live);
	mapping_put_nothing(&o->mapping, end, o->mapping.span - end);
	o->size = o->kept = (size_t)o->image.size;
	o->remap_due = false;
	return 0;
}

int overlay_drop(struct overlay *o, const struct ranges *dirty)
{
	if (o->spill)
		return 0;
	for (size_t i = 0; i < dirty->n; i++) {
		int rc = sys_drop_private(o->mapping.base + dirty->v[i].offset, page_up(dirty->v[i].length));

		if (rc)
			return rc;
	}
	return 0;
}

int overlay_repay(struct overlay *o)
{
	int rc = o->debt.fd < 0 ? 0 : undo_put_back(&o->debt, o->image.fd);

	if (!rc)
		undo_close(&o->debt);
	return rc;
}

static int drop_all(struct overlay *o)
{
	struct dirty_area area = area_of(o);
	struct ranges dirty = {0};
	int rc;

	if (overlay_resized(o) || o->remap_due)
		return overlay_remap(o);
	rc = area.length ? dirty_find(&area, DIRTY_ANY, &dirty) : 0;
	if (!rc)
		rc = overlay_drop(o, &dirty);
	ranges_free(&dirty);
	return rc;
}

/* What the image still owes then is shown by private pages. */
static int drop_edits(struct overlay *o)
{
	bool owing = overlay_repay(o) != 0;
	int rc = o->error ? o->error : drop_all(o);

	return rc || !owing ? rc : undo_load(&o->debt, o->mapping.base, o->image.size);
}

static int undo_edits(struct overlay *o)
{
	int rc = overlay_repay(o);

	return rc ? rc : spill_rollback(o);
}

int overlay_rollback(struct overlay *o)
{
	int rc = o->spill ? undo_edits(o) : drop_edits(o);

	return rc ? error_set(rc, "roll back", NULL) : 0;
}
