/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in the image of a mini file system, by the library and without a mount, beside
 * the host's own calls for the same.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <minifs.h>
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

#define NAMES 100000u
#define LOOKUPS 1000u
#define LARGE ((uint64_t)1 << 40)
#define FILE_IN_IMAGE "/file"
#define COPY_IN_IMAGE "/copy"

/* @directory: of the host, with as many names */
struct state {
	const struct job *job;
	struct minifs *fs;
	char image[PATH_MAX], other[PATH_MAX], directory[PATH_MAX];
	uint64_t random;
};

static void stop(void *state)
{
	struct state *s = (struct state *)state;

	minifs_close(s->fs);
	unlink(s->image);
	unlink(s->other);
	free(s);
}

static int begin(const struct job *job, struct state **ret)
{
	struct state *s = (struct state *)calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->random = 1;
	snprintf(s->image, sizeof(s->image), "%.2000s/image", job->dir);
	snprintf(s->other, sizeof(s->other), "%.2000s/other", job->dir);
	snprintf(s->directory, sizeof(s->directory), "%.2000s/names", job->dir);
	*ret = s;
	return 0;
}

static int start_bare(const struct job *job, void **ret)
{
	return begin(job, (struct state **)ret);
}

/* ---- an image ---- */

static int make_image(struct state *s, uint64_t size)
{
	const struct minifs_format_options options = {
		.size = sizeof(options),
		.flags = MINIFS_FORMAT_FORCE,
		.bytes = size,
		.inodes = size == LARGE ? 0 : 2 * NAMES,
	};
	int rc = minifs_format(s->image, &options);

	return rc ? rc : minifs_open(s->image, 0, &s->fs);
}

static int start_image(const struct job *job, uint64_t size, int (*fill)(struct state *s), void **ret)
{
	struct state *s;
	int rc = begin(job, &s);

	if (rc)
		return rc;
	rc = make_image(s, size);
	if (!rc)
		rc = fill(s);
	if (rc)
		stop(s);
	else
		*ret = s;
	return rc;
}

/* ---- a large file ---- */

static int fill_with_file(struct state *s)
{
	char *bytes = (char *)malloc(MIB);
	int rc = bytes ? minifs_create(s->fs, FILE_IN_IMAGE, 0644) : -ENOMEM;

	if (bytes)
		memset(bytes, 1, MIB);
	for (uint64_t at = 0; !rc && at < s->job->size; at += MIB) {
		rc = minifs_pwrite(s->fs, FILE_IN_IMAGE, bytes, MIB, at) == (ssize_t)MIB ? 0 : -EIO;
		if (!rc && s->job->stopped && s->job->stopped())
			rc = -ECANCELED;
	}
	free(bytes);
	return rc ? rc : minifs_sync(s->fs);
}

static int start_file(const struct job *job, void **ret)
{
	return start_image(job, 2 * job->size, fill_with_file, ret);
}

static int run_clone(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	int rc = minifs_clone(s->fs, FILE_IN_IMAGE, COPY_IN_IMAGE);

	*ret = clock_now() - start;
	return rc ? rc : minifs_unlink(s->fs, COPY_IN_IMAGE);
}

