/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One handle for long: edit some pages, commit, edit other pages, commit ... Only the
 * commit is timed. The baselines go on from commit to commit as a handle does, so that
 * all have files of the same shape; they check for no conflict, keep no attributes,
 * and have no way back.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

/* @map: of the library; @base, @image, @file: of the baselines; @aged: the commits before have been made */
struct state {
	const struct job *job;
	struct snapmap_mut *map;
	bool aged;
	char *base;
	int image, file;
	uint64_t random;
	uint64_t pages[];
};

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	snapmap_mut_close(s->map);
	if (s->base)
		munmap(s->base, s->job->size);
	if (s->image >= 0)
		close(s->image);
	if (s->file >= 0)
		close(s->file);
	free(s);
}

/* Opens, and makes the commits that do not count. */
static int start_with(const struct job *job, int (*open_state)(struct state *s), void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));
	double unused;
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->image = s->file = -1;
	rc = open_state(s);
	for (unsigned i = 0; !rc && i < job->before; i++)
		rc = job->stopped() ? -ECANCELED : job->contender->run(s, &unused);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

static int edit(struct state *s, char *base)
{
	int rc = pages_pick(s->job, &s->random, s->pages);

	if (!rc)
		pages_edit(base, s->pages, s->job->count, s->random);
	return rc;
}

/* ---- the library ---- */

static int open_library(struct state *s)
{
	return snapmap_mut_open(s->job->path, NULL, &s->map);
}

static int start_library(const struct job *job, void **ret)
{
	return start_with(job, open_library, ret);
}

static int run_library(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = s->job->contender->strategy};
	int rc = edit(s, (char *)snapmap_mut_data(s->map));
	double begin = clock_now();

	if (!rc)
		rc = snapmap_mut_commit(s->map, &options);
	*ret = clock_now() - begin;
	return rc;
}

/* ---- by system calls ---- */

static int timed(void *state, int (*publish)(const struct state *s), double *ret)
{
	struct state *s = (struct state *)state;
	int rc = edit(s, s->base);
	double begin = clock_now();

	if (!rc)
		rc = publish(s);
	*ret = clock_now() - begin;
	return rc;
}

static int open_file(struct state *s)
{
	s->file = bare_check(open(s->job->path, O_RDWR | O_CLOEXEC));
	return s->file < 0 ? s->file : 0;
}

static int open_image(struct state *s, int mapping)
{
	int rc = open_file(s);

	if (rc)
		return rc;
	s->image = bare_image(s->job->dir, s->job->path, bare_clone);
	if (s->image < 0)
		return s->image;
	return bare_map(s->image, s->job->size, PROT_READ | PROT_WRITE, mapping | MAP_NORESERVE, &s->base);
}

static int open_private(struct state *s)
{
	return open_image(s, MAP_PRIVATE);
}

static int open_shared(struct state *s)
{
	return open_image(s, MAP_SHARED);
}

/* Without an image: for those who write the file anew, or write to it. */
static int open_plain(struct state *s)
{
	int rc = open_file(s);

	return rc ? rc : bare_map(s->file, s->job->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, &s->base);
}

static int start_private(const struct job *job, void **ret)
{
	return start_with(job, open_private, ret);
}

static int start_shared(const struct job *job, void **ret)
{
	return start_with(job, open_shared, ret);
}

static int start_plain(const struct job *job, void **ret)
{
	return start_with(job, open_plain, ret);
}

static int drop_pages(const struct state *s)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < s->job->count; i++)
		rc = bare_check(madvise(s->base + s->pages[i] * PAGE, PAGE, MADV_DONTNEED));
	return rc;
}

