/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at a mounted file system after what happened to it, and goes on using it. */
#ifndef SNAPMAP_CRASH_JUDGE_H
#define SNAPMAP_CRASH_JUDGE_H

#include "act.h"
#include "state.h"

enum fault {
	FAULT_NONE,
	FAULT_TORN,	  /* no version at all, or one that nobody has begun to commit */
	FAULT_OLD,	  /* older than what was promised */
	FAULT_ATTRIBUTES, /* mode, owner, extended attributes, ACL, hard link */
	FAULT_STRAY,	  /* a temporary name stays after the next commit */
	FAULT_FSCK,	  /* the file system cannot be mounted, or is damaged */
	FAULT_USE,	  /* the library or the harness cannot go on */
	FAULTS
};

struct verdict {
	enum fault fault;
	bool unsupported; /* the strategy does not work here at all */
	char text[600];
	uint64_t versions[FILES]; /* that the files have after the judge's own commits */
};

struct judge {
	const char *dir;
	uint64_t seed;
	enum shape shape; /* of FILE_F */
	bool brief;	  /* only look */
	const struct strategy *strategy;
	struct expect expect;
};

/* In a process of its own. */
void judge_run(const struct judge *j, struct verdict *ret);
/* Whether there are names in the working directory that do not belong there. */
void judge_names(struct verdict *v);
void verdict_say(struct verdict *v, enum fault fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
