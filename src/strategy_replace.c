/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * replace: a new file with the new bytes and the old attributes takes the name.
 *
 * Why it is atomic: the name always leads to one whole file or the other. Why it
 * is durable: the new file is flushed before it gets a name, so no crash can show
 * the name with less than all bytes; the directory is flushed after the rename.
 * Why no update is lost: the file is compared with the stamp while this is the
 * only publisher to the name, just before the rename. A writer that does not use
 * this library can still slip in between these two system calls; so the rename
 * exchanges the two files, and the old one is looked at once more before it goes. Of
 * what changes ctime alone only mode, owner and group are seen then. Where the kernel
 * cannot exchange names (and on overlays, where that can mean to copy a file) that
 * last look is missing.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "attributes.h"
#include "publish.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

static int check(void *arg)
{
	return commit_check_last((struct commit *)arg);
}

/*
 * The rename has set its ctime, and its other attributes are those that the new
 * version was given; so what tells are the rest of the stamp and the attributes.
 */
static bool is_what_was_checked(void *arg, const struct stat *theirs, const struct stat *ours)
{
	const struct stamp *expected = &((struct commit *)arg)->target->stamp;
	struct stamp now;

	stamp_of(theirs, &now);
	now.ctime = expected->ctime;
	return stamp_same(&now, expected) && theirs->st_mode == ours->st_mode && theirs->st_uid == ours->st_uid &&
	       theirs->st_gid == ours->st_gid;
}

/* A file with several names: a rename would split it. */
static int check_links(const struct commit *c)
{
	struct stat st;
	int rc;

	if (!c->exists || (c->flags & SNAPMAP_COMMIT_BREAK_LINKS))
		return 0;
	rc = sys_fstat(c->attributes, &st);
	if (rc)
		return error_set(rc, "stat", NULL);
	if (st.st_nlink <= 1)
		return 0;
	return error_set(
		-EMLINK, "replace",
		"it has several names (hard links), which replacing would split: allow that with "
		"SNAPMAP_COMMIT_BREAK_LINKS, or keep the inode with the strategy clone, which is not crash-atomic");
}

static int fill(const struct commit *c, int fd)
{
	struct sparse_copy copy = {.from = c->image->fd, .to = fd, .seekable = true, .zeros_are_holes = true};
	uint64_t size, written;
	int rc;

	if (!sys_clone(c->image->fd, fd))
		return 0;
	/* A clone that failed halfway has left something. */
	rc = sys_ftruncate(fd, 0);
	return rc ? rc : sparse_copy_file(&copy, c->size, &size, &written);
}

/* Gets a file with the bytes of the image: the image itself if it may be used up. */
static int make_file(const struct commit *c, struct publication *ret)
{
	const struct place *place = &c->target->place;
	mode_t mode = c->exists ? 0 : c->target->mode;
	struct private_file_request request = {
		.dirfd = place->dirfd,
		.mode = mode,
		.linkable = true,
		.local_only = true,
	};
	struct publication p = {.place = place, .fd = -1};
	int rc;

	if (c->closing && c->image->linkable) {
		p.fd = c->image->fd;
		*ret = p;
		return 0;
	}
	rc = private_file_create(&request, &p.fd);
	if (rc == -EOPNOTSUPP || rc == -EINVAL)
		rc = publish_create(place, c->exists ? 0600 : mode, &p);
	if (rc)
		return error_set(rc, "make a new version in the directory of",
				 rc == -EACCES || rc == -EPERM
					 ? "replacing a file needs write permission for its directory"
					 : NULL);
	if (c->exists)
		private_file_prepare(c->attributes, p.fd);
	rc = fill(c, p.fd);
	if (rc) {
		publish_abandon(&p);
		sys_close(p.fd);
		return error_set(rc, "write the new version of", NULL);
	}
	*ret = p;
	return 0;
}

/*
 * Sets the time that target_adopt_file() tells the new version by. Where times are
 * whole seconds it is one of the past, so that a change within the same second
 * makes another one, but no earlier than that of the old version.
 */
static int set_time(const struct commit *c, int fd, struct timespec *ret)
{
	const struct timespec *old = &c->target->stamp.mtime;
	struct timespec wanted, second = {.tv_sec = 1};
	struct stat st;

	for (;;) {
		int rc;

		sys_now(&wanted);
		rc = sys_set_mtime(fd, &wanted);
		if (!rc)
			rc = sys_fstat_fresh(fd, &st);
		if (!rc && wanted.tv_nsec && !st.st_mtim.tv_nsec) {
			wanted = (struct timespec){
				.tv_sec = wanted.tv_sec - (c->target->fs->flags & FS_EVEN_TIMES ? 2 : 1),
			};
			rc = sys_set_mtime(fd, &wanted);
			if (!rc)
				rc = sys_fstat_fresh(fd, &st);
		}
		if (rc)
			return rc;
		/* A time far ahead is not worth waiting for. */
		if (st.st_mtim.tv_nsec || st.st_mtim.tv_sec >= old->tv_sec || old->tv_sec > st.st_mtim.tv_sec + 3)
			break;
		sys_sleep(&second);
	}
	*ret = st.st_mtim;
	return 0;
}

