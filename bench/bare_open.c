/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What opening comes down to, without a library: each the shortest sequence of system calls. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "bench/files.h"

static int start(const struct job *job, void **ret)
{
	*ret = (void *)job;
	return 0;
}

static int map_and_close(int fd, uint64_t size, bool touch)
{
	void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	close(fd);
	if (p == MAP_FAILED)
		return -errno;
	if (touch)
		pages_read((const char *)p, PAGE);
	munmap(p, size);
	return 0;
}

static int clone_whole(int from, int to)
{
	return ioctl(to, FICLONE, from) ? -errno : 0;
}

static int copy_whole(int from, int to)
{
	loff_t in = 0, out = 0;
	ssize_t n;

	do
		n = copy_file_range(from, &in, to, &out, (size_t)1 << 30, 0);
	while (n > 0);
	return n ? -errno : 0;
}

static int open_image(const struct job *job, int (*make)(int from, int to), double *ret)
{
	double begin = harness_now();
	int fd = open(job->path, O_RDONLY | O_CLOEXEC);
	int image = file_private(job->dir);
	struct stat st;
	int rc;

	if (fd < 0 || image < 0)
		return fd < 0 ? -ENOENT : image;
	rc = make(fd, image);
	close(fd);
	if (!rc && fstat(image, &st))
		rc = -errno;
	if (rc)
		close(image);
	else
		rc = map_and_close(image, (uint64_t)st.st_size, false);
	*ret = harness_now() - begin;
	return rc;
}

static int run_reflink(void *state, double *ret)
{
	return open_image((const struct job *)state, clone_whole, ret);
}

static int run_copy(void *state, double *ret)
{
	return open_image((const struct job *)state, copy_whole, ret);
}

static int open_plain(const struct job *job, bool touch, double *ret)
{
	double begin = harness_now();
	int fd = open(job->path, O_RDONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : map_and_close(fd, job->size, touch);

	*ret = harness_now() - begin;
	return rc;
}

static int run_mmap(void *state, double *ret)
{
	return open_plain((const struct job *)state, false, ret);
}

static int run_touch(void *state, double *ret)
{
	return open_plain((const struct job *)state, true, ret);
}

const struct contender bare_reflink = {"O_TMPFILE, FICLONE, mmap", start, run_reflink, NULL};
const struct contender bare_copy = {"O_TMPFILE, copy_file_range, mmap", start, run_copy, NULL};
const struct contender bare_mmap = {"open, mmap", start, run_mmap, NULL};
const struct contender bare_mmap_and_touch = {"open, mmap, one page read", start, run_touch, NULL};
