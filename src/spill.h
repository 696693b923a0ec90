/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Edits larger than memory: an overlay whose pages lie in a file of their own. */
#ifndef SNAPMAP_SPILL_H
#define SNAPMAP_SPILL_H

#include "backends/backend.h"
#include "mapping.h"
#include "ranges.h"

struct overlay;

/**
 * struct spill - the work file of an overlay
 * @fd: the file. It shows the present bytes and is what the overlay maps; -1 in a child
 * @shares: it shares extents with the image, which costs no copy
 * @home: directory of all private files
 * @beside: that is the directory of the file that is edited
 * @mapping: what a child is to find out of reach; under the lock in spill.c
 * @foreign: this process is a child of the one that opened the handle
 * @next: in the list of spill.c
 */
struct spill {
	int fd;
	bool shares;
	int home;
	bool beside;
	struct mapping mapping;
	bool foreign;
	struct spill *next;
};

/* spill.c: the file, its addresses, and fork() */

/**
 * struct spill_home - the directory for all private files of a handle
 * @fd: the directory (O_PATH)
 * @beside: it is that of the file
 */
struct spill_home {
	int fd;
	bool beside;
};
/*
 * That of the file, @dirfd, if it is on a disk and can be written, else another one.
 * @near: a file whose file system is preferred. Sets the error sentence.
 */
int spill_find_home(int dirfd, const char *tmpdir, const struct stat *near, struct spill_home *ret);
/*
 * Makes the work file, takes over the home, and adds to the cost of the image. Sets the
 * error sentence.
 */
int spill_open(struct image *image, struct spill_home *home, const struct options *options, struct spill **ret);
/* Unmaps as well. */
void spill_close(struct spill *spill, struct mapping *mapping);
/* Quiet. Maps a part of the work file; nobody may use these addresses yet. */
int spill_put(const struct spill *spill, const struct mapping *to, size_t offset, size_t length);
/* Quiet. Another work file, of this many bytes, takes the place of the present one, also where it is mapped. */
int spill_exchange(struct spill *spill, const struct mapping *mapping, int fd, size_t length);
/* The overlay is there from now on. */
void spill_moved(struct spill *spill, const struct mapping *to);
/* Is this the child of the process that opened it? False for NULL. */
bool spill_is_foreign(const struct spill *spill);
/* Around fork(), by fork.c. */
void spill_before_fork(void);
void spill_after_fork(void);
void spill_after_fork_in_child(void);

/* spill_edit.c: what an overlay does otherwise with one. All quiet. */

int spill_dirty(const struct overlay *overlay, struct ranges *ret);
/* @to: the mapping, or one that is to take its place. */
int spill_grow(struct overlay *overlay, const struct mapping *to, size_t size);
int spill_shrink(struct overlay *overlay, size_t size);
int spill_rollback(struct overlay *overlay);
/* The present bytes into the empty file @fd. */
int spill_copy(const struct overlay *overlay, int fd);
/* Is the image to be replaced by a commit, rather than written to? */
bool spill_stages_fresh(const struct overlay *overlay);
/* Where a commit to the directory @dirfd stages. */
int spill_stage_dir(const struct overlay *overlay, int dirfd);

/* spill_compare.c */

/**
 * struct comparison - two files, of which one began as a copy of the other
 * @work: the one that changed
 * @image: the other one
 * @common: from this offset on the image counts as zeros
 * @size: where to end
 * @shares: extents that both have are the same bytes
 */
struct comparison {
	int work;
	int image;
	uint64_t common;
	uint64_t size;
	bool shares;
};
/* Quiet. Appends the pages that differ, cut at the size. */
int spill_compare(const struct comparison *c, struct ranges *ret);

#endif
