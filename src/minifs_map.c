/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of an image as struct snapmap. See include/minifs.h.
 *
 * Pinned blocks stay what they are in the memory of the image (backends/minifs/pins.c),
 * whether they were written since the last commit or not, and commits leave all bytes of
 * that memory as they are. So a file whose blocks follow each other is a part of that
 * memory already: nothing is mapped, and nothing copied. Others are put together from
 * the file below it (src/patchwork.c), which has what was not written; and that stays
 * too, for a commit writes what was written, and around it the same bytes again.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "minifs_mapped.h"
#include "sys.h"
#include <minifs.h>

/* @patch: without a mapping of its own if the file is a part of the image's memory */
struct mapped_file {
	struct view view;
	struct mapped mapped;
	struct patchwork patch;
};

static struct mapped_file *file_of(struct view *view)
{
	return (struct mapped_file *)((char *)view - offsetof(struct mapped_file, view));
}

static void close_file(struct view *view)
{
	struct mapped_file *f = file_of(view);

	patchwork_close(&f->patch);
	mapped_end(&f->mapped, NULL, NULL);
	free(f);
}

static int error_of_file(struct view *view)
{
	return mapped_ask_error(&file_of(view)->mapped);
}

static const struct view_ops file_ops = {.close = close_file, .error = error_of_file};

/* In one piece, with nothing behind the end. An image that lies may have something there. */
static bool is_in_one_piece(const struct mapped *m, uint64_t size)
{
	const struct mfs_extent *first = m->extents.v;
	size_t used = size % MFS_BLOCK;
	const uint8_t *last;

	if (m->extents.n != 1 || first->at || first->length != (size + MFS_BLOCK - 1) / MFS_BLOCK)
		return false;
	last = mfs_at(&m->fs->fs, first->block + (uint32_t)(first->length - 1));
	if (!used)
		return true;
	if (sys_populate(last, MFS_BLOCK))
		return false;
	while (used < MFS_BLOCK && !last[used])
		used++;
	return used == MFS_BLOCK;
}

/* The guard maps zeros over what cannot be read: not over the image's own memory. */
static int show(struct mapped_file *f, uint64_t size, bool guarded)
{
	const struct mapped *m = &f->mapped;
	struct patchwork_source source;
	int rc;

	f->view.size = (size_t)size;
	if (!guarded && is_in_one_piece(m, size)) {
		f->view.mapping =
			(struct mapping){(char *)mfs_at(&m->fs->fs, m->extents.v[0].block), page_up((size_t)size)};
		return 0;
	}
	mapped_source(m->fs, false, &source);
	f->patch = (struct patchwork){.pieces = m->pieces, .n = m->extents.n, .length = size};
	rc = patchwork_open(&f->patch, &source);
	f->view.mapping = f->patch.mapping;
	return rc;
}

static int take(const struct mapped_request *r, struct mapped_file *f)
{
	struct mfs_inode inode;
	int rc = mapped_find(r, &inode);

	if (!rc)
		rc = mapping_check_size(inode.size);
	if (!rc)
		rc = mapped_take(r->fs, &inode, &f->mapped);
	if (rc)
		return rc;
	rc = show(f, inode.size, r->options.flags & SNAPMAP_GUARD);
	if (rc)
		mapped_give(&f->mapped);
	return rc;
}

static int map_file(struct mapped_request *r, const struct snapmap_options *options, struct snapmap **ret)
{
	struct mapped_file *f;
	char subject[600];
	int rc;

	mapped_subject(r, subject, sizeof(subject));
	error_begin(subject);
	rc = options_read(options, &r->options);
	if (!rc)
		rc = mapped_check_options(r);
	if (rc)
		return rc;
	f = (struct mapped_file *)calloc(1, sizeof(*f));
	if (!f)
		return image_fail(r->fs, -ENOMEM, "map", r->path);
	f->view.ops = &file_ops;
	/* Pinning changes the image, also one that is only read. */
	pthread_rwlock_wrlock(&r->fs->lock);
	rc = take(r, f);
	pthread_rwlock_unlock(&r->fs->lock);
	if (rc) {
		free(f);
		return image_fail(r->fs, rc, "map", r->path);
	}
	mapped_info(&f->mapped, f->view.size, f->patch.copied, &f->view.info);
	error_begin(subject);
	return map_of_view(&f->view, r->options.flags, subject, ret);
}

int minifs_map(struct minifs *fs, const char *path, const struct snapmap_options *options, struct snapmap **ret)
{
	struct mapped_request request = {.fs = fs, .path = path};

	return fs && path && ret ? map_file(&request, options, ret) : image_fail(fs, -EINVAL, "map", path);
}

int minifs_file_map(struct minifs_file *file, const struct snapmap_options *options, struct snapmap **ret)
{
	struct mapped_request request = {0};

	if (!file || !ret)
		return image_fail(NULL, -EINVAL, "map", NULL);
	request.fs = image_of_file(file, &request.ino);
	return map_file(&request, options, ret);
}
