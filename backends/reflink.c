/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reflink: a nameless file that shares the extents of the original (FICLONE on
 * btrfs, XFS, bcachefs, overlayfs over them, NFS 4.2 ...). Costs time by the
 * number of extents, and writes out what is dirty.
 *
 * One FICLONE is a point in time: the kernel holds off writers of the original,
 * writes dirty pages out under that lock, and so makes stores through shared
 * mappings fault and wait.
 */
#include "config.h"

#include <errno.h>

#include "backends/backend.h"
#include "src/sys.h"

/* Files from here on are cloned in pieces if somebody wants to see progress. */
#define PIECE ((uint64_t)256 << 20)
#define TRIES 3

static int create_private(const struct source_request *r, int *ret_fd)
{
	struct private_file_request place = {
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->options->tmpdir,
		.near = r->st,
	};

	return private_file_create(&place, ret_fd);
}

static int report(const struct source_request *r, uint64_t done)
{
	const struct options *o = r->options;

	return o->progress && o->progress(o->progress_arg, done, (uint64_t)r->st->st_size) ? -ECANCELED : 0;
}

/*
 * Clones piece by piece, so that it can be watched and stopped. Only a file that
 * did not change from before the first piece to after the last gives a point in
 * time; -EAGAIN otherwise.
 */
static int clone_in_pieces(const struct source_request *r, int fd)
{
	uint64_t size = (uint64_t)r->st->st_size;
	struct stamp before, after;
	int rc = stamp_take(r->fd, r->fs, r->own_offset, &before);

	if (!rc && before.size != size)
		return -EAGAIN;
	for (uint64_t at = 0; !rc && at < size; at += PIECE) {
		rc = report(r, at);
		if (!rc)
			rc = sys_clone_range(r->fd, at, size - at < PIECE ? size - at : PIECE, fd, at);
	}
	/* EINVAL: the file got another size, and the last piece does not end with it. */
	if (rc)
		return rc == -EINVAL ? -EAGAIN : rc;
	rc = stamp_take(r->fd, r->fs, r->own_offset, &after);
	if (rc)
		return rc;
	return stamp_same(&before, &after) ? 0 : -EAGAIN;
}

static int clone_whole(const struct source_request *r, int fd)
{
	bool watched = r->options->progress && !r->unchanging;
	int rc;

	if (watched && (uint64_t)r->st->st_size >= 2 * PIECE && (r->fs->flags & FS_WRITE_BACK)) {
		rc = clone_in_pieces(r, fd);
		if (rc != -EAGAIN)
			return rc;
		/* A clone does not shrink what it is cloned into. */
		rc = sys_ftruncate(fd, 0);
		if (rc)
			return rc;
	}
	rc = report(r, 0);
	return rc ? rc : sys_clone(r->fd, fd);
}

/*
 * The number of extents explains a slow clone, and asking for it costs as much as
 * a quick one: so it is asked for only if the clone took its time.
 */
#define WORTH_COUNTING_NS 500000

static uint64_t count_extents(int fd, const struct timespec *start)
{
	struct timespec end;
	uint64_t extents = 0;

	sys_now(&end);
	if ((end.tv_sec - start->tv_sec) * 1000000000 + end.tv_nsec - start->tv_nsec >= WORTH_COUNTING_NS)
		sys_count_extents(fd, &extents);
	return extents;
}

/*
 * A clone that is shorter than a file that did not change is a kernel's mistake.
 * The size alone says nothing: it may have gone there and back.
 */
static int check_size(const struct source_request *r, uint64_t size)
{
	struct stamp before, after;
	struct stat now;
	int rc;

	if (size == (uint64_t)r->st->st_size)
		return 0;
	rc = sys_fstat_fresh(r->fd, &now);
	if (rc)
		return rc;
	stamp_of(r->st, &before);
	stamp_of(&now, &after);
	return stamp_same(&before, &after) ? -EIO : 0;
}

/*
 * Clones for editing: takes a stamp first, and again if the file changed before
 * the clone was made. After a few tries the older stamp stays; a commit then
 * reports the change as a conflict, which is the safe mistake.
 */
static int clone_stamped(const struct source_request *r, int fd, struct stamp *ret)
{
	struct stamp before;
	int rc = 0;

	for (int i = 0; !rc && i < TRIES; i++) {
		struct stamp after;

		rc = stamp_take(r->fd, r->fs, r->own_offset, &before);
		if (!rc)
			rc = clone_whole(r, fd);
		/* Written out again, for page faults that were under way at the first look. */
		if (!rc)
			rc = stamp_take(r->fd, r->fs, r->own_offset, &after);
		if (rc || stamp_same(&before, &after))
			break;
		/* A clone does not shrink what it is cloned into. */
		if (i + 1 < TRIES)
			rc = sys_ftruncate(fd, 0);
	}
	if (!rc)
		*ret = before;
	return rc;
}

static int reflink_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	struct image image = {.source = SNAPMAP_SOURCE_REFLINK, .consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME};
	cleanup_fd int fd = -1;
	struct timespec start;
	int rc;

	*ret_step = "no place for a private file on its file system";
	rc = create_private(r, &fd);
	if (rc)
		return rc;
	*ret_step = "sharing extents";
	sys_now(&start);
	rc = file_size_allowed((uint64_t)r->st->st_size);
	if (!rc)
		rc = r->editable ? clone_stamped(r, fd, &image.stamp) : clone_whole(r, fd);
	if (!rc)
		rc = sys_size(fd, &image.size);
	if (rc)
		return rc;
	*ret_step = "the clone is shorter than the file";
	rc = check_size(r, image.size);
	if (rc)
		return rc;
	image.extents = count_extents(fd, &start);
	image.fd = steal_fd(&fd);
	*ret = image;
	return 0;
}

/* Shares one block, if there is one, instead of all of them. */
static int reflink_probe(const struct source_request *r, const char **ret_step)
{
	cleanup_fd int fd = -1;
	int rc;

	*ret_step = "no place for a private file on its file system";
	rc = create_private(r, &fd);
	if (rc)
		return rc;
	*ret_step = "sharing extents";
	rc = file_size_allowed((uint64_t)r->st->st_blksize);
	if (rc)
		return rc;
	if (r->st->st_size <= r->st->st_blksize)
		return sys_clone(r->fd, fd);
	return sys_clone_range(r->fd, 0, (uint64_t)r->st->st_blksize, fd, 0);
}

const struct backend backend_reflink = {
	.source = SNAPMAP_SOURCE_REFLINK,
	.name = "reflink",
	.read_only = true,
	.editable = true,
	.open = reflink_open,
	.probe = reflink_probe,
};
