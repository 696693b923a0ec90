/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two bare ways to commit pages into a file and keep its inode: exchanging blocks
 * (XFS), with nothing looked at before; and that of the Rust crate mmap_snapshot,
 * a shared mapping of a clone that is written out and cloned back.
 */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/types.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/files.h"

/* ioctl_xfs_commit_range(2); the headers of the distribution may be older. */
struct commit_range {
	__s32 file1_fd;
	__u32 pad;
	__u64 file1_offset, file2_offset, length, flags, file2_freshness[6];
};
#define START_COMMIT _IOR('X', 130, struct commit_range)
#define COMMIT_RANGE _IOW('X', 131, struct commit_range)
#define DSYNC_AND_WRITTEN (1ULL << 1 | 1ULL << 3)

struct bare_state {
	const struct job *job;
	int file, image;
	char *base;
	uint64_t random;
	uint64_t pages[];
};

static int check(int rc)
{
	return rc < 0 ? -errno : 0;
}

static void stop(void *state)
{
	struct bare_state *s = (struct bare_state *)state;

	if (s->base)
		munmap(s->base, s->job->size);
	close(s->image);
	close(s->file);
	free(s);
}

static int start(const struct job *job, int mapping, int (*run)(void *state, double *ret), void **ret)
{
	struct bare_state *s = (struct bare_state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	double unused;
	void *p;
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->image = file_private(job->dir);
	s->file = open(job->path, O_RDWR | O_CLOEXEC);
	rc = s->image < 0 ? s->image : check(s->file);
	if (!rc)
		rc = check(ioctl(s->image, FICLONE, s->file));
	if (!rc) {
		p = mmap(NULL, job->size, PROT_READ | PROT_WRITE, mapping | MAP_NORESERVE, s->image, 0);
		s->base = p == MAP_FAILED ? NULL : (char *)p;
		rc = s->base ? 0 : -errno;
	}
	for (unsigned i = 0; !rc && i < job->before; i++)
		rc = run(s, &unused);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* ---- exchange ---- */

/* The size comes first: writes behind the end cost the kernel more. */
static int write_pages(const struct bare_state *s, int fd)
{
	int rc = check(ftruncate(fd, (off_t)s->job->size));

	for (unsigned i = 0; !rc && i < s->job->count; i++) {
		uint64_t at = s->pages[i] * PAGE;

		if (pwrite(fd, s->base + at, PAGE, (off_t)at) != (ssize_t)PAGE)
			rc = -errno;
	}
	return rc;
}

static int exchange(const struct bare_state *s)
{
	uint64_t first = s->pages[0] * PAGE, end = (s->pages[s->job->count - 1] + 1) * PAGE;
	struct commit_range range = {0};
	int fd = file_private(s->job->dir), rc;

	if (fd < 0)
		return fd;
	rc = write_pages(s, fd);
	if (!rc)
		rc = check(ioctl(s->file, START_COMMIT, &range));
	range.file1_fd = fd;
	range.file1_offset = range.file2_offset = first;
	range.length = end - first;
	range.flags = DSYNC_AND_WRITTEN;
	if (!rc)
		rc = check(ioctl(s->file, COMMIT_RANGE, &range));
	close(fd);
	return rc;
}

/* The mapping is only where the bytes come from: it is not brought up to date. */
static int run_exchange(void *state, double *ret)
{
	struct bare_state *s = (struct bare_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin;

	if (rc)
		return rc;
	pages_edit(s->base, s->pages, s->job->count, s->random);
	begin = harness_now();
	rc = exchange(s);
	*ret = harness_now() - begin;
	/* Gone again, as in a handle: else memory fills up. */
	if (!rc)
		rc = check(madvise(s->base, s->job->size, MADV_DONTNEED));
	return rc;
}

static int start_exchange(const struct job *job, void **ret)
{
	return start(job, MAP_PRIVATE, run_exchange, ret);
}

/* ---- clone back ---- */

static int run_clone_back(void *state, double *ret)
{
	struct bare_state *s = (struct bare_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin;

	if (rc)
		return rc;
	pages_edit(s->base, s->pages, s->job->count, s->random);
	begin = harness_now();
	rc = check(msync(s->base, s->job->size, MS_SYNC));
	if (!rc)
		rc = check(ioctl(s->file, FICLONE, s->image));
	if (!rc)
		rc = check(fsync(s->file));
	*ret = harness_now() - begin;
	return rc;
}

static int start_clone_back(const struct job *job, void **ret)
{
	return start(job, MAP_SHARED, run_clone_back, ret);
}

const struct contender bare_exchange = {"pwrite, COMMIT_RANGE", start_exchange, run_exchange, stop};
const struct contender bare_clone_back = {"msync, FICLONE, fsync", start_clone_back, run_clone_back, stop};
