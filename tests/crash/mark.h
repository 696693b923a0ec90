/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Marks: what those who commit say, in between what is done to the disk. */
#ifndef SNAPMAP_CRASH_MARK_H
#define SNAPMAP_CRASH_MARK_H

#include <stdint.h>

enum mark_kind {
	MARK_START = 1, /* before this nothing is lost: the state that the workload begins with */
	MARK_END,	/* after this nothing is looked at */
	MARK_BEGIN,	/* a commit begins */
	MARK_DONE,	/* it returned success */
};

/* @name: enum file; @durable: whether that was promised */
struct mark {
	uint32_t kind;
	uint32_t name;
	uint64_t version;
	uint64_t durable;
};

/* Waits until the other side has taken it. 0 or -1. */
int mark_send(int socket, const struct mark *m);
/* Takes one if there is one. 1, 0 if there is none, -1 if there will be none any more. */
int mark_take(int socket, struct mark *ret);
/* Lets the one who sent it go on. */
void mark_answer(int socket);

#endif
