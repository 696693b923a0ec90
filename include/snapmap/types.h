/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every handle shares: options, ranges, information, errors. */
#ifndef SNAPMAP_TYPES_H
#define SNAPMAP_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct snapmap_range - a run of bytes of a file
 * @offset: first byte, counted from the start of the file
 * @length: number of bytes
 */
struct snapmap_range {
	uint64_t offset;
	uint64_t length;
};

/* snapmap_options.flags */
#define SNAPMAP_STRICT (1u << 0)       /* fail with -EBUSY unless the bytes are a point in time */
#define SNAPMAP_NOFOLLOW (1u << 1)     /* a symbolic link as last part of the path is -ELOOP */
#define SNAPMAP_POPULATE (1u << 2)     /* read every page during open; its errors fail the open */
#define SNAPMAP_GUARD (1u << 3)	       /* pages that cannot be read become zeros and a sticky error: guard.h */
#define SNAPMAP_INHERIT (1u << 4)      /* the bytes stay right in a child of fork() */
#define SNAPMAP_SPILL (1u << 5)	       /* for editing: stored pages may go to a work file on a disk */
#define SNAPMAP_CROSS_MOUNTS (1u << 6) /* for trees: go into what is mounted in it as well: tree.h */

/*
 * SNAPMAP_SPILL lets edits be larger than memory and swap: the memory of the handle
 * shows a nameless work file, to which the kernel writes stored pages when it runs
 * short. Only for handles that can be edited, and not with SNAPMAP_INHERIT: -EINVAL.
 *
 * What it costs: where extents can be shared, next to nothing at open, and a commit
 * or rollback takes time by the extents. Elsewhere the open makes two copies of the
 * file, and a commit, a rollback and a list of edits read both. What differs counts
 * as an edit, so storing the same bytes is none.
 *
 * Work files lie beside the file if that is on a disk and its directory can be
 * written, else in tmpdir, $TMPDIR, /var/tmp, /tmp, $HOME or the working directory,
 * the first that is on a disk; -EOPNOTSUPP if none is. A file on tmpfs can so be edited
 * with little memory, but its new version is memory again.
 *
 * What is different: a store can need room on the disk, and is a SIGBUS if there is
 * none. With SNAPMAP_GUARD the page becomes zeros and the handle gets the error -EIO.
 * In a child of fork() the memory is out of reach (SIGSEGV), and every call but close
 * fails with -ESTALE.
 */

/*
 * snapmap_options.source: zero, or exactly one of these.
 *
 * IMMUTABLE maps the file itself, for struct snapmap only: files on erofs and
 * squashfs, with fs-verity on ext4 and f2fs, and memory files with F_SEAL_WRITE and
 * F_SEAL_SHRINK. What it trusts in is whoever may write to the device or image file
 * below erofs and squashfs. REFLINK shares the file's extents, COPY copies its
 * bytes. SUBVOLUME is for whole trees on btrfs: tree.h. Files in images of mini file systems
 * (MINIFS) are opened by minifs.h. The others:
 *
 * SNAPFS asks the program that serves the file's file system, snapfs(8) or mount.minifs(8),
 * for a snapshot: O(1), for who may read the file. What it promises is that program's word,
 * so it must run as root or as the same user; if it ends, pages that were not read yet are
 * a SIGBUS (SNAPMAP_GUARD). A struct snapmap_mut by SNAPFS has its pages filled from the
 * snapshot, as by LEASE, where that can be, and else is a copy of the snapshot.
 *
 * LEASE maps the file itself as well, of whoever owns it, until somebody opens it for
 * writing. A struct snapmap_mut by LEASE has its pages filled from there by threads of the
 * library (userfaultfd; CAP_SYS_PTRACE or vm.unprivileged_userfaultfd, Linux 6.7): O(1) at
 * open. The image, by reflink or copy, is made when one is needed: by the first commit,
 * resize or link, after which snapmap_info.source tells it. Not with SNAPMAP_INHERIT,
 * SNAPMAP_GUARD, SNAPMAP_SPILL or SNAPMAP_POPULATE (-EOPNOTSUPP). Until there is an image a
 * child of fork() does not have the memory (SIGSEGV there, and every call but close is
 * -ESTALE), and a page that cannot be read is a SIGBUS. It is the automatic choice for files
 * of 32 MiB and more that cannot be shared.
 *
 * EXCLUSIVE is for struct snapmap_mut only, never chosen automatically, and meant for a
 * file that one program owns. It locks the file, as flock(2) does, and maps the file
 * itself: O(1) at open whatever the size, on any local file system. A second such open
 * is -EBUSY. Everybody else can go on, and the handle is NOT stable then: what they
 * write shows where nothing was stored, and where they cut the file off touching the
 * memory is a SIGBUS (or zeros and an error, with SNAPMAP_GUARD), stored bytes included.
 * It is found out by the commit, which is -EBUSY then, also with SNAPMAP_COMMIT_FORCE.
 * Only strategies that keep the inode commit: exchange, which AUTO is, else (and for a
 * new size) journal or clone by name. Not together with SNAPMAP_STRICT, SNAPMAP_INHERIT
 * or SNAPMAP_SPILL, nor with snapmap_mut_create(): -EINVAL. A child made by fork() holds
 * the lock too, until it ends or calls exec.
 */
