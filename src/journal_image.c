/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that are never half of a commit by journal.
 *
 * Under a lease nobody has the file open for writing, so no commit is under way: one
 * look at the marker, or at what is known of it, tells whether one was cut off. A private image takes time, in which
 * commits can begin and end. It counts only if the marker before and after it is the
 * same, at rest: the marker says that a commit applies before its first byte is changed,
 * and has another generation after the last one. So an image between two equal looks has
 * no byte of a commit that was not whole before it.
 *
 * If a commit is being applied, it is waited for; if it was cut off, it is finished. Who
 * may not do that, or has waited for long, has the journal's edits made to the private
 * image: whatever part of them was in the file, all of them are in the image then, and
 * the rest of the file is untouched by this commit. That counts if the marker after it
 * tells of the same commit, or of its end.
 *
 * Commits that follow one another closely can come in between time and again. After a
 * few attempts committers are kept away by a lock for reading.
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "journal.h"
#include "sys.h"

#define TRIES 8
#define TRIES_WITHOUT_LOCK 4
#define PATIENCE 500	   /* steps, one second in all, for a commit that goes on */
#define LOCK_PATIENCE 5000 /* ten seconds */

/**
 * struct reader - an image being made
 * @before: the marker before it
 * @redo: what has to be made to it, if @before is applying
 * @locked: no commit can begin
 * @again: it was in vain
 */
struct reader {
	struct source_request *request;
	struct journal_place place;
	struct journal_marker before;
	struct journal_log redo;
	bool locked;
	bool again;
};

/* ---- what was seen before ---- */

/*
 * An open by lease is so cheap that a look at the marker shows: it costs more than the
 * lease. So the files that were seen at rest are remembered, by their ctime, which
 * setting the marker moves; only where no two changes have the same. If the look at the
 * ctime and the lease lie within JOURNAL_GRACE_NS, nobody can have marked the file and
 * changed a byte in between: from the mark to the first byte it takes longer. (Whoever
 * marked it and was killed before is no trouble: the file is whole.) A hash of 64 bits
 * stands for file and ctime.
 */
static _Atomic uint64_t seen[256];

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0xff51afd7ed558ccd;
	return hash ^ hash >> 32;
}

/* 0 if it cannot be told. */
static uint64_t key_of(const struct source_request *r)
{
	uint64_t key;

	if (!r->mount || !fs_has_fine_times(r->fs))
		return 0;
	key = mix(mix(0xcbf29ce484222325, r->mount), r->st->st_ino);
	return mix(mix(key, (uint64_t)r->st->st_ctim.tv_sec), (uint64_t)r->st->st_ctim.tv_nsec);
}

/* ---- before a private image ---- */

static int report(const struct reader *j)
{
	const struct options *o = j->request->options;

	if (o->progress && o->progress(o->progress_arg, 0, (uint64_t)j->request->st->st_size))
		return error_set(-ECANCELED, "open", "the progress function asked to stop");
	return 0;
}

/* The journal may have gone because the commit has ended: then that counts. */
static int find_redo(struct reader *j)
{
	cleanup_fd int dirfd = -1;
	struct journal_marker now;
	int rc = journal_find(&j->place, &j->before, &j->redo, &dirfd);

	if (rc && !journal_marker_get(j->request->fd, &now) && !journal_marker_same(&now, &j->before))
		return -EAGAIN;
	return rc;
}

/* -EAGAIN: somebody is at it. 1: not by us. */
static int try_to_finish(struct reader *j)
{
	int rc = j->locked ? 1 : journal_replay(&j->place, &j->before);

	if (!rc || rc == -EAGAIN || rc == -EUCLEAN || rc == -EBUSY)
		return rc;
	return journal_is_locked(j->request->fd) ? -EAGAIN : 1;
}

static void forget_redo(struct reader *j)
{
	journal_log_close(&j->redo);
	j->request->unsealed = false;
}

/* Nothing is half done, or there is a journal to make it whole. */
static int begin(void *arg)
{
	struct reader *j = (struct reader *)arg;
	int rc = 0;

	forget_redo(j);
	for (int steps = 0; !rc; steps++) {
		rc = journal_look(j->request->fd, &j->before);
		if (rc || !j->before.applying)
			return rc;
		rc = steps < PATIENCE ? try_to_finish(j) : 1;
		if (rc == 1) {
			rc = find_redo(j);
			j->request->unsealed = !rc;
			/* Not even that is allowed: all that is left is to wait. */
			if (rc == -EACCES && steps < LOCK_PATIENCE && journal_is_locked(j->request->fd))
				rc = -EAGAIN;
			if (rc != -EAGAIN)
				return rc;
		}
		if (rc == -EAGAIN) {
			rc = report(j);
			journal_wait();
		}
	}
	return rc;
}

