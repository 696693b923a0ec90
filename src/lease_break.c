/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A lease breaks: a private image takes the place of the file, under the same
 * addresses, and then the lease is given up. backends/lease.c says why no reader can
 * notice.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "guard.h"
#include "lease.h"
#include "sys.h"

/* Nobody is left who could look at it, or it would come too late. */
static int go_on(void *arg, uint64_t done, uint64_t total)
{
	struct leased *l = (struct leased *)arg;

	(void)done;
	(void)total;
	/* Of the references one is ours. */
	return atomic_load(&l->overdue) || atomic_load(&l->refs) == 1;
}

/* Where the file was opened is forgotten; where it is now is asked. NULL if that is no place for an image. */
static const char *directory_of(int fd, dev_t dev, char *buf, size_t size)
{
	struct stat st;
	char *slash;

	if (sys_fd_path(fd, buf, size) || buf[0] != '/')
		return NULL;
	slash = strrchr(buf, '/');
	slash[slash == buf] = 0;
	return sys_fstatat(AT_FDCWD, buf, 0, &st) || st.st_dev != dev ? NULL : buf;
}

/* -EIO: it does not have the size any more that it was leased with, so its bytes are not what they were. */
static int check_file(const struct leased *l, struct stat *ret)
{
	struct stat st;
	int rc = sys_fstat(lease_fd(l), &st);

	if (rc)
		return rc;
	if ((uint64_t)st.st_size != l->size)
		return -EIO;
	*ret = st;
	return 0;
}

static int make_image(struct leased *l, const struct stat *st, struct image *ret)
{
	struct options options = {.tmpdir = l->tmpdir, .progress = go_on, .progress_arg = l};
	struct source_request request = {
		.fd = l->fd,
		.own_offset = true,
		.dirfd = -1,
		.st = st,
		.fs = l->fs,
		.options = &options,
		.unchanging = true,
	};
	char path[PATH_MAX];
	int rc;

	request.dir = directory_of(l->fd, st->st_dev, path, sizeof(path));
	error_begin("a leased file");
	rc = image_open(&request, ret);
	if (!rc && ret->size != l->size) {
		sys_close(ret->fd);
		return -EIO;
	}
	return rc;
}

static int read_all(struct leased *l, char *to)
{
	const size_t size = (size_t)l->size, most = (size_t)8 << 20;
	size_t piece, got;
	struct stat st;
	int rc = 0;

	for (size_t done = 0; !rc && done < size; done += piece) {
		piece = size - done < most ? size - done : most;
		rc = go_on(l, done, size) ? -ECANCELED : sys_pread_full(l->fd, to + done, piece, done, &got);
		if (!rc && got != piece)
			rc = -EIO;
	}
	return rc ? rc : check_file(l, &st);
}

/* The last resort, without descriptors or disk space. Not for what would fill the memory. */
static int copy_to_memory(struct leased *l, struct stand_in *ret)
{
	size_t size = (size_t)l->size, span = page_up(size);
	void *p;
	int rc;

	if (size > sys_memory_size() / 8)
		return -ENOMEM;
	rc = sys_map(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &p);
	if (rc)
		return rc;
	rc = read_all(l, (char *)p);
	if (!rc)
		rc = sys_protect(p, span, PROT_READ);
	if (rc) {
		sys_unmap(p, span);
		return rc;
	}
	ret->memory = p;
	ret->span = span;
	ret->image.bytes_copied = size;
	return 0;
}

void lease_image(struct leased *l, struct stand_in *ret)
{
	struct stand_in s = {0};
	struct stat st;
	int rc = check_file(l, &st);

	s.image.fd = -1;
	s.error = rc ? rc : make_image(l, &st, &s.image);
	/* Whatever the image failed for, but not a file that has changed. */
	if (!rc && s.error) {
		s.image = (struct image){.fd = -1};
		if (s.error != -ECANCELED && !copy_to_memory(l, &s))
			s.error = 0;
	}
	*ret = s;
}

static void drop_stand_in(struct stand_in *s)
{
	close_fd(&s->image.fd);
	if (s->memory)
		sys_unmap(s->memory, s->span);
}

/*
 * A mapping that serves nothing but being given back: at the limit of
 * vm.max_map_count even replacing a mapping is refused. Set apart, so that the kernel
 * does not merge it with what lies beside it.
 */
static _Atomic(void *) spare;

void lease_keep_spare(void)
{
	void *p, *none = NULL;

	if (atomic_load(&spare) ||
	    sys_map(NULL, sys_page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &p))
		return;
	sys_not_dumped(p, sys_page_size());
	if (!atomic_compare_exchange_strong(&spare, &none, p))
		sys_unmap(p, sys_page_size());
}

