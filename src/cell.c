/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct snapmap_cell: see include/snapmap/cell.h.
 *
 * Readers are read-side sections of liburcu. One thread follows the path and takes new
 * snapshots. Another closes what was replaced, after a grace period: that takes as long as
 * the longest reader, and whoever replaces it may be a reader himself.
 */
#include "config.h"

#include "snapmap/cell.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "handle.h"
#include "overlay.h"
#include "rcu.h"
#include "retire.h"
#include "snapmap/map.h"
#include "sys.h"

#define QUIET_NS 10000000u   /* after the last change */
#define BURST_NS 100000000u  /* after the first */
#define RETRY_MS 50	     /* what was fuzzy */
#define LOOK_MS 1000	     /* where nothing can be watched */
#define RECENT_NS 3000000000 /* times may be that coarse */
#define FIRST_TRIES 20

/* A snapshot that was replaced. */
struct old {
	struct old *next;
	struct snapmap *map;
};

/**
 * struct snapmap_cell
 * @current: what readers get
 * @path: absolute
 * @options: of each snapshot; @tmpdir is its own
 * @lock: over what follows; held while a snapshot is taken
 * @stamp: the file as it was right before @current was taken
 * @old: to be closed
 * @has_old: there is something in @old, or @stop is set
 * @wake: a pipe; a byte in it: look at @stop
 * @retry: the last attempt may go well without a further change
 */
struct snapmap_cell {
	struct snapmap *current;
	char *path;
	struct snapmap_options options;
	char *tmpdir;
	unsigned depth;
	pthread_t follower, closer;
	bool has_threads;
	pthread_mutex_t lock;
	pthread_cond_t has_old;
	struct stamp stamp;
	struct cell_watch watch;
	struct old *old;
	int wake[2];
	atomic_bool stop;
	bool retry;
	struct snapmap_cell_info info;
};

/* ---- readers ---- */

const struct snapmap *snapmap_cell_enter(struct snapmap_cell *c)
{
	const struct snapmap *map;

	rcu_read_lock();
	map = rcu_dereference(c->current);
	rcu_found(&c->current);
	return map;
}

void snapmap_cell_leave(struct snapmap_cell *c)
{
	(void)c;
	rcu_read_unlock();
}

/* ---- a new snapshot, under the lock ---- */

/* Whether the one that is shown is of this very file, which nobody has opened for writing since. */
static bool is_unchanged(const struct snapmap_cell *c, const struct stat *st)
{
	struct snapmap_info info;

	return c->current && c->stamp.dev == st->st_dev && c->stamp.ino == st->st_ino &&
	       !snapmap_get_info(c->current, &info) && !info.error &&
	       (info.lease == SNAPMAP_LEASE_HELD || info.source == SNAPMAP_SOURCE_IMMUTABLE);
}

/* Some file systems never tell whether a file changed while it was copied: then two copies have to be the same. */
static int check_rest(struct snapmap_cell *c, const struct snapmap *map)
{
	struct snapmap *again = NULL;
	struct snapmap_info info;
	bool same;
	int rc = snapmap_get_info(map, &info);

	if (rc || info.consistency != SNAPMAP_CONSISTENCY_FUZZY)
		return rc;
	rc = snapmap_open(c->path, &c->options, &again);
	if (rc)
		return rc;
	same = snapmap_size(map) == snapmap_size(again) &&
	       !memcmp(snapmap_data(map), snapmap_data(again), snapmap_size(map));
	snapmap_close(again);
	if (same)
		return 0;
	c->retry = true;
	return error_set(-EBUSY, "follow", "it is being written to all the time");
}

static int check(struct snapmap_cell *c, const struct snapmap *map)
{
	int rc = check_rest(c, map);

	if (!rc && c->options.validate) {
		rc = c->options.validate(c->options.validate_arg, map);
		if (rc) {
			c->info.rejected++;
			/* The callback may have used the library. */
			error_begin(c->path);
			rc = error_set(rc < 0 ? rc : -EBADMSG, "use", "the program's own check refused it");
		}
	}
	return rc;
}

/* Without memory for it, it stays for ever. */
static void put_aside(struct snapmap_cell *c, struct snapmap *map)
{
	struct old *old = map ? (struct old *)malloc(sizeof(*old)) : NULL;

	if (!old)
		return;
	*old = (struct old){c->old, map};
	c->old = old;
	c->info.waiting++;
	pthread_cond_signal(&c->has_old);
}

static void publish(struct snapmap_cell *c, struct snapmap *map)
{
	struct snapmap *before = c->current;

	rcu_publish(&c->current);
	rcu_assign_pointer(c->current, map);
	c->info.published++;
	put_aside(c, before);
}

