/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * copy: a private copy, holes kept. Works everywhere and costs time by the size.
 *
 * It is a point in time if nobody changed the file from before the copy to after
 * it. Two proofs are accepted:
 *  - A read lease was held all the while: nobody had the file open for writing,
 *    or mapped for it, and nobody got to. In-memory file systems need this one,
 *    for there stores through a shared mapping leave no trace. Whoever wants to
 *    write meanwhile waits for one piece of the copy; then the lease is given up
 *    and the proof with it. Only for the owner, or with CAP_LEASE.
 *  - The file was read twice: each byte was the same when it was copied and when
 *    it was compared, so all of them stood in the file together at the moment
 *    between copy and comparison. And the stamp (base_stamp.c) is the same before
 *    and after, on a file system where changes move it, so that none of them was
 *    changed and changed back in between. The stamp alone would not do: a store
 *    through a mapping moves ctime when its page fault begins, and can come long
 *    after that.
 * Without a proof the image is fuzzy, which a strict open refuses.
 */
#include "config.h"

#include <errno.h>
#include <sys/mman.h>

#include "backends/backend.h"
#include "src/sys.h"

#define TRIES 3
#define RETRY_ALWAYS ((uint64_t)16 << 20) /* up to here a second try costs next to nothing */

/* Where a copy can lie, in order. */
enum spot {
	SPOT_BESIDE,	/* in the file's directory, so that it may become the file */
	SPOT_NEAR,	/* elsewhere on its file system */
	SPOT_ELSEWHERE, /* anywhere on a disk */
	SPOT_MEMORY,
	SPOT_NONE,
};

static enum spot first_spot(const struct source_request *r)
{
	if ((r->fs->flags & FS_IN_MEMORY) && !r->editable)
		return SPOT_MEMORY;
	return r->editable ? SPOT_BESIDE : SPOT_NEAR;
}

/* What is no worse off in memory than where it is, or small beside what there is. */
static bool fits_memory(const struct source_request *r)
{
	return (r->fs->flags & FS_IN_MEMORY) || (uint64_t)r->st->st_blocks * 512 <= sys_memory_size() / 8;
}

/*
 * On a file system in memory with a limit, a hole that is read through a mapping
 * takes a page, and if there is none left that is a signal. Nameless memory of our
 * own has no such limit.
 */
static bool holes_can_fault(int fd)
{
	struct stat st;

	return (fs_traits_of(fd)->flags & FS_IN_MEMORY) && !sys_fstat(fd, &st) && st.st_blocks * 512 < st.st_size;
}

static int create_at(const struct source_request *r, enum spot spot, int *ret_fd)
{
	struct private_file_request place = {
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->options->tmpdir,
		.near = r->st,
		.linkable = spot == SPOT_BESIDE,
		.local_only = spot == SPOT_BESIDE,
	};

	if (spot == SPOT_MEMORY)
		return private_file_memory("snapmap-copy", ret_fd);
	if (spot == SPOT_ELSEWHERE) {
		place.dirfd = -1;
		place.dir = NULL;
		place.near = NULL;
	}
	return private_file_create(&place, ret_fd);
}

/* Starts at *@spot, which tells in the end where the copy lies. */
static int create_private(const struct source_request *r, enum spot *spot, int *ret_fd)
{
	int rc = -ENOSPC;

	for (; *spot < (fits_memory(r) ? SPOT_NONE : SPOT_MEMORY); ++*spot) {
		rc = create_at(r, *spot, ret_fd);
		if (!rc || rc == -EMFILE || rc == -ENFILE)
			break;
	}
	if (!rc && r->editable)
		private_file_prepare(r->fd, *ret_fd);
	return rc;
}

/* Gives the lease up as soon as somebody waits for it. */
struct lease_watch {
	int fd;
	bool held;
};

static int watch_lease(void *arg)
{
	struct lease_watch *w = (struct lease_watch *)arg;

	if (w->held && !sys_lease_held(w->fd)) {
		sys_lease_drop(w->fd);
		w->held = false;
	}
	return 0;
}

/* Network and layered file systems do not lease reliably. */
static bool wants_lease(const struct source_request *r)
{
	return r->own_offset && !r->unchanging && (r->fs->flags & FS_LOCAL) && !(r->fs->flags & FS_LAYERED);
}

/* An overlay tells by its answer to FIEMAP whether there is a disk below, with write-back. */
static bool stamps_prove(const struct source_request *r)
{
	uint64_t extents;

	if (!(r->fs->flags & FS_LOCAL) || !r->own_offset)
		return false;
	if (r->fs->flags & FS_LAYERED)
		return !sys_count_extents(r->fd, &extents);
	return r->fs->flags & FS_WRITE_BACK;
}

/* What the file is compared with after the copy, and if it is edited at each commit. */
static int take_stamp(const struct source_request *r, bool leased, struct stamp *ret)
{
	struct stat st;
	int rc;

	/* Where it is not the stamp that proves anything it need not be waited for. */
	if (r->editable || (!leased && !r->unchanging && stamps_prove(r)))
		return stamp_take(r->fd, r->fs, r->own_offset, ret);
	rc = sys_fstat_fresh(r->fd, &st);
	if (!rc)
		stamp_of(&st, ret);
	return rc;
}

