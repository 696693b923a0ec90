/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See mark.h. */
#include "config.h"

#include "mark.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

int mark_send(int socket, const struct mark *m)
{
	char byte;

	if (send(socket, m, sizeof(*m), MSG_NOSIGNAL) != (ssize_t)sizeof(*m))
		return -1;
	return recv(socket, &byte, 1, 0) == 1 ? 0 : -1;
}

int mark_take(int socket, struct mark *ret)
{
	struct mark m;
	ssize_t n = recv(socket, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != (ssize_t)sizeof(m))
		return -1;
	*ret = m;
	return 1;
}

void mark_answer(int socket)
{
	(void)!send(socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
