/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How large a file may be so that a private image of it is made in a short time.
 *
 * Asked before a file is leased: whoever wants to write to it then waits until
 * there is an image. Where extents can be shared there is no limit. Else the rate
 * of copying is measured once for each place, with a sample that is read from
 * storage, and there must be room for a copy.
 */
#include "config.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "sys.h"

#define SAMPLE ((uint64_t)4 << 20)
#define SPACE_VALID_NS ((uint64_t)1000000000)

struct place_cost {
	uint64_t key;	   /* 0: free */
	uint64_t limit;	   /* by the rate of copying; UINT64_MAX: extents are shared */
	uint64_t space;	   /* what would fit */
	uint64_t asked_at; /* when, by sys_now_ns() */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place_cost known[64];

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x100000001b3;
}

/* FNV-1a. What decides is the mount, the directory and who may write to it. 0: not to be remembered. */
static uint64_t key_of(const struct imaging_request *r)
{
	uint64_t hash = mix(mix(0xcbf29ce484222325, r->mount), geteuid());

	if (!r->mount || !r->dir)
		return 0;
	for (const char *p = r->dir; *p; p++)
		hash = mix(hash, (unsigned char)*p);
	return hash ? hash : 1;
}

static bool shares_extents(const struct imaging_request *r)
{
	struct private_file_request place = {
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->tmpdir,
		.near = r->st,
	};
	cleanup_fd int fd = -1;
	uint64_t block = (uint64_t)r->st->st_blksize;

	return !private_file_create(&place, &fd) && !file_size_allowed(block) &&
	       !sys_clone_range(r->fd, 0, block, fd, 0);
}

static int create_copy(const struct imaging_request *r, int *ret_fd)
{
	struct private_file_request place = {
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->tmpdir,
	};

	if (!(r->fs->flags & FS_IN_MEMORY) && !file_size_allowed(SAMPLE) && !private_file_create(&place, ret_fd))
		return 0;
	return private_file_memory("snapmap-sample", ret_fd);
}

/* Bytes that can be copied in IMAGING_NS; 0 if none can. */
static uint64_t measure(const struct imaging_request *r)
{
	uint64_t from = (uint64_t)r->st->st_size / 2 / SAMPLE * SAMPLE, start, took, written;
	cleanup_fd int fd = -1;
	struct sparse_copy copy = {.from = r->fd, .by_buffer = true};

	if (create_copy(r, &fd))
		return 0;
	copy.to = fd;
	sys_forget_pages(r->fd, from, SAMPLE);
	start = sys_now_ns();
	if (sparse_copy_range(&copy, from, SAMPLE, 0, &written))
		return 0;
	took = sys_now_ns() - start;
	return SAMPLE * (IMAGING_NS / (took / 1024 + 1)) / 1024;
}

static uint64_t space_for(const struct imaging_request *r)
{
	uint64_t space = 0, memory = sys_memory_size();

	if (r->fs->flags & FS_IN_MEMORY)
		return memory / 4;
	sys_fs_space(r->fd, &space);
	space /= 2;
	return space > memory / 8 ? space : memory / 8;
}

static void find_out(const struct imaging_request *r, struct place_cost *cost)
{
	uint64_t now = sys_now_ns();

	if (!cost->limit)
		cost->limit = shares_extents(r) ? UINT64_MAX : measure(r);
	if (cost->limit != UINT64_MAX && (!cost->asked_at || now - cost->asked_at > SPACE_VALID_NS)) {
		cost->space = space_for(r);
		cost->asked_at = now;
	}
}

/*
 * Quiet. UINT64_MAX: extents are shared. @ret_space: what would fit where they are
 * not. A thread that finds the lock taken does without memory: in a child of
 * fork() it may be taken for good.
 */
void imaging_limit(const struct imaging_request *r, uint64_t *ret_limit, uint64_t *ret_space)
{
	uint64_t key = key_of(r);
	struct place_cost alone = {0}, *cost = &alone;
	bool locked = key && !pthread_mutex_trylock(&lock);

	if (locked) {
		cost = &known[key % 64];
		if (cost->key != key)
			*cost = (struct place_cost){.key = key};
	}
	find_out(r, cost);
	*ret_limit = cost->limit;
	*ret_space = cost->space;
	if (locked)
		pthread_mutex_unlock(&lock);
}
