/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An editable handle without an image: its pages come from the file, under a lease, or
 * from a snapshot that the file system gave (snapmap/snapfs.h), when they are touched
 * (pager.h). It gets an image when one is needed.
 */
#ifndef SNAPMAP_MAP_PAGED_H
#define SNAPMAP_MAP_PAGED_H

#include "handle.h"
#include "overlay.h"
#include "view.h"

/* Whether that is the best way to open this file, if nothing else was asked for. */
bool paged_is_best(const struct source *source, const struct place *place, const struct options *options);
/*
 * @ret_stamp: what the file was. Sets the error sentence. -EPERM if this user may not serve
 * page faults of the kernel.
 */
int paged_open(const struct source *source, const struct place *place, const struct options *options,
	       const char *subject, struct stamp *ret_stamp, struct edited_view **ret);
bool paged_is(const struct edited_view *view);
/* In a child of fork() the memory is not there. */
bool paged_is_foreign(const struct edited_view *view);
void paged_get_info(const struct edited_view *view, struct snapmap_info *ret);
/*
 * Makes an image of it, and an overlay over that, at the same addresses and with the same
 * edits. The view is gone afterwards; nothing has changed if it fails. Sets the error sentence.
 */
int paged_become(struct edited_view *view, int file, const struct fs_traits *fs, const struct place *place,
		 struct overlay *ret);

#endif
