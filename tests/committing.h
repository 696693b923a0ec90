/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of commit share: the ways to commit, and a look at (or a hand
 * in) the system calls that a commit makes.
 */
#ifndef SNAPMAP_COMMITTING_H
#define SNAPMAP_COMMITTING_H

#include <linux/seccomp.h>
#include <snapmap.h>
#include <sys/stat.h>

#include "testing.h"

/* A call of the library that must succeed. */
#define ck_ok(call)                                                                         \
	do {                                                                                \
		long long ck_rc = (call);                                                   \
		ck_assert_msg(!ck_rc, "%s = %lld: %s", #call, ck_rc, snapmap_last_error()); \
	} while (0)

/* One that must fail with @error, and say why. */
#define ck_fails(call, error)                                                                                         \
	do {                                                                                                          \
		long long ck_rc = (call);                                                                             \
		ck_assert_msg(ck_rc == (error), "%s = %lld, not %s: %s", #call, ck_rc, #error, snapmap_last_error()); \
		ck_assert_msg(snapmap_last_error()[0], "%s: no sentence", #call);                                     \
	} while (0)

/* The sentence of the last error must hold this. */
#define ck_says(word) \
	ck_assert_msg(strstr(snapmap_last_error(), word), "\"%s\" is not in: %s", word, snapmap_last_error())

/**
 * struct way - source, strategy, and which of the two calls
 * @closing: snapmap_mut_commit_and_close() instead of snapmap_mut_commit()
 * @flags: SNAPMAP_* flags to open with
 */
struct way {
	uint32_t source;
	uint32_t strategy;
	bool closing;
	uint32_t flags;
};

/*
 * Each test that is to hold for all ways runs WAYS times (tcase_add_loop_test),
 * and asks way_at(_i) for its way: NULL if that does not work on this row.
 */
#define WAYS 16
/* Those of a handle by lease, too: for tests that open by way_open(). */
#define WAYS_TOO 18
const struct way *way_at(int i);
/* As test_skip(), but counts all ways as one. */
#define skip_all_ways(...)                           \
	do {                                         \
		if (_i == 0)                         \
			test_note_skip(__VA_ARGS__); \
		return;                              \
	} while (0)
/* The strategy that really serves it: AUTO is exchange where blocks can be exchanged, else replace. */
uint32_t way_strategy(const struct way *way);
bool way_keeps_inode(const struct way *way);
/* Also when a crash, a kill or a reader comes in the middle. */
bool way_is_atomic(const struct way *way);
struct snapmap_mut *way_open(const struct way *way, const char *path);
/* On success of a closing way *@map is NULL. */
int way_commit(const struct way *way, struct snapmap_mut **map, uint32_t flags);
/* The same, and the handle is closed whatever comes. */
int way_finish(const struct way *way, struct snapmap_mut *map, uint32_t flags);
/* Edits one byte of a file of more than 100, and commits. */
int way_edit(const struct way *way, const char *path, uint32_t flags);

int commit_flags(struct snapmap_mut *map, uint32_t flags);
ino_t inode_of(const char *path);
/* Of the name itself, if it is a link. */
mode_t mode_of(const char *path);
bool exists(const char *path);
/* Names in a directory. Does not count what FUSE keeps under a hidden name because it is still open. */
size_t count_names(const char *dir);
/* The handle has these bytes. */
bool handle_is(const struct snapmap_mut *map, const void *bytes, size_t n);

/*
 * What to do with a system call of the watched function: 0 lets it run, a
 * negative errno is its result instead. Runs in the thread that called watch().
 */
typedef int watch_call(void *arg, const struct seccomp_data *call);

/*
 * Runs @fn in a thread whose system calls are shown to @on_call, one at a time,
 * before they run. Only those made between watch_on() and watch_off() are shown.
 * Returns what @fn returned. False from watch_works() where the kernel cannot.
 */
bool watch_works(void);
int watch(int (*fn)(void *arg), void *arg, watch_call *on_call, void *call_arg);
void watch_on(void);
void watch_off(void);

/* Whether it makes sense to have the call fail: not those that end or free something. */
bool call_can_fail(const struct seccomp_data *call);
/* Whether it is what publishes a new version: a rename, or an exchange of blocks. */
bool is_publication(const struct seccomp_data *call);
/* Whether the kernel may break the call off with EINTR. */
bool call_can_be_interrupted(const struct seccomp_data *call);

/*
 * For watch(): by the call after a flush that has succeeded. The kernel can be as late as
 * that to throw away what it flushed. Files that are open for reading only do not count:
 * those are flushed for their times.
 *
 * @wanted: after so many flushes it acts, once
 * @seen: flushes there were
 */
struct after_flush {
	int wanted, seen;
	bool acted;
	void (*act)(void);
};
int after_flush(void *arg, const struct seccomp_data *call);

#endif
