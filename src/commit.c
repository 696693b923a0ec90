/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit: an overlay becomes the file.
 *
 * The order: look whether the file is still the one of the snapshot and may be
 * written; stage the new bytes in the image; let a strategy make the image the
 * file, which looks again at the last moment; then either settle the overlay on
 * the staged image or take the staging back.
 */
#include "config.h"

#include "commit.h"

#include <errno.h>
#include <unistd.h>

#include "attributes.h"
#include "journal.h"
#include "publish.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

void target_close(struct target *t)
{
	place_close(&t->place);
	close_fd(&t->fd);
}

static const char changed_advice[] =
	"it was changed, replaced or removed by someone else since the snapshot: look at it, then merge, overwrite "
	"with SNAPMAP_COMMIT_FORCE, or save elsewhere with snapmap_mut_link";

/* 0, -EBUSY, or the errno of looking. A file without a name is looked at by its descriptor. */
static int check_unchanged(const struct target *t)
{
	struct stamp now;
	struct stat st;
	int rc = t->place.dirfd >= 0 ? place_stat(&t->place, &st) : sys_fstat_fresh(t->fd, &st);

	if (t->fd < 0)
		return rc == -ENOENT ? 0 : rc ? rc : -EBUSY;
	if (rc)
		return rc == -ENOENT || rc == -ESTALE ? -EBUSY : rc;
	stamp_of(&st, &now);
	return stamp_same(&now, &t->stamp) ? 0 : -EBUSY;
}

int commit_check_unchanged(struct commit *c)
{
	int rc = c->flags & SNAPMAP_COMMIT_FORCE ? 0 : check_unchanged(c->target);

	c->conflict = rc == -EBUSY;
	return rc ? error_set(rc, "commit", rc == -EBUSY ? changed_advice : NULL) : 0;
}

int commit_is_changed(const struct commit *c)
{
	int rc = check_unchanged(c->target);

	return rc == -EBUSY ? 1 : rc;
}

/* Renaming over a file needs no right to it, but editing it should. */
static int check_writable(const struct target *t)
{
	int rc = 0;

	if (t->place.dirfd >= 0)
		rc = sys_faccessat(t->place.dirfd, t->place.name, W_OK);
	if (rc == -ENOENT)
		rc = 0;
	return rc ? error_set(rc, "commit", rc == -EACCES ? "you may not write to it; save elsewhere" : NULL) : 0;
}

/*
 * With FORCE the path may lead elsewhere by now: that is the file to overwrite,
 * and the one whose attributes stay.
 */
