/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * userfaultfd(2): page faults that a thread of this process serves.
 *
 * Sources of numbers that headers of the time lack: the kernel's
 * include/uapi/linux/userfaultfd.h, Documentation/admin-guide/mm/userfaultfd.rst.
 */
#include "config.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#ifndef UFFD_USER_MODE_ONLY /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif
/* Linux 6.7, 6.6 and 6.8 */
#define FEATURE_WP_ASYNC (1u << 15)
#define FEATURE_POISON (1u << 14)
#define FEATURE_MOVE (1u << 16)

struct poison_arg {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};

struct move_arg {
	uint64_t to, from, length, mode;
	int64_t moved;
};

#define POISON_IOCTL _IOWR(UFFDIO, 0x08, struct poison_arg)
#define MOVE_IOCTL _IOWR(UFFDIO, 0x05, struct move_arg)
#define MOVE_HOLES 1 /* UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES */

static int open_it(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	return fd < 0 ? -errno : fd;
}

/* The features that are wanted and there: a descriptor takes this answer only once. */
static int ask_features(int flags, uint64_t *ret)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = open_it(flags), rc = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api))
		rc = -errno;
	close(fd);
	if (!rc)
		*ret = api.features & (FEATURE_WP_ASYNC | FEATURE_POISON | FEATURE_MOVE);
	return rc;
}

/*
 * @user_only: faults of the kernel on behalf of this process are not served: system calls
 * that touch a missing page fail with -EFAULT. Else -EPERM without the right to it
 * (CAP_SYS_PTRACE, or vm.unprivileged_userfaultfd).
 */
int sys_userfault_open(bool user_only, struct sys_userfault *ret)
{
	int flags = user_only ? UFFD_USER_MODE_ONLY : 0, rc;
	struct uffdio_api api = {.api = UFFD_API};
	uint64_t features;
	int fd;

	rc = ask_features(flags, &features);
	if (rc)
		return rc;
	fd = open_it(flags);
	if (fd < 0)
		return fd;
	api.features = features;
	if (ioctl(fd, UFFDIO_API, &api)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret = (struct sys_userfault){
		.fd = fd,
		.tells_stores = features & FEATURE_WP_ASYNC,
		.poisons = features & FEATURE_POISON,
		.moves = features & FEATURE_MOVE,
	};
	return 0;
}

/* @stores: they are to be told. */
int sys_userfault_register(const struct sys_userfault *u, void *address, size_t length, bool stores)
{
	struct uffdio_register arg = {
		.range = {(uintptr_t)address, length},
		.mode = UFFDIO_REGISTER_MODE_MISSING | (stores && u->tells_stores ? UFFDIO_REGISTER_MODE_WP : 0),
	};

	return ioctl(u->fd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

void sys_userfault_unregister(const struct sys_userfault *u, void *address, size_t length)
{
	struct uffdio_range range = {(uintptr_t)address, length};

	ioctl(u->fd, UFFDIO_UNREGISTER, &range);
}

/* Waits for a fault, for @ms at most; -EAGAIN if there was none. @other: ends the wait when it can be read from. */
int sys_userfault_wait(const struct sys_userfault *u, int other, int ms)
{
	struct pollfd fds[] = {{.fd = u->fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
	int n = poll(fds, 2, ms);

	return n > 0 ? 0 : n < 0 ? -errno : -EAGAIN;
}

/* Does not wait: -EAGAIN. */
int sys_userfault_read(const struct sys_userfault *u, void **ret_address)
{
	struct uffd_msg message;
	ssize_t n;

	do
		n = read(u->fd, &message, sizeof(message));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(message) || message.event != UFFD_EVENT_PAGEFAULT)
		return -EAGAIN;
	*ret_address = (void *)(uintptr_t)message.arg.pagefault.address;
	return 0;
}

/*
 * All or part of it: the bytes that are done are in @ret also if it fails. The source
 * needs no alignment. -EEXIST: the next page is there already; -ENOENT: nothing is mapped
 * there any more. Whoever waits for a page that is done goes on. @tell: the pages are
 * clean until they are stored into, if that can be told.
 */
int sys_userfault_copy(const struct sys_userfault *u, void *to, const void *from, size_t n, bool tell, size_t *ret)
{
	struct uffdio_copy arg = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = n,
		.mode = tell && u->tells_stores ? UFFDIO_COPY_MODE_WP : 0,
	};
	int rc = ioctl(u->fd, UFFDIO_COPY, &arg) ? -errno : 0;

	*ret = arg.copy > 0 ? (size_t)arg.copy : 0;
	return rc;
}

int sys_userfault_zero(const struct sys_userfault *u, void *to, size_t n, size_t *ret)
{
	struct uffdio_zeropage arg = {.range = {(uintptr_t)to, n}};
	int rc = ioctl(u->fd, UFFDIO_ZEROPAGE, &arg) ? -errno : 0;

	*ret = arg.zeropage > 0 ? (size_t)arg.zeropage : 0;
	return rc;
}

/* Whoever waits there tries again. */
void sys_userfault_wake(const struct sys_userfault *u, void *address, size_t n)
{
	struct uffdio_range range = {(uintptr_t)address, n};

	ioctl(u->fd, UFFDIO_WAKE, &range);
}

/* Touching it is a SIGBUS from now on, until the page is dropped. -EOPNOTSUPP before Linux 6.6. */
int sys_userfault_poison(const struct sys_userfault *u, void *address, size_t n)
{
	struct poison_arg arg = {.range = {(uintptr_t)address, n}};

	if (!u->poisons)
		return -EOPNOTSUPP;
	return ioctl(u->fd, POISON_IOCTL, &arg) ? -errno : 0;
}

/*
 * Takes pages away from one place and puts them at another, which has none; places
 * without a page are passed over. Refuses pages that the kernel uses at the moment
 * (-EBUSY). The bytes that are done are in @ret also if it fails.
 */
int sys_userfault_move(const struct sys_userfault *u, void *to, void *from, size_t n, size_t *ret)
{
	struct move_arg arg = {.to = (uintptr_t)to, .from = (uintptr_t)from, .length = n, .mode = MOVE_HOLES};
	int rc = ioctl(u->fd, MOVE_IOCTL, &arg) ? -errno : 0;

	*ret = arg.moved > 0 ? (size_t)arg.moved : 0;
	return rc;
}
