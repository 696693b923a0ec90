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

#include "base.h"
#include "sys.h"

#define SAMPLE ((uint64_t)4 << 20)
#define SPACE_VALID_NS ((uint64_t)1000000000)

/* What is known of a directory, and of a mount. Key 0: nothing. */
struct known_sharing {
	uint64_t key;
	bool shares;
};

struct known_rate {
	uint64_t key;
	uint64_t limit;
	uint64_t space;
	uint64_t asked_at; /* for the space, by sys_now_ns() */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known_sharing sharing[256];
static struct known_rate rates[64];

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x100000001b3;
}

/* FNV-1a. Who asks matters, for not everybody may write everywhere. */
static uint64_t key_of_mount(const struct imaging_request *r)
{
	uint64_t hash = mix(mix(0xcbf29ce484222325, r->mount), sys_geteuid());

	return hash ? hash : 1;
}

static uint64_t key_of_directory(const struct imaging_request *r)
{
	uint64_t hash = key_of_mount(r);
	struct stat st;

	if (r->dirfd >= 0 && !sys_fstat(r->dirfd, &st))
		hash = mix(mix(hash, st.st_ino), st.st_dev);
	for (const char *p = r->dirfd < 0 && r->dir ? r->dir : ""; *p; p++)
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
	if (sparse_copy_range(&copy, from, SAMPLE, 0, &written) || written != SAMPLE)
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

static bool does_share(const struct imaging_request *r)
{
	uint64_t key = key_of_directory(r);
	struct known_sharing *k = &sharing[key % 256];

	if (k->key != key)
		*k = (struct known_sharing){.key = key, .shares = shares_extents(r)};
	return k->shares;
}

static const struct known_rate *rate_of(const struct imaging_request *r)
{
	uint64_t key = key_of_mount(r), now = sys_now_ns();
	struct known_rate *k = &rates[key % 64];

	if (k->key != key)
		*k = (struct known_rate){.key = key};
	/* What could not be measured is measured again. */
	if (!k->limit)
		k->limit = measure(r);
	if (!k->asked_at || now - k->asked_at > SPACE_VALID_NS) {
		k->space = space_for(r);
		k->asked_at = now;
	}
	return k;
}

/*
 * Quiet. UINT64_MAX: extents are shared. @ret_space: what would fit where they are
 * not. Whoever finds the lock taken gets 0, that is, no lease: others are measuring
 * just now, or this is a child of fork() where it is taken for good.
 */
void imaging_limit(const struct imaging_request *r, uint64_t *ret_limit, uint64_t *ret_space)
{
	*ret_limit = *ret_space = 0;
	if (pthread_mutex_trylock(&lock))
		return;
	if (does_share(r)) {
		*ret_limit = UINT64_MAX;
	} else {
		const struct known_rate *k = rate_of(r);

		*ret_limit = k->limit;
		*ret_space = k->space;
	}
	pthread_mutex_unlock(&lock);
}
