/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file that a handle commits to: whether it is still the same, and what it is after a commit. */
#include "config.h"

#include "target.h"

#include <errno.h>
#include <unistd.h>

#include "sys.h"

void target_close(struct target *t)
{
	place_close(&t->place);
	close_fd(&t->fd);
}

/* A file without a name is looked at by its descriptor. */
int target_check_unchanged(const struct target *t)
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

int target_check_writable(const struct target *t)
{
	int rc = 0;

	if (t->place.dirfd >= 0)
		rc = sys_faccessat(t->place.dirfd, t->place.name, W_OK);
	if (rc == -ENOENT)
		rc = 0;
	return rc ? error_set(rc, "commit", rc == -EACCES ? "you may not write to it; save elsewhere" : NULL) : 0;
}

int target_find_other(struct target *t, int *ret_other)
{
	struct stat st;
	int rc;

	*ret_other = -1;
	if (t->place.dirfd < 0)
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

int target_open_writable(const struct target *t, int file, int flags, int *ret_fd)
{
	struct stat st, wanted;
	int fd, rc;

	fd = t->place.dirfd >= 0
		     ? sys_openat(t->place.dirfd, t->place.name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0)
		     : sys_reopen(file, flags);
	/* Somebody holds a lease that opening breaks: wait for them. */
	if (fd == -EAGAIN)
		fd = sys_reopen(file, flags);
	if (fd < 0)
		return error_set(fd, "open for writing", NULL);
	rc = sys_fstat(fd, &st);
	if (!rc)
		rc = sys_fstat(file, &wanted);
	if (!rc && (st.st_dev != wanted.st_dev || st.st_ino != wanted.st_ino))
		rc = -EBUSY;
	if (rc) {
		sys_close(fd);
		return error_set(rc, "commit", "the name leads to another file by now");
	}
	*ret_fd = fd;
	return 0;
}

/* Written out too, so that from here on each store through a mapping has to fault, and shows. */
void target_adopt_inode(struct target *t, int file, uint64_t size)
{
	/* In the place of the old one, so that there is a descriptor to be had. */
	if (file != t->fd && t->fd >= 0)
		sys_dup_over(file, t->fd);
	else if (file != t->fd)
		t->fd = sys_dup(file);
	if (stamp_take(file, t->fs, true, &t->stamp) || t->stamp.size != size)
		stamp_spoil(&t->stamp);
}

/*
 * A read-only descriptor takes the place of the one that wrote: an open writer
 * would keep others from leasing or executing the file. If somebody has changed
 * the file since it got its name, its mtime is not the one given to it, and the
 * stamp is made one that never matches.
 */
bool target_adopt_file(struct target *t, int fd, const struct timespec *mtime, uint64_t size)
{
	struct stat st, named;
	int read_only;

	/* First, so that there is a descriptor to be had. */
	close_fd(&t->fd);
	if (sys_fstat_fresh(fd, &st))
		st = (struct stat){0};
	stamp_of(&st, &t->stamp);
	if (st.st_mtim.tv_sec != mtime->tv_sec || st.st_mtim.tv_nsec != mtime->tv_nsec || (uint64_t)st.st_size != size)
		stamp_spoil(&t->stamp);
	read_only = sys_openat(t->place.dirfd, t->place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (read_only >= 0 && (sys_fstat(read_only, &named) || named.st_dev != st.st_dev || named.st_ino != st.st_ino))
		close_fd(&read_only);
	if (read_only < 0)
		read_only = sys_reopen(fd, O_RDONLY);
	t->fd = read_only >= 0 ? read_only : fd;
	return read_only < 0;
}
