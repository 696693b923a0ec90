/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_cell: the newest snapshot of a file that changes, for many threads. */
#ifndef SNAPMAP_CELL_H
#define SNAPMAP_CELL_H

#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: cells
 *
 * A cell holds a snapshot of a file, and takes a newer one when the file changes. Between
 * snapmap_cell_enter() and snapmap_cell_leave() a thread has the one that was newest when it
 * entered. Readers never wait, neither for one another nor for a new snapshot (RCU, by
 * liburcu); the last one is closed when the last reader has left it.
 *
 * A thread of the cell follows the path (inotify): writes, a file moved over it, deletion and
 * creation anew, links on the way that lead elsewhere, directories that are moved. A burst of
 * changes is waited for, 10 ms after the last and no longer than 100 ms after the first. Where
 * changes cannot be watched (a network file system, FUSE, a directory that may not be read)
 * it looks once a second. Stores through a shared mapping show only when the file is closed.
 *
 * The last good snapshot stays while the file is missing or cannot be opened, while it can
 * only be copied under a writer's hands (SNAPMAP_CONSISTENCY_FUZZY, and a second copy differs),
 * and when snapmap_options.validate refuses the new one. A program that writes a file in place is
 * seen half way; have it move a whole file over the old one, or validate.
 *
 * Readers may be signal handlers of threads that have entered before. Anything may be done
 * between enter and leave, also a fork(); the memory of snapshots that have gone meanwhile
 * is kept as long as it takes. A fork() waits for readers of other threads, if old snapshots wait
 * for these: let it not be under a lock that readers take. After fork() a child has the thread no more: its cell stays as
 * it is, and only with SNAPMAP_INHERIT its memory can be used.
 */

struct snapmap;
struct snapmap_cell;

/**
 * struct snapmap_cell_info - what a cell did so far
 * @published: snapshots that readers have got, the first one included
 * @rejected: that snapmap_options.validate refused
 * @failed: attempts that gave none, for another reason
 * @error: of the last attempt, a negative errno; 0 if it went well. What is shown is older then
 * @watched: not 0: changes are watched; 0: the file is looked at once a second
 * @waiting: old snapshots that some reader may still have
 * @reserved: zero
 */
struct snapmap_cell_info {
	uint64_t published;
	uint64_t rejected;
	uint64_t failed;
	int32_t error;
	uint32_t watched;
	uint64_t waiting;
	uint64_t reserved[8];
};

/**
 * snapmap_cell_open() - begin to follow a file
 * @path: the file; one that is not absolute is followed from where the working directory is now
 * @options: see struct snapmap_options, or NULL: how each snapshot is to be taken. @validate is
 *	asked also for the first, and from then on by the thread of the cell or the one that calls
 *	snapmap_cell_refresh(), never by two at once. @progress is not used
 * @ret: gets the cell, to be released with snapmap_cell_close()
 *
 * Return: 0, or what snapmap_open() fails with, and
 * -EBUSY if the file is being written to all the time, so that only a fuzzy copy could be had;
 * -EBADMSG if @validate returned a value above 0, or the negative value that it returned;
 * -EINVAL for a NULL argument; -ENOMEM, -EMFILE, -EAGAIN if memory, descriptors or threads ran out.
 */
int snapmap_cell_open(const char *path, const struct snapmap_options *options, struct snapmap_cell **ret);

/**
 * snapmap_cell_enter() - get the newest snapshot
 * @cell: a cell
 *
 * Wait-free, from any thread without further ado (the first call of a thread takes a lock for a
 * moment). May be nested; each needs its own snapmap_cell_leave().
 *
 * Return: the snapshot, not to be closed. It stays as it is until this thread leaves.
 */
const struct snapmap *snapmap_cell_enter(struct snapmap_cell *cell);

/**
 * snapmap_cell_leave() - done with it
 * @cell: the cell that was entered
 *
 * What was returned by the snapmap_cell_enter() that this ends must not be used any more.
 */
void snapmap_cell_leave(struct snapmap_cell *cell);

/**
 * snapmap_cell_refresh() - look at the file now
 * @cell: a cell
 *
 * When it returns 0, what readers get is no older than the call. May be called between
 * enter and leave, where this thread goes on with what it has.
 *
 * Return: 0, or as snapmap_cell_open(): the last good snapshot stays then;
 * -ESTALE in a child of fork().
 */
int snapmap_cell_refresh(struct snapmap_cell *cell);

/**
 * snapmap_cell_get_info() - what it did so far
 * @cell: a cell
 * @ret: gets the answer
 *
 * Return: 0, or -EINVAL for a NULL argument.
 */
int snapmap_cell_get_info(struct snapmap_cell *cell, struct snapmap_cell_info *ret);

/**
 * snapmap_cell_close() - release a cell
 * @cell: a cell, or NULL
 *
 * No thread may be between enter and leave of it, or use it otherwise. Within enter and leave of
 * another cell its thread and descriptors may stay for a moment longer.
 */
void snapmap_cell_close(struct snapmap_cell *cell);

#ifdef __cplusplus
}
#endif

#endif