static int find_attributes(struct target *t, uint32_t flags, int *ret_other)
{
	struct stat st;
	int rc;

	*ret_other = -1;
	if (!(flags & SNAPMAP_COMMIT_FORCE) || t->place.dirfd < 0)
		return 0;
	rc = place_stat(&t->place, &st);
	if (!rc && t->fd >= 0 && stamp_same_file(&t->stamp, &st))
		return 0;
	if (rc && rc != -ENOENT && rc != -ESTALE)
		return error_set(rc, "look at", NULL);
	rc = place_find_again(&t->place);
	if (rc)
		return error_set(rc, "find", NULL);
	rc = sys_openat(t->place.dirfd, t->place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return error_set(rc, "open what has taken the place of", NULL);
	*ret_other = rc;
	rc = sys_fstat(*ret_other, &st);
	if (!rc && !S_ISREG(st.st_mode))
		rc = S_ISDIR(st.st_mode) ? -EISDIR : -EOPNOTSUPP;
	if (!rc)
		return 0;
	close_fd(ret_other);
	return error_set(rc, "overwrite what has taken the place of", "it is not a regular file");
}

/* Has the strategy asked for, or the first that works, publish. */
static int publish(struct commit *c, uint32_t wanted)
{
	const struct strategy *s, *last = NULL;
	int rc = -EOPNOTSUPP;

	for (size_t i = 0; (s = strategy_at(i)); i++) {
		if (wanted == SNAPMAP_STRATEGY_AUTO ? !s->automatic : s->id != wanted)
			continue;
		if (last)
			error_tried(last->name, rc, "not here");
		last = s;
		rc = s->publish(c);
		if (c->published)
			c->target->strategy = s->id;
		if (c->published || rc != -EOPNOTSUPP)
			return rc;
	}
	if (!last)
		error_set(rc, "commit", "this strategy is not built in; use automatic choice");
	return rc;
}

/* Nothing was stored: only the promise of durability is left to keep. */
static int flush_only(const struct target *t, uint32_t flags)
{
	cleanup_fd int directory = -1;
	int rc;

	if (flags & SNAPMAP_COMMIT_NOSYNC)
		return 0;
	rc = sys_fsync(t->fd);
	if (!rc && t->place.dirfd >= 0)
		rc = publish_open_directory(&t->place, &directory);
	if (!rc && t->place.dirfd >= 0)
		rc = publish_flush(directory, t->fd);
	return rc ? error_set(rc, "flush", NULL) : 0;
}

/* What a strategy has spoilt in the file is still in the image, once that is unstaged. */
static int put_back(const struct overlay *o, struct target *t, int fd, int error)
{
	int rc = o->debt.fd >= 0 ? -EIO : sys_ftruncate(fd, o->image.size);

	if (!rc && o->image.size)
		rc = sys_clone(o->image.fd, fd);
	if (rc)
		return error_set(-EIO, "commit", "and its old content could not be put back: save the bytes elsewhere");
	/* The same bytes, at another time. */
	if (stamp_take(t->fd, t->fs, true, &t->stamp))
		stamp_spoil(&t->stamp);
	return error;
}

/* Bytes that others may have changed, or that could not be read, must not become the file. */
static int check_sound(const struct overlay *o)
{
	int error = overlay_error(o);

	if (!error)
		return 0;
	return error_set(-EIO, "commit",
			 o->error ? "an earlier failure has left the snapshot open to changes by others"
				  : "an I/O error has turned pages of the handle into zeros: open the file again");
}

static int stage_and_publish(struct overlay *o, struct commit *c, struct ranges *dirty, uint32_t strategy)
{
	struct target *t = c->target;
	struct staged staged;
	int rc = overlay_stage(o, dirty, t->place.dirfd, &staged);

	if (rc)
		return rc;
	c->image = &staged.image;
	c->dirty = &staged.dirty;
	c->kept = o->kept;
	/* Zeros of the guard can only have been staged if there is an error now. */
	rc = check_sound(o);
	if (!rc)
		rc = publish(c, strategy);
	if (c->published) {
		overlay_settle(o, &staged);
	} else {
		overlay_unstage(o, &staged);
		if (c->damaged >= 0)
			rc = put_back(o, t, c->damaged, rc);
		close_fd(&c->damaged);
	}
	if (rc && c->exposed)
		overlay_detach(o, t->place.dirfd, c->exists ? 0 : t->mode);
	return rc;
}

/*
 * A commit by journal that was cut off is finished before another one. If it was this
 * handle's own, the file is then the one that the handle stands for.
 */
static int settle_journal(struct target *t)
{
	struct journal_marker finished = {0};
	int rc = 0;

	if (t->fd >= 0)
		rc = journal_settle(&(struct journal_place){.fd = t->fd, .dirfd = t->place.dirfd}, &finished);
	if (!rc && t->unfinished.applying && journal_marker_same(&finished, &t->unfinished)) {
		rc = stamp_take(t->fd, t->fs, true, &t->stamp);
		t->unfinished.applying = false;
	}
	return rc;
}

int commit_run(struct overlay *o, struct target *t, uint32_t flags, uint32_t strategy, bool closing)
{
	struct commit c = {.target = t, .flags = flags, .closing = closing, .exists = t->fd >= 0, .damaged = -1};
	cleanup_fd int other = -1;
	struct ranges dirty = {0};
	bool changed;
	int rc = check_sound(o);

	if (!rc)
		rc = settle_journal(t);
	if (rc)
		return rc;
	rc = check_unchanged(t);
	changed = rc == -EBUSY;
	if (rc && !(changed && (flags & SNAPMAP_COMMIT_FORCE)))
		return error_set(rc, "commit", changed ? changed_advice : NULL);
	rc = find_attributes(t, flags, &other);
	if (!rc && other >= 0)
		rc = journal_settle(&(struct journal_place){.fd = other, .dirfd = t->place.dirfd}, NULL);
	c.exists = c.exists || other >= 0;
	c.attributes = other >= 0 ? other : t->fd >= 0 ? t->fd : o->image.fd;
	if (!rc)
		rc = overlay_dirty(o, &dirty);
	if (!rc)
		rc = check_sound(o);
	if (!rc && !dirty.n && !overlay_resized(o) && !changed && t->fd >= 0)
		return flush_only(t, flags);
	if (!rc)
		rc = check_writable(t);
	if (!rc)
		rc = stage_and_publish(o, &c, &dirty, strategy);
	ranges_free(&dirty);
	return rc;
}

/*
 * A read-only descriptor takes the place of the one that wrote: an open writer
 * would keep others from leasing or executing the file. If somebody has changed
 * the file since it got its name, its mtime is not the one given to it, and the
 * stamp is made one that never matches.
 */
bool commit_adopt(struct commit *c, int fd, const struct timespec *mtime)
{
	struct target *t = c->target;
	struct stat st, named;
	int read_only;

	/* First, so that there is a descriptor to be had. */
	close_fd(&t->fd);
	if (sys_fstat_fresh(fd, &st))
		st = (struct stat){0};
	stamp_of(&st, &t->stamp);
	if (st.st_mtim.tv_sec != mtime->tv_sec || st.st_mtim.tv_nsec != mtime->tv_nsec ||
	    (uint64_t)st.st_size != c->image->size)
		stamp_spoil(&t->stamp);
	read_only = sys_openat(t->place.dirfd, t->place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (read_only >= 0 && (sys_fstat(read_only, &named) || named.st_dev != st.st_dev || named.st_ino != st.st_ino))
		close_fd(&read_only);
	if (read_only < 0)
		read_only = sys_reopen(fd, O_RDONLY);
	t->fd = read_only >= 0 ? read_only : fd;
	return read_only < 0;
}

/* ---- another name ---- */

static int link_check(void *arg)
{
	(void)arg;
	return 0;
}

/* Where nameless files cannot get a name, a file that has one from the start takes over. */
static int make_linkable(const struct image *image, const struct place *place, struct publication *ret)
{
	struct sparse_copy copy = {.from = image->fd, .seekable = true, .zeros_are_holes = true};
	struct publication p = {.place = place, .fd = image->fd};
	uint64_t size, written;
	int rc;

	if (!image->linkable) {
		rc = publish_create(place, 0600, &p);
		if (rc)
			return rc;
		copy.to = p.fd;
		rc = sparse_copy_file(&copy, image->size, &size, &written);
		if (rc) {
			publish_abandon(&p);
			sys_close(p.fd);
			return rc;
		}
	}
	*ret = p;
	return 0;
}

/* Attributes, durability, name: in the order of a commit by replace. */
static int publish_elsewhere(struct publication *p, int attributes, uint32_t flags)
{
	cleanup_fd int directory = -1;
	struct timespec mtime;
	int rc = attributes_carry(attributes, p->fd, true);

	if (rc)
		return rc;
	sys_now(&mtime);
	rc = sys_set_mtime(p->fd, &mtime);
	if (!rc)
		rc = sys_fsync(p->fd);
	if (!rc)
		rc = publish_open_directory(p->place, &directory);
	if (!rc)
		rc = flags & SNAPMAP_COMMIT_FORCE ? publish_over(p, link_check, NULL) : publish_new(p);
	if (rc)
		return error_set(rc, "save as", NULL);
	if (!(flags & SNAPMAP_COMMIT_NOSYNC) && publish_flush(directory, p->fd))
		return error_set(-EIO, "flush the directory of", "the file is there but may not survive a power cut");
	return 0;
}

/* A new file with the present bytes, made and named in the other place. */
static int link_into(struct overlay *o, const struct target *t, const struct place *place, uint32_t flags)
{
	struct ranges dirty = {0};
	struct publication p;
	struct image image;
	int rc = overlay_dirty(o, &dirty);

	if (!rc)
		rc = overlay_flatten(o, &dirty, place->dirfd, t->fd < 0 ? t->mode : 0, &image);
	ranges_free(&dirty);
	if (rc)
		return rc;
	rc = check_sound(o);
	if (!rc) {
		rc = make_linkable(&image, place, &p);
		if (rc)
			error_set(rc, "save as", NULL);
	}
	if (!rc) {
		rc = publish_elsewhere(&p, t->fd >= 0 ? t->fd : o->image.fd, flags);
		publish_abandon(&p);
		if (p.fd != image.fd)
			sys_close(p.fd);
	}
	sys_close(image.fd);
	return rc;
}

/* What is there already: the same rules as for a commit. */
static int check_overwrite(const struct place *place, const struct stat *st, uint32_t flags)
{
	int rc = 0;

	if (S_ISDIR(st->st_mode))
		return error_set(-EISDIR, "save as", NULL);
	if (!(flags & SNAPMAP_COMMIT_FORCE))
		return error_set(-EEXIST, "save as",
				 "choose a name that does not exist, or overwrite with SNAPMAP_COMMIT_FORCE");
	if (!S_ISREG(st->st_mode))
		return error_set(-EOPNOTSUPP, "overwrite", "it is not a regular file");
	if (st->st_nlink > 1 && !(flags & SNAPMAP_COMMIT_BREAK_LINKS))
		return error_set(
			-EMLINK, "overwrite",
			"it has several names (hard links); allow with SNAPMAP_COMMIT_BREAK_LINKS to split them");
	rc = sys_faccessat(place->dirfd, place->name, W_OK);
	return rc ? error_set(rc, "overwrite", NULL) : 0;
}

/* A link is followed only to overwrite a file: what it names is no name that does not exist. */
int commit_link(struct overlay *o, const struct target *t, const char *path, uint32_t flags)
{
	struct place place;
	struct stat st;
	int rc = check_sound(o);

	if (rc)
		return rc;
	rc = place_find(path, flags & SNAPMAP_COMMIT_FORCE, &place);
	if (rc)
		return error_set(rc == -ELOOP && !(flags & SNAPMAP_COMMIT_FORCE) ? -EEXIST : rc, "save as", NULL);
	rc = place_stat(&place, &st);
	if (!rc)
		rc = check_overwrite(&place, &st, flags);
	else if (rc == -ENOENT)
		rc = 0;
	else
		error_set(rc, "look at", NULL);
	if (!rc)
		rc = link_into(o, t, &place, flags);
	place_close(&place);
	return rc;
}
