/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors and what they hold. See sys.h for the rules of this layer. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sys.h"

/* One system call moves at most this much (read(2), "NOTES"). */
#define TRANSFER_MAX ((size_t)0x7ffff000)

int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	do
		fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int sys_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* Makes @over another descriptor of the same, in one step. */
void sys_dup_over(int fd, int over)
{
	int rc;

	do
		rc = dup3(fd, over, O_CLOEXEC);
	while (rc < 0 && (errno == EINTR || errno == EBUSY));
}

/* Accepts -1. Linux frees the descriptor also when close() reports EINTR. */
void sys_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

int sys_fd_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -errno : flags;
}

/* Of a description without other flags. */
void sys_set_nonblock(int fd)
{
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

int sys_fstat(int fd, struct stat *ret)
{
	return fstat(fd, ret) ? -errno : 0;
}

#ifndef STATX_MNT_ID_UNIQUE /* Linux 6.8 */
#define STATX_MNT_ID_UNIQUE 0x00004000U
#endif
#ifndef STATX_ATTR_VERITY /* Linux 5.5 */
#define STATX_ATTR_VERITY 0x00100000
#endif

static void stat_of(const struct statx *x, struct stat *ret)
{
	*ret = (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_nlink = x->stx_nlink,
		.st_mode = x->stx_mode,
		.st_uid = x->stx_uid,
		.st_gid = x->stx_gid,
		.st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor),
		.st_size = (off_t)x->stx_size,
		.st_blksize = (blksize_t)x->stx_blksize,
		.st_blocks = (blkcnt_t)x->stx_blocks,
		.st_atim = {x->stx_atime.tv_sec, x->stx_atime.tv_nsec},
		.st_mtim = {x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec},
		.st_ctim = {x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec},
	};
}

/*
 * Also tells the mount by a number that is never used again, 0 if the kernel has
 * none, and whether fs-verity protects the file.
 */
int sys_fstat_mount(int fd, struct stat *ret, uint64_t *ret_mount, bool *ret_verity)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID_UNIQUE, &x))
		return -errno;
	stat_of(&x, ret);
	*ret_mount = x.stx_mask & STATX_MNT_ID_UNIQUE ? x.stx_mnt_id : 0;
	*ret_verity = x.stx_attributes & STATX_ATTR_VERITY;
	return 0;
}

/* Asks the server or daemon of the file system, if there is one, instead of a cache. */
int sys_fstatat_fresh(int dirfd, const char *path, int flags, struct stat *ret)
{
	struct statx x;

	if (statx(dirfd, path, flags | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &x))
		return -errno;
	stat_of(&x, ret);
	return 0;
}

int sys_fstat_fresh(int fd, struct stat *ret)
{
	return sys_fstatat_fresh(fd, "", AT_EMPTY_PATH, ret);
}

int sys_fstatat(int dirfd, const char *path, int flags, struct stat *ret)
{
	return fstatat(dirfd, path, ret, flags) ? -errno : 0;
}

int sys_faccessat(int dirfd, const char *path, int mode)
{
	return faccessat(dirfd, path, mode, AT_EACCESS) ? -errno : 0;
}

ssize_t sys_pread(int fd, void *buf, size_t n, uint64_t offset)
{
	ssize_t got;

	if (n > TRANSFER_MAX)
		n = TRANSFER_MAX;
	do
		got = pread(fd, buf, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static ssize_t transferred(ssize_t n)
{
	return n < 0 ? -errno : n;
}

ssize_t sys_pwrite(int fd, const void *buf, size_t n, uint64_t offset)
{
	return transferred(pwrite(fd, buf, n < TRANSFER_MAX ? n : TRANSFER_MAX, (off_t)offset));
}

/* What has no offset cannot be asked again: a signal ends the call. */
ssize_t sys_read(int fd, void *buf, size_t n)
{
	return transferred(read(fd, buf, n < TRANSFER_MAX ? n : TRANSFER_MAX));
}

ssize_t sys_write(int fd, const void *buf, size_t n)
{
	return transferred(write(fd, buf, n < TRANSFER_MAX ? n : TRANSFER_MAX));
}

/* Moves the file's offset, in one step; @ret is where it is then. */
int sys_seek_by(int fd, int64_t by, uint64_t *ret)
{
	off_t at = lseek(fd, (off_t)by, SEEK_CUR);

	if (at < 0)
		return -errno;
	*ret = (uint64_t)at;
	return 0;
}

/* The first is for reading. */
int sys_pipe(int ret_fds[2])
{
	return pipe2(ret_fds, O_CLOEXEC) ? -errno : 0;
}

/* Reads @n bytes or up to the end of the file; @ret tells how many. */
int sys_pread_full(int fd, void *buf, size_t n, uint64_t offset, size_t *ret)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = sys_pread(fd, (char *)buf + done, n - done, offset + done);

		if (got < 0)
			return (int)got;
		if (!got)
			break;
		done += (size_t)got;
	}
	*ret = done;
	return 0;
}

