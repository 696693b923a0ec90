/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct snapmap_segment from the inside.
 *
 *   segment.c           making it, and what its pages stand for
 *   segment_snapshot.c  the snapshots
 *   segment_read.c      reading
 *   segment_write.c     writing back
 */
#ifndef SNAPMAP_SEGMENT_INTERNAL_H
#define SNAPMAP_SEGMENT_INTERNAL_H

#include "handle.h"
#include "mapping.h"
#include "page_table.h"
#include "pager.h"
#include "snapmap/map.h"
#include "snapmap/segment.h"

/**
 * struct segment_snapshot - what a file was when it was read
 * @owner: how many pages stand for it
 * @node: among those of the segment, the newest first
 * @refs: one for all pages, and one for each use
 * @map: a snapshot that is leased, or NULL
 * @view: else a mapping of @fd, for the pager
 * @fd: a private image, or a file that never changes; or -1
 * @data: its bytes in memory, for the pager; or NULL
 * @size: of it, in bytes
 * @stamp: of the file then: what differs from it later has changed. May be spoilt
 * @fs: of the file
 * @dev, @ino: the file
 * @immutable: it never changes
 */
struct segment_snapshot {
	struct page_owner owner;
	struct cds_list_head node;
	atomic_uint refs;
	struct snapmap *map;
	struct mapping view;
	int fd;
	const char *data;
	uint64_t size;
	struct stamp stamp;
	const struct fs_traits *fs;
	dev_t dev;
	ino_t ino;
	bool immutable;
};

/**
 * struct snapmap_segment
 * @area: its memory, for the pager
 * @paged: the pager serves it
 * @watched: the threads that serve breaks of leases are kept for it
 * @base, @size, @span: its memory
 * @depth: fork_depth() when it was made
 * @options: how snapshots are to be made; @tmpdir is its own
 * @lock: over what follows, if there is no pager: else the lock of @area
 * @table: what pages stand for
 * @snapshots: that pages stand for
 * @loaded: the page that a small read has made sure of last
 */
struct snapmap_segment {
	struct pager_area area;
	bool paged, watched;
	char *base;
	size_t size, span;
	unsigned depth;
	struct options options;
	char *tmpdir;
	pthread_mutex_t lock;
	struct page_table table;
	struct cds_list_head snapshots;
	atomic_size_t loaded;
	atomic_int error;
	pthread_mutex_t refusal_lock;
	char refused[256];
	_Atomic uint64_t reads_deferred, reads_plain, bytes_deferred, bytes_read;
	_Atomic uint64_t bytes_skipped, bytes_written, bytes_shared;
};

/* segment.c */
void segment_lock(struct snapmap_segment *segment);
/* Also closes the snapshots that no page stands for any more. */
void segment_unlock(struct snapmap_segment *segment);
/* Whether the range lies in it, and it is this process's own. */
bool segment_has(const struct snapmap_segment *segment, const void *buf, size_t n);
/* -EFAULT, -EINVAL, -ESTALE, with the error sentence. */
int segment_check(const struct snapmap_segment *segment, const void *buf, size_t n, const char *what);
/* Under the lock, whole pages: they stand for @snapshot from @offset on, or for nothing and are zeros. Quiet. */
int segment_associate(struct snapmap_segment *segment, size_t page, size_t pages, struct segment_snapshot *snapshot,
		      uint64_t offset);
/* Under the lock: pages that were stored into stand for nothing. -EOPNOTSUPP: that cannot be told. Quiet. */
int segment_detach_stored(struct snapmap_segment *segment, size_t page, size_t pages);
/* Pages that are about to be stored into in part, by a system call. */
void segment_load(struct snapmap_segment *segment, const void *buf, size_t n);

/* segment_snapshot.c */
/*
 * A snapshot of the file now: a new one, or one that the segment has, if the file is
 * unchanged. To be put back. Sets the error sentence. -EISDIR and -EBADF are the end; for
 * all else there is none.
 */
int segment_snapshot_get(struct snapmap_segment *segment, int fd, struct segment_snapshot **ret);
void segment_snapshot_put(struct segment_snapshot *snapshot);
/* Whether the file, whose stamp is @now, is known to be what it was. */
bool segment_snapshot_is_now(const struct segment_snapshot *snapshot, const struct stamp *now);
/* 0, -EIO or another errno, quiet. */
int segment_snapshot_read(const struct segment_snapshot *snapshot, void *buf, size_t n, uint64_t offset);

/* segment_write.c */
ssize_t segment_write_back(struct snapmap_segment *segment, int fd, const char *buf, size_t n, uint64_t offset);

#endif
