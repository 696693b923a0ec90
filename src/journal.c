/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commits by journal: the lock of those who write, and finishing what was cut off.
 *
 * The lock is one of an open file description, on a byte far behind any end of a file.
 * It belongs to the inode, whatever its names are, and ends with the process. Being
 * exclusive it needs the right to write, so nobody who may only read can pass for a
 * committer; and flock(2), which scripts put around commands, does not meet it.
 */
#include "config.h"

#include "attributes.h"
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sys.h"

#define LOCK_AT ((uint64_t)INT64_MAX - 1)
#define WAIT_STEP_NS 2000000
#define WAIT_STEPS 5000 /* ten seconds in all */

int journal_lock(int fd, bool exclusive)
{
	return sys_byte_lock(fd, LOCK_AT, exclusive);
}

void journal_unlock(int fd)
{
	sys_byte_unlock(fd, LOCK_AT);
}

bool journal_is_locked(int fd)
{
	return sys_byte_is_locked(fd, LOCK_AT);
}

void journal_wait(void)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_NS};

	sys_sleep(&step);
}

void journal_grace(uint64_t since)
{
	uint64_t passed = sys_now_ns() - since;
	struct timespec rest = {.tv_nsec = (long)(JOURNAL_GRACE_NS - passed)};

	if (passed < JOURNAL_GRACE_NS)
		sys_sleep(&rest);
}

static const char does_not_end[] = "another commit of it by journal does not end: try again later";

int journal_look(int fd, struct journal_marker *ret)
{
	int rc = journal_marker_get(fd, ret);

	if (rc == -EUCLEAN)
		return error_set(rc, "use",
				 "its attribute " JOURNAL_ATTRIBUTE " was not made by this version of the "
				 "library: use a newer one, or remove the attribute");
	return rc ? error_set(rc, "look for a journal of", NULL) : 0;
}

static int lock_waiting(int fd, const char *what)
{
	int rc = journal_lock(fd, true);

	for (int i = 0; rc == -EAGAIN && i < WAIT_STEPS; i++) {
		journal_wait();
		rc = journal_lock(fd, true);
	}
	if (rc == -EAGAIN)
		return error_set(-EBUSY, what, does_not_end);
	return rc ? error_set(rc, what, "its file system has no locks (fcntl(2), F_OFD_SETLK)") : 0;
}

int journal_lock_at_rest(int fd, const char *what, struct journal_marker *ret)
{
	struct journal_marker m;
	int rc = lock_waiting(fd, what);

	if (!rc)
		rc = journal_look(fd, &m);
	/* The lock is ours, so nobody is at it. */
	if (!rc && m.applying)
		rc = error_set(-EBUSY, what, "another commit of it was cut off just now: try again");
	if (!rc && ret)
		*ret = m;
	return rc;
}

int journal_works(int fd, int dirfd, const char **ret_why)
{
	struct stat st, dir;
	ssize_t n;
	int rc = sys_fstat(fd, &st);

	*ret_why = "the file has no name, so there is no place for a journal";
	if (dirfd < 0)
		return -ENOENT;
	if (!rc)
		rc = sys_fstat(dirfd, &dir);
	if (rc)
		return rc;
	*ret_why = "changes of network and FUSE file systems are not all seen, so a journal is only for local ones";
	if (!(fs_traits_of(fd)->flags & FS_LOCAL))
		return -EOPNOTSUPP;
	*ret_why = "the file is on another file system than its directory";
	if (st.st_dev != dir.st_dev)
		return -EOPNOTSUPP;
	*ret_why = "the file system has no extended attributes of users (user.*)";
	n = sys_xattr_get(fd, JOURNAL_ATTRIBUTE, NULL, 0);
	if (n == -EACCES)
		*ret_why = "the file may not be read";
	return n == -EOPNOTSUPP || n == -EPERM ? -EOPNOTSUPP : n == -EACCES ? (int)n : 0;
}

/* ---- finding a journal ---- */

/* What is wrong with the journal, for people; and what they can do about it. */
static int refuse(int error, const struct journal_marker *m, const char *why)
{
	char name[JOURNAL_NAME_SIZE], advice[900];

	journal_name(m->number, name);
	snprintf(advice, sizeof(advice),
		 "its journal is %s in %s: %s; bring back the right one, or take the content as it is, perhaps half "
		 "of the edit, by removing the attribute " JOURNAL_ATTRIBUTE,
		 name, m->directory[0] ? m->directory : "its directory", why);
	return error_set(error, "finish a commit that was cut off of", advice);
}

