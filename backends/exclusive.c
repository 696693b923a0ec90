/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exclusive: the file itself, locked, for a program that is its only user. Costs no time
 * by the size, on any local file system, and no room.
 *
 * It is the one source whose bytes others can change: a lock is an agreement (flock(2)).
 * Who keeps to it is another handle of this kind. Of everybody else it is only found out,
 * by the stamp, and then the commit fails; until then what they write shows in pages that
 * were not stored into, and a truncation is a SIGBUS, also in those that were, for the
 * kernel takes private pages behind the end along. So it is never chosen, only asked for.
 *
 * The lock belongs to the inode. So only strategies that keep the inode can commit, and
 * no edit ever goes into the image by another way than by one of them (staging.c). That
 * the name leads to the file that is locked is looked at by who opens by name.
 *
 * Only on local file systems, where all changes are seen and where a mapping follows
 * what is written; not on layered ones, where the first write makes another file.
 */
#include "config.h"

#include <errno.h>
#include <sys/file.h>

#include "backends/backend.h"
#include "src/sys.h"

/* All that is asked by a probe: to try the lock would be in the way of others. */
static int check(const struct source_request *r, const char **ret_step)
{
	*ret_step = "changes of network, FUSE and overlay file systems are not all seen";
	if (!(r->fs->flags & FS_LOCAL) || (r->fs->flags & (FS_LAYERED | FS_NEVER_WRITTEN | FS_HUGE_PAGES)))
		return -EOPNOTSUPP;
	*ret_step = "the file cannot be opened anew, for a lock of its own";
	return r->own_offset ? 0 : -EOPNOTSUPP;
}

/* @fd belongs to the caller; the lock is one for its open file description. */
static int lock(int fd, const char **ret_step)
{
	int rc = sys_flock(fd, LOCK_EX | LOCK_NB);

	*ret_step = rc == -EWOULDBLOCK ? "somebody else has locked it" : "it cannot be locked, by flock(2)";
	return rc == -EWOULDBLOCK ? -EBUSY : rc;
}

static int exclusive_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	struct image image = {.source = SNAPMAP_SOURCE_EXCLUSIVE, .consistency = SNAPMAP_CONSISTENCY_FUZZY};
	int rc = check(r, ret_step);

	if (rc)
		return rc;
	*ret_step = "a commit of it by journal was cut off, and you may not finish it";
	if (r->unsealed)
		return -EBUSY;
	rc = lock(r->fd, ret_step);
	if (rc)
		return rc;
	*ret_step = "looking for changes";
	rc = stamp_take(r->fd, r->fs, true, &image.stamp);
	if (rc)
		return rc;
	*ret_step = "it is being written to";
	if (stamp_is_spoilt(&image.stamp))
		return -EBUSY;
	/* Of the same description, so the lock stays as long as either. */
	image.size = image.stamp.size;
	image.fd = sys_dup(r->fd);
	if (image.fd < 0)
		return image.fd;
	*ret = image;
	return 0;
}

const struct backend backend_exclusive = {
	.source = SNAPMAP_SOURCE_EXCLUSIVE,
	.name = "exclusive",
	.editable = true,
	.on_request = true,
	.open = exclusive_open,
	.probe = check,
};
