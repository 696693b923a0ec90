/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of commits by journal share: edits, crashes, and looks at what is left. */
#ifndef SNAPMAP_TESTS_JOURNALING_H
#define SNAPMAP_TESTS_JOURNALING_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "committing.h"
#include "journal_marker.h"

#define PAGE ((size_t)4096)
#define PAGES ((size_t)24)
#define SIZE_MAX_HERE (2 * PAGES * PAGE)

/* Kinds of edits. */
enum edit {
	EDIT_PAGES,
	EDIT_GROW,
	EDIT_CUT,
	EDIT_CUT_AND_GROW,
	EDITS
};

static inline size_t new_size_of(enum edit e)
{
	switch (e) {
	case EDIT_GROW:
		return PAGES * PAGE + 5 * PAGE + 17;
	case EDIT_CUT:
		return PAGES * PAGE - 7 * PAGE - 5;
	default:
		return PAGES * PAGE;
	}
}

/* Old and new version, in memory. */
struct versions {
	enum edit edit;
	unsigned char old[SIZE_MAX_HERE], new[SIZE_MAX_HERE];
	size_t old_size, new_size;
};

static inline void make_versions(struct versions *v, enum edit e)
{
	memset(v, 0, sizeof(*v));
	v->edit = e;
	v->old_size = PAGES * PAGE;
	v->new_size = new_size_of(e);
	test_fill(v->old, v->old_size, 1);
	memcpy(v->new, v->old, v->old_size);
	if (e == EDIT_CUT_AND_GROW)
		memset(v->new + 9 * PAGE + 100, 0, SIZE_MAX_HERE - 9 * PAGE - 100);
	memset(v->new + (v->new_size < v->old_size ? v->new_size : v->old_size), 0, PAGE);
	for (size_t at = 0; at < v->new_size; at += 3 * PAGE)
		v->new[at] ^= 0x55;
}

static inline int edit_handle(struct snapmap_mut *map, const struct versions *v)
{
	int rc = v->edit == EDIT_CUT_AND_GROW ? snapmap_mut_resize(map, 9 * PAGE + 100) : 0;

	if (!rc)
		rc = snapmap_mut_resize(map, v->new_size);
	for (size_t at = 0; !rc && at < v->new_size; at += 3 * PAGE)
		((unsigned char *)snapmap_mut_data(map))[at] = v->new[at];
	return rc;
}

static inline int commit_by_journal(struct snapmap_mut *map, uint32_t flags)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = flags, .strategy = SNAPMAP_STRATEGY_JOURNAL};

	return snapmap_mut_commit(map, &o);
}

/* No attributes of users, or a file system that is not local: nothing to test. */
static inline bool row_journals(void)
{
	struct snapmap_probe probe;
	bool works = false;

	ck_ok(snapmap_probe(".", &probe));
	for (uint32_t i = 0; i < probe.nstrategies; i++)
		works |= probe.strategies[i].id == SNAPMAP_STRATEGY_JOURNAL && !probe.strategies[i].error;
	return works;
}

#define need_journals()                                                 \
	do {                                                            \
		if (!row_journals())                                    \
			test_skip("no commits by journal on this row"); \
		if (!watch_works())                                     \
			test_skip("system calls cannot be watched");    \
	} while (0)

static inline bool is_applying(const char *path)
{
	struct journal_marker m = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && journal_marker_get(fd, &m))
		m.applying = false;
	close(fd);
	return m.applying;
}

/* Journals in a directory. */
static inline size_t count_journals(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	ck_assert(dir != NULL);
	for (struct dirent *d; (d = readdir(dir));)
		n += strstr(d->d_name, ".journal") != NULL;
	closedir(dir);
	return n;
}

/* Of a file whose commit was cut off. */
static inline void journal_of(const char *path, char name[JOURNAL_NAME_SIZE])
{
	struct journal_marker m;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(journal_marker_get(fd, &m), 0);
	close(fd);
	ck_assert(m.applying);
	journal_name(m.number, name);
}

/**
 * struct crash - a process that is killed before one of its system calls
 * @path: the file that it works on
 * @run: the work, within watch_on() and watch_off()
 * @versions: for @run
 * @at: which call, from 0 on
 * @applied: count only writes to a file that is marked
 */
struct crash {
	const char *path;
	int (*run)(void *arg);
	const struct versions *versions;
	int at, count;
	bool applied;
};

