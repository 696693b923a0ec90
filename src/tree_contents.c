/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is in files: the snapshot that the first touch takes.
 *
 * Small files are read in one piece, and their snapshot is closed; large ones are put in
 * place from it, page by page. What nobody can change any more is read as it is.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "tree.h"

/* What a file is read from: a snapshot, or a mapping of it where nobody can change it. */
struct taken {
	struct snapmap *map;
	struct mapping view;
	const char *data;
	uint64_t size;
};

static void close_taken(struct taken *taken)
{
	snapmap_close(taken->map);
	mapping_close(&taken->view);
}

static int take_as_it_is(const struct source *source, struct taken *ret)
{
	int rc = mapping_open(source->fd, (uint64_t)source->st.st_size, false, &ret->view);

	ret->data = ret->view.base;
	ret->size = (uint64_t)source->st.st_size;
	return rc ? error_set(rc, "map", NULL) : 0;
}

/* Whether no commit by journal is half done: src/journal.h. In what nobody can change it stays so. */
static bool is_at_rest(const struct source *source)
{
	struct journal_marker marker;

	return !journal_marker_get(source->fd, &marker) && !marker.applying;
}

static int take_snapshot(struct snapmap_tree *t, struct source *source, const char *name, struct taken *ret)
{
	struct place place = {.dirfd = -1, .link_dirfd = -1};
	struct options o = t->options;
	struct snapmap_info info;
	int rc;

	o.flags = 0;
	if (o.source == SNAPMAP_SOURCE_SUBVOLUME)
		o.source = SNAPMAP_SOURCE_AUTO;
	/* Where the journal is; else any directory near will do for an image. */
	if (!is_at_rest(source))
		place_find_fd(source->fd, &place);
	rc = map_open_source(source, place.dirfd < 0 ? t->fd : place.dirfd, NULL, &o, name, &ret->map);
	place_close(&place);
	if (rc)
		return rc;
	ret->data = (const char *)snapmap_data(ret->map);
	ret->size = snapmap_size(ret->map);
	if (!snapmap_get_info(ret->map, &info) && info.consistency == SNAPMAP_CONSISTENCY_FUZZY)
		atomic_fetch_add(&t->nfuzzy, 1);
	return 0;
}

/* It is to be the file that the directory was read with. */
static int open_it(struct snapmap_tree *t, const struct snapmap_file *file, struct source *ret)
{
	int rc;

	error_begin(file->name);
	rc = tree_open_file(t, file, ret);
	if (rc)
		return rc;
	if (ret->st.st_dev == file->dev && ret->st.st_ino == file->ino && (uint64_t)ret->st.st_size >= file->size)
		return 0;
	source_close(ret);
	return -ESTALE;
}

static int take(struct snapmap_tree *t, const struct snapmap_file *file, struct source *source, struct taken *ret)
{
	int rc;

	if ((t->image.fd >= 0 || t->never_written) && is_at_rest(source))
		rc = take_as_it_is(source, ret);
	else
		rc = take_snapshot(t, source, file->name, ret);
	if (!rc && ret->size < file->size) {
		close_taken(ret);
		rc = -ESTALE;
	}
	return rc;
}

/* ---- small files ---- */

/*
 * While a lease is held nobody has the file open for writing: what is read is a point in
 * time, and the whole of what a snapshot would be. Files that others may write to can be cut
 * without an open (backends/lease.c).
 */
static bool may_read_under_lease(const struct snapmap_tree *t, const struct source *s)
{
	uint32_t source = t->options.source;

	return pager_is_calling() && (source == SNAPMAP_SOURCE_AUTO || source == SNAPMAP_SOURCE_LEASE) &&
	       s->own_offset && (s->fs->flags & FS_LEASES) && !(s->st.st_mode & (S_IWGRP | S_IWOTH));
}

/* Only what was read all the while counts. The lease ends when the file is closed. */
static bool read_under_lease(const struct snapmap_file *file, const struct source *source, char *bytes)
{
	size_t got;

	return !sys_lease_take_briefly(source->fd) && is_at_rest(source) &&
	       !sys_pread_full(source->fd, bytes, file->size, 0, &got) && got == file->size &&
	       sys_lease_held(source->fd);
}

