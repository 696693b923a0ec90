/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_mut: a file as private memory to edit, and atomic commits. */
#ifndef SNAPMAP_MAP_MUT_H
#define SNAPMAP_MAP_MUT_H

#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct snapmap_mut - an editable snapshot
 *
 * The memory is the file as it was at open, over which stores make private
 * pages. Nobody else sees them before a commit, and then everybody sees all of
 * them.
 *
 * Threads: any number may load and store at once, as with plain memory. The
 * functions below want the handle to themselves: no other call on the same
 * handle, and no store into its memory, may run at the same time (a store made
 * while a commit runs may be dropped). Different handles are independent.
 */
struct snapmap_mut;

/* snapmap_commit_options.flags */
#define SNAPMAP_COMMIT_FORCE (1u << 0)	     /* overwrite the file although it changed */
#define SNAPMAP_COMMIT_NOSYNC (1u << 1)	     /* atomic also in a crash, but perhaps the old version after it */
#define SNAPMAP_COMMIT_BREAK_LINKS (1u << 2) /* let the other names of a hard-linked file keep the old file */

/* snapmap_commit_options.strategy */
#define SNAPMAP_STRATEGY_AUTO 0u
#define SNAPMAP_STRATEGY_EXCHANGE 1u /* swap the changed blocks; keeps the inode; XFS, Linux 6.10 */
#define SNAPMAP_STRATEGY_REPLACE 2u  /* new file, renamed over the old name */
#define SNAPMAP_STRATEGY_CLONE 3u    /* reflink into the file: keeps the inode, NOT crash-atomic */
/*
 * A journal beside the file, which is then applied in place: costs what was edited,
 * keeps the inode. Atomic, also in a crash, for whoever reads through this library.
 * Plain readers may see a half-applied file, after a crash until somebody opens it
 * through this library for editing, or with the right to write. For local file systems
 * with attributes of users (user.*), of which it leaves user.snapmap.journal.
 */
#define SNAPMAP_STRATEGY_JOURNAL 4u
#define SNAPMAP_STRATEGY_IMAGE 5u /* into a file of an image (minifs_map_mut), and only there */

/**
 * struct snapmap_commit_options - how to commit
 * @size: sizeof(struct snapmap_commit_options); any other value is -EINVAL
 * @flags: SNAPMAP_COMMIT_* flags, or 0; unknown bits are -EINVAL
 * @strategy: SNAPMAP_STRATEGY_AUTO, or the one strategy to use
 *
 * AUTO is exchange where that works and the size stays, else replace: only strategies that are atomic
 * also across a crash, for every reader. A NULL pointer means all defaults.
 */
struct snapmap_commit_options {
	uint32_t size;
	uint32_t flags;
	uint32_t strategy;
};

/**
 * snapmap_mut_open() - open a file for editing in private
 * @path: the file; symbolic links are followed unless SNAPMAP_NOFOLLOW, and
 *	commit then changes the file they lead to
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle, to be released with snapmap_mut_close()
 *
 * Only permission to read is needed; commit needs more. The handle remembers the
 * directory, not its path: changing the working directory or renaming the
 * directory does no harm. It holds up to four descriptors, six with SNAPMAP_SPILL.
 *
 * Return: 0, or a negative errno as snapmap_open(); with SNAPMAP_SPILL also
 * -EOPNOTSUPP if there is no directory on a disk for the work files, -ENOSPC if there
 * is no room for them, and -EINVAL together with SNAPMAP_INHERIT.
 */
int snapmap_mut_open(const char *path, const struct snapmap_options *options, struct snapmap_mut **ret);

/**
 * snapmap_mut_open_fd() - edit the file behind a descriptor
 * @fd: descriptor of a regular file, open for reading; it stays the caller's
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle
 *
 * The name to commit to is looked up in /proc. A file that has no name any more
 * can be edited, and published with snapmap_mut_link() or a strategy that keeps the inode.
 *
 * Return: 0, or a negative errno as snapmap_open_fd().
 */
int snapmap_mut_open_fd(int fd, const struct snapmap_options *options, struct snapmap_mut **ret);