/* The second proof. Returns 1, 0 or an errno. */
static int prove_by_reading(const struct source_request *r, const struct sparse_copy *copy, const struct image *image)
{
	struct stamp after;
	int rc;

	if (!stamps_prove(r))
		return 0;
	rc = sparse_compare(copy, image->size);
	if (rc != 1)
		return rc;
	/* Written out again, for page faults that were under way at the first look. */
	rc = stamp_take(r->fd, r->fs, r->own_offset, &after);
	return rc ? rc : stamp_same(&image->stamp, &after);
}

/* Returns 1 if the copy is surely a point in time, 0 if it may not be. */
static int copy_once(const struct source_request *r, int fd, struct image *image, bool *ret_changed)
{
	struct lease_watch watch = {.fd = r->fd};
	struct sparse_copy copy = {
		.from = r->fd,
		.to = fd,
		.seekable = r->own_offset,
		.zeros_are_holes = true,
		.paced = r->options->flags & SNAPMAP_SPILL,
		.progress = r->options->progress,
		.progress_arg = r->options->progress_arg,
		.check = watch_lease,
		.check_arg = &watch,
	};
	struct stamp after;
	struct stat now;
	int rc;

	watch.held = wants_lease(r) && !sys_lease_take_unheard(r->fd);
	rc = take_stamp(r, watch.held, &image->stamp);
	if (!rc)
		rc = sparse_copy_file(&copy, image->stamp.size, &image->size, &image->bytes_copied);
	if (!rc)
		rc = sys_fstat_fresh(r->fd, &now);
	watch_lease(&watch);
	if (watch.held)
		sys_lease_drop(r->fd);
	if (rc)
		return rc;
	stamp_of(&now, &after);
	*ret_changed = !stamp_same(&image->stamp, &after) && !r->unchanging;
	if (*ret_changed || watch.held || r->unchanging)
		return !*ret_changed;
	rc = prove_by_reading(r, &copy, image);
	*ret_changed = !rc && stamps_prove(r);
	return rc;
}

static int copy_verified(const struct source_request *r, int fd, struct image *image, const char **ret_step)
{
	bool strict = r->options->flags & SNAPMAP_STRICT;
	bool changed = false;
	int rc = 0;

	for (int i = 0; i < TRIES; i++) {
		*ret_step = "copying";
		rc = i ? sys_ftruncate(fd, 0) : 0;
		if (!rc)
			rc = copy_once(r, fd, image, &changed);
		if (rc < 0)
			return rc;
		if (!changed || (image->size > RETRY_ALWAYS && !strict))
			break;
	}
	image->consistency = rc ? SNAPMAP_CONSISTENCY_POINT_IN_TIME : SNAPMAP_CONSISTENCY_FUZZY;
	*ret_step = changed ? "the file changed while it was copied"
			    : "changes during the copy cannot be ruled out on this file system";
	return strict && !rc ? -EBUSY : 0;
}

static enum spot next_spot(int rc, enum spot spot, int fd)
{
	if ((rc == -ENOSPC || rc == -EDQUOT) && spot < SPOT_MEMORY)
		return spot + 1;
	if (!rc && spot < SPOT_MEMORY && holes_can_fault(fd))
		return SPOT_MEMORY;
	return SPOT_NONE;
}

/* One place may be full, or of the wrong kind, while the next is not. */
static int copy_to_a_spot(const struct source_request *r, int *fd, struct image *image, const char **ret_step)
{
	enum spot spot = first_spot(r), next;
	int first = 0, rc;

	for (;; spot = next) {
		*ret_step = "no place for a private file";
		rc = create_private(r, &spot, fd);
		if (rc)
			return first ? first : rc;
		rc = copy_verified(r, *fd, image, ret_step);
		next = next_spot(rc, spot, *fd);
		if (next == SPOT_NONE)
			break;
		first = rc;
		close_fd(fd);
	}
	image->linkable = spot == SPOT_BESIDE;
	image->unlimited = spot == SPOT_MEMORY;
	return rc;
}

static int copy_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	struct image image = {.source = SNAPMAP_SOURCE_COPY};
	cleanup_fd int fd = -1;
	int rc = copy_to_a_spot(r, &fd, &image, ret_step);

	if (rc)
		return rc;
	/* Fails where the image is not memory, which needs no seal: it has no name. */
	if (!r->editable && !r->unsealed)
		sys_seal(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	image.fd = steal_fd(&fd);
	*ret = image;
	return 0;
}

static int copy_probe(const struct source_request *r, const char **ret_step)
{
	enum spot spot = first_spot(r);
	cleanup_fd int fd = -1;

	*ret_step = "no place for a private file";
	return create_private(r, &spot, &fd);
}

const struct backend backend_copy = {
	.source = SNAPMAP_SOURCE_COPY,
	.name = "copy",
	.read_only = true,
	.editable = true,
	.open = copy_open,
	.probe = copy_probe,
};
