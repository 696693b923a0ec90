/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * clone: the extents of the new version are shared into the file (FICLONE).
 *
 * Keeps the inode, and with it hard links and every attribute. NOT atomic against
 * a crash, a power cut or SIGKILL in its middle, nor for readers on every file
 * system; therefore never chosen automatically. An error in its middle is put
 * right again from a clone of the old content.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "attributes.h"
#include "in_place.h"
#include "journal.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

/*
 * FICLONE never makes a file shorter, and refuses one that ends in the middle of
 * a block before the end of the target: so the target is cut first.
 */
static int clone_into(int from, uint64_t size, int to)
{
	struct stat st;
	int rc = sys_fstat(to, &st);

	if (!rc && (uint64_t)st.st_size > size)
		rc = sys_ftruncate(to, size);
	return rc || !size ? rc : sys_clone(from, to);
}

/*
 * The handle's image is the old content, so it needs no second keeping: unless the
 * file may have been changed by somebody else, or extents cannot surely be shared.
 */
static bool image_will_do(const struct commit *c)
{
	return !(c->flags & SNAPMAP_COMMIT_FORCE) && c->attributes == c->target->fd &&
	       c->image->source == SNAPMAP_SOURCE_REFLINK;
}

static int clone_over(struct commit *c, int *fd)
{
	int rc = clone_into(c->image->fd, c->image->size, *fd);

	if (!rc)
		return 0;
	c->damaged = steal_fd(fd);
	return error_set(rc, "clone into", NULL);
}

static const char needs_reflink[] = "the strategy clone needs a file system with reflinks, and the snapshot to be one";

static int as_unsupported(int error)
{
	return error == -ENOTTY || error == -EINVAL || error == -EXDEV ? -EOPNOTSUPP : error;
}

/* A clone of the file as it is now, whatever the handle's image was. */
static int keep_content(const struct commit *c, uint64_t *ret_size, int *ret_fd)
{
	struct private_file_request request = {.dirfd = c->target->place.dirfd, .local_only = true};
	cleanup_fd int fd = -1;
	struct stat st;
	int rc = sys_fstat(c->attributes, &st);

	request.near = &st;
	request.local_only = request.dirfd >= 0;
	if (!rc)
		rc = private_file_create(&request, &fd);
	if (rc == -ENOENT && request.dirfd < 0)
		return error_set(-EOPNOTSUPP, "share extents with", in_place_nowhere);
	if (!rc)
		rc = sys_clone(c->attributes, fd);
	if (!rc)
		rc = sys_size(fd, ret_size);
	if (rc) {
		rc = as_unsupported(rc);
		return error_set(rc, "share extents with", rc == -EOPNOTSUPP ? needs_reflink : NULL);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* A change too, but our own: what was not a conflict before is none after it. */
static int put_back(const struct commit *c, int before, uint64_t size, int fd)
{
	struct target *t = c->target;
	int rc = clone_into(before, size, fd);

	if (!rc && !(c->flags & SNAPMAP_COMMIT_FORCE) && stamp_take(t->fd, t->fs, true, &t->stamp))
		stamp_spoil(&t->stamp);
	return rc;
}

/* Keeps the old content until the new one is in place. */
static int clone_keeping(struct commit *c, int fd)
{
	cleanup_fd int before = -1;
	uint64_t size = 0;
	int rc = keep_content(c, &size, &before);

	if (!rc)
		rc = commit_check_last(c);
	if (rc)
		return rc;
	rc = clone_into(c->image->fd, c->image->size, fd);
	if (rc && put_back(c, before, size, fd))
		return error_set(-EIO, "clone into",
				 "and its old content could not be put back: save the bytes elsewhere");
	rc = as_unsupported(rc);
	return rc ? error_set(rc, "clone into", rc == -EOPNOTSUPP ? needs_reflink : NULL) : 0;
}

static int clone_in_turn(struct commit *c)
{
	cleanup_fd int fd = -1;
	int rc = in_place_open(c, "clone into", O_WRONLY, &fd);

	if (!rc && attributes_are_lost_by_writing(c->attributes))
		rc = error_set(-EOPNOTSUPP, "clone into", in_place_loses);
	if (rc)
		return rc;
	rc = journal_lock_at_rest(fd, "clone into", NULL);
	/* Where there are no locks, there are no commits by journal. */
	if (rc == -ENOLCK || rc == -EOPNOTSUPP || rc == -EINVAL)
		rc = 0;
	if (!rc && image_will_do(c)) {
		rc = commit_check_last(c);
		if (!rc)
			rc = clone_over(c, &fd);
	} else if (!rc) {
		rc = clone_keeping(c, fd);
	}
	/* A child that was forked just now may have the descriptor too. */
	if (fd >= 0)
		journal_unlock(fd);
	if (rc)
		return rc;
	c->published = true;
	target_adopt_inode(c->target, c->attributes, c->size);
	if (!(c->flags & SNAPMAP_COMMIT_NOSYNC) && sys_fsync(fd))
		return error_set(-EIO, "flush", "the new content is in place but may not survive a power cut");
	return 0;
}

static int clone_publish(struct commit *c)
{
	int rc = file_size_allowed(c->image->size);
	struct publication turn;

	if (rc)
		return error_set(rc, "clone into", NULL);
	rc = in_place_take_turn(c, "clone into", &turn);
	if (rc)
		return rc;
	rc = clone_in_turn(c);
	in_place_end_turn(&turn);
	return rc;
}

static int clone_probe(const struct target *t, const char **ret_why)
{
	struct private_file_request request = {.dirfd = t->place.dirfd, .local_only = t->place.dirfd >= 0};
	cleanup_fd int fd = -1;
	struct stat st;
	int rc;

	rc = in_place_probe(t, &st, ret_why);
	if (rc)
		return rc;
	*ret_why = "no place for a private file on its file system";
	request.near = &st;
	rc = private_file_create(&request, &fd);
	if (rc)
		return rc;
	*ret_why = "extents cannot be shared";
	rc = file_size_allowed((uint64_t)st.st_blksize);
	if (rc)
		return rc;
	if (st.st_size <= st.st_blksize)
		return sys_clone(t->fd, fd);
	return sys_clone_range(t->fd, 0, (uint64_t)st.st_blksize, fd, 0);
}

const struct strategy strategy_clone = {
	.id = SNAPMAP_STRATEGY_CLONE,
	.name = "clone",
	.automatic = false,
	.keeps_inode = true,
	.publish = clone_publish,
	.probe = clone_probe,
};