/**
 * snapmap_mut_create() - a new, empty file that appears at its first commit
 * @path: name that must not exist yet
 * @mode: permission bits, from which the umask (or the directory's default ACL) takes
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle
 *
 * Return: 0, -EEXIST if @path exists, -EACCES or -EROFS if the directory cannot
 * be written, or a negative errno as snapmap_open().
 */
int snapmap_mut_create(const char *path, mode_t mode, const struct snapmap_options *options, struct snapmap_mut **ret);

/**
 * snapmap_mut_data() - the bytes, to read and to store into
 * @map: a handle
 *
 * Return: address of snapmap_mut_size() bytes, aligned to a page, never NULL. It
 * stays the same until snapmap_mut_resize() or snapmap_mut_close(). Bytes beyond
 * the size, in the last page, are not part of the file.
 */
void *snapmap_mut_data(const struct snapmap_mut *map);

/**
 * snapmap_mut_size() - number of bytes
 * @map: a handle
 *
 * Return: size in bytes.
 */
size_t snapmap_mut_size(const struct snapmap_mut *map);

/**
 * snapmap_mut_get_info() - which source serves the handle, and what it cost
 * @map: a handle
 * @ret: gets the answer
 *
 * Return: 0, or -EINVAL for a NULL argument.
 */
int snapmap_mut_get_info(const struct snapmap_mut *map, struct snapmap_info *ret);

/**
 * snapmap_mut_prefault() - read a part into memory now
 * @map: a handle
 * @offset: first byte
 * @length: number of bytes
 *
 * Return: as snapmap_prefault().
 */
int snapmap_mut_prefault(const struct snapmap_mut *map, uint64_t offset, uint64_t length);

/**
 * snapmap_mut_resize() - change the size
 * @map: a handle
 * @size: new size in bytes, 0 included
 *
 * Growth is zeros, also where the file was longer before. The data pointer may
 * change here, and only here. Nothing shows in the file before the commit.
 *
 * Return: 0, -EFBIG if @size cannot be a file or a mapping at all, -ENOMEM if the
 * address space does not allow it, -EIO if a page that is needed for it cannot be
 * read, with SNAPMAP_SPILL -ENOSPC or -EDQUOT if the disk is full, and -ESTALE in a
 * child of fork(); the handle is then as it was.
 */
int snapmap_mut_resize(struct snapmap_mut *map, size_t size);

/**
 * snapmap_mut_dirty() - which bytes a commit would write
 * @map: a handle
 * @ranges: gets the first @capacity ranges, sorted, not touching each other; may
 *	be NULL if @capacity is 0
 * @capacity: number of ranges that fit
 *
 * A range is made of whole pages, cut at the file's size. A page counts as
 * written also if the same bytes were stored. Growth that was never stored into
 * is not listed. With SNAPMAP_SPILL the pages are listed that differ, which takes
 * reading them, or all of the file where extents cannot be shared.
 *
 * Return: number of ranges there are, which may be more than @capacity, or
 * -EINVAL, -ENOMEM; with SNAPMAP_SPILL also -EIO, -ENOSPC, and -ESTALE in a child of
 * fork().
 */
ssize_t snapmap_mut_dirty(const struct snapmap_mut *map, struct snapmap_range *ranges, size_t capacity);

/**
 * snapmap_mut_rollback() - forget all edits since open or the last commit
 * @map: a handle
 *
 * Bytes and size are those of the snapshot again; the data pointer stays. Costs
 * time by what was written, not by the size. The sticky error stays, and so do the
 * zeros of pages that were lost. With SNAPMAP_SPILL it costs time by the extents, or
 * by the size where these cannot be shared.
 *
 * Return: 0, -EINVAL for NULL, -ENOMEM if the kernel refused a mapping (the
 * handle is then as it was). With SNAPMAP_SPILL also -ENOSPC, -EDQUOT or -EIO, after
 * which some of the edits may be undone already, and -ESTALE in a child of fork().
 */
int snapmap_mut_rollback(struct snapmap_mut *map);

