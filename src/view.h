/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles whose bytes are not a file of their own: what is behind a struct snapmap or
 * struct snapmap_mut then, as a table of operations.
 */
#ifndef SNAPMAP_VIEW_H
#define SNAPMAP_VIEW_H

#include "mapping.h"
#include "ranges.h"

struct snapmap;
struct snapmap_mut;

/**
 * struct view - memory of somebody else
 * @ops: what they can do
 * @mapping: the bytes; for an editable view it can move with a resize
 * @size: how many
 * @info: what is told of it. info.error is asked for
 */
struct view;
struct view_ops {
	/* With the memory. */
	void (*close)(struct view *view);
	/* The sticky error, or 0. */
	int (*error)(struct view *view);
};
struct view {
	const struct view_ops *ops;
	struct mapping mapping;
	size_t size;
	struct snapmap_info info;
};

/**
 * struct edited_view - the same, to be edited
 * @view: all of it
 * @edit: what else they can do; all set the error sentence
 */
struct edited_view;
struct edit_ops {
	int (*resize)(struct edited_view *view, size_t size);
	int (*dirty)(struct edited_view *view, struct ranges *ret);
	int (*rollback)(struct edited_view *view);
	int (*commit)(struct edited_view *view, uint32_t flags, uint32_t strategy);
};
struct edited_view {
	struct view view;
	const struct edit_ops *edit;
};

/* map.c. Takes over the view, also if it fails. @flags: SNAPMAP_* of the options. */
int map_of_view(struct view *view, uint32_t flags, const char *subject, struct snapmap **ret);
/* map_mut.c */
int map_mut_of_view(struct edited_view *view, uint32_t flags, const char *subject, struct snapmap_mut **ret);

/*
 * map_mut.c. What a handle's memory is: @base, @length bytes of it, and the file that has
 * the same bytes at the same offsets in all pages that were not written. @error: sticky.
 */
struct backing {
	const char *base;
	size_t length;
	int fd;
	int error;
};
void map_mut_backing(const struct snapmap_mut *map, struct backing *ret);

#endif
