/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a place. Making them takes longer than most of what is measured, so
 * each serves all cells that want one of its shape, until its room is needed.
 */
#include "config.h"

#include "bench/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/files.h"

#define FILES 64
#define NOBODY UINT_MAX /* slot of a file that nobody changes */
#define MARGIN (64 * MIB)

struct file {
	struct shape shape;
	unsigned slot;
	uint64_t used; /* when, by the pool's counter; 0: there is none */
	char path[PATH_MAX];
};

struct pool {
	char dir[PATH_MAX - 64];
	bool reflink, trim;
	uint64_t counter, made;
	struct file files[FILES];
};

uint64_t shape_size(const struct shape *shape)
{
	return shape->kind == SHAPE_FRAGMENTED ? (2 * shape->amount - 1) * PAGE : shape->amount;
}

uint64_t shape_room(const struct shape *shape)
{
	if (shape->kind == SHAPE_SPARSE)
		return 0;
	return shape->kind == SHAPE_FRAGMENTED ? shape->amount * PAGE : shape->amount;
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
	return a->kind == b->kind && a->amount == b->amount;
}

int pool_open(const char *dir, bool reflink, bool trim, struct pool **ret)
{
	struct pool *pool = (struct pool *)calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	if ((size_t)snprintf(pool->dir, sizeof(pool->dir), "%s", dir) >= sizeof(pool->dir)) {
		free(pool);
		return -ENAMETOOLONG;
	}
	pool->reflink = reflink;
	pool->trim = trim;
	*ret = pool;
	return 0;
}

void pool_give_back(const struct pool *pool)
{
	struct fstrim_range range = {.len = UINT64_MAX};
	int fd = open(pool->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	syncfs(fd);
	if (pool->trim)
		(void)!ioctl(fd, FITRIM, &range);
	close(fd);
}

static void forget(struct file *f)
{
	if (f->used)
		unlink(f->path);
	f->used = 0;
}

void pool_close(struct pool *pool)
{
	for (size_t i = 0; i < FILES; i++)
		forget(&pool->files[i]);
	free(pool);
}

static struct file *find(struct pool *pool, const struct shape *shape, unsigned slot)
{
	for (size_t i = 0; i < FILES; i++) {
		struct file *f = &pool->files[i];

		if (f->used && f->slot == slot && same_shape(&f->shape, shape))
			return f;
	}
	return NULL;
}

static struct file *oldest_but(struct pool *pool, const struct shape *but)
{
	struct file *oldest = NULL;

	for (size_t i = 0; i < FILES; i++) {
		struct file *f = &pool->files[i];

		if (f->used && !same_shape(&f->shape, but) && (!oldest || f->used < oldest->used))
			oldest = f;
	}
	return oldest;
}

/* An entry for one more; the oldest goes if there is none. */
static struct file *new_file(struct pool *pool, const struct shape *shape, unsigned slot)
{
	struct file *f = NULL;

	for (size_t i = 0; i < FILES && !f; i++)
		if (!pool->files[i].used)
			f = &pool->files[i];
	if (!f)
		f = oldest_but(pool, shape);
	if (!f)
		return NULL;
	forget(f);
	f->shape = *shape;
	f->slot = slot;
	f->used = ++pool->counter;
	snprintf(f->path, sizeof(f->path), "%s/file-%llu", pool->dir, (unsigned long long)++pool->made);
	return f;
}

static int make(const struct file *f, bool (*stopped)(void))
{
	switch (f->shape.kind) {
	case SHAPE_SPARSE:
		return file_make_sparse(f->path, f->shape.amount);
	case SHAPE_FRAGMENTED:
		return file_make_fragmented(f->path, (unsigned)f->shape.amount, stopped);
	default:
		return file_make(f->path, f->shape.amount, stopped);
	}
}

static int finish(struct file *f, int rc, const char **ret)
{
	if (rc)
		forget(f);
	else
		*ret = f->path;
	return rc;
}

int pool_get(struct pool *pool, const struct shape *shape, bool (*stopped)(void), const char **ret)
{
	struct file *f = find(pool, shape, NOBODY);

	if (f) {
		f->used = ++pool->counter;
		*ret = f->path;
		return 0;
	}
	f = new_file(pool, shape, NOBODY);
	return f ? finish(f, make(f, stopped), ret) : -ENOMEM;
}

/* Without reflinks contenders leave no traces but in the bytes, as long as the size is the same. */
static bool is_as_new(const struct pool *pool, const struct file *f)
{
	struct stat st;

	return !pool->reflink && !stat(f->path, &st) && (uint64_t)st.st_size == shape_size(&f->shape);
}

int pool_get_own(struct pool *pool, const struct shape *shape, unsigned slot, bool (*stopped)(void), const char **ret)
{
	struct file *f = find(pool, shape, slot);
	const char *base;
	int rc;

	if (f && is_as_new(pool, f)) {
		f->used = ++pool->counter;
		*ret = f->path;
		return 0;
	}
	if (f)
		forget(f);
	if (pool->reflink) {
		rc = pool_get(pool, shape, stopped, &base);
		if (rc)
			return rc;
	}
	f = new_file(pool, shape, slot);
	if (!f)
		return -ENOMEM;
	return finish(f, pool->reflink ? file_clone(base, f->path) : make(f, stopped), ret);
}

/* Bytes of files of that shape that are still to be made. */
static uint64_t missing(struct pool *pool, const struct shape *shape, unsigned own_files)
{
	uint64_t bytes = 0;

	if ((pool->reflink || !own_files) && !find(pool, shape, NOBODY))
		bytes += shape_room(shape);
	for (unsigned i = 0; i < own_files && !pool->reflink; i++)
		if (!find(pool, shape, i))
			bytes += shape_room(shape);
	return bytes;
}

int pool_make_room(struct pool *pool, const struct place *place, const struct shape *shape, unsigned own_files,
		   uint64_t need, struct why *why)
{
	uint64_t wanted = missing(pool, shape, own_files) + need + MARGIN, room = place_room(place);
	struct file *f;

	while (room < wanted && (f = oldest_but(pool, shape))) {
		forget(f);
		pool_give_back(pool);
		room = place_room(place);
	}
	if (room >= wanted)
		return 0;
	return why_set(why, -ENOSPC, "no room: %llu MiB are needed, %llu MiB are free",
		       (unsigned long long)(wanted / MIB), (unsigned long long)(room / MIB));
}
