/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file that a handle commits to. */
#ifndef SNAPMAP_TARGET_H
#define SNAPMAP_TARGET_H

#include "base.h"
#include "journal_marker.h"
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

void target_close(struct target *target);
/* Quiet. 0, -EBUSY if it is not what the stamp says, or the errno of looking. */
int target_check_unchanged(const struct target *target);
/* The functions below set the error sentence. Renaming over a file needs no right to it, but editing it should. */
int target_check_writable(const struct target *target);
/*
 * For who overwrites whatever is there: the path may lead elsewhere by now. @ret_other
 * is a descriptor of what it leads to then, or -1.
 */
int target_find_other(struct target *target, int *ret_other);
/* Opens @file, which the name must lead to, for writing. @flags: O_WRONLY or O_RDWR. */
int target_open_writable(const struct target *target, int file, int flags, int *ret_fd);
/*
 * After a commit to @file that kept the inode: the handle stands for what is in it
 * now, @size bytes. At once, so that a change made from now on is one.
 */
void target_adopt_inode(struct target *target, int file, uint64_t size);
/*
 * After a commit that gave @fd the name, with @size bytes and this mtime. Whether
 * @fd itself was kept.
 */
bool target_adopt_file(struct target *target, int fd, const struct timespec *mtime, uint64_t size);

#endif
