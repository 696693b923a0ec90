/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a commit comes down to, without a library: a private image is mapped,
 * pages are stored into, then written into the image, and the image becomes the
 * file. No conflict check, no attributes, no way back. It goes on from commit to
 * commit like a handle does, so that both sides have files of the same shape.
 */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/files.h"

struct bare_state {
	const struct job *job;
	int image;
	int dirfd;
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
	close(s->dirfd);
	free(s);
}

static int make_image(struct bare_state *s)
{
	int fd = open(s->job->path, O_RDONLY | O_CLOEXEC);
	int rc = check(fd);
	void *p;

	if (rc)
		return rc;
	s->image = file_private(s->job->dir);
	rc = s->image < 0 ? s->image : check(ioctl(s->image, FICLONE, fd));
	close(fd);
	if (rc)
		return rc;
	p = mmap(NULL, s->job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, s->image, 0);
	if (p == MAP_FAILED)
		return -errno;
	s->base = (char *)p;
	return 0;
}

static int start(const struct job *job, void **ret)
{
	struct bare_state *s = (struct bare_state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->image = -1;
	s->dirfd = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = check(s->dirfd);
	if (!rc)
		rc = make_image(s);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

static int write_pages(const struct bare_state *s)
{
	for (unsigned i = 0; i < s->job->count; i++) {
		uint64_t at = s->pages[i] * PAGE;

		if (pwrite(s->image, s->base + at, PAGE, (off_t)at) != (ssize_t)PAGE)
			return -errno;
	}
	return 0;
}

static int drop_pages(const struct bare_state *s)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < s->job->count; i++)
		rc = check(madvise(s->base + s->pages[i] * PAGE, PAGE, MADV_DONTNEED));
	return rc;
}

/* @fd takes the name of the file. */
static int rename_over(const struct bare_state *s, int fd)
{
	char proc[40], temporary[4096];
	int rc;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	snprintf(temporary, sizeof(temporary), "%s.new", s->job->path);
	rc = check(linkat(AT_FDCWD, proc, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW));
	if (!rc)
		rc = check(rename(temporary, s->job->path));
	return rc ? rc : check(fsync(s->dirfd));
}

static int replace(const struct bare_state *s)
{
	int fd = open(s->job->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	int rc = check(fd);

	if (rc)
		return rc;
	rc = check(ioctl(fd, FICLONE, s->image));
	if (!rc)
		rc = check(fsync(fd));
	if (!rc)
		rc = rename_over(s, fd);
	close(fd);
	return rc;
}

static int clone_into(const struct bare_state *s)
{
	int fd = open(s->job->path, O_WRONLY | O_CLOEXEC);
	int rc = check(fd);

	if (rc)
		return rc;
	rc = check(ioctl(fd, FICLONE, s->image));
	if (!rc)
		rc = check(fsync(fd));
	close(fd);
	return rc;
}

static int commit_by(void *state, int (*publish)(const struct bare_state *s), double *ret)
{
	struct bare_state *s = (struct bare_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin;

	if (rc)
		return rc;
	pages_edit(s->base, s->pages, s->job->count, s->random);
	begin = harness_now();
	rc = write_pages(s);
	if (!rc)
		rc = publish(s);
	if (!rc)
		rc = drop_pages(s);
	*ret = harness_now() - begin;
	return rc;
}

static int run_replace(void *state, double *ret)
{
	return commit_by(state, replace, ret);
}

static int run_clone(void *state, double *ret)
{
	return commit_by(state, clone_into, ret);
}

/* ---- without reflinks: all bytes are written again ---- */

static int start_rewrite(const struct job *job, void **ret)
{
	struct bare_state *s = (struct bare_state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	int fd = open(job->path, O_RDONLY | O_CLOEXEC);
	void *p = MAP_FAILED;

	if (s && fd >= 0)
		p = mmap(NULL, job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		free(s);
		return -ENOMEM;
	}
	s->job = job;
	s->image = -1;
	s->base = (char *)p;
	s->dirfd = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret = s;
	return 0;
}

static int write_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t done = write(fd, data, n < (size_t)1 << 26 ? n : (size_t)1 << 26);

		if (done <= 0)
			return done ? -errno : -EIO;
		data += done;
		n -= (size_t)done;
	}
	return 0;
}

static int rewrite(const struct bare_state *s)
{
	int fd = open(s->job->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	int rc = check(fd);

	if (rc)
		return rc;
	rc = write_all(fd, s->base, s->job->size);
	if (!rc)
		rc = check(fsync(fd));
	if (!rc)
		rc = rename_over(s, fd);
	close(fd);
	return rc;
}

static int run_rewrite(void *state, double *ret)
{
	struct bare_state *s = (struct bare_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin;

	if (rc)
		return rc;
	pages_edit(s->base, s->pages, s->job->count, s->random);
	begin = harness_now();
	rc = rewrite(s);
	*ret = harness_now() - begin;
	return rc;
}

const struct contender bare_commit_replace = {"FICLONE, pwrite, fsync, rename, fsync", start, run_replace, stop};
const struct contender bare_commit_clone = {"pwrite, FICLONE, fsync", start, run_clone, stop};
const struct contender bare_rewrite = {"write all, fsync, rename, fsync", start_rewrite, run_rewrite, stop};
