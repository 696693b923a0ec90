/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that are committed to, and commits to them by the public interface. In the working directory. */
#ifndef SNAPMAP_CRASH_ACT_H
#define SNAPMAP_CRASH_ACT_H

#include <snapmap.h>

#include "model.h"
#include "rows.h"

/* FILE_F and FILE_G are there from the start, FILE_SAVED is what snapmap_mut_link() makes of FILE_F. */
enum file {
	FILE_F,
	FILE_G,
	FILE_NEW,
	FILE_NEWER,
	FILE_COMMITTED, /* those before this one are committed to */
	FILE_SAVED = FILE_COMMITTED,
	FILES
};

/* What it is besides its bytes; @id: whose versions it has; @tag: extended attribute user.crash, or NULL */
struct file_traits {
	const char *name;
	const char *link; /* further name, where the strategy keeps the inode */
	enum file id;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	const char *tag;
};

extern const struct file_traits files[FILES];
/* The ACL that files with a tag have. */
extern const unsigned char file_acl[];
extern const size_t file_acl_size;

#define NOISE "noise"

struct act {
	uint64_t seed;
	enum shape shape; /* of FILE_F */
	const struct strategy *strategy;
	int marks;   /* socket, or -1 */
	bool worked; /* the strategy has committed something: -EOPNOTSUPP is a fault from then on */
	struct model models[FILE_COMMITTED];
	struct snapmap_mut *handles[FILE_COMMITTED];
};

/* @versions: that the files have now, 0 for none. */
void act_begin(struct act *a, const uint64_t *versions);
/* Makes the first version of what is there from the start, durably. 0 or -1. */
int act_set_up(struct act *a);
void act_mark(const struct act *a, uint32_t kind, enum file file, uint64_t version, bool durable);

/* How to commit */
struct way {
	bool nosync, closing, saving;
};
/* The next version of a file. 0 or a negative errno, and then the sentence is on standard error. */
int act_commit(struct act *a, enum file file, struct way way);
/* A commit without edits: durable from then on. */
int act_flush(struct act *a, enum file file);

/* Whether the strategy works in the working directory, while there is room. */
bool act_is_supported(uint32_t strategy);

#endif