static inline int die_at(void *arg, const struct seccomp_data *call)
{
	struct crash *c = arg;

	if (c->applied && (call->nr != SYS_pwrite64 || !is_applying(c->path)))
		return 0;
	if (c->count++ == c->at)
		kill(getpid(), SIGKILL);
	return 0;
}

static inline int run_commit(void *arg)
{
	struct crash *c = arg;
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(c->path, NULL, &map);

	if (!rc)
		rc = edit_handle(map, c->versions);
	watch_on();
	if (!rc)
		rc = commit_by_journal(map, 0);
	watch_off();
	return rc;
}

static inline int run_open(void *arg)
{
	struct crash *c = arg;
	struct snapmap *map;
	int rc;

	watch_on();
	rc = snapmap_open(c->path, NULL, &map);
	watch_off();
	if (!rc)
		snapmap_close(map);
	return rc;
}

/* True if it was killed, false if it came to its end, with success. */
static inline bool crash(struct crash *c)
{
	int status;
	pid_t pid = fork();

	ck_assert(pid >= 0);
	if (!pid) {
		int rc = watch(c->run, c, die_at, c);

		if (rc)
			fprintf(stderr, "%s\n", snapmap_last_error());
		_exit(rc != 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	if (WIFSIGNALED(status)) {
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
		return true;
	}
	ck_assert_msg(!WEXITSTATUS(status), "call %d: it failed", c->at);
	return false;
}

/* "f" in its old version, and a commit to it that was cut off after @writes writes to the file. */
static inline void make_crashed(const char *path, struct versions *v, enum edit e, int writes)
{
	struct crash c = {.path = path, .run = run_commit, .versions = v, .at = writes, .applied = true};

	make_versions(v, e);
	test_write_file(path, v->old, v->old_size);
	ck_assert(crash(&c));
	ck_assert(is_applying(path));
}

static inline bool is_version(const void *data, size_t size, const struct versions *v, bool new)
{
	return size == (new ? v->new_size : v->old_size) && !memcmp(data, new ? v->new : v->old, size);
}

/* 0: old, 1: new, 2: a mix; or a negative errno. Checks nothing, so children may call it. */
static inline int look_with(const char *path, uint32_t source, bool edit, const struct versions *v)
{
	struct snapmap_options o = {.size = sizeof(o), .source = source};
	struct snapmap_mut *mut = NULL;
	struct snapmap *map = NULL;
	const void *data;
	size_t size;
	int rc = edit ? snapmap_mut_open(path, &o, &mut) : snapmap_open(path, &o, &map);

	if (rc)
		return rc;
	data = edit ? snapmap_mut_data(mut) : snapmap_data(map);
	size = edit ? snapmap_mut_size(mut) : snapmap_size(map);
	rc = is_version(data, size, v, false) ? 0 : is_version(data, size, v, true) ? 1 : 2;
	snapmap_close(map);
	snapmap_mut_close(mut);
	return rc;
}

struct look {
	const char *path;
	const struct versions *v;
};

/* With every source and both kinds of handle: all see the same. 0, 1, 2; 3: they differ; or what failed. */
static inline int look_all_ways(void *arg)
{
	static const uint32_t sources[] = {SNAPMAP_SOURCE_AUTO, SNAPMAP_SOURCE_COPY, SNAPMAP_SOURCE_REFLINK};
	const struct look *l = arg;
	int seen = -1;

	for (int i = 0; i < (test_fs()->reflink ? 6 : 4); i++) {
		int rc = look_with(l->path, sources[i / 2], i % 2, l->v);

		if (rc < 0 || rc == 2) {
			fprintf(stderr, "way %d: %d: %s\n", i, rc, snapmap_last_error());
			return rc == 2 ? 2 : 4;
		}
		if (seen >= 0 && rc != seen)
			return 3;
		seen = rc;
	}
	return seen;
}

/* The same as somebody who may only read. */
static inline int look_without_rights(const char *path, const struct versions *v)
{
	struct look l = {path, v};
	int rc;

	/* Clones need a place on the same file system. */
	if (test_is_root() && chmod(".", 01777))
		return -errno;
	if (test_is_root())
		return test_as_user(65534, look_all_ways, &l);
	ck_assert(!chmod(path, 0444));
	rc = look_all_ways(&l);
	ck_assert(!chmod(path, 0644));
	return rc;
}

#endif
