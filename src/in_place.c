/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the strategies share that write into the file itself: its inode stays. */
#include "config.h"

#include "in_place.h"

#include <errno.h>
#include <unistd.h>

#include "sys.h"

int in_place_open(const struct commit *c, const char *what, int *ret_fd)
{
	const struct target *t = c->target;
	int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat st, wanted;
	int fd, rc;

	if (!c->exists)
		return error_set(-EOPNOTSUPP, what, "there is no file yet to write into");
	fd = t->place.dirfd >= 0 ? sys_openat(t->place.dirfd, t->place.name, flags, 0)
				 : sys_reopen(c->attributes, O_WRONLY);
	/* Somebody holds a lease that opening breaks: wait for them. */
	if (fd == -EAGAIN)
		fd = sys_reopen(c->attributes, O_WRONLY);
	if (fd < 0)
		return error_set(fd, "open for writing", NULL);
	rc = sys_fstat(fd, &st);
	if (!rc)
		rc = sys_fstat(c->attributes, &wanted);
	if (!rc && (st.st_dev != wanted.st_dev || st.st_ino != wanted.st_ino))
		rc = -EBUSY;
	if (rc) {
		sys_close(fd);
		return error_set(rc, "commit", "the name leads to another file by now");
	}
	*ret_fd = fd;
	return 0;
}

int in_place_take_turn(const struct commit *c, const char *what, struct publication *ret)
{
	const struct place *place = &c->target->place;
	int rc;

	*ret = (struct publication){.place = place, .fd = -1};
	if (place->dirfd < 0)
		return 0;
	rc = publish_create(place, 0600, ret);
	if (!rc || rc == -EACCES || rc == -EPERM || rc == -EEXIST)
		return 0;
	return error_set(rc, what, rc == -EBUSY ? "another commit of it does not end: try again later" : NULL);
}

void in_place_end_turn(struct publication *turn)
{
	publish_abandon(turn);
	close_fd(&turn->fd);
}

void in_place_take_stamp(struct commit *c)
{
	struct target *t = c->target;
	struct stat st;

	if (c->attributes != t->fd) {
		sys_close(t->fd);
		t->fd = sys_dup(c->attributes);
	}
	if (sys_fstat_fresh(c->attributes, &st))
		st = (struct stat){0};
	stamp_of(&st, &t->stamp);
	if ((uint64_t)st.st_size != c->image->size)
		stamp_spoil(&t->stamp);
}
