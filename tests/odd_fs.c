/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * odd_fs BELOW MOUNTPOINT: storage that fails, is slow, or makes things up.
 *
 * Shows the directory BELOW, which has files and no directories. While there is a
 * file BELOW/.eio, whoever reads a block of 4096 bytes that begins with MARKER gets
 * EIO, wherever the file system on a disk image has put it. While there is a file
 * BELOW/.broken, whoever writes gets EIO. While there is a file BELOW/.slow, whoever
 * cuts a file hears of it later than it happens. The file "disk" is read past the page
 * cache, so that a loop device over it really asks. The file "made-up" shows a size of
 * 0, and yet can be read. Runs in the foreground, and ends with its parent.
 */
#define FUSE_USE_VERSION 31

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "snapmap-bad-page"
#define BLOCK 4096

static int below;

static int result(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	long rc = fi ? fstat((int)fi->fh, st) : fstatat(below, path[1] ? path + 1 : ".", st, AT_SYMLINK_NOFOLLOW);

	if (!strcmp(path, "/made-up"))
		st->st_size = 0;
	return result(rc);
}

static int keep(const char *path, int fd, struct fuse_file_info *fi)
{
	if (fd < 0)
		return -errno;
	fi->fh = (uint64_t)fd;
	fi->direct_io = !strcmp(path, "/disk") || !strcmp(path, "/made-up");
	return 0;
}

/* The kernel reads what it did not get whole, also of files that are only written. */
static int fs_open(const char *path, struct fuse_file_info *fi)
{
	return keep(path, openat(below, path + 1, O_RDWR | (fi->flags & O_TRUNC) | O_CLOEXEC), fi);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return keep(path, openat(below, path + 1, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode), fi);
}

static int has_bad_block(const char *buf, size_t n, off_t offset)
{
	size_t at = (size_t)(-offset & (BLOCK - 1));

	for (; at + sizeof(MARKER) - 1 <= n; at += BLOCK)
		if (!memcmp(buf + at, MARKER, sizeof(MARKER) - 1))
			return 1;
	return 0;
}

static int fs_read(const char *path, char *buf, size_t n, off_t offset, struct fuse_file_info *fi)
{
	ssize_t got = pread((int)fi->fh, buf, n, offset);

	(void)path;
	if (got > 0 && !faccessat(below, ".eio", F_OK, 0) && has_bad_block(buf, (size_t)got, offset))
		return -EIO;
	return result(got);
}

static int fs_write(const char *path, const char *buf, size_t n, off_t offset, struct fuse_file_info *fi)
{
	(void)path;
	if (!faccessat(below, ".broken", F_OK, 0))
		return -EIO;
	return result(pwrite((int)fi->fh, buf, n, offset));
}

static int cut(int fd, off_t size)
{
	int rc = result(ftruncate(fd, size));

	while (!faccessat(below, ".slow", F_OK, 0))
		usleep(1000);
	return rc;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	if (fi)
		return cut((int)fi->fh, size);

	int fd = openat(below, path + 1, O_WRONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : cut(fd, size);

	close(fd);
	return rc;
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
	(void)path;
	(void)data_only;
	return result(fsync((int)fi->fh));
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	return result(close((int)fi->fh));
}

static int fs_unlink(const char *path)
{
	return result(unlinkat(below, path + 1, 0));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
	return result(renameat2(below, from + 1, below, to + 1, flags));
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	return result(fi ? fchmod((int)fi->fh, mode) : fchmodat(below, path + 1, mode, 0));
}

static int fs_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
	return result(fi ? futimens((int)fi->fh, times) : utimensat(below, path + 1, times, AT_SYMLINK_NOFOLLOW));
}

static const struct fuse_operations operations = {
	.getattr = fs_getattr,
	.open = fs_open,
	.create = fs_create,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
	.fsync = fs_fsync,
	.release = fs_release,
	.unlink = fs_unlink,
	.rename = fs_rename,
	.chmod = fs_chmod,
	.utimens = fs_utimens,
};

/*
 * A file system on a disk image that this program serves needs it for its unmount. If
 * the program were the last to leave the mount namespace, it would do that unmount
 * itself while it ends, and wait for its own answers for good. So it lives in a mount
 * namespace of its own, where nothing is mounted over what it serves.
 */
static void stand_aside(const char *mount_point)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return;
	umount2(mount_point, MNT_DETACH);
}

int main(int argc, char **argv)
{
	char *arguments[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
	struct fuse *fuse;
	int rc;

	if (argc != 3)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	below = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (below < 0) {
		perror(argv[1]);
		return 2;
	}
	fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
	if (!fuse || fuse_mount(fuse, argv[2]))
		return 1;
	stand_aside(argv[2]);
	fuse_set_signal_handlers(fuse_get_session(fuse));
	rc = fuse_loop_mt(fuse, 0);
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	return rc != 0;
}
