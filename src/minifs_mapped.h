/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What mappings of files of an image share. */
#ifndef SNAPMAP_MINIFS_MAPPED_H
#define SNAPMAP_MINIFS_MAPPED_H

#include "base.h"
#include "minifs_image.h"
#include "patchwork.h"
#include "view.h"

/* A file by its path, or, if that is NULL, by its number. */
struct mapped_request {
	struct minifs *fs;
	const char *path;
	uint32_t ino;
	struct options options;
};

/**
 * struct mapped - a file's blocks, which stay
 * @fs: the image, which stays too
 * @extents: the blocks; @pieces are the same in bytes
 * @runs: they are pinned, in an image that can be changed
 * @forks: fork_generation() when they were
 */
struct mapped {
	struct minifs *fs;
	struct mfs_extents extents;
	struct piece *pieces;
	struct mfs_runs runs;
	unsigned forks;
};

/* All with the image's lock, for changes. Quiet. */
int mapped_take(struct minifs *fs, const struct mfs_inode *inode, struct mapped *ret);
void mapped_give(struct mapped *mapped);
/* The same for blocks that somebody may have seen: after a fork they stay used. */
void mapped_leave(struct mapped *mapped);
/* Without the lock: @end is called with it, if the process has not forked. Then lets the image go. */
void mapped_end(struct mapped *mapped, void (*end)(void *arg), void *arg);

/* With the lock. Quiet: -EISDIR, -EINVAL and -ELOOP if it is no file, -EOPNOTSUPP where pages are no blocks. */
int mapped_find(const struct mapped_request *request, struct mfs_inode *ret);
/* Sets the error sentence: options that do not fit a file of an image. */
int mapped_check_options(const struct mapped_request *request);
/* What the image's memory is made of, with the lock, shared at least. @copy: nothing of it is to be mapped. */
void mapped_source(struct minifs *fs, bool copy, struct patchwork_source *ret);
/* The sticky error of the image; the second one takes the lock itself. */
int mapped_error(const struct mapped *mapped);
int mapped_ask_error(const struct mapped *mapped);
void mapped_info(const struct mapped *mapped, uint64_t size, uint64_t copied, struct snapmap_info *ret);
void mapped_subject(const struct mapped_request *request, char *buf, size_t size);

#endif
