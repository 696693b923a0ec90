/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory behind snapfs beside the same behind bindfs, which passes all on as well: both
 * are programs behind FUSE, on the place that is measured. And what snapshots cost.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <snapmap/snapfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/mounted.h"
#include "bench/tool.h"

#define PAGES 1000 /* that are overwritten */
#define STRIDE ((off_t)257 * 4096)

static int mount_one(const struct mounted *s)
{
	const char *const mount[] = {s->kind->programs[0], s->below, s->mount, NULL};

	if (mkdir(s->below, 0755))
		return -errno;
	return tool_run(mount, NULL, s->job->why);
}

static void remove_below(const struct mounted *s)
{
	const char *const rm[] = {"rm", "-rf", s->below, NULL};
	struct why why;

	tool_run(rm, NULL, &why);
}

static int start_ours(const struct job *job, void **ret)
{
	static const char *const programs[] = {"snapfs", NULL};
	static const struct mounted_kind kind = {"snapfs", programs, mount_one, NULL, remove_below};

	return mounted_start(job, &kind, ret);
}

static int start_theirs(const struct job *job, void **ret)
{
	static const char *const programs[] = {"bindfs", NULL};
	static const struct mounted_kind kind = {"bindfs", programs, mount_one, NULL, remove_below};

	return mounted_start(job, &kind, ret);
}

/* --- snapshots */

/* A descriptor of one, or a negative errno. */
static int take(const struct mounted *s, int fd)
{
	struct snapfs_snapshot snapshot = {.version = SNAPFS_VERSION, .length = SNAPFS_ALL};
	char path[PATH_MAX + 64];

	if (ioctl(fd, SNAPFS_IOC_SNAPSHOT, &snapshot))
		return -errno;
	snprintf(path, sizeof(path), "%s/" SNAPFS_PREFIX "%s", s->mount, snapshot.token);
	return bare_check(open(path, O_RDONLY | O_CLOEXEC));
}

/* The file of 1 GiB, in the root; made the first time. */
static int open_big(struct mounted *s, char path[PATH_MAX + 64], int flags)
{
	int fd, rc = 0;

	snprintf(path, PATH_MAX + 64, "%s/big", s->mount);
	if (!s->turn++) {
		fd = bare_check(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
		rc = fd < 0 ? fd : mounted_write_all(s, fd);
		if (fd >= 0)
			close(fd);
	}
	return rc ? rc : bare_check(open(path, flags | O_CLOEXEC));
}

#define IN_A_ROW 16

/*
 * Nobody has the file open for writing. Several in a row: the first one waits for what
 * the copy of the round before left the processors to do, as any request would.
 */
static int measure_snapshot(void *state, double *ret)
{
	struct mounted *s = (struct mounted *)state;
	char path[PATH_MAX + 64];
	int fd = open_big(s, path, O_RDONLY), snapshots[IN_A_ROW], n = 0, rc = 0;
	double begin;

	if (fd < 0)
		return fd;
	begin = clock_now();
	while (!rc && n < IN_A_ROW) {
		snapshots[n] = take(s, fd);
		rc = snapshots[n] < 0 ? snapshots[n] : 0;
		n += !rc;
	}
	*ret = (clock_now() - begin) / IN_A_ROW;
	while (n > 0)
		close(snapshots[--n]);
	close(fd);
	return rc;
}

static int overwrite(const struct mounted *s, int fd)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (pwrite(fd, s->bytes, 4096, i * STRIDE) != 4096)
			return -EIO;
	return 0;
}

static int measure_overwrite(struct mounted *s, bool kept, double *ret)
{
	char path[PATH_MAX + 64];
	int fd = open_big(s, path, O_RDWR), snapshot = -1, rc = 0;
	double begin;

	if (fd < 0)
		return fd;
	if (kept) {
		snapshot = take(s, fd);
		rc = snapshot < 0 ? snapshot : 0;
	}
	begin = clock_now();
	if (!rc)
		rc = overwrite(s, fd);
	*ret = clock_now() - begin;
	if (snapshot >= 0)
		close(snapshot);
	close(fd);
	return rc;
}

static int run_kept(void *state, double *ret)
{
	return measure_overwrite((struct mounted *)state, true, ret);
}

static int run_plain(void *state, double *ret)
{
	return measure_overwrite((struct mounted *)state, false, ret);
}

