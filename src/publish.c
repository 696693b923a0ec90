/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Giving a finished file its name.
 *
 * The kernel renames only what has a name, so a file that is to replace another
 * needs a temporary one. It is made from the hash of the final name, which makes
 * it three things at once:
 *  - short: it fits whatever the length of the final name;
 *  - a lock: of all who publish to one name through this library one at a time has
 *    it, from before the last check until the rename, so none overwrites what
 *    another just published;
 *  - findable: a publisher that was killed leaves it behind, and the next one
 *    knows it. A living publisher holds a flock on the file, which ends with the
 *    process; a temporary name whose file can be locked is therefore left over.
 * Who finds a name taken by something that cannot be judged (not a file, not
 * readable, another user's, on a file system without flock) tries the next of a
 * few, and then a random one. Such publishers do not wait for each other; the check
 * before the rename is all they have.
 *
 * Somebody who does not use this library can still come between that check and the
 * rename. Therefore the two files change names (RENAME_EXCHANGE) where that is
 * possible: what has been replaced then has the temporary name and can be looked at
 * before it goes. If it is not what was checked, they change names again. While it
 * has the temporary name it is locked, for it is not left over.
 */
#include "config.h"

#include "publish.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base.h"
#include "sys.h"

#define SLOTS 8
#define WAIT_STEP_NS 2000000
#define WAIT_STEPS 5000 /* ten seconds in all */

/* FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
static uint64_t hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return h;
}

static void slot_name(const struct place *place, int slot, char *ret)
{
	snprintf(ret, SLOT_SIZE, ".snapmap-%016llx.%c", (unsigned long long)hash(place->name), '0' + slot);
}

enum verdict {
	SLOT_FREE,
	SLOT_LIVE,
	SLOT_FOREIGN
};

/* 0 if the name leads to the file, -EBUSY if not, or the errno of looking. */
static int check_named(int fd, int dirfd, const char *name)
{
	struct stat st, named;
	int rc = sys_fstat(fd, &st);

	if (!rc)
		rc = sys_fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW, &named);
	if (rc)
		return rc == -ENOENT ? -EBUSY : rc;
	return st.st_dev == named.st_dev && st.st_ino == named.st_ino ? 0 : -EBUSY;
}

/*
 * Looks at a temporary name that exists, and removes it if its publisher is gone.
 * Nobody else can remove it while we hold the lock, so it is not a new one that is
 * removed here.
 */
static enum verdict judge(int dirfd, const char *slot)
{
	cleanup_fd int fd = sys_openat(dirfd, slot, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	int rc;

	if (fd == -ENOENT)
		return SLOT_FREE;
	if (fd < 0 || sys_fstat(fd, &st) || !S_ISREG(st.st_mode))
		return SLOT_FOREIGN;
	rc = sys_flock(fd, LOCK_EX | LOCK_NB);
	if (rc)
		return rc == -EWOULDBLOCK ? SLOT_LIVE : SLOT_FOREIGN;
	if (check_named(fd, dirfd, slot))
		return SLOT_FREE;
	return sys_unlink(dirfd, slot) ? SLOT_FOREIGN : SLOT_FREE;
}

/* A name that nobody can have foreseen, for when all others are taken by strangers. Never found again. */
static int random_slot(char *ret)
{
	uint64_t number;
	int rc = sys_random(&number);

	if (rc)
		return rc;
	snprintf(ret, SLOT_SIZE, ".snapmap-%016llx.r", (unsigned long long)number);
	return 0;
}

/* @take: makes the name, -EEXIST if it is taken. */
static int take_slot(struct publication *p, int (*take)(struct publication *p, void *arg), void *arg)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_NS};
	int waited = 0, slot = 0;

	for (int tries = 0; tries < 2 * WAIT_STEPS; tries++) {
		int rc = 0;

		if (slot < SLOTS)
			slot_name(p->place, slot, p->slot);
		else
			rc = random_slot(p->slot);
		if (!rc)
			rc = take(p, arg);
		if (rc != -EEXIST) {
			p->linked = !rc;
			p->exposed |= p->linked;
			return rc;
		}
		switch (slot < SLOTS ? judge(p->place->dirfd, p->slot) : SLOT_FREE) {
		case SLOT_FREE:
			break;
		case SLOT_LIVE:
			if (waited++ == WAIT_STEPS)
				return -EBUSY;
			sys_sleep(&step);
			break;
		case SLOT_FOREIGN:
			slot++;
			break;
		}
	}
	return -EBUSY;
}

static int take_by_link(struct publication *p, void *arg)
{
	(void)arg;
	return sys_link_fd(p->fd, p->place->dirfd, p->slot);
}

/* Where flock is not known the names are still exclusive, only never cleaned up. */
static void lock(int fd)
{
	sys_flock(fd, LOCK_EX | LOCK_NB);
}

static int take_by_create(struct publication *p, void *arg)
{
	mode_t mode = *(const mode_t *)arg;
	int fd = sys_openat(p->place->dirfd, p->slot, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode), rc;

	if (fd < 0)
		return fd;
	/* Whoever came between the two calls took the file for a left-over, and removed the name. */
	sys_flock(fd, LOCK_EX);
	rc = check_named(fd, p->place->dirfd, p->slot);
	if (!rc) {
		p->fd = fd;
		return 0;
	}
	if (rc == -EBUSY)
		rc = -EEXIST;
	else
		sys_unlink(p->place->dirfd, p->slot);
	sys_close(fd);
	return rc;
}

int publish_create(const struct place *place, mode_t mode, struct publication *ret)
{
	struct publication p = {.place = place, .fd = -1};
	int rc = take_slot(&p, take_by_create, &mode);

	if (!rc)
		*ret = p;
	return rc;
}

