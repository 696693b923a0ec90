/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: asking a file system for a snapshot of a file
 *
 * A file system that sees every change can give snapshots at once. snapfs(8) does, and so
 * does mount.minifs(8). Who wants one asks with ioctl(2) on a file that is open for
 * reading, and gets a token. The snapshot is a file of its own, which only the user who
 * asked, or who may read the file, may open for reading: in any directory of that mount as
 * SNAPFS_PREFIX followed by the token. The name is not listed. The snapshot has the bytes of the range as they were at one instant
 * between the call and its return: all that was written before, and all that was stored
 * through shared mappings before. It stays like that whatever happens to the file, and is
 * removed when its last descriptor and mapping is gone; one that nobody opens within
 * SNAPFS_PATIENCE seconds is removed as well.
 *
 * If the file system can keep a snapshot no longer, reading it fails with EIO for good,
 * and SNAPFS_IOC_STATE says so. It never has other bytes.
 *
 * In the root of a mount of snapfs(8) there is also a directory SNAPFS_DIR, which is not
 * listed either. Snapshots are found there by their tokens alone, and for scripts it has a
 * text file SNAPFS_CONTROL. Who writes to it
 * "snapshot OFFSET LENGTH PATH", with decimal numbers, LENGTH "-" for all that follows,
 * and PATH from the root of the mount, reads from the same open file the path of the
 * snapshot, or the line "error ERRNO TEXT"; and from one that was opened later by the same
 * user the last such answer.
 *
 * A server may be anybody's program. Who depends on these promises asks only one that
 * runs as root or as the same user: the option user_id of the mount, see fuse(4).
 */
#ifndef SNAPMAP_SNAPFS_H
#define SNAPMAP_SNAPFS_H

#include <stdint.h>
#include <sys/ioctl.h>

#define SNAPFS_VERSION 1u
#define SNAPFS_DIR ".snapfs"
#define SNAPFS_CONTROL "control"
#define SNAPFS_PREFIX ".snapfs-"
#define SNAPFS_TOKEN_SIZE 40
#define SNAPFS_PATIENCE 60
#define SNAPFS_ALL UINT64_MAX

/**
 * struct snapfs_snapshot - a snapshot of a range
 * @version: SNAPFS_VERSION, set by the caller
 * @flags: 0, set by the caller
 * @offset: of the range, in bytes, set by the caller
 * @length: of the range, in bytes, or SNAPFS_ALL for all that follows; set by the caller
 * @size: of the snapshot, in bytes: less than @length if the file ends before
 * @file_size: of the file at that instant, in bytes
 * @token: names the snapshot: 32 hexadecimal digits, and zeros
 */
struct snapfs_snapshot {
	uint32_t version;
	uint32_t flags;
	uint64_t offset;
	uint64_t length;
	uint64_t size;
	uint64_t file_size;
	char token[SNAPFS_TOKEN_SIZE];
};

/*
 * Of a file that is open for reading. Errors: EINVAL: a version or flags that are unknown,
 * or a range beyond what files can have; EBADF: not open for reading; EDQUOT: the user has
 * as many snapshots, or keeps as many bytes by them, as are allowed; EBUSY: pages were
 * being stored into by mappings so fast that no instant was found; EAGAIN: the kernel has
 * no cachestat(2) (Linux 6.5) and the file is open for writing; ENOMEM, ENFILE, EIO: of the
 * server; EISDIR, EOPNOTSUPP: no regular file. From file systems without snapshots: ENOTTY,
 * ENOSYS, EOPNOTSUPP or EINVAL.
 */
#define SNAPFS_IOC_SNAPSHOT _IOWR('m', 0xe1, struct snapfs_snapshot)

/* The bytes of the snapshot could not be kept: reading it fails with EIO. */
#define SNAPFS_LOST (1u << 0)

/**
 * struct snapfs_state - what is known of a snapshot
 * @version: SNAPFS_VERSION
 * @flags: SNAPFS_LOST
 * @offset: of the range in the file, in bytes
 * @size: of the snapshot, in bytes
 * @kept: bytes that are kept because the file has others now, and this snapshot is the
 *	latest that needs them
 * @token: of the snapshot
 */
struct snapfs_state {
	uint32_t version;
	uint32_t flags;
	uint64_t offset;
	uint64_t size;
	uint64_t kept;
	char token[SNAPFS_TOKEN_SIZE];
};

/* Of an open snapshot; ENOTTY on other files. */
#define SNAPFS_IOC_STATE _IOR('m', 0xe2, struct snapfs_state)

#endif