/* A descriptor, or a negative errno. To another file system no kernel copies by itself. */
static int copy_out(const struct mounted *s, int fd)
{
	int copy = bare_private(s->job->dir);

	for (uint64_t at = 0; copy >= 0 && at < GIB; at += MIB)
		if (pread(fd, s->bytes, MIB, (off_t)at) != (ssize_t)MIB ||
		    pwrite(copy, s->bytes, MIB, (off_t)at) != (ssize_t)MIB) {
			close(copy);
			return -EIO;
		}
	return copy;
}

/* What it is compared with. */
static int run_file_copy(void *state, double *ret)
{
	struct mounted *s = (struct mounted *)state;
	char path[PATH_MAX + 64];
	int fd = open_big(s, path, O_RDONLY), copy;
	double begin;

	if (fd < 0)
		return fd;
	begin = clock_now();
	copy = copy_out(s, fd);
	*ret = clock_now() - begin;
	if (copy >= 0)
		close(copy);
	close(fd);
	return copy < 0 ? copy : 0;
}

static const struct point once[] = {FULL(0)};

#define WRAPPED(what, the_id, the_title, the_description)                                                   \
	static const struct contender what##_servers[] = {                                                  \
		{.name = "snapfs",                                                                          \
		 .library = true,                                                                           \
		 .start = start_ours,                                                                       \
		 .run = mounted_run_##what,                                                                 \
		 .stop = mounted_stop},                                                                     \
		{.name = "bindfs", .start = start_theirs, .run = mounted_run_##what, .stop = mounted_stop}, \
	};                                                                                                  \
	const struct workload wrapped_##what = {                                                            \
		.id = the_id,                                                                               \
		.title = the_title,                                                                         \
		.description = the_description,                                                             \
		.group = "Wrapped directories",                                                             \
		POINTS(once),                                                                               \
		CONTENDERS(what##_servers),                                                                 \
		.size = MIB,                                                                                \
		.settle = true,                                                                             \
		.rounds = 5,                                                                                \
	}

WRAPPED(create, "snapfs-create", "Make 10,000 files in a wrapped directory",
	"Empty ones, and one fsync(2) at the end.");
WRAPPED(stat, "snapfs-stat", "Look at 10,000 files in a wrapped directory", "stat(2), right after they were made.");
WRAPPED(write, "snapfs-write", "Write 1 GiB in a wrapped directory",
	"In order, by 1 MiB, with one fsync(2) at the end.");
WRAPPED(read, "snapfs-read", "Read 1 GiB in a wrapped directory", "In order, by 1 MiB, not from the kernel's cache.");
WRAPPED(scattered, "snapfs-random-write", "Write 20,000 scattered pages in a wrapped directory",
	"Of 4 KiB into a file of 1 GiB, with one fsync(2) at the end.");
WRAPPED(scattered_read, "snapfs-random-read", "Read 20,000 scattered pages in a wrapped directory",
	"Of 4 KiB from a file of 1 GiB, not from the kernel's cache.");
WRAPPED(copy, "snapfs-copy", "Copy a tree into a wrapped directory",
	"All of " MOUNTED_TREE ", by cp -r, with one fsync(2) at the end.");

static const struct contender snapshot_ways[] = {
	{.name = "snapfs", .library = true, .start = start_ours, .run = measure_snapshot, .stop = mounted_stop},
	{.name = "copy", .start = start_ours, .run = run_file_copy, .stop = mounted_stop},
};
const struct workload wrapped_snapshot = {
	.id = "snapfs-snapshot",
	.title = "A snapshot of 1 GiB in a wrapped directory",
	.description = "ioctl(2) and open(2), each of 16 in a row, beside a copy.",
	.group = "Wrapped directories",
	POINTS(once),
	CONTENDERS(snapshot_ways),
	.size = MIB,
	.rounds = 11,
};

static const struct contender overwrite_ways[] = {
	{.name = "under a snapshot", .library = true, .start = start_ours, .run = run_kept, .stop = mounted_stop},
	{.name = "without", .start = start_ours, .run = run_plain, .stop = mounted_stop},
};
const struct workload wrapped_overwrite = {
	.id = "snapfs-overwrite",
	.title = "Overwrite 1,000 pages of 1 GiB in a wrapped directory",
	.description = "Each the first time since the snapshot: its old bytes are kept.",
	.group = "Wrapped directories",
	POINTS(once),
	CONTENDERS(overwrite_ways),
	.size = MIB,
	.rounds = 11,
};
