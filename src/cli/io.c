/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes in, bytes out, and bytes into a handle: everything that may come in pieces or be interrupted. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/*
 * A file opened as number 1 or 2 would get what is meant for the user. What was
 * closed is opened the wrong way round, so that using it still fails.
 */
void io_claim_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

ssize_t io_read(int fd, void *buffer, size_t n)
{
	for (;;) {
		ssize_t got;
		int rc = signals_wait(fd, POLLIN);

		if (rc)
			return rc;
		got = read(fd, buffer, n);
		if (got >= 0)
			return got;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

int io_write(int fd, const void *bytes, size_t n)
{
	const char *p = (const char *)bytes;

	while (n) {
		ssize_t done = write(fd, p, n);

		if (done >= 0) {
			p += done;
			n -= (size_t)done;
		} else if (errno == EAGAIN) {
			/* Somebody else made the description non-blocking. */
			struct pollfd wanted = {.fd = fd, .events = POLLOUT};

			poll(&wanted, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int io_store(struct snapmap_mut *map, size_t offset, const void *bytes, size_t n, bool *changed)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *to = (char *)snapmap_mut_data(map) + offset;
	const char *from = (const char *)bytes;
	/* An I/O error under a plain access would be a signal. */
	int rc = snapmap_mut_prefault(map, offset, n);

	while (!rc && n) {
		size_t piece = page - offset % page;

		if (piece > n)
			piece = n;
		if (memcmp(to, from, piece)) {
			memcpy(to, from, piece);
			*changed = true;
		}
		to += piece;
		from += piece;
		offset += piece;
		n -= piece;
	}
	return rc;
}