/* ---- after it ---- */

static bool is_redone(const struct reader *j)
{
	return j->redo.fd >= 0;
}

/* A lease was taken, and a commit had been cut off. */
static int leave_lease(struct reader *j, const struct image *image)
{
	struct source_request *r = j->request;
	int rc;

	sys_lease_drop(r->fd);
	r->lease->leave(image->weight);
	j->again = true;
	rc = begin(j);
	if (rc || !is_redone(j))
		return rc;
	if (r->options->source == SNAPMAP_SOURCE_LEASE)
		return error_set(-EBUSY, "lease",
				 "a commit by journal was cut off, and you may not finish it: ask for another source");
	r->lease = NULL;
	return 0;
}

static int accept_leased(struct reader *j, const struct image *image)
{
	uint64_t key = key_of(j->request);
	_Atomic uint64_t *slot = &seen[key % 256];
	int rc;

	if (key && atomic_load_explicit(slot, memory_order_relaxed) == key &&
	    sys_now_ns() - j->request->looked_at < JOURNAL_GRACE_NS)
		return 0;
	rc = journal_look(j->request->fd, &j->before);
	if (rc) {
		sys_lease_drop(j->request->fd);
		j->request->lease->leave(image->weight);
		return rc;
	}
	if (j->before.applying)
		return leave_lease(j, image);
	if (key)
		atomic_store_explicit(slot, key, memory_order_relaxed);
	return 0;
}

static int redo(struct reader *j, struct image *image)
{
	int rc = journal_log_apply(&j->redo, image->fd);

	if (rc)
		return error_set(rc, "make up for a commit that was cut off of",
				 rc == -EUCLEAN ? "the data of its journal are damaged" : NULL);
	image->size = j->redo.edit.size;
	/* Fails where the image is not memory, which needs no seal. */
	if (!j->request->editable)
		sys_seal(image->fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return 0;
}

static int accept_private(struct reader *j, struct image *image)
{
	struct journal_marker after;
	int rc = journal_look(j->request->fd, &after);

	/* Also if the same commit has ended since: the image may have what came after it. */
	if (!rc && !journal_marker_same(&j->before, &after))
		j->again = true;
	else if (!rc && is_redone(j))
		rc = redo(j, image);
	if (rc || j->again)
		close_fd(&image->fd);
	return rc;
}

static int accept(struct reader *j, struct image *image)
{
	if (image->fd != j->request->fd)
		return accept_private(j, image);
	return image->source == SNAPMAP_SOURCE_LEASE ? accept_leased(j, image) : 0;
}

static int hold_off(struct reader *j)
{
	int rc = journal_lock(j->request->fd, false);

	for (int i = 0; rc == -EAGAIN && i < LOCK_PATIENCE; i++) {
		rc = report(j);
		if (rc)
			return rc;
		journal_wait();
		rc = journal_lock(j->request->fd, false);
	}
	j->locked = !rc;
	return 0;
}

int journal_image_open(struct source_request *r, struct image *ret)
{
	struct reader j; /* its largest part is not for the usual case */
	int rc = 0;

	j.request = r;
	j.place = (struct journal_place){.fd = r->fd, .dirfd = r->dirfd, .dir = r->dir};
	j.redo = (struct journal_log)JOURNAL_LOG_NONE;
	j.locked = false;
	r->begin = begin;
	r->begin_arg = &j;
	for (int i = 0; i < TRIES; i++) {
		j.again = false;
		if (i == TRIES_WITHOUT_LOCK)
			rc = hold_off(&j);
		if (!rc)
			rc = image_open(r, ret);
		if (!rc)
			rc = accept(&j, ret);
		if (rc || !j.again)
			break;
	}
	if (!rc && j.again)
		rc = error_set(-EBUSY, "take a snapshot of", "it is committed to by journal all the time");
	forget_redo(&j);
	if (j.locked)
		journal_unlock(r->fd);
	return rc;
}