/* Attributes, time and durability: everything before the name. */
static int finish_file(const struct commit *c, int fd, struct timespec *ret_mtime)
{
	int rc = attributes_carry(c->attributes, fd, false);

	if (rc)
		return rc;
	rc = set_time(c, fd, ret_mtime);
	/* Also for those who do not ask for durability: a name must never lead to less than all bytes. */
	if (!rc)
		rc = sys_fsync(fd);
	return rc ? error_set(rc, "flush the new version of", NULL) : 0;
}

static int give_name(struct commit *c, struct publication *p)
{
	bool force = c->flags & SNAPMAP_COMMIT_FORCE, fresh = !c->exists && !force;
	/* Where there are layers, a rename can mean to copy a whole file up. */
	bool look = !force && !(c->target->fs->flags & FS_LAYERED);
	int rc = fresh ? publish_new(p) : publish_over(p, check, look ? is_what_was_checked : NULL, c);

	switch (rc) {
	case 0:
		return 0;
	case -EBUSY:
		if (p->replaced)
			return commit_conflict(c);
		return c->conflict
			       ? rc
			       : error_set(rc, "commit", "another commit of it does not end, or it is a mount point");
	case -EEXIST:
		return error_set(fresh ? -EBUSY : rc, "commit",
				 fresh ? "someone else made a file of this name meanwhile"
				       : "its temporary names (.snapmap-*) are taken by files of somebody else");
	default:
		return error_set(rc, "rename the new version to", NULL);
	}
}

/* Everything from the finished file on. @directory: open for the flush, or -1. */
static int publish_file(struct commit *c, struct publication *p, int directory, const struct timespec *mtime)
{
	bool own_file = p->fd != c->image->fd;
	int flushed = 0, rc;

	rc = give_name(c, p);
	c->exposed = !own_file && (p->exposed || !rc);
	if (rc)
		return rc;
	c->published = true;
	if (!(c->flags & SNAPMAP_COMMIT_NOSYNC) && publish_flush(directory, p->fd))
		flushed = error_set(-EIO, "flush the directory of",
				    "the new content is in place but may not survive a power cut");
	/* The handle stays open if the flush failed, and then stands for what is in place. */
	if ((!c->closing || flushed) && target_adopt_file(c->target, p->fd, mtime, c->size) && own_file)
		p->fd = -1;
	return flushed;
}

static int replace_publish(struct commit *c)
{
	cleanup_fd int directory = -1;
	struct timespec mtime;
	struct publication p;
	int rc;

	if (c->target->place.dirfd < 0)
		return error_set(-ENOENT, "commit",
				 "the file has no name to commit to: save it with a name of its own");
	rc = check_links(c);
	if (!rc)
		rc = make_file(c, &p);
	if (rc)
		return rc;
	rc = finish_file(c, p.fd, &mtime);
	if (!rc) {
		rc = publish_open_directory(&c->target->place, &directory);
		if (rc)
			error_set(rc, "open the directory of", NULL);
	}
	if (rc)
		publish_abandon(&p);
	else
		rc = publish_file(c, &p, directory, &mtime);
	if (p.fd != c->image->fd)
		sys_close(p.fd);
	return rc;
}

static int replace_probe(const struct target *t, const char **ret_why)
{
	struct private_file_request request = {.dirfd = t->place.dirfd, .linkable = true, .local_only = true};
	struct stat st;
	int fd, rc;

	*ret_why = "the file has no name";
	if (t->place.dirfd < 0)
		return -ENOENT;
	*ret_why = "the directory cannot be written";
	rc = sys_faccessat(t->place.dirfd, ".", W_OK);
	if (rc)
		return rc;
	*ret_why = "the file may not be written";
	if (t->fd >= 0)
		rc = sys_faccessat(t->place.dirfd, t->place.name, W_OK);
	if (rc)
		return rc;
	*ret_why = "the file has several names (hard links)";
	if (t->fd >= 0 && !sys_fstat(t->fd, &st) && st.st_nlink > 1)
		return -EMLINK;
	*ret_why = "no new file can be made in the directory";
	rc = private_file_create(&request, &fd);
	if (!rc)
		sys_close(fd);
	/* Without nameless files a temporary name serves. */
	return rc == -EOPNOTSUPP || rc == -EINVAL ? 0 : rc;
}

const struct strategy strategy_replace = {
	.id = SNAPMAP_STRATEGY_REPLACE,
	.name = "replace",
	.automatic = true,
	.publish = replace_publish,
	.probe = replace_probe,
};