static int run_clone_bare(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	int from = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC));
	int to = bare_check(open(s->other, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
	int rc = from < 0 ? from : to < 0 ? to : bare_clone(from, to);

	*ret = clock_now() - start;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	unlink(s->other);
	return rc;
}

static int run_map(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	struct snapmap *map = NULL;
	double start = clock_now();
	int rc = minifs_map(s->fs, FILE_IN_IMAGE, NULL, &map);

	*ret = clock_now() - start;
	snapmap_close(map);
	return rc;
}

static int run_map_bare(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	int fd = bare_check(open(s->job->path, O_RDONLY | O_CLOEXEC));
	char *base = NULL;
	int rc = fd < 0 ? fd : bare_map(fd, s->job->size, PROT_READ, MAP_SHARED, &base);

	*ret = clock_now() - start;
	if (!rc)
		munmap(base, s->job->size);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- a directory of many names ---- */

static void some_name(const char *directory, unsigned i, char *ret, size_t capacity)
{
	snprintf(ret, capacity, "%.2000s/file-%u", directory, i);
}

static int fill_with_names(struct state *s)
{
	int rc = minifs_mkdir(s->fs, "/names", 0755);

	for (unsigned i = 0; !rc && i < NAMES; i++) {
		char path[64];

		some_name("/names", i, path, sizeof(path));
		rc = minifs_create(s->fs, path, 0644);
	}
	return rc ? rc : minifs_sync(s->fs);
}

static int start_names(const struct job *job, void **ret)
{
	return start_image(job, GIB, fill_with_names, ret);
}

static void stop_names_bare(void *state)
{
	struct state *s = (struct state *)state;

	for (unsigned i = 0; i < NAMES; i++) {
		char path[PATH_MAX];

		some_name(s->directory, i, path, sizeof(path));
		unlink(path);
	}
	rmdir(s->directory);
	stop(s);
}

static int start_names_bare(const struct job *job, void **ret)
{
	struct state *s;
	int rc = begin(job, &s);

	if (rc)
		return rc;
	rc = bare_check(mkdir(s->directory, 0755));
	for (unsigned i = 0; !rc && i < NAMES; i++) {
		char path[PATH_MAX];

		some_name(s->directory, i, path, sizeof(path));
		rc = bare_check(mknod(path, S_IFREG | 0644, 0));
	}
	if (rc)
		stop_names_bare(s);
	else
		*ret = s;
	return rc;
}

/* The mean of a few, for one is too short for the clock. */
static int run_lookup(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	struct stat st;
	int rc = 0;

	for (unsigned i = 0; !rc && i < LOOKUPS; i++) {
		char path[PATH_MAX];

		some_name(s->fs ? "/names" : s->directory, (unsigned)(file_random(&s->random) % NAMES), path,
			  sizeof(path));
		rc = s->fs ? minifs_stat(s->fs, path, 0, &st) : bare_check(stat(path, &st));
	}
	*ret = (clock_now() - start) / LOOKUPS;
	return rc;
}

/* ---- a large image ---- */

static int fill_with_nothing(struct state *s)
{
	minifs_close(s->fs);
	s->fs = NULL;
	return 0;
}

static int start_large(const struct job *job, void **ret)
{
	return start_image(job, LARGE, fill_with_nothing, ret);
}

static int run_open(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	int rc = minifs_open(s->image, 0, &s->fs);

	*ret = clock_now() - start;
	minifs_close(s->fs);
	s->fs = NULL;
	return rc;
}

static int run_open_bare(void *state, double *ret)
{
	struct state *s = (struct state *)state;
	double start = clock_now();
	int fd = bare_check(open(s->image, O_RDWR | O_CLOEXEC));
	char *base = NULL;
	int rc = fd < 0 ? fd : bare_map(fd, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, &base);

	*ret = clock_now() - start;
	if (!rc)
		munmap(base, LARGE);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- what is measured ---- */

static const struct point once[] = {FULL(0)};

#define IMAGE(variable, the_id, the_title, the_description, bytes, who) \
	const struct workload variable = {                              \
		.id = the_id,                                           \
		.title = the_title,                                     \
		.description = the_description,                         \
		.group = "Files in an image",                           \
		POINTS(once),                                           \
		CONTENDERS(who),                                        \
		.size = bytes,                                          \
		.settle = true,                                         \
	}

static const struct contender cloners[] = {
	{.name = "minifs_clone", .library = true, .start = start_file, .run = run_clone, .stop = stop},
	{.name = "FICLONE", .source = SNAPMAP_SOURCE_REFLINK, .start = start_bare, .run = run_clone_bare, .stop = stop},
};
static const struct contender mappers[] = {
	{.name = "minifs_map", .library = true, .start = start_file, .run = run_map, .stop = stop},
	{.name = "open, mmap", .start = start_bare, .run = run_map_bare, .stop = stop},
};
static const struct contender finders[] = {
	{.name = "minifs_stat", .library = true, .start = start_names, .run = run_lookup, .stop = stop},
	{.name = "stat", .start = start_names_bare, .run = run_lookup, .stop = stop_names_bare},
};
static const struct contender openers[] = {
	{.name = "minifs_open", .library = true, .start = start_large, .run = run_open, .stop = stop},
	{.name = "open, mmap", .start = start_large, .run = run_open_bare, .stop = stop},
};

IMAGE(in_image_clone, "image-clone", "Clone a file of 1 GiB in an image", "The same of a file of the host beside it.",
      GIB, cloners);
IMAGE(in_image_map, "image-map", "Map a file of 1 GiB in an image", "Written in order, so it lies in one piece.", GIB,
      mappers);
IMAGE(in_image_lookup, "image-lookup", "Look up a name among 100,000 in an image",
      "With its attributes, at random; the host's names are in its cache.", MIB, finders);
IMAGE(in_image_open, "image-open", "Open an image of 1 TiB", "For writing; it has holes nearly everywhere.", MIB,
      openers);