bool lease_give_spare(void)
{
	void *p = atomic_exchange(&spare, NULL);

	if (p)
		sys_unmap(p, sys_page_size());
	return p;
}

struct putting {
	const struct stand_in *stand_in;
	char *base;
};

static int put_once(const struct putting *p, size_t offset, size_t length)
{
	const struct stand_in *s = p->stand_in;
	void *mapped;

	if (s->memory)
		return sys_share_mapping((char *)s->memory + offset, length, p->base + offset);
	return sys_map(p->base + offset, length, PROT_READ, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, s->image.fd,
		       offset, &mapped);
}

static int put_run(void *arg, size_t offset, size_t length)
{
	const struct putting *p = (const struct putting *)arg;
	int rc = put_once(p, offset, length);

	if (rc == -ENOMEM && lease_give_spare())
		rc = put_once(p, offset, length);
	return rc;
}

static int put(struct live *live, const struct stand_in *s)
{
	struct putting p = {s, live->mapping.base};
	int rc = guard_put_around(live, put_run, &p);

	lease_keep_spare();
	return rc;
}

void lease_lose(struct live *live, int error)
{
	const struct mapping *m = &live->mapping;
	void *p;

	if (!live->guarded || guard_zero_all(live, error)) {
		atomic_store(&live->error, error);
		if (sys_map(m->base, m->span, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
			    &p))
			sys_protect(m->base, m->span, PROT_NONE);
	}
	atomic_store(&live->lost, true);
}

/* From now on handles leave without the lock: none may be linked to another that is gone by then. */
static void unlink_lives(struct leased *l)
{
	struct live *live, *next;

	cds_list_for_each_entry_safe (live, next, &l->lives, in_file) {
		cds_list_del_init(&live->in_file);
	}
}

void lease_finish(struct leased *l, enum lease_state state)
{
	unlink_lives(l);
	sys_close(lease_fd(l));
	l->fd = -1;
	atomic_store(&l->state, state);
	lease_unload(l->weight);
}

static void lose_all(struct leased *l, int error)
{
	struct live *live;

	cds_list_for_each_entry (live, &l->lives, in_file) {
		lease_lose(live, error);
	}
}

/*
 * Whether the file stood still up to now only giving the lease up can tell. -EACCES: it
 * is no longer ours to give up, since the file's owner or ours has changed; closing
 * the descriptor does it then, and the keeper has seen to the time.
 */
static bool was_held(const struct leased *l)
{
	int rc = sys_lease_end(lease_fd(l));

	return !rc || rc == -EACCES;
}

/* Returns what became of the bytes. */
static enum lease_state exchange(struct leased *l, const struct stand_in *s)
{
	struct live *live;
	int rc;

	if (atomic_load(&l->overdue)) {
		lease_leave_table(l);
		return LEASE_LOST;
	}
	cds_list_for_each_entry (live, &l->lives, in_file) {
		rc = s->error ? s->error : put(live, s);
		if (rc)
			lease_lose(live, rc);
	}
	/* Before the writer goes on: the next open of the file is to make an entry of its own. */
	lease_leave_table(l);
	if (!was_held(l) && !s->error) {
		lose_all(l, -ETIMEDOUT);
		return LEASE_LOST;
	}
	return s->error ? LEASE_LOST : LEASE_IMAGED;
}

/* All in one go: whoever closes a handle then finds no descriptor left. */
void lease_exchange(struct leased *l, struct stand_in *s)
{
	enum lease_state state;

	lease_close_gate();
	pthread_mutex_lock(&l->lock);
	state = exchange(l, s);
	l->bytes_copied = s->image.bytes_copied;
	l->extents = s->image.extents;
	drop_stand_in(s);
	lease_finish(l, state);
	pthread_mutex_unlock(&l->lock);
	lease_open_gate();
	lease_watch_leave();
	lease_put(l);
}

/* If nobody serves it, it ends here. Else the one who does finds it overdue. */
void lease_give_up(struct leased *l)
{
	bool ended = false;
	int state;

	pthread_mutex_lock(&l->lock);
	state = atomic_load(&l->state);
	if (state == LEASE_HELD && sys_lease_held(lease_fd(l))) {
		l->broken_at = 0;
	} else if ((state == LEASE_HELD || state == LEASE_BREAKING) && !atomic_load(&l->overdue)) {
		lose_all(l, -ETIMEDOUT);
		sys_lease_end(lease_fd(l));
		atomic_store(&l->overdue, true);
		ended = state == LEASE_HELD;
		if (ended) {
			lease_finish(l, LEASE_LOST);
			lease_leave_table(l);
		}
	}
	pthread_mutex_unlock(&l->lock);
	if (ended)
		lease_watch_leave();
}
