/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening what an entry is, on the way that was read: from the tree's own directory down, by
 * names, and through no link.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/*
 * Writes as much of the way to @file as fits in front of @end. Returns the directory that it
 * begins in.
 */
static const struct snapmap_file *way_to(const struct snapmap_file *file, char *start, char **end)
{
	while (file->parent) {
		size_t n = strlen(file->name);

		if ((size_t)(*end - start) < n + 1)
			break;
		if (**end)
			*--*end = '/';
		*end -= n;
		memcpy(*end, file->name, n);
		file = file->parent;
	}
	return file;
}

/* The directory that the last piece of the way to @file begins in: the tree's own, or one to be closed. */
static int open_start(struct snapmap_tree *t, const struct snapmap_file *file, char *buf, char **ret_way)
{
	char *way = buf + PATH_MAX - 1;
	const struct snapmap_file *from;
	int start, fd;

	*way = 0;
	from = way_to(file, buf, &way);
	*ret_way = way;
	if (!from->parent)
		return t->fd;
	/* Longer than a path can be: the part before. */
	char *more = (char *)malloc(PATH_MAX), *before;

	if (!more)
		return -ENOMEM;
	start = open_start(t, from, more, &before);
	fd = start < 0 ? start : sys_open_beneath(start, before, O_PATH | O_DIRECTORY, t->cross);
	if (start >= 0 && start != t->fd)
		sys_close(start);
	free(more);
	return fd;
}

int tree_open_dir(struct snapmap_tree *t, const struct snapmap_file *file)
{
	char buf[PATH_MAX], *way;
	int start = open_start(t, file, buf, &way), fd;

	if (start < 0)
		return start;
	fd = sys_open_beneath(start, *way ? way : ".", O_RDONLY | O_DIRECTORY, t->cross);
	if (start != t->fd)
		sys_close(start);
	return fd;
}

int tree_open_file(struct snapmap_tree *t, const struct snapmap_file *file, struct source *ret)
{
	char buf[PATH_MAX], *way;
	int start = open_start(t, file, buf, &way), rc;

	if (start < 0)
		return start;
	rc = source_open_beneath(start, way, t->cross, ret);
	if (start != t->fd)
		sys_close(start);
	return rc;
}
