/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * snapfs: asks the server of the file's file system for a snapshot (snapmap/snapfs.h),
 * which costs the same for every size. The snapshot is a file of that server's, so what it
 * promises holds as long as the server runs: that it keeps the bytes is its word. Only one
 * that runs as root or as this user is taken at its word.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"
#include "src/sys.h"

/* The user that a mount belongs to is remembered: its number is never used again. */
static bool is_trusted(const struct source_request *r)
{
	static _Atomic uint64_t remembered[64];
	_Atomic uint64_t *slot = &remembered[r->mount % 64];
	uint64_t entry = *slot;
	uint32_t uid;
	bool trusted;

	if (r->mount && entry >> 1 == r->mount)
		return entry & 1;
	if (sys_mount_owner(r->fd, &uid))
		return false;
	trusted = !uid || uid == sys_geteuid();
	if (r->mount && r->mount >> 62 == 0)
		*slot = r->mount << 1 | trusted;
	return trusted;
}

static int check(const struct source_request *r, const char **ret_step)
{
	*ret_step = "not on a file system that can be asked";
	if (!(r->fs->flags & FS_ASKED))
		return -EOPNOTSUPP;
	*ret_step = "its file system is served by another user, who need not keep what is promised";
	return is_trusted(r) ? 0 : -EPERM;
}

/* Is it what was asked for, and from the same server? */
static int check_snapshot(const struct source_request *r, int fd, const struct snapfs_snapshot *snapshot, uint64_t *ret)
{
	struct snapfs_state state = {0};
	struct stat st;
	int rc = sys_fstat(fd, &st);

	if (rc)
		return rc;
	if (st.st_dev != r->st->st_dev || !S_ISREG(st.st_mode))
		return -EXDEV;
	rc = sys_snapfs_state(fd, &state);
	if (rc)
		return rc;
	if (memcmp(state.token, snapshot->token, sizeof(state.token)) != 0 || state.offset ||
	    (uint64_t)st.st_size != snapshot->size)
		return -EXDEV;
	*ret = snapshot->size;
	return 0;
}

/* Any directory of the mount has it: the file's own is nearest. */
static int open_token(const struct source_request *r, const struct snapfs_snapshot *snapshot)
{
	char name[sizeof(SNAPFS_PREFIX) + SNAPFS_TOKEN_SIZE], path[PATH_MAX];
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd = -ENOENT, dir;

	snprintf(name, sizeof(name), SNAPFS_PREFIX "%.*s", SNAPFS_TOKEN_SIZE - 1, snapshot->token);
	if (r->dirfd >= 0 || r->dir) {
		dir = r->dirfd >= 0 ? r->dirfd : sys_openat(AT_FDCWD, r->dir, O_PATH | O_DIRECTORY, 0);
		fd = dir < 0 ? dir : sys_openat(dir, name, flags, 0);
		if (dir >= 0 && dir != r->dirfd)
			sys_close(dir);
	}
	if (fd >= 0 || sys_mount_point(r->fd, path, sizeof(path)))
		return fd;
	dir = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return fd;
	fd = sys_openat(dir, name, flags, 0);
	sys_close(dir);
	return fd;
}

static int snapfs_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	struct image image = {.source = SNAPMAP_SOURCE_SNAPFS, .consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME};
	struct snapfs_snapshot snapshot = {.version = SNAPFS_VERSION, .length = SNAPFS_ALL};
	cleanup_fd int fd = -1;
	int rc = check(r, ret_step);

	if (rc)
		return rc;
	*ret_step = "asking its file system";
	rc = sys_snapfs_snapshot(r->fd, &snapshot);
	if (rc)
		return rc == -ENOTTY || rc == -ENOSYS || rc == -EINVAL ? -EOPNOTSUPP : rc;
	*ret_step = "opening the snapshot";
	fd = open_token(r, &snapshot);
	rc = fd < 0 ? fd : check_snapshot(r, fd, &snapshot, &image.size);
	if (rc)
		return rc;
	image.fd = steal_fd(&fd);
	*ret = image;
	return 0;
}

/* Of no bytes, which nobody opens. */
static int snapfs_probe(const struct source_request *r, const char **ret_step)
{
	struct snapfs_snapshot snapshot = {.version = SNAPFS_VERSION};
	int rc = check(r, ret_step);

	if (rc)
		return rc;
	*ret_step = "asking its file system";
	rc = sys_snapfs_snapshot(r->fd, &snapshot);
	return rc == -ENOTTY || rc == -ENOSYS || rc == -EINVAL ? -EOPNOTSUPP : rc;
}

const struct backend backend_snapfs = {
	.source = SNAPMAP_SOURCE_SNAPFS,
	.name = "snapfs",
	.rare = true,
	.read_only = true,
	.editable = true,
	.copied_to_edit = true,
	.open = snapfs_open,
	.probe = snapfs_probe,
};
