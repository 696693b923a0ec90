/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mounted image of a mini file system beside ext4 in a file, mounted by fuse2fs: both
 * are programs behind FUSE, with an image on the place that is measured. Only root may
 * do that, and only with both programs installed.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/tool.h"
#include "bench/workloads.h"

#define FILES 10000
#define FLUSHES 100
#define PIECE MIB
#define TREE "/usr/include"
#define IMAGE_SIZE "1600M" /* what is freed stays in the file: so it does not grow beyond that */
#define INODES "40000"

/* @turn: how many runs there were; each has a directory of its own. */
struct state {
	const struct job *job;
	char image[PATH_MAX], mount[PATH_MAX], directory[PATH_MAX + 16];
	bool ours;
	unsigned turn;
	char *bytes; /* a piece */
};

static int make_and_mount(struct state *s)
{
	const char *const mkfs[] = {"mkfs.minifs", "-q", "-i", INODES, s->image, IMAGE_SIZE, NULL};
	const char *const mount[] = {"mount.minifs", s->image, s->mount, NULL};
	const char *const mkfs_ext4[] = {"mkfs.ext4", "-q", "-F", "-N", INODES, s->image, IMAGE_SIZE, NULL};
	const char *const mount_ext4[] = {"fuse2fs", s->image, s->mount, "-o", "fakeroot", NULL};
	int rc;

	for (size_t i = 0; i < 2; i++) {
		const char *name = s->ours ? (i ? mount : mkfs)[0] : (i ? mount_ext4 : mkfs_ext4)[0];

		if (!tool_is_there(name))
			return why_set(s->job->why, -EOPNOTSUPP, "%s is not installed", name);
	}
	if (geteuid())
		return why_set(s->job->why, -EOPNOTSUPP, "only root may mount");
	rc = tool_run(s->ours ? mkfs : mkfs_ext4, NULL, s->job->why);
	return rc ? rc : tool_run(s->ours ? mount : mount_ext4, NULL, s->job->why);
}

static void stop(void *state)
{
	struct state *s = (struct state *)state;
	const char *const umount[] = {"umount.minifs", s->mount, NULL};
	struct why why;

	if (!s->ours || tool_run(umount, NULL, &why))
		umount2(s->mount, MNT_DETACH);
	rmdir(s->mount);
	unlink(s->image);
	free(s->bytes);
	free(s);
}

static int start(const struct job *job, bool ours, void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s));
	int rc = 0;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->ours = ours;
	s->bytes = (char *)malloc(PIECE);
	snprintf(s->image, sizeof(s->image), "%.2000s/%s.img", job->dir, ours ? "minifs" : "ext4");
	snprintf(s->mount, sizeof(s->mount), "%.2000s/%s.mnt", job->dir, ours ? "minifs" : "ext4");
	if (!s->bytes || mkdir(s->mount, 0755))
		rc = s->bytes ? -errno : -ENOMEM;
	else
		memset(s->bytes, 1, PIECE);
	if (!rc)
		rc = make_and_mount(s);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

static int start_ours(const struct job *job, void **ret)
{
	return start(job, true, ret);
}

static int start_theirs(const struct job *job, void **ret)
{
	return start(job, false, ret);
}

static int new_directory(struct state *s)
{
	snprintf(s->directory, sizeof(s->directory), "%s/%u", s->mount, s->turn++);
	return bare_check(mkdir(s->directory, 0755));
}

static int open_in(const struct state *s, const char *name, int flags)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", s->directory, name);
	return bare_check(open(path, flags | O_CLOEXEC, 0644));
}

static int flush(int fd)
{
	int rc = fd < 0 ? fd : bare_check(fsync(fd));

	if (fd >= 0)
		close(fd);
	return rc;
}

static int remove_directory(const struct state *s)
{
	const char *const rm[] = {"rm", "-r", s->directory, NULL};

	return tool_run(rm, NULL, s->job->why);
}

static int make_files(const struct state *s)
{
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		rc = open_in(s, name, O_CREAT | O_WRONLY);
		if (rc >= 0)
			close(rc);
	}
	return rc < 0 ? rc : flush(open_in(s, ".", O_RDONLY | O_DIRECTORY));
}

static int look_at_files(const struct state *s)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < FILES; i++) {
		char path[PATH_MAX + 64];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%u", s->directory, i);
		rc = bare_check(stat(path, &st));
	}
	return rc;
}

static int write_all(const struct state *s, int fd)
{
	for (uint64_t done = 0; done < GIB; done += PIECE)
		if (pwrite(fd, s->bytes, PIECE, (off_t)done) != (ssize_t)PIECE)
			return -EIO;
	return bare_check(fsync(fd));
}

