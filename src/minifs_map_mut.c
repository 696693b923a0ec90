/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of an image as struct snapmap_mut: opening, and what is done with the memory. The
 * commit is in minifs_commit.c. See include/minifs.h.
 *
 * The memory is a patchwork of the file's blocks, which are pinned. What differs from
 * them is an edit, so nothing else has to be remembered; and rollback stores them again.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "minifs_edited.h"
#include "sys.h"
#include <minifs.h>

struct edited_file *edited_of(struct edited_view *view)
{
	return (struct edited_file *)((char *)view - offsetof(struct edited_file, edited));
}

static struct edited_file *of_view(struct view *view)
{
	return edited_of((struct edited_view *)((char *)view - offsetof(struct edited_view, view)));
}

static const char *source_of(const struct edited_file *f)
{
	return (const char *)f->mapped.fs->store.base;
}

static void release_inode(void *arg)
{
	struct edited_file *f = (struct edited_file *)arg;

	mfs_release(&f->mapped.fs->fs, f->ino, 1);
}

static void close_file(struct view *view)
{
	struct edited_file *f = of_view(view);

	patchwork_close(&f->patch);
	mapped_end(&f->mapped, release_inode, f);
	free(f);
}

static int error_of_file(struct view *view)
{
	return mapped_ask_error(&of_view(view)->mapped);
}

static void set_mapping(struct edited_file *f, size_t size)
{
	f->edited.view.mapping = f->patch.mapping;
	f->edited.view.size = size;
}

int edited_dirty(const struct edited_file *f, struct ranges *ret)
{
	return patchwork_edits(&f->patch, source_of(f), f->kept, f->edited.view.size, ret);
}

static int dirty(struct edited_view *view, struct ranges *ret)
{
	int rc = edited_dirty(edited_of(view), ret);

	if (!rc)
		return 0;
	ranges_free(ret);
	return error_set(rc, "find the written pages of", NULL);
}

/* Bytes behind the end may have been stored into; as growth they must be zeros. */
static void zero_tail(const struct mapping *mapping, size_t size)
{
	size_t n = page_up(size) - size;

	if (n)
		memset(mapping->base + size, 0, n);
}

/* Makes @to show what the memory shows now. */
static int move_to(struct edited_file *f, const struct mapping *to)
{
	struct patchwork_source source;
	struct ranges edits = {0};
	int rc = edited_dirty(f, &edits);

	if (!rc)
		rc = image_enter(f->mapped.fs, f);
	if (!rc) {
		mapped_source(f->mapped.fs, f->copying, &source);
		rc = patchwork_fill(&f->patch, &source, to, 0, page_up(f->kept));
		image_leave(f->mapped.fs);
	}
	if (!rc)
		zero_tail(to, f->kept);
	if (!rc)
		rc = mapping_put_zeros(to, page_up(f->kept), page_up(f->edited.view.size) - page_up(f->kept));
	for (size_t i = 0; !rc && i < edits.n; i++)
		memcpy(to->base + edits.v[i].offset, f->patch.mapping.base + edits.v[i].offset, edits.v[i].length);
	ranges_free(&edits);
	return rc;
}

static int grow(struct edited_file *f, size_t size)
{
	size_t old = f->edited.view.size;
	struct mapping to;
	int rc;

	zero_tail(&f->patch.mapping, old);
	rc = mapping_reserve(&f->patch.mapping, page_up(size), &to);
	if (rc || to.base == f->patch.mapping.base)
		return rc ? rc : mapping_put_zeros(&to, page_up(old), page_up(size) - page_up(old));
	rc = move_to(f, &to);
	if (!rc)
		rc = mapping_put_zeros(&to, page_up(old), page_up(size) - page_up(old));
	if (rc) {
		mapping_close(&to);
		return rc;
	}
	mapping_close(&f->patch.mapping);
	f->patch.mapping = to;
	return 0;
}

static int resize(struct edited_view *view, size_t size)
{
	struct edited_file *f = edited_of(view);
	size_t old = view->view.size;
	int rc = size > (size_t)PTRDIFF_MAX - sys_page_size() ? -EFBIG : 0;

	if (!rc && size > old)
		rc = grow(f, size);
	else if (!rc)
		rc = mapping_put_nothing(&f->patch.mapping, page_up(size), page_up(old) - page_up(size));
	if (rc)
		return error_set(rc, "resize", NULL);
	set_mapping(f, size);
	if (f->kept > size)
		f->kept = size;
	return 0;
}

/* What was cut off comes back, and what was grown goes. */
static int resize_back(struct edited_file *f)
{
	size_t end = page_up((size_t)f->patch.length), start = page_up(f->kept);
	struct patchwork_source source;
	int rc = image_enter(f->mapped.fs, f);

	if (rc)
		return rc;
	mapped_source(f->mapped.fs, f->copying, &source);
	rc = patchwork_fill(&f->patch, &source, &f->patch.mapping, start, end);
	image_leave(f->mapped.fs);
	if (rc)
		return rc;
	set_mapping(f, (size_t)f->patch.length);
	f->kept = (size_t)f->patch.length;
	return mapping_put_nothing(&f->patch.mapping, end, f->patch.mapping.span - end);
}