static int take(struct snapmap_cell *c)
{
	struct snapmap *map = NULL;
	struct stat st;
	int rc;

	c->retry = false;
	error_begin(c->path);
	/* First, so that nothing that happens later is missed. */
	cell_watch_follow(&c->watch, c->path);
	c->info.watched = c->watch.complete;
	rc = sys_fstatat(AT_FDCWD, c->path, 0, &st);
	if (rc)
		return error_set(rc, "open", NULL);
	if (is_unchanged(c, &st))
		return 0;
	rc = snapmap_open(c->path, &c->options, &map);
	if (!rc)
		rc = check(c, map);
	if (rc) {
		snapmap_close(map);
		return rc;
	}
	stamp_of(&st, &c->stamp);
	publish(c, map);
	return 0;
}

static int refresh(struct snapmap_cell *c)
{
	uint64_t rejected = c->info.rejected;
	int rc = take(c);

	c->info.error = rc;
	if (rc && rejected == c->info.rejected)
		c->info.failed++;
	return rc;
}

int snapmap_cell_refresh(struct snapmap_cell *c)
{
	int rc;

	error_begin(c ? c->path : "(null)");
	if (!c)
		return error_set(-EINVAL, "refresh", "the cell must not be NULL");
	if (fork_depth() != c->depth)
		return error_set(-ESTALE, "refresh", "it is that of the parent: a child of fork() opens its own");
	pthread_mutex_lock(&c->lock);
	rc = refresh(c);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- the thread ---- */

/* Takes what is in the pipe. False: the cell is being closed. */
static bool take_wakes(struct snapmap_cell *c)
{
	char buf[64];

	while (sys_read(c->wake[0], buf, sizeof(buf)) > 0)
		;
	return !atomic_load(&c->stop);
}

static bool take_changes(struct snapmap_cell *c)
{
	bool any;

	pthread_mutex_lock(&c->lock);
	any = cell_watch_take(&c->watch);
	pthread_mutex_unlock(&c->lock);
	return any;
}

/* Until nothing has happened for a while. False: the cell is being closed. */
static bool wait_for_quiet(struct snapmap_cell *c)
{
	uint64_t begin = sys_now_ns(), last = begin;

	for (;;) {
		uint64_t now = sys_now_ns(), until = last + QUIET_NS;

		if (until > begin + BURST_NS)
			until = begin + BURST_NS;
		if (now >= until)
			return true;
		if ((sys_wait_two(c->watch.fd, c->wake[0], (int)((until - now) / 1000000) + 1) & 2) && !take_wakes(c))
			return false;
		if (take_changes(c))
			last = sys_now_ns();
	}
}

static uint64_t ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

/* For what cannot be watched. What has just changed may have changed again within one step of the clock. */
static bool looks_changed(struct snapmap_cell *c)
{
	struct timespec now;
	struct stamp stamp;
	struct stat st;
	bool changed;

	if (sys_fstatat(AT_FDCWD, c->path, 0, &st))
		return false;
	stamp_of(&st, &stamp);
	sys_now(&now);
	pthread_mutex_lock(&c->lock);
	changed = !stamp_same(&stamp, &c->stamp) || ns_of(&now) - ns_of(&stamp.ctime) < (uint64_t)RECENT_NS;
	pthread_mutex_unlock(&c->lock);
	return changed;
}

static int patience(struct snapmap_cell *c)
{
	int ms;

	pthread_mutex_lock(&c->lock);
	ms = c->retry ? RETRY_MS : c->watch.complete ? -1 : LOOK_MS;
	pthread_mutex_unlock(&c->lock);
	return ms;
}

static void *follow(void *arg)
{
	struct snapmap_cell *c = (struct snapmap_cell *)arg;
	bool go_on = true;

	sys_thread_name("snapmap-cell");
	while (go_on) {
		int ms = patience(c), ready = sys_wait_two(c->watch.fd, c->wake[0], ms);
		bool changed;

		if (ready & 2)
			go_on = take_wakes(c);
		changed = go_on && take_changes(c);
		if (changed)
			go_on = wait_for_quiet(c);
		else if (go_on && !ready && ms >= 0)
			changed = ms == RETRY_MS || looks_changed(c);
		if (go_on && changed) {
			pthread_mutex_lock(&c->lock);
			refresh(c);
			pthread_mutex_unlock(&c->lock);
		}
	}
	return NULL;
}

/* ---- the thread that closes ---- */

static void close_all(struct old *old)
{
	while (old) {
		struct old *next = old->next;

		snapmap_close(old->map);
		free(old);
		old = next;
	}
}

/* In a child of fork() others may wait, for ever, for what they waited for in the parent. */
static void free_cell(struct snapmap_cell *c, bool child)
{
	close_all(c->old);
	snapmap_close(c->current);
	cell_watch_close(&c->watch);
	close_fd(&c->wake[0]);
	close_fd(&c->wake[1]);
	if (!child) {
		pthread_cond_destroy(&c->has_old);
		pthread_mutex_destroy(&c->lock);
	}
	free(c->tmpdir);
	free(c->path);
	free(c);
}

/* Under the lock: what is to be closed; NULL: nothing any more. */
static struct old *take_old(struct snapmap_cell *c, uint64_t *ret_count)
{
	struct old *old;

	while (!c->old && !atomic_load(&c->stop))
		pthread_cond_wait(&c->has_old, &c->lock);
	old = c->old;
	c->old = NULL;
	*ret_count = c->info.waiting;
	return old;
}

/* Ends, and frees the cell, when it is closed. */
static void *close_old(void *arg)
{
	struct snapmap_cell *c = (struct snapmap_cell *)arg;
	struct old *old;
	uint64_t count;

	sys_thread_name("snapmap-closer");
	pthread_mutex_lock(&c->lock);
	while ((old = take_old(c, &count))) {
		pthread_mutex_unlock(&c->lock);
		retire_wait();
		close_all(old);
		retire_go_on();
		pthread_mutex_lock(&c->lock);
		c->info.waiting -= count;
	}
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->follower, NULL);
	free_cell(c, false);
	return NULL;
}

