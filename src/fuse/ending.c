/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How those who unmount learn how the last commit went. They connect to a socket while
 * the file system is mounted; nobody is accepted before the end, so this costs nothing
 * meanwhile. Where that is not to be had they see the lock of the image go.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

#define WAITING 64

static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	memcpy(address.sun_path + 1, name, n);
	if (!bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) &&
	    !listen(fd, WAITING))
		return fd;
	close(fd);
	return -1;
}

void ending_start(struct ending *e)
{
	unsigned long long number[2];

	e->fd = -1;
	e->name = (struct control_ending){0};
	if (getrandom(number, sizeof(number), 0) != sizeof(number))
		return;
	snprintf(e->name.socket, sizeof(e->name.socket), "mount.minifs-%016llx%016llx", number[0], number[1]);
	e->fd = listen_at(e->name.socket);
}

void ending_tell(struct ending *e, int rc)
{
	unsigned char byte = (unsigned char)-rc;
	int fd;

	if (e->fd < 0)
		return;
	while ((fd = accept4(e->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		(void)!send(fd, &byte, 1, MSG_NOSIGNAL);
		close(fd);
	}
	close(e->fd);
	e->fd = -1;
}

/* Only the root is asked, so that nothing else is known by a number. */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *argument, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	const struct ending *e = &server_of(req)->ending;

	(void)argument;
	(void)fi;
	if (!(flags & FUSE_IOCTL_COMPAT) && asked_ioctl(req, inode_of(ino), command, in, in_size, out_size))
		return;
	if (ino != FUSE_ROOT_ID || command != CONTROL_ENDING || (flags & FUSE_IOCTL_COMPAT) ||
	    out_size < sizeof(e->name))
		fuse_reply_err(req, ENOTTY);
	else if (e->fd < 0)
		fuse_reply_err(req, EOPNOTSUPP);
	else
		fuse_reply_ioctl(req, 0, &e->name, sizeof(e->name));
}
