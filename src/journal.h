/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commits by journal: who may do what when.
 *
 *   journal_marker.c    the attribute that tells of a commit under way
 *   journal_log.c       the journal itself
 *   journal.c           the lock, and finishing what was cut off
 *   journal_image.c     images that are never half of a commit
 *   strategy_journal.c  making one; its first comment says why all of this is right
 */
#ifndef SNAPMAP_JOURNAL_H
#define SNAPMAP_JOURNAL_H

#include "backends/backend.h"
#include "journal_log.h"
#include "journal_marker.h"

/**
 * struct journal_place - a file, and where its journal is looked for first
 * @fd: the file, open for reading
 * @dirfd: directory of the file, or -1
 * @dir: its path, used if @dirfd is -1; may be NULL
 */
struct journal_place {
	int fd;
	int dirfd;
	const char *dir;
};

/* The marker. Sets the error sentence. */
int journal_look(int fd, struct journal_marker *ret);
/* Whether this file can be committed to by journal: 0, or an errno and why. Quiet. */
int journal_works(int fd, int dirfd, const char **ret_why);
/*
 * The lock of all who write: @fd is open for writing. -EAGAIN: somebody else has it.
 * Quiet. One for reading (@exclusive false) keeps them away.
 */
int journal_lock(int fd, bool exclusive);
void journal_unlock(int fd);
bool journal_is_locked(int fd);
/*
 * For whoever is about to write into the file, @fd: waits for the lock, and makes sure
 * that no commit by journal is under way. -EBUSY after some time, or if one was cut off
 * just now. Sets the error sentence. Unlock afterwards, also after a failure.
 */
int journal_lock_at_rest(int fd, const char *what, struct journal_marker *ret);
/* A bit of that time. */
void journal_wait(void);
/*
 * Between the marker and the first byte that is changed this time passes, at least:
 * whoever saw the file at rest, and had a lease on it before that, needs no other look.
 */
#define JOURNAL_GRACE_NS ((uint64_t)100000)
void journal_grace(uint64_t since);
/* Opens and reads the journal. Sets the error sentence. Its directory to be closed, too. */
int journal_find(const struct journal_place *place, const struct journal_marker *marker, struct journal_log *ret,
		 int *ret_dirfd);
/* Under the lock: all bytes are in place and flushed; says so, and flushes that. Quiet. */
int journal_end(int fd, struct journal_marker *marker);
/*
 * Finishes the commit that the marker tells of, if nobody is at it. -EAGAIN, quiet:
 * somebody is. 0: done, or the marker is another one by now: look again.
 */
int journal_replay(const struct journal_place *place, const struct journal_marker *marker);
/*
 * For those who want to write: no commit is under way afterwards, which may take some
 * waiting. @ret, if not NULL, gets the marker of one that was finished by this call.
 * Sets the error sentence.
 */
int journal_settle(const struct journal_place *place, struct journal_marker *ret);
/* Quiet. Removes the journal of a commit to this file that was cut off before it began. */
void journal_clean_up(const struct journal_place *place, const struct stat *st);

/* image_open(), but no half of a commit by journal is ever in the image. */
int journal_image_open(struct source_request *request, struct image *ret);

#endif
