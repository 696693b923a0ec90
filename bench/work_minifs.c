/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mounted image of a mini file system beside ext4 in a file, mounted by fuse2fs: both
 * are programs behind FUSE, with an image on the place that is measured. Only root may
 * do that, and only with both programs installed.
 */
#include "config.h"

#include <unistd.h>

#include "bench/mounted.h"
#include "bench/tool.h"

#define IMAGE_SIZE "1600M" /* what is freed stays in the file: so it does not grow beyond that */
#define INODES "40000"

static int run_both(const struct mounted *s, const char *const first[], const char *const second[])
{
	int rc = tool_run(first, NULL, s->job->why);

	return rc ? rc : tool_run(second, NULL, s->job->why);
}

static int mount_ours(const struct mounted *s)
{
	const char *const mkfs[] = {"mkfs.minifs", "-q", "-i", INODES, s->below, IMAGE_SIZE, NULL};
	const char *const mount[] = {"mount.minifs", s->below, s->mount, NULL};

	return run_both(s, mkfs, mount);
}

static int mount_theirs(const struct mounted *s)
{
	const char *const mkfs[] = {"mkfs.ext4", "-q", "-F", "-N", INODES, s->below, IMAGE_SIZE, NULL};
	const char *const mount[] = {"fuse2fs", s->below, s->mount, "-o", "fakeroot", NULL};

	return run_both(s, mkfs, mount);
}

static int unmount_ours(const struct mounted *s)
{
	const char *const umount[] = {"umount.minifs", s->mount, NULL};
	struct why why;

	return tool_run(umount, NULL, &why);
}

static void remove_image(const struct mounted *s)
{
	unlink(s->below);
}

static int start_ours(const struct job *job, void **ret)
{
	static const char *const programs[] = {"mkfs.minifs", "mount.minifs", NULL};
	static const struct mounted_kind kind = {"minifs", programs, mount_ours, unmount_ours, remove_image};

	return mounted_start(job, &kind, ret);
}

static int start_theirs(const struct job *job, void **ret)
{
	static const char *const programs[] = {"mkfs.ext4", "fuse2fs", NULL};
	static const struct mounted_kind kind = {"ext4", programs, mount_theirs, NULL, remove_image};

	return mounted_start(job, &kind, ret);
}

static const struct point once[] = {FULL(0)};

#define MOUNTED(what, the_id, the_title, the_description)                                                    \
	static const struct contender what##_servers[] = {                                                   \
		{.name = "mount.minifs",                                                                     \
		 .library = true,                                                                            \
		 .start = start_ours,                                                                        \
		 .run = mounted_run_##what,                                                                  \
		 .stop = mounted_stop},                                                                      \
		{.name = "fuse2fs", .start = start_theirs, .run = mounted_run_##what, .stop = mounted_stop}, \
	};                                                                                                   \
	const struct workload mounted_##what = {                                                             \
		.id = the_id,                                                                                \
		.title = the_title,                                                                          \
		.description = the_description,                                                              \
		.group = "Mounted images",                                                                   \
		POINTS(once),                                                                                \
		CONTENDERS(what##_servers),                                                                  \
		.size = MIB,                                                                                 \
		.settle = true,                                                                              \
		.rounds = 5,                                                                                 \
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
	"All of " MOUNTED_TREE ", by cp -r, with one fsync(2) at the end.");