/* Whoever may not write to the file has no business with its journal. */
static const char *check_journal(const struct stat *st, const struct stat *file)
{
	if (!S_ISREG(st->st_mode))
		return "that is not a regular file";
	if (st->st_nlink != 1)
		return "that has other names too (hard links)";
	if (st->st_dev != file->st_dev)
		return "that is on another file system";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to that";
	if (st->st_uid != 0 && st->st_uid != sys_geteuid() && st->st_uid != file->st_uid &&
	    !(file->st_mode & (S_IWGRP | S_IWOTH)))
		return "that belongs to somebody who may not write to the file";
	return NULL;
}

/* Looked at before it is opened, for a device or FIFO may not like that. */
static int open_in(int dirfd, const char *name, const struct stat *file, int *ret_fd, const char **ret_why)
{
	struct stat st;
	int fd, rc = sys_fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW, &st);

	if (rc)
		return rc;
	*ret_why = check_journal(&st, file);
	if (*ret_why)
		return -EUCLEAN;
	fd = sys_openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	rc = sys_fstat(fd, &st);
	*ret_why = rc ? NULL : check_journal(&st, file);
	if (!rc && *ret_why)
		rc = -EUCLEAN;
	if (rc)
		sys_close(fd);
	else
		*ret_fd = fd;
	return rc;
}

static int open_directory(const char *path)
{
	return sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
}

/* Where the file is now, and where it was when the journal was made. */
static int open_at(const struct journal_place *place, const struct journal_marker *m, unsigned i)
{
	switch (i) {
	case 0:
		if (place->dirfd >= 0)
			return sys_dup(place->dirfd);
		return place->dir && place->dir[0] ? open_directory(place->dir) : -ENOENT;
	default:
		return m->directory[0] ? open_directory(m->directory) : -ENOENT;
	}
}

static int read_in(int dirfd, const struct journal_marker *m, const struct stat *file, struct journal_log *ret,
		   const char **ret_why)
{
	struct journal_log log = JOURNAL_LOG_NONE;
	char name[JOURNAL_NAME_SIZE];
	int fd, rc;

	journal_name(m->number, name);
	rc = open_in(dirfd, name, file, &fd, ret_why);
	if (rc)
		return rc;
	rc = journal_log_read(fd, m->digest, &log, ret_why);
	if (rc) {
		sys_close(fd);
		return rc;
	}
	if (log.edit.inode != m->inode || log.edit.generation != m->generation) {
		journal_log_close(&log);
		*ret_why = "that belongs to another commit";
		return -EUCLEAN;
	}
	*ret = log;
	return 0;
}

int journal_find(const struct journal_place *place, const struct journal_marker *m, struct journal_log *ret,
		 int *ret_dirfd)
{
	const char *why = "that is not there", *first_why = why;
	struct stat file;
	int first = -ENOENT, rc = sys_fstat(place->fd, &file);

	if (rc)
		return error_set(rc, "stat", NULL);
	if (m->inode != file.st_ino)
		return refuse(-EUCLEAN, m, "this is a copy of the file that it belongs to");
	for (unsigned i = 0; i < 2; i++) {
		cleanup_fd int dirfd = open_at(place, m, i);

		rc = dirfd < 0 ? -ENOENT : read_in(dirfd, m, &file, ret, &why);
		if (!rc) {
			*ret_dirfd = steal_fd(&dirfd);
			return 0;
		}
		if (first == -ENOENT) {
			first = rc;
			first_why = rc == -EUCLEAN ? why : rc == -ENOENT ? first_why : error_text(rc);
		}
	}
	return refuse(first == -ENOENT || first == -ELOOP ? -EUCLEAN : first, m, first_why);
}

/* ---- finishing ---- */

int journal_end(int fd, struct journal_marker *m)
{
	int rc;

	m->applying = false;
	m->generation++;
	rc = journal_marker_set(fd, m);
	return rc ? rc : sys_fsync(fd);
}