/**
 * snapmap_mut_commit() - publish the edits
 * @map: a handle
 * @options: see struct snapmap_commit_options, or NULL
 *
 * Attributes that the caller cannot see cannot be kept: without CAP_SYS_ADMIN the
 * kernel hides extended attributes of the class trusted.
 *
 * On success the file has the handle's bytes, and the handle goes on as a fresh
 * snapshot of them. Without SNAPMAP_COMMIT_NOSYNC they survive a power cut from
 * then on. On failure file and handle are as they were, with one exception: -EIO
 * from the last flush, where last_error says that the new content is in place
 * but perhaps not durable. And one for SNAPMAP_STRATEGY_JOURNAL: -ENOSPC, -EDQUOT or
 * -EIO where last_error says that the commit counts: it is durable in the journal, the
 * handle goes on with the new content, and its next commit, or the next open by somebody
 * who may write, applies the rest.
 *
 * A commit by journal to the file that was cut off is finished first, whatever the
 * strategy is; if it was not this handle's own, that is a conflict.
 *
 * A commit without edits still checks for a conflict and flushes the file, but
 * does not write it again.
 *
 * Return: 0, or
 * -EBUSY if the file was changed, replaced or removed by someone else since the
 *  snapshot: look at it, then merge, use SNAPMAP_COMMIT_FORCE, or save elsewhere
 *  with snapmap_mut_link(); or a commit by somebody else does not end;
 * -EUCLEAN if a commit by journal was cut off, and its journal is not there, damaged or
 *  another one; the file is untouched;
 * -EMLINK if the file has several names, which replacing would split: use
 *  SNAPMAP_COMMIT_BREAK_LINKS or a strategy that keeps the inode;
 * -EACCES if the file may not be written, -EPERM if owner, group or an attribute
 *  cannot be kept by this user, -EROFS;
 * -EOPNOTSUPP if the strategy asked for does not work here;
 * -ENOENT if the handle has no name to commit to;
 * -EIO if bytes of the handle were lost (snapmap_info.error): the file is untouched;
 * -EINVAL for a NULL handle, unknown flags or strategy, wrong options size;
 * -ESTALE for a handle with SNAPMAP_SPILL, or by SNAPMAP_SOURCE_LEASE, in a child of fork();
 * -ENOSPC, -EDQUOT, -EMFILE, -ENOMEM, -EIO.
 */
int snapmap_mut_commit(struct snapmap_mut *map, const struct snapmap_commit_options *options);

/**
 * snapmap_mut_commit_and_close() - publish the edits and release the handle
 * @map: a handle
 * @options: see struct snapmap_commit_options, or NULL
 *
 * Cheaper than the two calls where the snapshot is a copy: that copy becomes the
 * file.
 *
 * Return: as snapmap_mut_commit(). On failure the handle stays open.
 */
int snapmap_mut_commit_and_close(struct snapmap_mut *map, const struct snapmap_commit_options *options);

/**
 * snapmap_mut_link() - save the present bytes as another file
 * @map: a handle, which stays as it is: edits stay edits, its own file untouched
 * @path: name that must not exist, unless SNAPMAP_COMMIT_FORCE
 * @options: see struct snapmap_commit_options, or NULL; the strategy must be AUTO
 *	or REPLACE
 *
 * The new file gets mode, ACL and extended attributes of the handle's file. It
 * gets its owner and group too if the caller may give them; else it belongs to
 * the caller, without set-user-ID and set-group-ID bits.
 *
 * Return: 0, -EEXIST, or a negative errno as snapmap_mut_commit().
 */
int snapmap_mut_link(struct snapmap_mut *map, const char *path, const struct snapmap_commit_options *options);

/**
 * snapmap_mut_close() - release a handle; edits not committed are lost
 * @map: a handle, or NULL
 *
 * Keeps errno.
 */
void snapmap_mut_close(struct snapmap_mut *map);

/**
 * snapmap_strategy_name() - a strategy's name, such as "replace"
 * @strategy: a SNAPMAP_STRATEGY_* value
 *
 * Return: a constant string; "unknown" for anything else.
 */
const char *snapmap_strategy_name(uint32_t strategy);

#ifdef __cplusplus
}
#endif

#endif
