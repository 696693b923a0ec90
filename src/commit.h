/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit: an overlay becomes the file. */
#ifndef SNAPMAP_COMMIT_H
#define SNAPMAP_COMMIT_H

#include "overlay.h"
#include "target.h"

/**
 * struct commit - one commit on its way
 * @target: the file
 * @overlay: what is committed
 * @edits: its private pages
 * @image: has the bytes that the file is to have; NULL for a strategy that makes
 *	do with the edits
 * @size: how many bytes that are
 * @kept: from here on the file is another, whatever the edits are
 * @flags: SNAPMAP_COMMIT_*
 * @closing: the handle ends with this commit, so the image itself may become the
 *	file, if it is linkable
 * @attributes: descriptor of the file to overwrite, which is what the new version is
 *	to have the attributes of; of the image if there is no file yet
 * @exists: there is a file already
 * @changed: it is not what the handle's snapshot was made of
 * @published: set once the name leads to the new bytes, whatever comes after
 * @exposed: set once others may have been able to open the image itself
 * @damaged: the file, if its content was lost in a failed attempt and is to be put
 *	back from the image as it was before staging; else -1
 * @conflict: set by commit_check_last()
 */
struct commit {
	struct target *target;
	const struct overlay *overlay;
	const struct ranges *edits;
	const struct image *image;
	uint64_t size;
	uint64_t kept;
	uint32_t flags;
	bool closing;
	int attributes;
	bool exists;
	bool changed;
	bool published;
	bool exposed;
	bool conflict;
	int damaged;
};

/* A strategy for commit_run(): by exchange or journal, what costs less; both keep the inode. */
#define COMMIT_IN_PLACE UINT32_MAX

/* All set the error sentence. */
int commit_run(struct overlay *overlay, struct target *target, uint32_t flags, uint32_t strategy, bool closing);
/* A commit by journal that was cut off is finished. */
int commit_settle_journal(struct target *target);
/*
 * For strategies, as late as possible: -EBUSY if the target is not what the stamp
 * says, or there is one that should not be; -EIO if the new bytes are not sound.
 */
int commit_check_last(struct commit *commit);
/* The first half of it, also for who overwrites. */
int commit_check_unchanged(struct commit *commit);
/* Quiet: 1 if it is another, 0 if not, or the errno of looking. */
int commit_is_changed(const struct commit *commit);
/* For strategies: the kernel has noticed a change. Returns -EBUSY. */
int commit_conflict(struct commit *commit);

/* Bytes that others may have changed, or that could not be read, must not become a file. */
int commit_check_sound(const struct overlay *overlay);

/* commit_link.c */
int commit_link(struct overlay *overlay, const struct target *target, const char *path, uint32_t flags);

#endif