void publish_abandon(struct publication *p)
{
	if (p->linked)
		sys_unlink(p->place->dirfd, p->slot);
	p->linked = false;
}

static int link_slot(struct publication *p)
{
	if (p->linked)
		return 0;
	lock(p->fd);
	return take_slot(p, take_by_link, NULL);
}

/* Published: others may lock the file now. */
static void finish(struct publication *p)
{
	p->linked = false;
	sys_flock(p->fd, LOCK_UN);
}

#define SWAPS 100

static int swap(const struct publication *p)
{
	return sys_rename(p->place->dirfd, p->slot, p->place->name, RENAME_EXCHANGE);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * The file that somebody put at the name, and that we have replaced, gets it again.
 * What comes out in exchange is ours, or else even newer than that file: then the
 * two change names once more, and so on. The older one keeps the temporary name.
 */
static void give_back(const struct publication *p, const struct stat *theirs, const struct stat *ours)
{
	struct stat placed = *ours, next = *theirs, out;

	for (int i = 0; i < SWAPS && !swap(p); i++) {
		if (sys_fstatat(p->place->dirfd, p->slot, AT_SYMLINK_NOFOLLOW, &out) || same_file(&out, &placed))
			return;
		placed = next;
		next = out;
	}
}

/*
 * Locks what has the temporary name, so that nobody takes it for left over, unless its
 * owner has locked it, which does the same. False if somebody has done so already.
 */
static bool hold_slot(const struct publication *p, int *ret_fd)
{
	*ret_fd = sys_openat(p->place->dirfd, p->slot, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (*ret_fd < 0)
		return *ret_fd != -ENOENT;
	sys_flock(*ret_fd, LOCK_SH | LOCK_NB);
	return check_named(*ret_fd, p->place->dirfd, p->slot) != -EBUSY;
}

/*
 * After a swap. 0, or -EBUSY if all is as it was before. What somebody has taken for
 * left over, or cannot be seen, is as lost as after a rename.
 */
static int look_at_replaced(struct publication *p, publish_look *look, void *arg)
{
	struct stat theirs, ours;
	int fd, rc = 0;

	if (!hold_slot(p, &fd)) {
		p->linked = false;
	} else if (!sys_fstat(p->fd, &ours) && !sys_fstatat(p->place->dirfd, p->slot, AT_SYMLINK_NOFOLLOW, &theirs) &&
		   !look(arg, &theirs, &ours)) {
		give_back(p, &theirs, &ours);
		rc = -EBUSY;
	}
	publish_abandon(p);
	close_fd(&fd);
	return rc;
}

/* ENOENT: there is nothing to change names with. ENOSPC: on btrfs it wants more room than a rename. */
static bool cannot_swap(int error)
{
	return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP || error == -ENOENT || error == -ENOSPC;
}

/*
 * From before it gets the temporary name until that is gone the old file is locked, so
 * that no other publisher takes it for left over, and puts its own file there. Whoever
 * has locked it already does the same.
 */
static int hold_old(const struct place *place)
{
	int fd = sys_openat(place->dirfd, place->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

	if (fd >= 0)
		sys_flock(fd, LOCK_SH | LOCK_NB);
	return fd;
}

int publish_over(struct publication *p, publish_check *check, publish_look *look, void *arg)
{
	cleanup_fd int old = -1;
	int rc = link_slot(p);

	if (rc)
		return rc;
	if (look)
		old = hold_old(p->place);
	/* Where locks do not reach everybody, somebody may have taken it for left over. */
	rc = check_named(p->fd, p->place->dirfd, p->slot);
	if (rc == -EBUSY)
		p->linked = false;
	/* Nothing comes between the last look and the rename. */
	if (!rc)
		rc = check(arg);
	if (!rc) {
		rc = look ? swap(p) : -EOPNOTSUPP;
		p->replaced = !rc;
		if (!rc)
			rc = look_at_replaced(p, look, arg);
		else if (cannot_swap(rc))
			rc = sys_rename(p->place->dirfd, p->slot, p->place->name, 0);
	}
	if (rc)
		publish_abandon(p);
	finish(p);
	return rc;
}

/* A temporary name is needed only if the file has one already. */
int publish_new(struct publication *p)
{
	int dirfd = p->place->dirfd;
	int rc;

	if (!p->linked)
		return sys_link_fd(p->fd, dirfd, p->place->name);
	rc = sys_rename(dirfd, p->slot, p->place->name, RENAME_NOREPLACE);
	if (rc == -EINVAL || rc == -ENOSYS) {
		rc = sys_link(dirfd, p->slot, p->place->name);
		if (!rc)
			publish_abandon(p);
	}
	if (rc)
		publish_abandon(p);
	finish(p);
	return rc;
}

/* A directory that may be written but not read cannot be opened to be flushed: no error. */
int publish_open_directory(const struct place *place, int *ret_fd)
{
	int fd = sys_openat(place->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

	*ret_fd = fd < 0 ? -1 : fd;
	return fd >= 0 || fd == -EACCES || fd == -EPERM ? 0 : fd;
}

int publish_flush(int directory, int file)
{
	int rc;

	if (directory < 0)
		return sys_syncfs(file);
	rc = sys_fsync(directory);
	/* Directories of ext4 do not tell whether that holds. */
	return rc ? rc : sys_check_flushed(file);
}

void publish_clean_up(const struct place *place)
{
	char slot[SLOT_SIZE];
	struct stat st;

	for (int i = 0; i < SLOTS; i++) {
		slot_name(place, i, slot);
		/* They are taken in order: behind a free one there is none. */
		if (sys_fstatat(place->dirfd, slot, AT_SYMLINK_NOFOLLOW, &st))
			return;
		judge(place->dirfd, slot);
	}
}
