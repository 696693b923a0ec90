/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directory trees as data structures, beside the calls that read directories and files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/files.h"
#include "bench/workloads.h"

#define DIRS 1000u /* in 10 that hold 100 each */
#define TOUCHES 200u
#define LOOKUPS 1000u

/**
 * struct state - one contender
 * @root: of the files; @files in each of DIRS directories, of @bytes each
 * @tree: opened by some contenders beforehand
 */
struct state {
	const struct job *job;
	char root[PATH_MAX - 64];
	unsigned files, bytes;
	struct snapmap_tree *tree;
	unsigned turn;
};

static void path_of(const struct state *s, unsigned dir, unsigned file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%u/%02u/file-%04u", s->root, dir / 100, dir % 100, file);
}

static int make_file(const char *path, unsigned n)
{
	int fd = bare_check(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), rc = 0;

	if (fd < 0)
		return fd;
	for (unsigned at = 0; !rc && at < n; at += 16)
		rc = write(fd, "sixteen bytes .\n", 16) == 16 ? 0 : -EIO;
	close(fd);
	return rc;
}

static int make_dir(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

static int make_dirs(const struct state *s, unsigned dir)
{
	char path[PATH_MAX];
	int rc;

	snprintf(path, sizeof(path), "%s/%u", s->root, dir / 100);
	rc = make_dir(path);
	snprintf(path, sizeof(path), "%s/%u/%02u", s->root, dir / 100, dir % 100);
	return rc ? rc : make_dir(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	snapmap_tree_close(s->tree);
	nftw(s->root, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	free(s);
}

static int start(const struct job *job, unsigned files, unsigned bytes, void **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s));
	char path[PATH_MAX];
	int rc;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->files = files;
	s->bytes = bytes;
	snprintf(s->root, sizeof(s->root), "%.3900s/tree.%ld", job->dir, (long)getpid());
	rc = make_dir(s->root);
	for (unsigned dir = 0; !rc && dir < DIRS; dir++) {
		rc = make_dirs(s, dir);
		for (unsigned file = 0; !rc && file < files; file++) {
			path_of(s, dir, file, path);
			rc = make_file(path, bytes);
		}
		if (!rc && job->stopped && job->stopped())
			rc = -ECANCELED;
	}
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* 100 in each: 100,000 files. */
static int start_many(const struct job *job, void **ret)
{
	return start(job, 100, 0, ret);
}

static int start_few(const struct job *job, void **ret)
{
	return start(job, 1, 4096, ret);
}

/* By AUTO a snapshot of the whole would come first, where there is one. */
static int open_tree_of(struct state *s, bool whole, struct snapmap_tree **ret)
{
	struct snapmap_options options = {.size = sizeof(options),
					  .source = whole ? SNAPMAP_SOURCE_SUBVOLUME : SNAPMAP_SOURCE_AUTO,
					  .flags = whole ? 0 : SNAPMAP_CROSS_MOUNTS};

	return snapmap_tree_open(s->root, &options, ret);
}

/* ---- opening ---- */

static int open_tree(void *state, bool whole, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_tree *tree;
	double begin = clock_now();
	int rc = open_tree_of(s, whole, &tree);

	*ret = clock_now() - begin;
	if (!rc)
		snapmap_tree_close(tree);
	return rc;
}

static int run_open(void *state, double *ret)
{
	return open_tree(state, false, ret);
}

static int run_open_whole(void *state, double *ret)
{
	return open_tree(state, true, ret);
}

/* ---- walking ---- */

static uint64_t sum_of(const struct snapmap_file *file)
{
	uint64_t sum = file->size + (unsigned char)file->name[0];

	if (file->dir)
		for (size_t i = 0; i < file->dir->nfiles; i++)
			sum += sum_of(&file->dir->files[i]);
	return sum;
}

static int walk_tree(void *state, bool whole, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_tree *tree;
	volatile uint64_t sum;
	double begin = clock_now();
	int rc = open_tree_of(s, whole, &tree);

	if (rc)
		return rc;
	sum = sum_of(snapmap_tree_root(tree));
	(void)sum;
	*ret = clock_now() - begin;
	snapmap_tree_close(tree);
	return 0;
}

static int run_walk(void *state, double *ret)
{
	return walk_tree(state, false, ret);
}

static int run_walk_whole(void *state, double *ret)
{
	return walk_tree(state, true, ret);
}

static uint64_t sum_of_walk;

static int add_up(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)type;
	sum_of_walk += (uint64_t)st->st_size + (unsigned char)path[at->base];
	return 0;
}

static int run_nftw(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double begin = clock_now();
	int rc = nftw(s->root, add_up, 32, FTW_PHYS);

	*ret = clock_now() - begin;
	return rc ? -EIO : 0;
}

/* ---- looking up: six names ---- */

static int start_lookup(const struct job *job, void **ret)
{
	int rc = start(job, 1, 0, ret);
	struct state *s;

	if (rc)
		return rc;
	s = (struct state *)*ret;
	if (job->contender->library)
		rc = open_tree_of(s, false, &s->tree);
	if (!rc && s->tree)
		sum_of(snapmap_tree_root(s->tree));
	if (rc)
		stop(s);
	return rc;
}

static int run_lookup(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	const struct snapmap_file *from = s->tree ? snapmap_file_lookup(snapmap_tree_root(s->tree), "0") : NULL;
	int fd = -1, rc = 0;
	char path[LOOKUPS][64];
	struct stat st;
	double begin;

	/* From one of the ten: down, up, up again, and down to a file. */
	for (unsigned i = 0; i < LOOKUPS; i++) {
		unsigned dir = (s->turn + i * 7) % DIRS;

		snprintf(path[i], sizeof(path[i]), "../%u/../%u/%02u/file-0000", i % 10, dir / 100, dir % 100);
	}
	if (!from) {
		char dir[PATH_MAX];

		snprintf(dir, sizeof(dir), "%s/0", s->root);
		fd = bare_check(open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC));
		if (fd < 0)
			return fd;
	}
	begin = clock_now();
	for (unsigned i = 0; !rc && i < LOOKUPS; i++) {
		if (from)
			rc = snapmap_file_lookup(from, path[i]) ? 0 : -ENOENT;
		else
			rc = bare_check(fstatat(fd, path[i], &st, AT_SYMLINK_NOFOLLOW));
	}
	*ret = (clock_now() - begin) / LOOKUPS;
	if (fd >= 0)
		close(fd);
	s->turn++;
	return rc;
}

