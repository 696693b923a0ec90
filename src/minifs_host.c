/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file under an image that is open for writing: how it is held, and how what was
 * stored becomes the file.
 *
 * Mostly by a handle of the source exclusive: O(1) to open. A sync then writes what was
 * stored, by exchange where blocks can be exchanged and that is cheaper, else by journal,
 * which a later open finishes if it was cut off: O(dirty), and the inode stays.
 *
 * Where that is not to be had (network and FUSE file systems, overlays, no attributes of
 * users) a snapshot serves, and each sync replaces the file. Then the lock is taken here,
 * in the same way: flock(2), because that needs no right to write, breaks no lease, goes
 * with the open file and not with the process's other descriptors, and is held by nobody
 * else once a commit has ended. Such a commit gives the name to another inode, so the
 * lock is taken again after each; whoever comes in between finds, or makes, a conflict at
 * the next commit.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/file.h>

#include "base.h"
#include "handle.h"
#include "minifs_image.h"
#include "snapmap/map_mut.h"
#include "sys.h"
#include <minifs.h>

#define TRIES 16
#define REAL_PATH_SIZE 4096

/* ---- a lock of our own ---- */

static const char locked[] = "somebody else has the image open for writing; it is free once they close it";

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return !sys_fstat(fd, &a) && !sys_fstatat(AT_FDCWD, path, 0, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* -EAGAIN: the name went to another file meanwhile. */
static int lock_once(const char *path, int *ret_fd)
{
	cleanup_fd int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	int rc;

	if (fd < 0)
		return error_set(fd, "open", NULL);
	rc = sys_flock(fd, LOCK_EX | LOCK_NB);
	if (rc == -EWOULDBLOCK)
		return error_set(-EBUSY, "lock", locked);
	if (rc)
		return error_set(rc, "lock", "its file system has no flock(2)");
	if (!same_file(fd, path))
		return -EAGAIN;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int lock_image(const char *path, int *ret_fd)
{
	int rc = -EAGAIN;

	for (int i = 0; rc == -EAGAIN && i < TRIES; i++)
		rc = lock_once(path, ret_fd);
	return rc == -EAGAIN ? error_set(-EBUSY, "lock", "it is replaced again and again") : rc;
}

/* After a commit. If somebody was quicker the lock is lost, and the next sync says so. */
int host_lock_again(struct minifs *fs)
{
	int fd, rc;

	if (fs->in_place || (fs->lock_fd >= 0 && same_file(fs->lock_fd, fs->real_path)))
		return 0;
	error_begin(fs->path);
	rc = lock_image(fs->real_path, &fd);
	sys_close(fs->lock_fd);
	fs->lock_fd = rc ? -1 : fd;
	return rc;
}

static int note_real_path(struct minifs *fs)
{
	int rc;

	fs->real_path = (char *)malloc(REAL_PATH_SIZE);
	rc = fs->real_path ? sys_fd_path(fs->lock_fd, fs->real_path, REAL_PATH_SIZE) : -ENOMEM;
	return rc < 0 ? error_set(rc, "find the name of", NULL) : 0;
}

static void take_memory(struct minifs *fs)
{
	fs->store.base = (uint8_t *)snapmap_mut_data(fs->mut);
	fs->store.size = snapmap_mut_size(fs->mut);
}

/* Inherited, for then it has an image from the beginning, which files are mapped from. */
static int open_snapshot(struct minifs *fs)
{
	const struct snapmap_options imaged = {.size = sizeof(imaged), .flags = SNAPMAP_INHERIT};
	const char *why;
	int rc = lock_image(fs->path, &fs->lock_fd);

	if (!rc)
		rc = note_real_path(fs);
	if (!rc)
		rc = snapmap_mut_open(fs->path, &imaged, &fs->mut);
	if (rc)
		return rc;
	error_begin(fs->path);
	rc = mut_can_commit(fs->mut, &why);
	if (rc)
		return error_set(rc, "write to", why);
	return same_file(fs->lock_fd, fs->path) ? 0 : error_set(-EBUSY, "lock", "it was replaced just now");
}

/* ---- the file itself ---- */

/* Whether the file can be committed to without being replaced. */
static bool find_strategy(struct minifs *fs)
{
	fs->exchanges = !mut_probe(fs->mut, SNAPMAP_STRATEGY_EXCHANGE);
	return fs->exchanges || !mut_probe(fs->mut, SNAPMAP_STRATEGY_JOURNAL);
}

/* -EOPNOTSUPP: not here. */
static int open_exclusive(struct minifs *fs)
{
	const struct snapmap_options exclusive = {.size = sizeof(exclusive), .source = SNAPMAP_SOURCE_EXCLUSIVE};
	int rc = snapmap_mut_open(fs->path, &exclusive, &fs->mut);

	if (rc == -EBUSY)
		return error_set(rc, "lock", locked);
	if (rc)
		return rc;
	fs->in_place = find_strategy(fs);
	fs->in_memory = fs->in_place && (mut_file_system(fs->mut)->flags & FS_IN_MEMORY);
	if (fs->in_place)
		return 0;
	snapmap_mut_close(fs->mut);
	fs->mut = NULL;
	return -EOPNOTSUPP;
}

int host_open(struct minifs *fs)
{
	int rc = open_exclusive(fs);

	if (rc == -EOPNOTSUPP) {
		error_begin(fs->path);
		rc = open_snapshot(fs);
	}
	if (rc)
		return rc;
	take_memory(fs);
	fs->store.writable = true;
	return 0;
}

/* ---- what the file system asks for ---- */

static struct minifs *image_of(struct minifs_store *store)
{
	return (struct minifs *)((char *)store - offsetof(struct minifs, store));
}

static int make_room(struct minifs_store *store, uint64_t size)
{
	struct minifs *fs = image_of(store);
	int rc = snapmap_mut_resize(fs->mut, 0);

	if (!rc)
		rc = size <= SIZE_MAX ? snapmap_mut_resize(fs->mut, (size_t)size) : -EFBIG;
	take_memory(fs);
	return rc;
}

/* Where pages take room when they are read, that there is none would be a signal. */
static int get_ready(struct minifs_store *store, uint64_t offset, uint64_t length)
{
	struct minifs *fs = image_of(store);
	int rc = fs->in_memory ? snapmap_mut_prefault(fs->mut, offset, length) : 0;

	return rc == -EIO ? -ENOSPC : rc;
}

static int commit(struct minifs_store *store)
{
	const struct snapmap_commit_options by_journal = {
		.size = sizeof(by_journal),
		.strategy = SNAPMAP_STRATEGY_JOURNAL,
	};
	struct minifs *fs = image_of(store);

	if (fs->in_place && fs->exchanges)
		return mut_commit_in_place(fs->mut);
	return snapmap_mut_commit(fs->mut, fs->in_place ? &by_journal : NULL);
}

const struct minifs_store_ops host_ops = {.make_room = make_room, .get_ready = get_ready, .sync = commit};
