/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit: an overlay becomes the file.
 *
 * The order: look whether the file is still the one of the snapshot and may be
 * written; let a strategy publish, which looks again at the last moment; then
 * bring the overlay's image up to what the file is now. A strategy either makes do
 * with the edits, or wants an image with all the new bytes: then the edits are
 * staged in the image before, and that is taken back if the commit fails.
 */
#include "config.h"

#include "commit.h"

#include <errno.h>
#include <unistd.h>

#include "journal.h"
#include "publish.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

static const char changed_advice[] =
	"it was changed, replaced or removed by someone else since the snapshot: look at it, then merge, overwrite "
	"with SNAPMAP_COMMIT_FORCE, or save elsewhere with snapmap_mut_link";

int commit_conflict(struct commit *c)
{
	c->conflict = true;
	return error_set(-EBUSY, "commit", changed_advice);
}

int commit_check_sound(const struct overlay *o)
{
	int error = overlay_error(o);

	if (!error)
		return 0;
	return error_set(
		-EIO, "commit",
		o->error ? "an earlier failure has left no sound snapshot to go on from: save the bytes elsewhere by "
			   "hand, or open the file again"
			 : "an I/O error has turned pages of the handle into zeros: open the file again");
}

int commit_check_unchanged(struct commit *c)
{
	int rc = target_check_unchanged(c->target);

	if (rc == -EBUSY)
		return commit_conflict(c);
	return rc ? error_set(rc, "commit", NULL) : 0;
}

int commit_is_changed(const struct commit *c)
{
	int rc = target_check_unchanged(c->target);

	return rc == -EBUSY ? 1 : rc;
}

/*
 * Zeros of the guard can only have been written if there is an error by now. Stores
 * of others through mappings are written out first: those that come later fault,
 * and change the times.
 */
int commit_check_last(struct commit *c)
{
	const struct target *t = c->target;
	int rc = commit_check_sound(c->overlay);

	if (rc || (c->flags & SNAPMAP_COMMIT_FORCE))
		return rc;
	if (t->fd >= 0 && (t->fs->flags & FS_WRITE_BACK))
		sys_write_out(t->fd);
	return commit_check_unchanged(c);
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

/**
 * struct work - a commit, and the image that is made for it
 * @dirty: the edits, until they are staged
 * @staged: their image
 */
struct work {
	struct commit *commit;
	struct overlay *overlay;
	struct ranges *dirty;
	struct staged staged;
	bool is_staged;
};

static int stage(struct work *w)
{
	struct commit *c = w->commit;
	int rc;

	if (w->is_staged)
		return 0;
	rc = overlay_stage(w->overlay, w->dirty, c->target->place.dirfd, &w->staged);
	if (rc)
		return rc;
	w->is_staged = true;
	c->image = &w->staged.image;
	c->edits = &w->staged.edits;
	return 0;
}

/* Of a file that nobody else writes to the image is the file before the commit. */
static bool needs_image(const struct overlay *o, const struct strategy *s)
{
	return !(overlay_is_exclusive(o) ? s->by_edits || s->edits_if_exclusive
					 : s->by_edits && overlay_can_advance(o));
}

static const char gives_up_lock[] =
	"a handle of the source exclusive keeps to the file that it has locked: where its blocks cannot be exchanged, "
	"commit by journal";

/*
 * To exchange an extent costs as much as to write some hundred KiB, whatever its length;
 * the journal writes all twice, and waits once more. So few or long ones are exchanged.
 */
#define FEW_RANGES 8
#define LONG_RANGE ((uint64_t)128 << 10)

static bool exchange_is_cheaper(const struct ranges *edits)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < edits->n; i++)
		bytes += edits->v[i].length;
	return edits->n <= FEW_RANGES || bytes / edits->n >= LONG_RANGE;
}

static bool is_wanted(const struct strategy *s, uint32_t wanted, const struct commit *c)
{
	switch (wanted) {
	case SNAPMAP_STRATEGY_AUTO:
		return s->automatic;
	case COMMIT_IN_PLACE:
		return s->id == SNAPMAP_STRATEGY_JOURNAL ||
		       (s->id == SNAPMAP_STRATEGY_EXCHANGE && exchange_is_cheaper(c->edits));
	default:
		return s->id == wanted;
	}
}

