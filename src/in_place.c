/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the strategies share that write into the file itself: its inode stays. */
#include "config.h"

#include "in_place.h"

#include <errno.h>
#include <unistd.h>

#include "attributes.h"
#include "sys.h"

const char in_place_loses[] = "it would lose its set-user-ID or set-group-ID bit or its capabilities";
const char in_place_nowhere[] = "it has no name, and no directory of its file system is known: save it with a name";

int in_place_open(const struct commit *c, const char *what, int flags, int *ret_fd)
{
	if (!c->exists)
		return error_set(-EOPNOTSUPP, what, "there is no file yet to write into");
	return target_open_writable(c->target, c->attributes, flags, ret_fd);
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

int in_place_probe(const struct target *t, struct stat *ret, const char **ret_why)
{
	int rc;

	*ret_why = "the file does not exist yet";
	if (t->fd < 0)
		return -EOPNOTSUPP;
	*ret_why = "the file may not be written";
	rc = t->place.dirfd >= 0 ? sys_faccessat(t->place.dirfd, t->place.name, W_OK) : 0;
	if (!rc)
		rc = sys_fstat(t->fd, ret);
	if (rc)
		return rc;
	*ret_why = in_place_loses;
	return attributes_are_lost_by_writing(t->fd) ? -EOPNOTSUPP : 0;
}
