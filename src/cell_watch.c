/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Following a path: each directory on the way is watched for the one name in it that
 * matters, and so is each directory that a link leads through; and the file for changes
 * of its bytes. Where a name is missing its directory is the last.
 */
#include "config.h"

#include "cell.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "base.h"
#include "sys.h"

#define LINKS_MAX 40 /* as the kernel */
#define OF_DIR \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define OF_FILE (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

void cell_watch_open(struct cell_watch *w)
{
	*w = (struct cell_watch){.fd = sys_inotify_open()};
	if (w->fd < 0)
		w->fd = -1;
}

void cell_watch_close(struct cell_watch *w)
{
	close_fd(&w->fd);
	free(w->marks);
	w->marks = NULL;
	w->n = w->capacity = 0;
}

/* ---- marks ---- */

static void add(struct cell_watch *w, const char *path, uint32_t mask, const char *name)
{
	struct cell_mark mark = {.watch = sys_inotify_add(w->fd, path, mask)};

	if (w->n == w->capacity) {
		size_t capacity = w->capacity ? w->capacity * 2 : 16;
		void *marks = realloc(w->marks, capacity * sizeof(*w->marks));

		if (!marks) {
			w->complete = false;
			return;
		}
		w->marks = (struct cell_mark *)marks;
		w->capacity = capacity;
	}
	if (mark.watch < 0) {
		/* It is gone again: that was noticed where its name is. */
		if (mark.watch != -ENOENT && mark.watch != -ENOTDIR)
			w->complete = false;
		return;
	}
	strncpy(mark.name, name, sizeof(mark.name) - 1);
	w->marks[w->n++] = mark;
}

static bool has_watch(const struct cell_mark *marks, size_t n, int watch)
{
	for (size_t i = 0; i < n; i++)
		if (marks[i].watch == watch)
			return true;
	return false;
}

/* The first @old of the marks are from before. */
static void drop_old(struct cell_watch *w, size_t old)
{
	for (size_t i = 0; i < old; i++)
		if (!has_watch(w->marks + old, w->n - old, w->marks[i].watch) &&
		    !has_watch(w->marks, i, w->marks[i].watch))
			sys_inotify_remove(w->fd, w->marks[i].watch);
	w->n -= old;
	if (w->n)
		memmove(w->marks, w->marks + old, w->n * sizeof(*w->marks));
}

/* ---- the way ---- */

/* @at: the directory that was reached, no links in it; "" is the root. @rest: what is still to be gone. */
struct way {
	char at[PATH_MAX];
	char rest[PATH_MAX * 2];
};

/* Puts a link's target in place of the name that was taken. */
static bool follow(struct way *way, const char *target)
{
	char rest[sizeof(way->rest)];
	size_t n = strlen(target), more = strlen(way->rest);

	if (n + 1 + more >= sizeof(rest))
		return false;
	memcpy(rest, target, n);
	rest[n] = '/';
	memcpy(rest + n + 1, way->rest, more + 1);
	memcpy(way->rest, rest, n + 1 + more + 1);
	if (target[0] == '/')
		way->at[0] = 0;
	return true;
}

static void leave(struct way *way)
{
	char *slash = strrchr(way->at, '/');

	if (slash)
		*slash = 0;
}

/* The next name, or false. */
static bool take_name(struct way *way, char name[CELL_NAME_MAX])
{
	const char *p = way->rest + strspn(way->rest, "/");
	size_t n = strcspn(p, "/");

	if (!n || n >= CELL_NAME_MAX)
		return false;
	memcpy(name, p, n);
	name[n] = 0;
	memmove(way->rest, p + n, strlen(p + n) + 1);
	return true;
}

/* Goes to the name, and tells what is there. False: nothing is. */
static bool enter(struct way *way, const char *name, struct sys_entry *ret)
{
	size_t at = strlen(way->at), n = strlen(name);

	if (at + 1 + n >= sizeof(way->at))
		return false;
	way->at[at] = '/';
	memcpy(way->at + at + 1, name, n + 1);
	return !sys_look(AT_FDCWD, way->at, ret);
}

static void walk(struct cell_watch *w, struct way *way)
{
	char name[CELL_NAME_MAX], target[PATH_MAX];
	unsigned links = 0;

	while (take_name(way, name)) {
		struct sys_entry e;

		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			leave(way);
			continue;
		}
		add(w, way->at[0] ? way->at : "/", OF_DIR, name);
		if (!enter(way, name, &e))
			return;
		if (!S_ISLNK(e.mode))
			continue;
		if (++links > LINKS_MAX || sys_readlink(AT_FDCWD, way->at, target, sizeof(target)))
			return;
		leave(way);
		if (!follow(way, target))
			return;
	}
	add(w, way->at, OF_FILE, "");
}

/* Changes made elsewhere are not told. */
static bool is_local(const char *path)
{
	cleanup_fd int fd = sys_openat(AT_FDCWD, path, O_PATH, 0);

	return fd < 0 || (fs_traits_of(fd)->flags & (FS_LOCAL | FS_LAYERED));
}

void cell_watch_follow(struct cell_watch *w, const char *path)
{
	struct way *way = (struct way *)malloc(sizeof(*way));
	size_t old = w->n, n = strlen(path);

	w->complete = w->fd >= 0 && way && n < sizeof(way->rest) && is_local(path);
	if (w->fd >= 0 && way && n < sizeof(way->rest)) {
		way->at[0] = 0;
		memcpy(way->rest, path, n + 1);
		walk(w, way);
		drop_old(w, old);
	}
	free(way);
}

/* ---- what happens ---- */

static bool matters(const struct cell_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	for (size_t i = 0; i < w->n; i++) {
		const struct cell_mark *mark = &w->marks[i];

		if (mark->watch != e->wd)
			continue;
		if (!e->len || !e->name[0] || !strcmp(mark->name, e->name))
			return true;
	}
	return false;
}

bool cell_watch_take(struct cell_watch *w)
{
	char buf[4096] __attribute__((aligned(8)));
	bool any = false;
	ssize_t got;

	while (w->fd >= 0 && (got = sys_read(w->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < got;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);

			any |= matters(w, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	return any;
}