/* Has the strategy asked for, or the first that works, publish. */
static int publish(struct work *w, uint32_t wanted)
{
	const struct strategy *s, *last = NULL;
	struct commit *c = w->commit;
	int rc = -EOPNOTSUPP;

	for (size_t i = 0; (s = strategy_at(i)); i++) {
		if (!is_wanted(s, wanted, c))
			continue;
		if (last)
			error_tried(last->name, rc, "not here");
		last = s;
		if (overlay_is_exclusive(w->overlay) && !s->keeps_inode) {
			rc = error_set(-EOPNOTSUPP, "replace", gives_up_lock);
			continue;
		}
		rc = needs_image(w->overlay, s) ? stage(w) : 0;
		if (rc)
			return rc;
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

/* The overlay stands for what is in the file now; or if the commit failed, for what it did before. */
static int finish(struct work *w, int rc)
{
	struct commit *c = w->commit;
	struct overlay *o = w->overlay;

	if (c->published && rc && overlay_is_exclusive(o)) {
		overlay_keep(o, w->is_staged ? &w->staged : NULL);
	} else if (c->published && w->is_staged) {
		overlay_settle(o, &w->staged);
	} else if (c->published && !(c->closing && !rc)) {
		overlay_advance(o, w->dirty, c->target->place.dirfd);
	} else if (w->is_staged) {
		overlay_unstage(o, &w->staged);
		if (c->damaged >= 0)
			rc = put_back(o, c->target, c->damaged, rc);
	}
	close_fd(&c->damaged);
	if (rc && c->exposed)
		overlay_detach(o, c->target->place.dirfd, c->exists ? 0 : c->target->mode);
	return rc;
}

/*
 * A commit by journal that was cut off is finished before another one. If it was this
 * handle's own, the file is then the one that the handle stands for.
 */
int commit_settle_journal(struct target *t)
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

/* What others have written shows in a handle of the file itself: there is nothing sound to overwrite it with. */
static uint32_t flags_for(const struct overlay *o, uint32_t flags)
{
	return overlay_is_exclusive(o) ? flags & ~SNAPMAP_COMMIT_FORCE : flags;
}

int commit_run(struct overlay *o, struct target *t, uint32_t asked, uint32_t strategy, bool closing)
{
	uint32_t flags = flags_for(o, asked);
	struct commit c = {.target = t,
			   .overlay = o,
			   .size = o->size,
			   .kept = o->kept,
			   .flags = flags,
			   .closing = closing,
			   .damaged = -1};
	cleanup_fd int other = -1;
	struct ranges dirty = {0};
	struct work work = {.commit = &c, .overlay = o, .dirty = &dirty};
	int rc = commit_check_sound(o);

	if (!rc)
		rc = commit_settle_journal(t);
	if (rc)
		return rc;
	rc = commit_check_unchanged(&c);
	c.changed = rc == -EBUSY;
	if (rc && !(c.changed && (flags & SNAPMAP_COMMIT_FORCE)))
		return rc;
	rc = flags & SNAPMAP_COMMIT_FORCE ? target_find_other(t, &other) : 0;
	if (!rc && other >= 0)
		rc = journal_settle(&(struct journal_place){.fd = other, .dirfd = t->place.dirfd}, NULL);
	c.exists = t->fd >= 0 || other >= 0;
	c.attributes = other >= 0 ? other : t->fd >= 0 ? t->fd : o->image.fd;
	c.edits = &dirty;
	if (!rc)
		rc = overlay_dirty(o, &dirty);
	if (!rc)
		rc = commit_check_sound(o);
	if (!rc && !dirty.n && !overlay_resized(o) && !c.changed && t->fd >= 0)
		return flush_only(t, flags);
	if (!rc)
		rc = target_check_writable(t);
	if (!rc)
		rc = finish(&work, publish(&work, strategy));
	ranges_free(&dirty);
	return rc;
}
