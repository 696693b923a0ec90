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

static int take_snapshot(struct snapmap_tree *t, struct source *source, const char *name, struct taken *ret)
{
	struct options o = t->options;
	struct snapmap_info info;
	int rc;

	o.flags = 0;
	rc = map_open_source(source, t->fd, NULL, &o, name, &ret->map);
	if (rc)
		return rc;
	ret->data = (const char *)snapmap_data(ret->map);
	ret->size = snapmap_size(ret->map);
	if (!snapmap_get_info(ret->map, &info) && info.consistency == SNAPMAP_CONSISTENCY_FUZZY)
		atomic_fetch_add(&t->nfuzzy, 1);
	return 0;
}

/* It is to be the file that the directory was read with. */
static int take(struct snapmap_tree *t, const struct snapmap_file *file, struct taken *ret)
{
	struct source source;
	int rc;

	error_begin(file->name);
	rc = tree_open_file(t, file, &source);
	if (rc)
		return rc;
	if (source.st.st_dev != file->dev || source.st.st_ino != file->ino || (uint64_t)source.st.st_size < file->size)
		rc = -ESTALE;
	else if (t->image.fd >= 0 || t->never_written)
		rc = take_as_it_is(&source, ret);
	else
		rc = take_snapshot(t, &source, file->name, ret);
	source_close(&source);
	if (!rc && ret->size < file->size) {
		close_taken(ret);
		rc = -ESTALE;
	}
	return rc;
}

static int keep_small(const struct taken *taken, const struct snapmap_file *file, size_t span, struct tree_node *node)
{
	int rc;

	node->bytes = (char *)malloc(span);
	if (!node->bytes)
		return -ENOMEM;
	/* By the kernel, which tells of what cannot be read. */
	rc = sys_copy_memory(node->bytes, taken->data, file->size);
	if (rc) {
		free(node->bytes);
		node->bytes = NULL;
		return rc == -EFAULT ? -EIO : rc;
	}
	memset(node->bytes + file->size, 0, span - file->size);
	node->kind = TREE_SMALL;
	return 0;
}

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
	return rc == -EFAULT ? -EIO : rc;
}

static int keep_large(struct taken *taken, const struct snapmap_file *file, size_t span, struct tree_node *node)
{
	int rc = make_tail(taken, file, span, node);

	if (rc) {
		free(node->tail);
		node->tail = NULL;
		return rc;
	}
	node->map = taken->map;
	node->view = taken->view;
	node->data = taken->data;
	*taken = (struct taken){0};
	node->kind = TREE_LARGE;
	return 0;
}

void tree_read(struct tree_listing *l, size_t i, struct tree_node *node)
{
	const struct snapmap_file *file = &l->files[i];
	size_t span = tree_pages(l, i) * sys_page_size();
	struct taken taken = {0};
	int rc = take(l->tree, file, &taken);

	if (!rc) {
		rc = file->size <= SNAPMAP_TREE_SMALL ? keep_small(&taken, file, span, node)
						      : keep_large(&taken, file, span, node);
		close_taken(&taken);
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
