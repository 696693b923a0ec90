/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/bare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/files.h"

/* At a time, so that it can be told to stop in between. */
#define PIECE ((size_t)1 << 26)

static bool (*is_stopped)(void);

void bare_stop_when(bool (*stopped)(void))
{
	is_stopped = stopped;
}

static bool stopped(void)
{
	return is_stopped && is_stopped();
}

static size_t piece(uint64_t size)
{
	return size < PIECE ? (size_t)size : PIECE;
}

int bare_check(int rc)
{
	return rc < 0 ? -errno : rc;
}

int bare_private(const char *dir)
{
	return bare_check(open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
}

int bare_clone(int from, int to)
{
	return bare_check(ioctl(to, FICLONE, from));
}

int bare_copy(int from, int to)
{
	loff_t in = 0, out = 0;
	ssize_t n;

	do
		n = copy_file_range(from, &in, to, &out, (size_t)1 << 30, 0);
	while (n > 0 && !stopped());
	if (n > 0)
		return -ECANCELED;
	return n ? -errno : 0;
}

int bare_image(const char *dir, const char *path, int (*make)(int from, int to))
{
	int from = bare_check(open(path, O_RDONLY | O_CLOEXEC)), to, rc;

	if (from < 0)
		return from;
	to = bare_private(dir);
	rc = to < 0 ? to : make(from, to);
	close(from);
	if (!rc)
		return to;
	if (to >= 0)
		close(to);
	return rc;
}

int bare_map(int fd, uint64_t size, int protection, int flags, char **ret)
{
	void *p = mmap(NULL, size, protection, flags, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = (char *)p;
	return 0;
}

int bare_read_all(int fd, char *buffer, uint64_t size)
{
	for (uint64_t at = 0; at < size && !stopped();) {
		ssize_t n = read(fd, buffer + at, piece(size - at));

		if (n <= 0)
			return n ? -errno : -EIO;
		at += (uint64_t)n;
	}
	return stopped() ? -ECANCELED : 0;
}

int bare_write_all(int fd, const char *data, uint64_t size)
{
	while (size && !stopped()) {
		ssize_t done = write(fd, data, piece(size));

		if (done <= 0)
			return done ? -errno : -EIO;
		data += done;
		size -= (uint64_t)done;
	}
	return stopped() ? -ECANCELED : 0;
}

int bare_write_pages(int fd, const char *base, const uint64_t *pages, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t at = pages[i] * PAGE;

		if (pwrite(fd, base + at, PAGE, (off_t)at) != (ssize_t)PAGE)
			return -errno;
	}
	return 0;
}

int bare_publish(int fd, const char *dir, const char *path)
{
	char proc[40], temporary[PATH_MAX + 8];
	int rc;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	rc = bare_check(linkat(AT_FDCWD, proc, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW));
	return rc ? rc : bare_rename(temporary, dir, path);
}

int bare_rename(const char *temporary, const char *dir, const char *path)
{
	int fd = bare_check(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)), rc;

	if (fd < 0)
		return fd;
	rc = bare_check(rename(temporary, path));
	if (!rc)
		rc = bare_check(fsync(fd));
	close(fd);
	return rc;
}
