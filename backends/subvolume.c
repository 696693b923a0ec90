/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * subvolume: a read-only snapshot of a whole btrfs subvolume, for trees. O(1) in what is
 * in it, but btrfs writes out what is pending and commits a transaction.
 *
 * A snapshot has to have a name. It lies in a directory of its user's own in the root of
 * the subvolume, which nobody else may enter: a snapshot also keeps what others have
 * deleted, and rights as they were. Whose a snapshot is tells a lock on its root (flock(2)),
 * which ends with its owner. So whoever gets that lock may delete it, and whoever makes one
 * looks after locking whether it is still there.
 *
 * Only a user who may delete a snapshot makes one. CAP_SYS_ADMIN of the initial user
 * namespace may; others with the mount option user_subvol_rm_allowed, once the snapshot is
 * not read-only any more.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "backends/backend.h"
#include "src/sys.h"

#define ROOT_INODE 256 /* of each subvolume */
#define DEPTH_MAX 4096
#define TRIES 8
#define NAMES 4096

/* ---- where ---- */

static bool is_subvolume(const struct stat *st)
{
	return S_ISDIR(st->st_mode) && st->st_ino == ROOT_INODE;
}

/* The root of the subvolume that the directory is in. */
static int open_root(int dirfd, const struct stat *dir, const char **ret_step)
{
	int fd = sys_openat(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	struct stat st;

	*ret_step = "looking for the root of the subvolume";
	for (unsigned depth = 0; fd >= 0 && depth < DEPTH_MAX; depth++) {
		int rc = sys_fstat(fd, &st), up;

		if (!rc && st.st_dev != dir->st_dev)
			rc = -EXDEV;
		if (rc) {
			sys_close(fd);
			return rc;
		}
		if (is_subvolume(&st))
			return fd;
		up = sys_openat(fd, "..", O_RDONLY | O_DIRECTORY, 0);
		sys_close(fd);
		fd = up;
	}
	return fd;
}

/* The way from the root down to the directory; "." for itself. */
static int find_way(int root, int dirfd, char *buf, const char **ret)
{
	char above[PATH_MAX];
	size_t n;
	int rc = sys_fd_path(root, above, sizeof(above));

	if (!rc)
		rc = sys_fd_path(dirfd, buf, PATH_MAX);
	if (rc)
		return rc;
	n = strlen(above);
	if (n == 1) /* "/" */
		n = 0;
	if (strncmp(buf, above, n) != 0 || (buf[n] && buf[n] != '/'))
		return -EXDEV;
	*ret = buf[n] && buf[n + 1] ? buf + n + 1 : ".";
	return 0;
}

/* ---- who ---- */

static bool may_delete(int root, const struct stat *st)
{
	if (sys_is_admin())
		return true;
	return st->st_uid == sys_geteuid() && sys_mount_has_option(root, "user_subvol_rm_allowed");
}

/* The user's own directory for snapshots. */
static int open_own(int root, const char *name, const char **ret_step)
{
	struct stat st;
	int rc = sys_mkdir(root, name, 0700), fd;

	*ret_step = "making a directory for snapshots in the subvolume";
	if (rc && rc != -EEXIST)
		return rc;
	fd = sys_openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	rc = sys_fstat(fd, &st);
	/* Somebody else's could be exchanged under our hands. */
	if (!rc && (st.st_uid != sys_geteuid() || (st.st_mode & 077)))
		rc = -EPERM;
	if (rc)
		sys_close(fd);
	return rc ? rc : fd;
}

/* ---- deleting ---- */

static int delete_it(int own, const char *name, int snapshot)
{
	int rc = sys_subvolume_delete(own, name);

	/* Who is no administrator can delete only what could be written to. */
	if (rc == -EROFS || rc == -EPERM || rc == -EACCES) {
		rc = sys_subvolume_set_read_only(snapshot, false);
		if (!rc)
			rc = sys_subvolume_delete(own, name);
	}
	return rc;
}

/* What is in our own directory is ours; its owner is gone if nobody has the lock. */
static void delete_left(int own, const char *name)
{
	cleanup_fd int fd = sys_openat(own, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	struct stat st;

	if (fd >= 0 && !sys_fstat(fd, &st) && is_subvolume(&st) && !sys_flock(fd, LOCK_EX | LOCK_NB))
		delete_it(own, name, fd);
}

static void delete_all_left(int own)
{
	char *names = (char *)malloc(NAMES);
	ssize_t got = names ? 1 : 0;

	while (got > 0) {
		got = sys_list(own, names, NAMES);
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(names + at);

			if (d->d_name[0] != '.')
				delete_left(own, d->d_name);
			at += d->d_reclen;
		}
	}
	free(names);
}

/* ---- making one ---- */

static bool is_still_there(int own, const char *name, int fd)
{
	struct stat there, st;

	return !sys_fstatat(own, name, AT_SYMLINK_NOFOLLOW, &there) && !sys_fstat(fd, &st) &&
	       there.st_dev == st.st_dev && there.st_ino == st.st_ino;
}

/* A snapshot with our lock on it; -EAGAIN if somebody was faster. */
static int make(int root, struct tree_image *image, const char **ret_step)
{
	uint64_t random;
	int rc = sys_random(&random), fd;

	*ret_step = "making a snapshot";
	snprintf(image->name, sizeof(image->name), "%016llx", (unsigned long long)random);
	if (!rc)
		rc = sys_subvolume_snapshot(root, image->own, image->name);
	if (rc)
		return rc == -EEXIST || rc == -ENOENT ? -EAGAIN : rc;
	fd = sys_openat(image->own, image->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd == -ENOENT ? -EAGAIN : fd;
	/* Whoever holds it now is deleting it. */
	if (sys_flock(fd, LOCK_EX | LOCK_NB) || !is_still_there(image->own, image->name, fd)) {
		sys_close(fd);
		return -EAGAIN;
	}
	image->snapshot = fd;
	return 0;
}

static void forget(struct tree_image *image)
{
	close_fd(&image->fd);
	close_fd(&image->snapshot);
	close_fd(&image->own);
	close_fd(&image->root);
}

static void subvolume_close(struct tree_image *image, bool in_child)
{
	if (!in_child) {
		close_fd(&image->fd);
		delete_it(image->own, image->name, image->snapshot);
		/* While others of this user have theirs it stays. */
		sys_rmdir(image->root, image->dir);
	}
	forget(image);
}

static int make_patiently(struct tree_image *image, const char **ret_step)
{
	int rc = -EAGAIN;

	for (unsigned tries = 0; rc == -EAGAIN && tries < TRIES; tries++) {
		/* It goes when another tree of this user is closed. */
		close_fd(&image->own);
		image->own = open_own(image->root, image->dir, ret_step);
		if (image->own < 0)
			return image->own;
		delete_all_left(image->own);
		rc = make(image->root, image, ret_step);
	}
	return rc;
}

static int open_twin(struct tree_image *image, const char *way, const struct stat *dir, const char **ret_step)
{
	struct stat st;
	int rc;

	*ret_step = "finding the directory in the snapshot";
	image->fd = !strcmp(way, ".") ? sys_openat(image->snapshot, ".", O_RDONLY | O_DIRECTORY, 0)
				      : sys_open_beneath(image->snapshot, way, O_RDONLY | O_DIRECTORY, false);
	if (image->fd < 0)
		return image->fd;
	rc = sys_fstat(image->fd, &st);
	return rc ? rc : st.st_ino == dir->st_ino ? 0 : -ESTALE;
}

static int subvolume_open(int dirfd, struct tree_image *ret, const char **ret_step)
{
	struct tree_image image = {.fd = -1, .snapshot = -1, .own = -1, .root = -1};
	char buf[PATH_MAX];
	const char *way;
	struct stat dir, st;
	uint64_t magic;
	int rc = sys_fs_magic(dirfd, &magic);

	*ret_step = "not on btrfs";
	if (rc || magic != BTRFS_SUPER_MAGIC)
		return rc ? rc : -EOPNOTSUPP;
	rc = sys_fstat(dirfd, &dir);
	if (rc)
		return rc;
	image.root = open_root(dirfd, &dir, ret_step);
	if (image.root < 0)
		return image.root;
	rc = find_way(image.root, dirfd, buf, &way);
	if (!rc)
		rc = sys_fstat(image.root, &st);
	if (!rc && !may_delete(image.root, &st)) {
		*ret_step = "this user may not delete snapshots: CAP_SYS_ADMIN, or the mount option "
			    "user_subvol_rm_allowed and a subvolume of its own";
		rc = -EPERM;
	}
	snprintf(image.dir, sizeof(image.dir), TREE_IMAGE_DIR "%lu", (unsigned long)sys_geteuid());
	if (!rc)
		rc = make_patiently(&image, ret_step);
	if (rc) {
		if (image.own >= 0)
			sys_rmdir(image.root, image.dir);
		forget(&image);
		return rc;
	}
	rc = open_twin(&image, way, &dir, ret_step);
	if (rc)
		subvolume_close(&image, false);
	else
		*ret = image;
	return rc;
}

const struct tree_backend tree_backend_subvolume = {
	.source = SNAPMAP_SOURCE_SUBVOLUME,
	.name = "subvolume",
	.open = subvolume_open,
	.close = subvolume_close,
};