static int rollback(struct edited_view *view)
{
	struct edited_file *f = edited_of(view);
	struct ranges edits = {0};
	int rc = 0;

	if (view->view.size != f->patch.length || f->kept != f->patch.length)
		rc = resize_back(f);
	if (!rc)
		rc = edited_dirty(f, &edits);
	for (size_t i = 0; !rc && i < edits.n; i++)
		rc = patchwork_restore(&f->patch, source_of(f), edits.v[i].offset,
				       edits.v[i].offset + edits.v[i].length);
	ranges_free(&edits);
	return rc ? error_set(rc, "roll back", NULL) : 0;
}

static const struct view_ops file_ops = {.close = close_file, .error = error_of_file};
static const struct edit_ops edits = {
	.resize = resize,
	.dirty = dirty,
	.rollback = rollback,
	.commit = edited_commit,
};

/* Where a link leads, if that is what the path is. */
static int note_place(const struct mapped_request *r, struct edited_file *f)
{
	struct mfs_walk walk;
	int rc = mfs_walk_to(&r->fs->fs, r->path, true, &walk);

	if (!rc && walk.ino != f->ino)
		rc = -EUCLEAN;
	if (rc)
		return rc;
	f->dir = walk.dir.ino;
	f->dir_generation = walk.dir.generation;
	memcpy(f->name, walk.name, sizeof(f->name));
	return 0;
}

static int show(struct edited_file *f, uint64_t size)
{
	struct patchwork_source source;
	int rc;

	mapped_source(f->mapped.fs, f->copying, &source);
	f->patch = (struct patchwork){
		.pieces = f->mapped.pieces,
		.n = f->mapped.extents.n,
		.length = size,
		.editable = true,
	};
	rc = patchwork_open(&f->patch, &source);
	f->kept = (size_t)size;
	set_mapping(f, (size_t)size);
	return rc;
}

static int take(const struct mapped_request *r, struct edited_file *f)
{
	struct mfs_inode inode;
	int rc = r->fs->store.writable ? mapped_find(r, &inode) : -EROFS;

	if (!rc)
		rc = mapping_check_size(inode.size);
	if (rc)
		return rc;
	f->ino = inode.ino;
	rc = r->path ? note_place(r, f) : 0;
	if (!rc)
		rc = mapped_take(r->fs, &inode, &f->mapped);
	if (rc)
		return rc;
	rc = mfs_hold(&r->fs->fs, f->ino);
	if (!rc) {
		rc = show(f, inode.size);
		if (rc)
			mfs_release(&r->fs->fs, f->ino, 1);
	}
	if (rc)
		mapped_give(&f->mapped);
	return rc;
}

static int edit_file(struct mapped_request *r, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct edited_file *f;
	char subject[600];
	int rc;

	mapped_subject(r, subject, sizeof(subject));
	error_begin(subject);
	rc = options_read_mut(options, &r->options);
	if (!rc)
		rc = mapped_check_options(r);
	if (!rc && (r->options.flags & SNAPMAP_SPILL))
		rc = error_set(
			-EOPNOTSUPP, "map",
			"edits of a file in an image are memory, as the image is: open it without SNAPMAP_SPILL");
	if (rc)
		return rc;
	f = (struct edited_file *)calloc(1, sizeof(*f));
	if (!f)
		return image_fail(r->fs, -ENOMEM, "map", r->path);
	f->edited.view.ops = &file_ops;
	f->edited.edit = &edits;
	/* What is memory already needs no guard. */
	f->copying = r->options.flags & SNAPMAP_GUARD;
	pthread_rwlock_wrlock(&r->fs->lock);
	rc = take(r, f);
	pthread_rwlock_unlock(&r->fs->lock);
	if (rc) {
		free(f);
		return image_fail(r->fs, rc, "map", r->path);
	}
	mapped_info(&f->mapped, f->patch.length, f->patch.copied, &f->edited.view.info);
	error_begin(subject);
	return map_mut_of_view(&f->edited, r->options.flags, subject, ret);
}

int minifs_map_mut(struct minifs *fs, const char *path, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct mapped_request request = {.fs = fs, .path = path};

	return fs && path && ret ? edit_file(&request, options, ret) : image_fail(fs, -EINVAL, "map", path);
}

int minifs_file_map_mut(struct minifs_file *file, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct mapped_request request = {0};

	if (!file || !ret)
		return image_fail(NULL, -EINVAL, "map", NULL);
	request.fs = image_of_file(file, &request.ino);
	return edit_file(&request, options, ret);
}