static int read_as_it_is(const struct snapmap_file *file, const struct source *source, char *bytes)
{
	size_t got;
	int rc = sys_pread_full(source->fd, bytes, file->size, 0, &got);

	return rc ? rc : got == file->size ? 0 : -ESTALE;
}

static int read_snapshot(struct snapmap_tree *t, const struct snapmap_file *file, struct source *source, char *bytes)
{
	struct taken taken = {0};
	int rc = take(t, file, source, &taken);

	/* By the kernel, which tells of what cannot be read. */
	if (!rc)
		rc = sys_copy_memory(bytes, taken.data, file->size);
	close_taken(&taken);
	return rc;
}

static int read_small(struct snapmap_tree *t, const struct snapmap_file *file, struct source *source, size_t span,
		      struct tree_node *node)
{
	int rc = 0;

	node->bytes = (char *)malloc(span);
	if (!node->bytes)
		return -ENOMEM;
	if ((t->image.fd >= 0 || t->never_written) && is_at_rest(source)) {
		rc = read_as_it_is(file, source, node->bytes);
	} else if (!may_read_under_lease(t, source) || !read_under_lease(file, source, node->bytes)) {
		sys_lease_drop(source->fd);
		rc = read_snapshot(t, file, source, node->bytes);
	}
	if (rc) {
		free(node->bytes);
		node->bytes = NULL;
		return rc;
	}
	memset(node->bytes + file->size, 0, span - file->size);
	node->kind = TREE_SMALL;
	return 0;
}

/* ---- large files ---- */

/* A last page in which more follows, for the file has grown. */
static int make_tail(const struct taken *taken, const struct snapmap_file *file, size_t span, struct tree_node *node)
{
	size_t page = sys_page_size(), used = file->size % page;
	int rc;

	if (taken->size == file->size || !used)
		return 0;
	node->tail = (char *)calloc(1, page);
	if (!node->tail)
		return -ENOMEM;
	rc = sys_copy_memory(node->tail, taken->data + span - page, used);
	return rc;
}

static int keep_large(struct snapmap_tree *t, const struct snapmap_file *file, struct source *source, size_t span,
		      struct tree_node *node)
{
	struct taken taken = {0};
	int rc = take(t, file, source, &taken);

	if (rc)
		return rc;
	rc = make_tail(&taken, file, span, node);
	if (rc) {
		free(node->tail);
		node->tail = NULL;
		close_taken(&taken);
		return rc;
	}
	node->map = taken.map;
	node->view = taken.view;
	node->data = taken.data;
	node->kind = TREE_LARGE;
	return 0;
}

/* ---- both ---- */

void tree_read(struct tree_listing *l, size_t i, struct tree_node *node)
{
	const struct snapmap_file *file = &l->files[i];
	size_t span = tree_pages(l, i) * sys_page_size();
	struct source source;
	int rc = open_it(l->tree, file, &source);

	if (!rc) {
		rc = file->size <= SNAPMAP_TREE_SMALL ? read_small(l->tree, file, &source, span, node)
						      : keep_large(l->tree, file, &source, span, node);
		source_close(&source);
	}
	atomic_fetch_add(&l->tree->nfiles, 1);
	if (!rc)
		return;
	tree_set_error(file, rc);
	node->kind = TREE_FAILED;
}

/* A small one that was given back. */
int tree_read_again(struct tree_listing *l, size_t i, struct tree_node *node)
{
	size_t span = tree_pages(l, i) * sys_page_size();
	int rc = -EIO;

	node->bytes = (char *)malloc(span);
	if (!node->bytes)
		return -ENOMEM;
	if (node->saved)
		rc = tree_store_get(&l->tree->store, node->bytes, span, node->saved_at);
	if (rc) {
		free(node->bytes);
		node->bytes = NULL;
	}
	return rc;
}

void tree_node_free(struct tree_node *node)
{
	if (!node)
		return;
	snapmap_close(node->map);
	mapping_close(&node->view);
	free(node->bytes);
	free(node->tail);
	free(node);
}