/* A nameless file that can be given a name. */
static int new_version(const struct state *s)
{
	return bare_check(open(s->job->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
}

/* Takes @fd, of which @rc is what became of its content. */
static int publish(const struct state *s, int fd, int rc)
{
	if (!rc)
		rc = bare_check(fsync(fd));
	if (!rc)
		rc = bare_publish(fd, s->job->dir, s->job->path);
	close(fd);
	return rc;
}

static int by_replace(const struct state *s)
{
	int rc = bare_write_pages(s->image, s->base, s->pages, s->job->count), fd;

	if (rc)
		return rc;
	fd = new_version(s);
	rc = fd < 0 ? fd : publish(s, fd, bare_clone(s->image, fd));
	return rc ? rc : drop_pages(s);
}

static int by_clone(const struct state *s)
{
	int rc = bare_write_pages(s->image, s->base, s->pages, s->job->count);

	if (!rc)
		rc = bare_clone(s->image, s->file);
	if (!rc)
		rc = bare_check(fsync(s->file));
	return rc ? rc : drop_pages(s);
}

/* All bytes are written again. The pages stay in memory: it is where the content is. */
static int by_rewriting(const struct state *s)
{
	int fd = new_version(s);

	return fd < 0 ? fd : publish(s, fd, bare_write_all(fd, s->base, s->job->size));
}

static int in_place(const struct state *s)
{
	int rc = bare_write_pages(s->file, s->base, s->pages, s->job->count);

	return rc ? rc : bare_check(fsync(s->file));
}

/* The mapping is shared, so the image has the edits already. */
static int by_cloning_back(const struct state *s)
{
	int rc = bare_check(msync(s->base, s->job->size, MS_SYNC));

	if (!rc)
		rc = bare_clone(s->image, s->file);
	return rc ? rc : bare_check(fsync(s->file));
}

/* ioctl_xfs_commit_range(2); the headers of the distribution may be older. */
struct commit_range {
	__s32 file1_fd;
	__u32 pad;
	__u64 file1_offset, file2_offset, length, flags, file2_freshness[6];
};
#define START_COMMIT _IOR('X', 130, struct commit_range)
#define COMMIT_RANGE _IOW('X', 131, struct commit_range)
#define DSYNC_AND_WRITTEN (1ULL << 1 | 1ULL << 3)

static int by_exchange(const struct state *s)
{
	uint64_t first = s->pages[0] * PAGE, end = (s->pages[s->job->count - 1] + 1) * PAGE;
	struct commit_range range = {.file1_offset = first, .file2_offset = first, .length = end - first};
	int fd = bare_private(s->job->dir), rc;

	if (fd < 0)
		return fd;
	/* The size first: writes behind the end cost the kernel more. */
	rc = bare_check(ftruncate(fd, (off_t)s->job->size));
	if (!rc)
		rc = bare_write_pages(fd, s->base, s->pages, s->job->count);
	if (!rc)
		rc = bare_check(ioctl(s->file, START_COMMIT, &range));
	range.file1_fd = fd;
	range.file1_offset = range.file2_offset = first;
	range.length = end - first;
	range.flags = DSYNC_AND_WRITTEN;
	if (!rc)
		rc = bare_check(ioctl(s->file, COMMIT_RANGE, &range));
	close(fd);
	return rc;
}

/* Edited pages are only where the bytes come from: they go, or else memory fills up. */
static int timed_and_dropped(void *state, int (*publish_it)(const struct state *s), double *ret)
{
	struct state *s = (struct state *)state;
	int rc = timed(s, publish_it, ret);

	return rc ? rc : bare_check(madvise(s->base, s->job->size, MADV_DONTNEED));
}

static int run_replace(void *state, double *ret)
{
	return timed(state, by_replace, ret);
}

static int run_clone(void *state, double *ret)
{
	return timed(state, by_clone, ret);
}

static int run_rewriting(void *state, double *ret)
{
	return timed(state, by_rewriting, ret);
}

static int run_in_place(void *state, double *ret)
{
	return timed_and_dropped(state, in_place, ret);
}

static int run_cloning_back(void *state, double *ret)
{
	return timed(state, by_cloning_back, ret);
}

static int run_exchange(void *state, double *ret)
{
	return timed_and_dropped(state, by_exchange, ret);
}

/* ---- contenders ---- */

#define RUN(open_it, function) .start = (open_it), .run = (function), .stop = stop
#define BY_LIBRARY(strategy) SNAPMAP_STRATEGY_##strategy, RUN(start_library, run_library)

#define EXCHANGE                                                         \
	{                                                                \
		"snapmap, exchange", true, NULL, 0, BY_LIBRARY(EXCHANGE) \
	}
#define REPLACE                                                        \
	{                                                              \
		"snapmap, replace", true, NULL, 0, BY_LIBRARY(REPLACE) \
	}
#define CLONE                                                                    \
	{                                                                        \
		"snapmap, clone", true, "not crash-atomic", 0, BY_LIBRARY(CLONE) \
	}
#define JOURNAL                                                                                                 \
	{                                                                                                       \
		"snapmap, journal", true, "atomic only for readers through the library", 0, BY_LIBRARY(JOURNAL) \
	}

#define BARE_REWRITE                                                                     \
	{                                                                                \
		"write all, fsync, rename", false, NULL, RUN(start_plain, run_rewriting) \
	}
#define BARE_REPLACE                                                                                                   \
	{                                                                                                              \
		"pwrite, FICLONE, fsync, rename", false, NULL, SNAPMAP_SOURCE_REFLINK, RUN(start_private, run_replace) \
	}
#define BARE_IN_PLACE                                                                         \
	{                                                                                     \
		"pwrite in place, fsync", false, "not atomic", RUN(start_plain, run_in_place) \
	}
#define BARE_CLONE                                                                                   \
	{                                                                                            \
		"pwrite, FICLONE into it, fsync", false, "not crash-atomic", SNAPMAP_SOURCE_REFLINK, \
			RUN(start_private, run_clone)                                                \
	}
#define BARE_CRATE                                                                             \
	{                                                                                      \
		"msync, clone back, fsync", false, "not crash-atomic", SNAPMAP_SOURCE_REFLINK, \
			RUN(start_shared, run_cloning_back)                                    \
	}
#define BARE_EXCHANGE                                                                                               \
	{                                                                                                           \
		"pwrite, COMMIT_RANGE", false, NULL, 0, SNAPMAP_STRATEGY_EXCHANGE, RUN(start_private, run_exchange) \
	}

static const struct contender committers[] = {EXCHANGE,	    REPLACE,	  CLONE,	 JOURNAL,
					      BARE_REWRITE, BARE_REPLACE, BARE_IN_PLACE, BARE_CRATE};

/* ---- workloads ---- */

#define CRATE_TOLD "The last baseline is the way of the Rust crate mmap_snapshot."

static const struct point dirty[] = {STANDARD(1), FULL(10), STANDARD(100), FULL(1000), STANDARD(10000), FULL(100000)};

const struct workload commit_dirty = {
	.id = "commit-dirty",
	.title = "Commit to a file of 512 MiB and go on, by pages edited",
	.description = "Commits of one handle, one after the other; each edits so many pages all over the "
		       "file. " CRATE_TOLD,
	.group = "Commit",
	.axis = AXIS_DIRTY,
	POINTS(dirty),
	CONTENDERS(committers),
	.size = 512 * MIB,
	.own_files = true,
	.settle = true,
};

static const struct point sizes[] = {QUICK(MIB),	  FULL(16 * MIB), QUICK(64 * MIB),
				     STANDARD(256 * MIB), FULL(GIB),	  FULL(4 * GIB)};

const struct workload commit_size = {
	.id = "commit-size",
	.title = "Commit 16 pages and go on, by size",
	.description = "As commit-dirty.",
	.group = "Commit",
	.axis = AXIS_SIZE,
	POINTS(sizes),
	CONTENDERS(committers),
	.count = 16,
	.own_files = true,
	.settle = true,
};

/* Those that keep holes. */
static const struct contender sparing[] = {EXCHANGE, REPLACE, CLONE, JOURNAL, BARE_REPLACE, BARE_IN_PLACE, BARE_CRATE};
static const struct point sparse_sizes[] = {FULL(64 * MIB), FULL(GIB), STANDARD(4 * GIB)};

const struct workload commit_sparse = {
	.id = "commit-sparse",
	.title = "Commit 16 pages to a file that is one hole and go on, by size",
	.description = "As commit-dirty, for files without a block on the disk at first.",
	.group = "Commit",
	.axis = AXIS_SIZE,
	POINTS(sparse_sizes),
	CONTENDERS(sparing),
	.sparse = true,
	.count = 16,
	.own_files = true,
	.settle = true,
};

static const struct point extents[] = {FULL(100), STANDARD(1000), FULL(10000), FULL(50000)};

const struct workload commit_extents = {
	.id = "commit-extents",
	.title = "Commit 16 pages and go on, by extents",
	.description = "As commit-dirty, for files of so many blocks with a hole between each two.",
	.group = "Commit",
	.axis = AXIS_EXTENTS,
	POINTS(extents),
	CONTENDERS(committers),
	.count = 16,
	.own_files = true,
	.settle = true,
};

/* ---- after many commits ---- */

/* What the commits before have left costs whoever opens the file. */
static int run_open(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_REFLINK};
	struct snapmap *map = NULL;
	double begin = clock_now();
	int rc = snapmap_open(s->job->path, &options, &map);

	*ret = clock_now() - begin;
	snapmap_close(map);
	return rc;
}

/* Only the commits before the first round are commits. */
static int run_until_aged(void *state, double *ret)
{
	struct state *s = (struct state *)state;

	return s->aged ? run_open(state, ret) : run_library(state, ret);
}

static int start_aged(const struct job *job, void **ret)
{
	int rc = start_library(job, ret);

	if (!rc)
		((struct state *)*ret)->aged = true;
	return rc;
}

#define OPEN_AFTER(strategy)                                                                         \
	{                                                                                            \
		"snapmap, reflink", true, NULL, SNAPMAP_SOURCE_REFLINK, SNAPMAP_STRATEGY_##strategy, \
			RUN(start_aged, run_until_aged)                                              \
	}

/* As nobody asked for a strategy. */
static const struct contender agers[] = {{"snapmap", true, NULL, 0, BY_LIBRARY(AUTO)}};
static const struct contender openers[] = {OPEN_AFTER(AUTO)};
static const struct point once[] = {FULL(0)};

#define AFTER(variable, name, what, who, commits)                                                       \
	const struct workload variable = {                                                              \
		.id = (name),                                                                           \
		.title = what " a file of 256 MiB after " #commits " commits of 16 pages",              \
		.description = "Each of these commits has edited other pages. The bound on extents is " \
			       "what keeps the cost from growing.",                                     \
		.group = "Commit",                                                                      \
		POINTS(once),                                                                           \
		CONTENDERS(who),                                                                        \
		.size = 256 * MIB,                                                                      \
		.count = 16,                                                                            \
		.before = (commits),                                                                    \
		.own_files = true,                                                                      \
		.settle = true,                                                                         \
		.rounds = 31,                                                                           \
	}

AFTER(commit_young, "commit-young", "Commit 16 pages to", agers, 50);
AFTER(commit_aged, "commit-aged", "Commit 16 pages to", agers, 10000);
AFTER(open_young, "open-young", "Open", openers, 50);
AFTER(open_aged, "open-aged", "Open", openers, 10000);

/* ---- against the bare calls ---- */

#define BARE_GROUP "Against the bare calls"

static const struct contender exchangers[] = {EXCHANGE, BARE_EXCHANGE, BARE_CRATE};
static const struct point exchange_dirty[] = {{1, LEVEL_STANDARD, 1.3}, FULL(10),    FULL(100),
					      STANDARD(1000),		FULL(10000), FULL(100000)};

const struct workload bare_exchange = {
	.id = "bare-exchange",
	.title = "Commit by exchange, 512 MiB, by pages edited",
	.description = "Commits of one handle, beside the system calls for an exchange. " CRATE_TOLD,
	.group = BARE_GROUP,
	.axis = AXIS_DIRTY,
	POINTS(exchange_dirty),
	CONTENDERS(exchangers),
	.size = 512 * MIB,
	.own_files = true,
	.bar_applies = place_has_exchange,
};

static const struct contender aged[] = {EXCHANGE, BARE_CRATE, BARE_EXCHANGE};
static const struct point aged_bar[] = {{0, LEVEL_FULL, 0.333}};

const struct workload bare_exchange_aged = {
	.id = "bare-exchange-aged",
	.title = "Commit 1000 pages by exchange, 512 MiB, after 20 such commits",
	.description =
		"As bare-exchange, on a file that has many extents by then. The bar is for the way of the crate.",
	.group = BARE_GROUP,
	POINTS(aged_bar),
	CONTENDERS(aged),
	.size = 512 * MIB,
	.count = 1000,
	.before = 20,
	.own_files = true,
	.bar_applies = place_has_exchange,
};

static const struct contender replacers[] = {REPLACE, BARE_REPLACE};
static const struct point pair_bar[] = {{0, LEVEL_FULL, 1.3}};

const struct workload bare_replace = {
	.id = "bare-replace",
	.title = "Commit 16 pages by replace, 1 GiB",
	.description = "Commits of one handle, beside the system calls for it.",
	.group = BARE_GROUP,
	POINTS(pair_bar),
	CONTENDERS(replacers),
	.size = GIB,
	.count = 16,
	.own_files = true,
	.rounds = 31,
	.bar_applies = place_has_reflink,
};

static const struct contender cloners[] = {CLONE, BARE_CLONE};

const struct workload bare_clone_into = {
	.id = "bare-clone",
	.title = "Commit 16 pages by clone, 1 GiB",
	.description = "Commits of one handle, beside the system calls for it.",
	.group = BARE_GROUP,
	POINTS(pair_bar),
	CONTENDERS(cloners),
	.size = GIB,
	.count = 16,
	.own_files = true,
	.rounds = 31,
	.bar_applies = place_has_reflink,
};
