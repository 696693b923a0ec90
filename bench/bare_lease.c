/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What handles over the file itself are compared with. */
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
#include "bench/threads.h"

static int start(const struct job *job, void **ret)
{
	*ret = (void *)job;
	return 0;
}

/* open, fstat, mmap, munmap, close */
static int open_plain(const char *path, bool sum)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		close(fd);
		return -EIO;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED) {
		if (sum)
			bytes_sum(p, (size_t)st.st_size);
		munmap(p, (size_t)st.st_size);
	}
	close(fd);
	return p == MAP_FAILED ? -ENOMEM : 0;
}

static int timed(const struct job *job, bool sum, double *ret)
{
	double begin = harness_now();
	int rc = open_plain(job->path, sum);

	*ret = harness_now() - begin;
	return rc;
}

static int run_open(void *state, double *ret)
{
	return timed((const struct job *)state, false, ret);
}

static int run_sum(void *state, double *ret)
{
	return timed((const struct job *)state, true, ret);
}

/* Sharing the extents, or where that cannot be, copying. */
static int image(int from, int to)
{
	loff_t in = 0, out = 0;
	ssize_t n;

	if (!ioctl(to, FICLONE, from))
		return 0;
	do
		n = copy_file_range(from, &in, to, &out, (size_t)1 << 30, 0);
	while (n > 0);
	return n ? -errno : 0;
}

static int run_image(void *state, double *ret)
{
	const struct job *job = (const struct job *)state;
	int from = open(job->path, O_RDONLY | O_CLOEXEC), to = file_private(job->dir);
	double begin;
	int rc;

	/* As long as the thread that it is compared with has slept. */
	usleep(30000);
	begin = harness_now();
	rc = from < 0 || to < 0 ? -ENOENT : image(from, to);
	*ret = harness_now() - begin;
	close(from);
	close(to);
	return rc;
}

static int open_and_close(const char *path)
{
	return open_plain(path, false);
}

static int run_threads(void *state, double *ret)
{
	return threads_run((const struct job *)state, open_and_close, ret);
}

const struct contender bare_open = {"open, fstat, mmap, close", start, run_open, NULL};
const struct contender bare_sum = {"open, mmap, sum", start, run_sum, NULL};
const struct contender bare_image = {"FICLONE, or copy_file_range", start, run_image, NULL};
const struct contender bare_threads = {"open, fstat, mmap, close, threads", threads_start, run_threads, threads_stop};