#define SNAPMAP_SOURCE_AUTO 0u
#define SNAPMAP_SOURCE_IMMUTABLE (1u << 0)
#define SNAPMAP_SOURCE_LEASE (1u << 1)
#define SNAPMAP_SOURCE_SUBVOLUME (1u << 2)
#define SNAPMAP_SOURCE_REFLINK (1u << 3)
#define SNAPMAP_SOURCE_SNAPFS (1u << 4)
#define SNAPMAP_SOURCE_MINIFS (1u << 5)
#define SNAPMAP_SOURCE_COPY (1u << 6)
#define SNAPMAP_SOURCE_EXCLUSIVE (1u << 7)

struct snapmap;

/**
 * struct snapmap_options - how to open
 * @size: sizeof(struct snapmap_options); a size that this version does not know is
 *	-EINVAL
 * @flags: SNAPMAP_* flags, or 0; unknown bits are -EINVAL
 * @source: SNAPMAP_SOURCE_AUTO, or the one source to use; a source that cannot
 *	serve the file then fails the call instead of giving way to the next
 * @tmpdir: directory for private copies that cannot lie beside their file, or
 *	NULL for $TMPDIR, /var/tmp, /tmp and then memory. Only read during the call.
 * @lease_limit: largest file in bytes that may be leased although only a full
 *	copy could take the place of the lease; 0 lets the library decide
 * @progress: called now and then during slow work with the bytes done and the
 *	bytes in all; a return value other than 0 cancels the call, which then
 *	fails with -ECANCELED and has changed nothing. May be NULL. Runs in the
 *	thread that made the call, and must use neither the handle being opened nor
 *	write to its file: a copy may hold a lease that makes writers wait.
 * @progress_arg: first argument of @progress
 * @resident_limit: for trees: bytes of contents that stay in memory; 0: no limit. See tree.h
 * @validate: for cells: asked before a new snapshot takes the place of the last; a return
 *	value other than 0 keeps the last. May be NULL. See cell.h
 * @validate_arg: first argument of @validate
 *
 * A NULL pointer to options means all defaults. Zero the structure first, then
 * set @size: fields that later versions add are zero for their default.
 */
struct snapmap_options {
	uint32_t size;
	uint32_t flags;
	uint32_t source;
	const char *tmpdir;
	uint64_t lease_limit;
	int (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
	uint64_t resident_limit;
	int (*validate)(void *arg, const struct snapmap *snapshot);
	void *validate_arg;
};

/* snapmap_info.consistency */
#define SNAPMAP_CONSISTENCY_FUZZY 0u	     /* copied while someone may have been writing */
#define SNAPMAP_CONSISTENCY_POINT_IN_TIME 1u /* the file as it was at one instant inside open */
#define SNAPMAP_CONSISTENCY_EACH_FILE 2u     /* a tree: each file as it was when it was touched first */

/* snapmap_info.lease */
#define SNAPMAP_LEASE_NONE 0u	/* the handle does not depend on a lease */
#define SNAPMAP_LEASE_HELD 1u	/* it maps the file itself, which is leased */
#define SNAPMAP_LEASE_IMAGED 2u /* somebody wanted to write: a private image took the place of the file */
#define SNAPMAP_LEASE_LOST 3u	/* no image could be made: the bytes are out of reach (zeros if guarded), see @error */

/**
 * struct snapmap_info - what serves a handle, and what it cost
 * @source: the SNAPMAP_SOURCE_* in use
 * @consistency: a SNAPMAP_CONSISTENCY_* value
 * @lease: a SNAPMAP_LEASE_* value
 * @error: sticky error as a negative errno: bytes of this handle were lost or
 *	could not be read (-EIO with SNAPMAP_GUARD, once pages became zeros); 0 while
 *	all is well
 * @size: bytes of the snapshot as it was opened or last committed
 * @extents: extents that were shared, 0 where there were too few to cost noticeable time
 * @bytes_copied: bytes that the open copied
 * @strategy: the SNAPMAP_STRATEGY_* of the last commit, 0 before one
 * @file_system: name of the file's file system, as mount(8) spells it
 * @tried: one sentence for each better source that was tried and refused, or ""
 * @reserved: zero
 */
struct snapmap_info {
	uint32_t source;
	uint32_t consistency;
	uint32_t lease;
	int32_t error;
	uint64_t size;
	uint64_t extents;
	uint64_t bytes_copied;
	uint32_t strategy;
	uint32_t reserved0;
	char file_system[16];
	char tried[400];
	uint64_t reserved[8];
};

/**
 * snapmap_last_error() - the story of this thread's last failed call
 *
 * One sentence: which step failed, on which file, why, what can be done, and
 * what was tried before it.
 *
 * Return: a string, never NULL, "" if no call has failed in this thread yet. It
 * belongs to the library and stays until the next call of the same thread.
 */
const char *snapmap_last_error(void);

/**
 * snapmap_source_name() - a source's name, such as "reflink"
 * @source: a SNAPMAP_SOURCE_* value
 *
 * Return: a constant string; "unknown" for anything else.
 */
const char *snapmap_source_name(uint32_t source);

/**
 * snapmap_consistency_name() - "point in time", "each file" or "fuzzy"
 * @consistency: a SNAPMAP_CONSISTENCY_* value
 *
 * Return: a constant string; "unknown" for anything else.
 */
const char *snapmap_consistency_name(uint32_t consistency);

/**
 * snapmap_version() - version of the library in use
 *
 * Return: a constant string, such as "0.1.0".
 */
const char *snapmap_version(void);

#ifdef __cplusplus
}
#endif

#endif