/* All of it is looked at before anything is touched. */
static int apply(const struct journal_log *log, int fd, struct journal_marker *m)
{
	uint64_t start = sys_now_ns();
	int rc = journal_log_check(log);

	journal_grace(start);
	if (!rc)
		rc = journal_log_apply(log, fd);
	if (rc == -EUCLEAN)
		return refuse(rc, m, "its data are damaged");
	if (!rc)
		rc = sys_fsync(fd);
	if (!rc)
		rc = journal_end(fd, m);
	return rc ? error_set(rc, "finish a commit that was cut off of", NULL) : 0;
}

/* Under the lock. Only once it cannot be needed any more the journal goes. */
static int replay(const struct journal_place *place, int fd, struct journal_marker *m)
{
	struct journal_log log = JOURNAL_LOG_NONE;
	char name[JOURNAL_NAME_SIZE];
	cleanup_fd int dirfd = -1;
	int rc = journal_find(place, m, &log, &dirfd);

	if (rc)
		return rc;
	journal_name(m->number, name);
	/* Who made the journal could not have written to it and left that. */
	if (attributes_are_lost_by_writing(place->fd))
		rc = refuse(-EUCLEAN, m, "the file has a set-user-ID or set-group-ID bit or capabilities");
	else
		rc = apply(&log, fd, m);
	if (!rc)
		sys_unlink(dirfd, name);
	journal_log_close(&log);
	return rc;
}

static int replay_in_turn(const struct journal_place *place, int fd, const struct journal_marker *m)
{
	struct journal_marker now;
	int rc = journal_look(fd, &now);

	/* Somebody was quicker. */
	if (rc || !journal_marker_same(&now, m))
		return rc;
	return replay(place, fd, &now);
}

int journal_replay(const struct journal_place *place, const struct journal_marker *m)
{
	int fd, rc;

	if (!(fs_traits_of(place->fd)->flags & FS_LOCAL))
		return error_set(-EBUSY, "use",
				 "a commit by journal has not ended: open it where its file system is local");
	if (journal_is_locked(place->fd))
		return -EAGAIN;
	fd = sys_reopen(place->fd, O_WRONLY | O_NONBLOCK | O_NOCTTY);
	/* Somebody's lease is in the way, and on its way out by now. */
	if (fd == -EAGAIN)
		return fd;
	if (fd < 0)
		return error_set(fd, "finish a commit that was cut off of", "you may not write to it");
	rc = journal_lock(fd, true);
	if (!rc) {
		rc = replay_in_turn(place, fd, m);
		journal_unlock(fd);
	} else if (rc != -EAGAIN) {
		error_set(rc, "finish a commit that was cut off of", NULL);
	}
	sys_close(fd);
	return rc;
}

int journal_settle(const struct journal_place *place, struct journal_marker *ret)
{
	struct journal_marker m;
	int rc = -EAGAIN;

	for (int i = 0; i < WAIT_STEPS; i++) {
		rc = journal_look(place->fd, &m);
		if (rc || !m.applying)
			return rc;
		rc = journal_replay(place, &m);
		if (rc && rc != -EAGAIN)
			return rc;
		if (rc)
			journal_wait();
		else if (ret)
			*ret = m;
	}
	return error_set(-EBUSY, "commit", does_not_end);
}

/*
 * A journal that the marker does not tell of was cut off before the commit began. Its
 * name says which inode it was made for; that nobody is making it just now is known by
 * the lock.
 */
void journal_clean_up(const struct journal_place *place, const struct stat *st)
{
	char name[JOURNAL_NAME_SIZE];
	struct journal_marker m;
	struct stat found;
	ssize_t n;
	int fd;

	journal_name(st->st_ino, name);
	/* A file that is mounted by itself lies on another file system than the directory. */
	if (sys_fstatat(place->dirfd, name, AT_SYMLINK_NOFOLLOW, &found) || found.st_dev != st->st_dev)
		return;
	fd = sys_reopen(place->fd, O_WRONLY | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && !journal_lock(fd, true)) {
		/* That there is no marker must be certain. */
		n = sys_xattr_get(fd, JOURNAL_ATTRIBUTE, NULL, 0);
		if ((n >= 0 || n == -ENODATA) && !journal_marker_get(fd, &m) && !m.applying)
			sys_unlink(place->dirfd, name);
		journal_unlock(fd);
	}
	close_fd(&fd);
}