static int read_all(const struct state *s, int fd)
{
	for (uint64_t done = 0; done < GIB; done += PIECE)
		if (pread(fd, s->bytes, PIECE, (off_t)done) != (ssize_t)PIECE)
			return -EIO;
	return 0;
}

static int write_scattered(const struct state *s, int fd, unsigned flushes, unsigned writes)
{
	uint64_t random = 1;
	int rc = 0;

	for (unsigned i = 0; !rc && i < flushes; i++) {
		for (unsigned k = 0; !rc && k < writes; k++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			if (pwrite(fd, s->bytes, 4096, (off_t)((random >> 33) % (GIB / 4096) * 4096)) != 4096)
				rc = -EIO;
		}
		if (!rc)
			rc = bare_check(fsync(fd));
	}
	return rc;
}

static int flush_each(const struct state *s, int fd)
{
	return write_scattered(s, fd, FLUSHES, 1);
}

static int flush_hundreds(const struct state *s, int fd)
{
	return write_scattered(s, fd, FLUSHES, 100);
}

/* What is measured, in a directory or with a file of 1 GiB. */
typedef int act(const struct state *s, int fd);

static int timed(struct state *s, act *prepare, act *measured, double *ret)
{
	double begin;
	int rc = new_directory(s), fd;

	if (rc)
		return rc;
	fd = open_in(s, "big", O_CREAT | O_RDWR);
	rc = fd < 0 ? fd : prepare ? prepare(s, fd) : 0;
	if (!rc)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	begin = clock_now();
	if (!rc)
		rc = measured(s, fd);
	*ret = clock_now() - begin;
	if (fd >= 0)
		close(fd);
	return rc ? rc : remove_directory(s);
}

static int do_create(const struct state *s, int fd)
{
	(void)fd;
	return make_files(s);
}

static int do_stat(const struct state *s, int fd)
{
	(void)fd;
	return look_at_files(s);
}

static int do_copy(const struct state *s, int fd)
{
	const char *const cp[] = {"cp", "-r", TREE, s->directory, NULL};
	int rc = tool_run(cp, NULL, s->job->why);

	return rc ? rc : bare_check(fsync(fd));
}

static int run_create(void *state, double *ret)
{
	return timed((struct state *)state, NULL, do_create, ret);
}

static int run_stat(void *state, double *ret)
{
	return timed((struct state *)state, do_create, do_stat, ret);
}

static int run_write(void *state, double *ret)
{
	return timed((struct state *)state, NULL, write_all, ret);
}

static int run_read(void *state, double *ret)
{
	return timed((struct state *)state, write_all, read_all, ret);
}

static int run_flush(void *state, double *ret)
{
	return timed((struct state *)state, write_all, flush_each, ret);
}

static int run_random(void *state, double *ret)
{
	return timed((struct state *)state, write_all, flush_hundreds, ret);
}

static int run_copy(void *state, double *ret)
{
	return timed((struct state *)state, NULL, do_copy, ret);
}

static const struct point once[] = {FULL(0)};

#define MOUNTED(what, the_id, the_title, the_description)                                                        \
	static const struct contender what##_servers[] = {                                                       \
		{.name = "mount.minifs", .library = true, .start = start_ours, .run = run_##what, .stop = stop}, \
		{.name = "fuse2fs", .start = start_theirs, .run = run_##what, .stop = stop},                     \
	};                                                                                                       \
	const struct workload mounted_##what = {                                                                 \
		.id = the_id,                                                                                    \
		.title = the_title,                                                                              \
		.description = the_description,                                                                  \
		.group = "Mounted images",                                                                       \
		POINTS(once),                                                                                    \
		CONTENDERS(what##_servers),                                                                      \
		.size = MIB,                                                                                     \
		.settle = true,                                                                                  \
		.rounds = 5,                                                                                     \
	}

MOUNTED(create, "minifs-create", "Make 10,000 files in a mounted image", "Empty ones, and one fsync(2) at the end.");
MOUNTED(stat, "minifs-stat", "Look at 10,000 files in a mounted image", "stat(2), right after they were made.");
MOUNTED(write, "minifs-write", "Write 1 GiB to a mounted image", "In order, by 1 MiB, with one fsync(2) at the end.");
MOUNTED(read, "minifs-read", "Read 1 GiB from a mounted image", "In order, by 1 MiB, not from the kernel's cache.");
MOUNTED(flush, "minifs-flush", "Flush 100 scattered writes in a mounted image",
	"Of 4 KiB into a file of 1 GiB, with an fsync(2) after each.");
MOUNTED(random, "minifs-random", "Write 10,000 scattered pages in a mounted image",
	"Of 4 KiB into a file of 1 GiB, with an fsync(2) after each hundred.");
MOUNTED(copy, "minifs-copy", "Copy a tree into a mounted image",
	"All of " TREE ", by cp -r, with one fsync(2) at the end.");