int sys_pwrite_full(int fd, const void *buf, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		size_t chunk = n - done < TRANSFER_MAX ? n - done : TRANSFER_MAX;
		ssize_t put = pwrite(fd, (const char *)buf + done, chunk, (off_t)(offset + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (!put)
			return -EIO;
		done += (size_t)put;
	}
	return 0;
}

int sys_ftruncate(int fd, uint64_t size)
{
	int rc;

	if (size > INT64_MAX)
		return -EFBIG;
	do
		rc = ftruncate(fd, (off_t)size);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int sys_punch_hole(int fd, uint64_t offset, uint64_t length)
{
	int rc;

	do
		rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

static int seek(int fd, uint64_t offset, int whence, uint64_t *ret)
{
	off_t at = lseek(fd, (off_t)offset, whence);

	if (at < 0)
		return -errno;
	*ret = (uint64_t)at;
	return 0;
}

/* Cheaper than fstat(2). Moves the description's offset. */
int sys_size(int fd, uint64_t *ret)
{
	return seek(fd, 0, SEEK_END, ret);
}

/* -ENXIO: no data from there to the end. Moves the description's offset. */
int sys_seek_data(int fd, uint64_t offset, uint64_t *ret)
{
	return seek(fd, offset, SEEK_DATA, ret);
}

int sys_seek_hole(int fd, uint64_t offset, uint64_t *ret)
{
	return seek(fd, offset, SEEK_HOLE, ret);
}

/* Blocks for a part behind the end, which stays where it is. */
int sys_allocate_behind(int fd, uint64_t offset, uint64_t length)
{
	int rc;

	do
		rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* Starts reading a part, so that a later read need not wait as long. */
void sys_read_ahead(int fd, uint64_t offset, uint64_t length)
{
	(void)posix_fadvise(fd, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
}

/* Clean pages leave the page cache, so that the next read comes from storage. A hint. */
void sys_forget_pages(int fd, uint64_t offset, uint64_t length)
{
	posix_fadvise(fd, (off_t)offset, (off_t)length, POSIX_FADV_DONTNEED);
}

int sys_fchmod(int fd, mode_t mode)
{
	return fchmod(fd, mode) ? -errno : 0;
}

int sys_fchown(int fd, uid_t uid, gid_t gid)
{
	return fchown(fd, uid, gid) ? -errno : 0;
}

int sys_set_mtime(int fd, const struct timespec *mtime)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *mtime};

	return futimens(fd, times) ? -errno : 0;
}

int sys_flock(int fd, int operation)
{
	int rc;

	do
		rc = flock(fd, operation);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/*
 * Locks of an open file description (fcntl(2), F_OFD_SETLK) on one byte: they end with
 * the description, not with the first close of the file in the process. -EAGAIN if
 * another description is in the way. An exclusive one needs the file open for writing,
 * another one for reading.
 */
int sys_byte_lock(int fd, uint64_t at, bool exclusive)
{
	struct flock lock = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)at,
		.l_len = 1,
	};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

void sys_byte_unlock(int fd, uint64_t at)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = 1};

	fcntl(fd, F_OFD_SETLK, &lock);
}

/* Whether another description has the exclusive lock. False if that cannot be told. */
bool sys_byte_is_locked(int fd, uint64_t at)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = 1};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* The size beyond which writing would raise SIGXFSZ. */
int sys_file_size_limit(uint64_t *ret)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit))
		return -errno;
	*ret = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
	return 0;
}

/* How many descriptors there may be. */
int sys_fd_limit(uint64_t *ret)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	*ret = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
	return 0;
}
