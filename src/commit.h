/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit: an overlay becomes the file. */
#ifndef SNAPMAP_COMMIT_H
#define SNAPMAP_COMMIT_H

#include "journal_marker.h"
#include "overlay.h"
#include "place.h"

/**
 * struct target - the file that a handle commits to
 * @place: its name
 * @fd: the file, read-only; -1 if it does not exist yet
 * @stamp: its state that the handle's snapshot stands for, if @fd >= 0
 * @mode: mode for a file that does not exist yet
 * @fs: its file system
 * @strategy: SNAPMAP_STRATEGY_* of the last commit
 * @unfinished: the marker of a commit by journal that could not be applied in full:
 *	whoever finishes it makes the file what the handle stands for. Else not applying
 */
struct target {
	struct place place;
	int fd;
	struct stamp stamp;
	mode_t mode;
	const struct fs_traits *fs;
	uint32_t strategy;
	struct journal_marker unfinished;
};

/**
 * struct commit - one commit on its way
 * @target: the file
 * @image: has the bytes that the file is to have
 * @dirty: where the image may differ from the file as the stamp says it was: there, and
 * @kept: from there on
 * @flags: SNAPMAP_COMMIT_*
 * @closing: the handle ends with this commit, so the image itself may become the
 *	file, if it is linkable
 * @attributes: descriptor of what the file is to have the attributes of
 * @exists: there is a file already
 * @published: set once the name leads to the new bytes, whatever comes after
 * @exposed: set once others may have been able to open the image itself
 * @damaged: the file, if its content was lost in a failed attempt and is to be put
 *	back from the image as it was before staging; else -1
 * @conflict: set by commit_check_unchanged()
 */
struct commit {
	struct target *target;
	const struct image *image;
	const struct ranges *dirty;
	uint64_t kept;
	uint32_t flags;
	bool closing;
	int attributes;
	bool exists;
	bool published;
	bool exposed;
	bool conflict;
	int damaged;
};

/* All set the error sentence. */
int commit_run(struct overlay *overlay, struct target *target, uint32_t flags, uint32_t strategy, bool closing);
int commit_link(struct overlay *overlay, const struct target *target, const char *path, uint32_t flags);
/* For strategies: -EBUSY if the target is not what the stamp says, or there is one that should not be. */
int commit_check_unchanged(struct commit *commit);
/* For strategies, quiet: 1 if it is not, 0 if it is, whatever the flags are; or the errno of looking. */
int commit_is_changed(const struct commit *commit);
/* For strategies: the published file is what the handle stands for now. Whether @fd itself was kept. */
bool commit_adopt(struct commit *commit, int fd, const struct timespec *mtime);
void target_close(struct target *target);

#endif