/* ---- coming and going ---- */

static int make_path(const char *path, char **ret)
{
	char cwd[PATH_MAX];
	size_t n = strlen(path), above = 0;
	int rc = 0;

	if (path[0] != '/') {
		cleanup_fd int fd = sys_openat(AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0);

		rc = fd < 0 ? fd : sys_fd_path(fd, cwd, sizeof(cwd));
		above = rc ? 0 : strlen(cwd);
	}
	if (rc)
		return rc;
	*ret = (char *)malloc(above + n + 2);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, cwd, above);
	if (above)
		(*ret)[above++] = '/';
	memcpy(*ret + above, path, n + 1);
	return 0;
}

static int prepare(struct snapmap_cell *c, const char *path, const struct snapmap_options *options,
		   const struct options *o)
{
	int rc = make_path(path, &c->path);

	if (rc)
		return rc;
	c->options.size = sizeof(c->options);
	if (options) {
		c->options.flags = o->flags;
		c->options.source = o->source;
		c->options.lease_limit = o->lease_limit;
		c->options.validate = o->validate;
		c->options.validate_arg = o->validate_arg;
	}
	if (o->tmpdir) {
		c->tmpdir = strdup(o->tmpdir);
		if (!c->tmpdir)
			return -ENOMEM;
		c->options.tmpdir = c->tmpdir;
	}
	rc = sys_pipe(c->wake);
	if (rc)
		return rc;
	sys_set_nonblock(c->wake[0]);
	sys_set_nonblock(c->wake[1]);
	cell_watch_open(&c->watch);
	return 0;
}

/* It has to be a good one. */
static int take_first(struct snapmap_cell *c)
{
	int rc = refresh(c);

	for (unsigned tries = 1; rc && c->retry && tries < FIRST_TRIES; tries++) {
		sys_sleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000});
		rc = refresh(c);
	}
	return rc;
}

static int start(struct snapmap_cell *c)
{
	int rc = sys_thread_start(follow, c, &c->follower);

	if (rc)
		return rc;
	rc = sys_thread_start(close_old, c, &c->closer);
	if (!rc)
		return 0;
	atomic_store(&c->stop, true);
	sys_write(c->wake[1], "", 1);
	pthread_join(c->follower, NULL);
	return rc;
}

int snapmap_cell_open(const char *path, const struct snapmap_options *options, struct snapmap_cell **ret)
{
	struct snapmap_cell *c;
	struct options o;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "follow", "path and result must not be NULL");
	rc = options_read(options, &o);
	if (rc)
		return rc;
	c = (struct snapmap_cell *)calloc(1, sizeof(*c));
	if (!c)
		return error_set(-ENOMEM, "follow", NULL);
	c->wake[0] = c->wake[1] = c->watch.fd = -1;
	c->depth = fork_depth();
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->has_old, NULL);
	rc = prepare(c, path, options, &o);
	if (rc)
		error_set(rc, "follow", NULL);
	else
		rc = take_first(c);
	if (!rc) {
		rc = start(c);
		if (rc)
			error_set(rc, "start a thread for", NULL);
	}
	if (rc) {
		free_cell(c, false);
		return rc;
	}
	c->has_threads = true;
	*ret = c;
	return 0;
}

int snapmap_cell_get_info(struct snapmap_cell *c, struct snapmap_cell_info *ret)
{
	error_begin(c ? c->path : "(null)");
	if (!c || !ret)
		return error_set(-EINVAL, "describe", "cell and result must not be NULL");
	pthread_mutex_lock(&c->lock);
	*ret = c->info;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/*
 * Within a read-side section, of another cell, nobody is waited for: it may be this very
 * section whose end they wait for. In a child of fork() there are no threads.
 */
void snapmap_cell_close(struct snapmap_cell *c)
{
	pthread_t closer;

	if (!c)
		return;
	if (!c->has_threads || fork_depth() != c->depth) {
		free_cell(c, true);
		return;
	}
	closer = c->closer;
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->stop, true);
	sys_write(c->wake[1], "", 1);
	pthread_cond_signal(&c->has_old);
	pthread_mutex_unlock(&c->lock);
	if (rcu_read_ongoing())
		pthread_detach(closer);
	else
		pthread_join(closer, NULL);
}
