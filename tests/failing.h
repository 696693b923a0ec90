/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles whose storage fails. The image of an editable handle is cut behind its
 * back, through the descriptor that the handle holds: its pages are SIGBUS then,
 * as if the disk had lost them. Works everywhere and for everyone; check_guard_io
 * has disks that really answer EIO.
 */
#ifndef SNAPMAP_TESTS_FAILING_H
#define SNAPMAP_TESTS_FAILING_H

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "opening.h"

#define PAGE ((size_t)4096)

/* An image is a regular file that can be written to, unlike all else that a handle holds. */
static inline bool is_image(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) == O_RDWR && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode);
}

static bool known_images[1024];

static inline void note_images(void)
{
	for (int fd = 0; fd < 1024; fd++)
		known_images[fd] = is_image(fd);
}

/* The descriptor of the image that came after note_images(). Check has such a file of its own. */
static inline int find_image(void)
{
	for (int fd = 3; fd < 1024; fd++)
		if (!known_images[fd] && is_image(fd))
			return fd;
	return -1;
}

/* Opens @path, of which the image then has @good pages only. */
static inline struct snapmap_mut *open_failing(const char *path, uint32_t flags, size_t good)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = flags};
	struct snapmap_mut *map;

	note_images();
	ck_assert_ok(snapmap_mut_open(path, &o, &map));
	ck_assert_sys(ftruncate(find_image(), (off_t)(good * PAGE)));
	return map;
}

static inline int mut_error(const struct snapmap_mut *map)
{
	struct snapmap_info info;

	return snapmap_mut_get_info(map, &info) ? 1 : info.error;
}

static inline bool is_zero(const void *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;

	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static inline bool page_is(const void *page, const void *wanted)
{
	return !memcmp(page, wanted, PAGE);
}

/* A page of the test's own whose file has gone, for a SIGBUS that is none of the library's. */
static inline volatile char *foreign_page(void)
{
	int fd = memfd_create("foreign", MFD_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	ck_assert(fd >= 0 && p != MAP_FAILED);
	close(fd);
	return (volatile char *)p;
}

/* What the handler does at a fault. */
static inline int handle_fault_at(void *address)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};

	info.si_addr = address;
	return snapmap_guard_handle(SIGBUS, &info);
}

/* The signal that the child died of, 0 if it ended by itself. */
static inline int death_of(void (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	ck_assert_sys(pid);
	if (!pid) {
		prctl(PR_SET_DUMPABLE, 0);
		fn(arg);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	ck_assert_msg(WIFSIGNALED(status) || !WEXITSTATUS(status), "the child failed with %d", WEXITSTATUS(status));
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