/* ---- first bytes ---- */

/* Of files that were never touched in this tree; their names are known. */
static int touch_tree(void *state, bool whole, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap_tree *tree;
	double begin;
	int rc = open_tree_of(s, whole, &tree);

	if (rc)
		return rc;
	sum_of(snapmap_tree_root(tree));
	begin = clock_now();
	for (unsigned i = 0; i < TOUCHES; i++) {
		char path[64];
		const struct snapmap_file *file;

		snprintf(path, sizeof(path), "%u/%02u/file-0000", i * 5 / 100, i * 5 % 100);
		file = snapmap_file_lookup(snapmap_tree_root(tree), path);
		if (!file || !file->contents || *(const volatile char *)file->contents != 's')
			rc = -EIO;
	}
	*ret = (clock_now() - begin) / TOUCHES;
	snapmap_tree_close(tree);
	return rc;
}

static int run_touch(void *state, double *ret)
{
	return touch_tree(state, false, ret);
}

static int run_touch_whole(void *state, double *ret)
{
	return touch_tree(state, true, ret);
}

static int run_mmap(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	char path[PATH_MAX];
	double begin = clock_now();
	int rc = 0;

	for (unsigned i = 0; !rc && i < TOUCHES; i++) {
		struct stat st;
		char *base;
		int fd;

		path_of(s, i * 5, 0, path);
		fd = bare_check(open(path, O_RDONLY | O_CLOEXEC));
		if (fd < 0)
			return fd;
		rc = bare_check(fstat(fd, &st));
		if (!rc)
			rc = bare_map(fd, (uint64_t)st.st_size, PROT_READ, MAP_PRIVATE, &base);
		if (!rc) {
			rc = *(volatile char *)base == 's' ? 0 : -EIO;
			munmap(base, (size_t)st.st_size);
		}
		close(fd);
	}
	*ret = (clock_now() - begin) / TOUCHES;
	return rc;
}

/* ---- workloads ---- */

static const struct contender openers[] = {
	{"snapmap_tree_open", true, NULL, .start = start_many, .run = run_open, .stop = stop},
	{"snapmap_tree_open, of a snapshot", true, NULL, .start = start_many, .run = run_open_whole, .stop = stop},
};
static const struct contender walkers[] = {
	{"tree", true, NULL, .start = start_many, .run = run_walk, .stop = stop},
	{"tree of a snapshot", true, NULL, .start = start_many, .run = run_walk_whole, .stop = stop},
	{"nftw", false, NULL, .start = start_many, .run = run_nftw, .stop = stop},
};
static const struct contender finders[] = {
	{"snapmap_file_lookup", true, NULL, .start = start_lookup, .run = run_lookup, .stop = stop},
	{"fstatat", false, NULL, .start = start_lookup, .run = run_lookup, .stop = stop},
};
static const struct contender touchers[] = {
	{"tree", true, NULL, .start = start_few, .run = run_touch, .stop = stop},
	{"tree of a snapshot", true, NULL, .start = start_few, .run = run_touch_whole, .stop = stop},
	{"open, fstat, mmap, munmap", false, "others change its bytes", .start = start_few, .run = run_mmap,
	 .stop = stop},
};

static const struct point once[] = {{0, LEVEL_STANDARD, 0}};
static const struct point walk_once[] = {{0, LEVEL_STANDARD, 1.5}};
static const struct point touch_once[] = {{0, LEVEL_STANDARD, 3}};

#define TREE(name, the_id, the_title, the_description, the_points, who) \
	const struct workload name = {                                  \
		.id = (the_id),                                         \
		.title = (the_title),                                   \
		.description = (the_description),                       \
		.group = "Trees and cells",                             \
		POINTS(the_points),                                     \
		CONTENDERS(who),                                        \
		.size = MIB,                                            \
	}

TREE(tree_open, "tree-open", "Open a tree of 100,000 files", "Nothing is read by it.", once, openers);
TREE(tree_walk, "tree-walk", "Open a tree of 100,000 files, and look at all names and sizes",
     "In 1,000 directories, in the kernel's caches.", walk_once, walkers);
TREE(tree_lookup, "tree-lookup", "Look up a path of six names", "In directories that were read before.", once, finders);
TREE(tree_touch, "tree-touch", "The first byte of a file of 4 KiB",
     "Of files that were not touched before, in the page cache.", touch_once, touchers);
