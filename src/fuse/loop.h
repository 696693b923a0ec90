/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that answer the kernel. */
#ifndef SNAPMAP_LOOP_H
#define SNAPMAP_LOOP_H

#include <stdatomic.h>
#include <stdint.h>

#define LOOP_THREADS 10 /* at most */

struct fuse_session;

/**
 * struct loop_work - what is served
 * @directory: where it is mounted
 * @writes: how many requests to write have come; counted when one begins
 * @threads: how many answer. The kernel wakes each in turn, so with many that have nothing
 *	to do each request finds a cold one
 * @begin: called first in each thread; may be NULL
 */
struct loop_work {
	struct fuse_session *session;
	const char *directory;
	const atomic_uint_fast64_t *writes;
	unsigned threads;
	void (*begin)(void);
};

/* In the main thread, before there are others. */
void loop_block_signals(void);
/* Answers until it is unmounted or a signal comes. 0, or a negative errno. */
int loop_run(const struct loop_work *work);

#endif
