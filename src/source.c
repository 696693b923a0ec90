/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening the file that a snapshot is to be taken of.
 *
 * Opening must not hang (a FIFO, a device), so the file is opened without blocking,
 * and its type is looked at before anything is done with it. Where links are
 * followed, to places that others may have chosen, the type is looked at first as
 * well, so that no device is opened through one. What is made up while it is being
 * read (/proc, /sys) has no bytes to take a snapshot of, and is refused.
 */
#include "config.h"

#include <errno.h>

#include "handle.h"
#include "overlay.h"
#include "sys.h"

static int check_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFLNK:
		return 0;
	case S_IFDIR:
		return error_set(-EISDIR, "open", "a snapshot is taken of a file, not of a directory");
	default:
		return error_set(-EOPNOTSUPP, "open", "it is a device, FIFO or socket, and not a regular file");
	}
}

/* How long a file may be looked at as one that is just being cut. */
#define TRIES 30
#define PAUSE_NS 1000000

static bool has_a_size(const struct source *s)
{
	char byte;

	return s->st.st_size || (s->fs->flags & FS_LOCAL) || sys_pread(s->fd, &byte, 1, 0) <= 0;
}

/*
 * A size of 0 that nevertheless can be read from is not a size, unless somebody just cuts it
 * and writes it anew. A server may have cut the file long before the kernel hears of it, and
 * until then reads find what the page cache has: so a cut under way is waited for.
 */
static int check_content(struct source *s)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < TRIES && !(s->fs->flags & FS_PSEUDO); i++) {
		if (has_a_size(s))
			return 0;
		sys_wait_for_writers(s->fd, 0, SYS_WAIT_BY_HOLES, s->own_offset);
		sys_sleep(&(struct timespec){.tv_nsec = PAUSE_NS});
		rc = sys_fstat_fresh(s->fd, &s->st);
	}
	if (rc)
		return error_set(rc, "stat", NULL);
	return error_set(-EOPNOTSUPP, "take a snapshot of",
			 "its content is made up while it is read, and has no fixed size: read it instead");
}

static int look(struct source *s)
{
	int rc;

	s->looked_at = sys_now_ns();
	rc = sys_fstat_mount(s->fd, &s->st, &s->mount, &s->verity);

	if (rc)
		return error_set(rc, "stat", NULL);
	rc = check_type(s->st.st_mode);
	if (rc)
		return rc;
	s->fs = fs_traits_of_mount(s->fd, s->mount);
	return check_content(s);
}

/* Like a first open: O_NONBLOCK is also how a leased description is told from others (lease_fd). */
static int reopen(int fd)
{
	int own = sys_reopen(fd, O_RDONLY | O_NOCTTY);

	if (own >= 0)
		sys_set_nonblock(own);
	return own;
}

/* Somebody holds a lease that opening breaks: wait for them, but only on a regular file. */
static int open_waiting(int dirfd, const char *path, int flags)
{
	cleanup_fd int fd = sys_openat(dirfd, path, O_PATH | (flags & O_NOFOLLOW), 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (sys_fstat(fd, &st) || !S_ISREG(st.st_mode))
		return -EAGAIN;
	return reopen(fd);
}

static int open_quietly(int dirfd, const char *path, int flags)
{
	int fd = sys_openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | flags, 0);

	return fd == -EAGAIN ? open_waiting(dirfd, path, flags) : fd;
}

/* A failure, which a later use of the count reports, only makes forks look more recent. */
static unsigned count_forks(void)
{
	unsigned n = 0;

	fork_generation(&n);
	return n;
}

/* Takes over the descriptor. */
static int look_at(int fd, unsigned forks, struct source *ret)
{
	struct source s = {.fd = fd, .own_offset = true, .generation = forks};
	int rc = look(&s);

	if (rc) {
		sys_close(s.fd);
		return rc;
	}
	*ret = s;
	return 0;
}

static int open_at(int dirfd, const char *path, int flags, struct source *ret)
{
	unsigned forks = count_forks();
	int fd = open_quietly(dirfd, path, flags);

	return fd < 0 ? error_set(fd, "open", NULL) : look_at(fd, forks, ret);
}

int source_open(const char *path, bool follow, struct source *ret)
{
	struct stat st;
	int rc = sys_fstatat(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, &st);

	if (rc)
		return error_set(rc, "open", NULL);
	rc = check_type(st.st_mode);
	return rc ? rc : open_at(AT_FDCWD, path, follow ? 0 : O_NOFOLLOW, ret);
}

/* What cannot be opened is looked at, for a better sentence. */
int source_open_directly(const char *path, struct source *ret)
{
	unsigned forks = count_forks();
	int fd = open_quietly(AT_FDCWD, path, O_NOFOLLOW);

	if (fd == -ELOOP)
		return fd;
	return fd < 0 ? source_open(path, false, ret) : look_at(fd, forks, ret);
}

int source_open_place(const struct place *place, struct source *ret)
{
	struct stat st;
	int rc = sys_fstatat(place->dirfd, place->name, AT_SYMLINK_NOFOLLOW, &st);

	if (rc)
		return error_set(rc, "open", NULL);
	rc = check_type(st.st_mode);
	return rc ? rc : open_at(place->dirfd, place->name, O_NOFOLLOW, ret);
}

int source_open_beneath(int dirfd, const char *path, bool cross, struct source *ret)
{
	unsigned forks = count_forks();
	int fd = sys_open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, cross);

	return fd < 0 ? error_set(fd, "open", NULL) : look_at(fd, forks, ret);
}

static bool is_same(int fd, const struct stat *st)
{
	struct stat now;

	return !sys_fstat(fd, &now) && now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

/*
 * Opens the file anew, for an offset and leases of our own. Where that is not
 * allowed, or there is no /proc, a duplicate serves.
 */
int source_open_fd(int fd, struct source *ret)
{
	struct source s = {.own_offset = true, .generation = count_forks()};
	struct stat st;
	int flags = sys_fd_flags(fd), rc;

	if (flags < 0)
		return error_set(flags, "use", NULL);
	rc = sys_fstat(fd, &st);
	if (rc)
		return error_set(rc, "stat", NULL);
	rc = check_type(st.st_mode);
	if (rc)
		return rc;
	if (!(flags & O_PATH) && (flags & O_ACCMODE) == O_WRONLY)
		return error_set(-EBADF, "use", "it must be open for reading");
	s.fd = reopen(fd);
	if (s.fd >= 0 && !is_same(s.fd, &st))
		close_fd(&s.fd);
	if (s.fd < 0 && !(flags & O_PATH) && s.fd != -EMFILE && s.fd != -ENFILE) {
		s.own_offset = false;
		s.fd = sys_dup(fd);
	}
	if (s.fd < 0)
		return error_set(s.fd, "open", NULL);
	rc = look(&s);
	if (rc) {
		sys_close(s.fd);
		return rc;
	}
	*ret = s;
	return 0;
}

void source_close(struct source *s)
{
	close_fd(&s->fd);
}
