/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All snapshots, by their tokens, from the request to the last descriptor. The kernel may
 * know the number of one for longer; then it is a file that cannot be opened any more.
 */
#include "config.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/fuse/jobs.h"
#include "wrapper.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *tokens;
/* Those that nobody has opened yet, the oldest first. */
static struct snapshot *waiting, **waiting_end = &waiting;

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct snapshot *)a)->token, ((const struct snapshot *)b)->token);
}

/* With the lock. */
static void begin_waiting(struct snapshot *s)
{
	clock_gettime(CLOCK_MONOTONIC, &s->born);
	s->waiting = waiting_end;
	*waiting_end = s;
	waiting_end = &s->next_waiting;
}

static void end_waiting(struct snapshot *s)
{
	if (!s->waiting)
		return;
	*s->waiting = s->next_waiting;
	if (s->next_waiting)
		s->next_waiting->waiting = s->waiting;
	else
		waiting_end = s->waiting;
	s->waiting = NULL;
	s->next_waiting = NULL;
}

static int add_token(struct snapshot *s)
{
	bool added;

	pthread_mutex_lock(&lock);
	added = tsearch(s, &tokens, compare) != NULL;
	if (added)
		begin_waiting(s);
	pthread_mutex_unlock(&lock);
	if (added)
		jobs_wake();
	return added ? 0 : -ENOMEM;
}

/* @ret gets all but the token. */
static int fill(struct snapshot *s, struct file *file, const struct wish *wish, struct snapfs_snapshot *ret)
{
	struct stat st;
	int rc = token_make(s->token);

	if (!rc)
		rc = file_stat(file, &st);
	if (rc)
		return rc;
	*ret = protocol_clip(wish->offset, wish->length, (uint64_t)st.st_size);
	s->offset = ret->offset;
	s->size = ret->size;
	s->times[0] = st.st_atim;
	s->times[1] = st.st_mtim;
	s->times[2] = st.st_ctim;
	rc = history_add(file, s);
	if (rc)
		return rc;
	s->alive = true;
	rc = add_token(s);
	if (rc)
		history_remove(s);
	return rc;
}

int snapshot_make(struct file *file, const struct wish *wish, struct snapfs_snapshot *ret)
{
	struct snapshot *s = (struct snapshot *)calloc(1, sizeof(*s));
	int rc = s ? user_enter(wish->uid, &s->user) : -ENOMEM;

	if (rc) {
		free(s);
		return rc;
	}
	s->node.kind = KIND_SNAPSHOT;
	s->home = file;
	s->gid = wish->gid;
	rc = fill(s, file, wish, ret);
	if (rc) {
		user_leave(s->user);
		free(s);
		return rc;
	}
	file_hold(file);
	memcpy(ret->token, s->token, sizeof(ret->token));
	return 0;
}

struct snapshot *snapshot_lookup(const char *token)
{
	struct snapshot key, *const *found = NULL, *s;

	if (strlen(token) != 32)
		return NULL;
	memcpy(key.token, token, 33);
	pthread_mutex_lock(&lock);
	found = (struct snapshot *const *)tfind(&key, &tokens, compare);
	s = found ? *found : NULL;
	if (s) {
		s->lookups++;
	}
	pthread_mutex_unlock(&lock);
	return s;
}

bool snapshot_open(struct snapshot *s)
{
	bool opened;

	pthread_mutex_lock(&lock);
	opened = s->alive;
	if (opened) {
		s->opens++;
		end_waiting(s);
	}
	pthread_mutex_unlock(&lock);
	return opened;
}

/* With the lock; nobody finds it any more. */
static void end(struct snapshot *s)
{
	s->alive = false;
	end_waiting(s);
	tdelete(s, &tokens, compare);
}

