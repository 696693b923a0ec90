/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An editable mapping: an image, and private pages over it. */
#ifndef SNAPMAP_OVERLAY_H
#define SNAPMAP_OVERLAY_H

#include "backends/backend.h"
#include "dirty.h"
#include "guard.h"
#include "mapping.h"
#include "spill.h"
#include "undo.h"

/**
 * struct overlay - image + private pages + size
 * @image: what lies beneath; its size is the one that rollback goes back to
 * @mapping: the addresses
 * @size: present size
 * @kept: how many bytes of the image still count: the smallest size since the
 *	last commit or rollback. The first page_up(kept) bytes of the mapping are
 *	the image, those up to page_up(size) anonymous, the rest nothing.
 * @spill: NULL, or a work file that has the present bytes, of which the mapping is one
 *	then: there are no private pages, and the image lies beside it
 * @live: its entry in the registry, NULL unless it is guarded
 * @debt: what parts of the image should have and could not be given yet, by a failed
 *	commit that was to be put back or one that succeeded; private pages hide them
 * @generation: fork_generation() at which the image became ours alone
 * @extents: how many the image may have: what was counted, and two for each edit
 *	committed since
 * @remap_due: the image is right, but the kernel refused to map it: the private
 *	pages hold all that differs, until a later attempt succeeds
 */
struct overlay {
	struct image image;
	struct mapping mapping;
	struct live *live;
	struct spill *spill;
	size_t size;
	size_t kept;
	bool remap_due;
	struct undo debt;
	unsigned generation;
	uint64_t extents;
	int error; /* sticky: the image is not what it should be, or others may be able to change it */
};

/**
 * struct staged - an image brought up to the present bytes, not yet accepted
 * @image: has the present bytes; its descriptor belongs to the overlay or to us
 * @fresh: it is a new file, not the overlay's own
 * @generation: fork_generation() before it was made
 * @undo: what the overlay's own image had before
 * @edits: the private pages at that time
 * @written: what was written into the image: these, and perhaps what lies around them
 */
struct staged {
	struct image image;
	bool fresh;
	unsigned generation;
	struct undo undo;
	struct ranges edits, written;
};

/* Is the image the file itself? Then nothing but a commit to the file changes it. */
static inline bool overlay_is_exclusive(const struct overlay *overlay)
{
	return overlay->image.source == SNAPMAP_SOURCE_EXCLUSIVE;
}

/* fork.c. How often this process, or the one it was forked from, has forked. 0 or -ENOMEM. */
int fork_generation(unsigned *ret);
/* fork.c: differs in a child of fork() from what it was in the parent. */
unsigned fork_depth(void);

/* Takes over the image and the work file, if there is one, also if it fails. */
int overlay_open(struct image *image, struct spill *spill, bool guarded, struct overlay *ret);
void overlay_close(struct overlay *overlay);
/* The sticky error, or 0: its bytes may be wrong, and must not get anywhere. */
int overlay_error(const struct overlay *overlay);
int overlay_resize(struct overlay *overlay, size_t size);
int overlay_rollback(struct overlay *overlay);
int overlay_dirty(const struct overlay *overlay, struct ranges *ret);
bool overlay_resized(const struct overlay *overlay);
/* Quiet. Maps the whole image again; the private pages and what lies behind the image are given up. */
int overlay_remap(struct overlay *overlay);
/* Quiet. Puts back what an earlier commit could not. */
int overlay_repay(struct overlay *overlay);
/*
 * Quiet. Stores these pages at the same offsets in @to. -EIO, and not a signal, if
 * one of them, or what lies beneath it in @to, cannot be read.
 */
int overlay_copy(const struct overlay *overlay, const struct ranges *dirty, char *to);
/* Quiet. Gives up private pages. */
int overlay_drop(struct overlay *overlay, const struct ranges *dirty);

/* staging.c */

/* Moves to a new image, because others may have got hold of the present one. */
void overlay_detach(struct overlay *overlay, int dirfd, mode_t mode);

/* A new file in the directory @dirfd with the present bytes: cloned or copied, then patched. */
int overlay_flatten(const struct overlay *overlay, const struct ranges *dirty, int dirfd, mode_t mode,
		    struct image *ret);

/*
 * Stores the present bytes of these ranges at the same offsets in @fd. @edits: the
 * private pages among them; the rest is read from the image. Quiet.
 */
int overlay_write(const struct overlay *overlay, const struct ranges *ranges, const struct ranges *edits, int fd);

/*
 * Commit without an image of its own: the edits are what the file has now, and are
 * written into the image afterwards.
 * overlay_can_advance() says whether the image may be written to at all.
 */
bool overlay_can_advance(const struct overlay *overlay);
void overlay_advance(struct overlay *overlay, struct ranges *dirty, int dirfd);

/*
 * Commit in three steps: stage (takes over @dirty), then settle if the commit succeeded, else unstage.
 * overlay_keep() takes the place of settle, or of advance, if the image is the file and the commit counts,
 * but it is not sure that the file shows all of it. @staged may be NULL.
 */
int overlay_stage(struct overlay *overlay, struct ranges *dirty, int dirfd, struct staged *ret);
void overlay_keep(struct overlay *overlay, struct staged *staged);
void overlay_unstage(struct overlay *overlay, struct staged *staged);
void overlay_settle(struct overlay *overlay, struct staged *staged);

#endif