static void give_back(struct snapshot *s)
{
	pthread_rwlock_wrlock(&s->home->lock);
	if (s->file)
		history_remove(s);
	pthread_rwlock_unlock(&s->home->lock);
	user_leave(s->user);
	/* The kernel may know the snapshot for longer, and a deleted file would not go. */
	file_forget(s->home, 1);
	s->home = NULL;
}

/*
 * The kernel keeps the inode as long as its name, which it gives up only when memory is short:
 * so the pages at least are taken from it. Nobody has it open, so they are not in use.
 */
static void drop_pages(void *arg)
{
	struct snapshot *s = (struct snapshot *)arg;

	fuse_lowlevel_notify_inval_inode(wrapper.session, (fuse_ino_t)(uintptr_t)s, 0, 0);
	snapshot_forget(s, 1);
}

void snapshot_release(struct snapshot *s)
{
	bool last;

	pthread_mutex_lock(&lock);
	last = !--s->opens;
	if (last) {
		end(s);
		s->lookups++;
	}
	pthread_mutex_unlock(&lock);
	if (!last)
		return;
	give_back(s);
	/* Its number is nobody else's until then. */
	if (!job_add(drop_pages, s))
		snapshot_forget(s, 1);
}

void snapshot_forget(struct snapshot *s, uint64_t n)
{
	bool gone;

	pthread_mutex_lock(&lock);
	s->lookups -= n;
	gone = !s->lookups && !s->alive && !s->opens;
	pthread_mutex_unlock(&lock);
	if (gone)
		free(s);
}

static bool is_due(const struct snapshot *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - s->born.tv_sec >= SNAPFS_PATIENCE;
}

/* One lookup of ours keeps it until it is given back. */
static struct snapshot *take_due(bool *ret_more)
{
	struct snapshot *s;

	pthread_mutex_lock(&lock);
	s = waiting;
	*ret_more = s != NULL;
	if (s && !is_due(s))
		s = NULL;
	if (s) {
		end(s);
		s->lookups++;
	}
	pthread_mutex_unlock(&lock);
	return s;
}

bool snapshots_expire(void)
{
	struct snapshot *s;
	bool more;

	while ((s = take_due(&more))) {
		give_back(s);
		snapshot_forget(s, 1);
	}
	return more;
}

void snapshot_stat(const struct snapshot *s, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = (ino_t)(s->number | (uint64_t)1 << 63),
		.st_mode = S_IFREG | 0400,
		.st_uid = s->user->uid,
		.st_gid = s->gid,
		.st_size = (off_t)s->size,
		.st_blocks = (blkcnt_t)((s->size + 511) / 512),
		.st_blksize = BLOCK,
		.st_atim = s->times[0],
		.st_mtim = s->times[1],
		.st_ctim = s->times[2],
	};
}

ssize_t snapshot_read(struct snapshot *s, char *to, size_t size, uint64_t offset)
{
	int rc = -EIO;

	if (offset >= s->size)
		return 0;
	if (size > s->size - offset)
		size = s->size - offset;
	pthread_rwlock_rdlock(&s->home->lock);
	if (s->file && !atomic_load(&s->lost))
		rc = history_read(s, to, size, offset);
	pthread_rwlock_unlock(&s->home->lock);
	return rc ? rc : (ssize_t)size;
}

off_t snapshot_seek(struct snapshot *s, off_t offset, int whence)
{
	off_t at = -1;

	pthread_rwlock_rdlock(&s->home->lock);
	errno = EIO;
	if (s->file && !atomic_load(&s->lost))
		at = history_seek(s, offset, whence);
	pthread_rwlock_unlock(&s->home->lock);
	return at;
}

void snapshot_state(const struct snapshot *s, struct snapfs_state *ret)
{
	*ret = (struct snapfs_state){
		.version = SNAPFS_VERSION,
		.flags = atomic_load(&s->lost) ? SNAPFS_LOST : 0,
		.offset = s->offset,
		.size = s->size,
		.kept = atomic_load(&s->kept_bytes),
	};
	memcpy(ret->token, s->token, sizeof(ret->token));
}
