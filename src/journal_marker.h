/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The marker of a file that was committed to by journal: its attribute user.snapmap.journal. */
#ifndef SNAPMAP_JOURNAL_MARKER_H
#define SNAPMAP_JOURNAL_MARKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base_digest.h"

#define JOURNAL_ATTRIBUTE "user.snapmap.journal"
#define JOURNAL_NAME_SIZE sizeof(".snapmap-0123456789abcdef.journal")

/**
 * struct journal_marker - what the attribute says; all zeros if there is none
 * @generation: commits by journal that this inode has seen the end of
 * @applying: a commit is under way, or was cut off: the content may be a mix
 * @inode: number of the inode that it was written for. The rest only while @applying:
 * @number: names the journal
 * @digest: of the journal's head, which holds those of its data
 * @directory: where the journal was made, "" if that is not known
 */
struct journal_marker {
	uint64_t generation;
	bool applying;
	uint64_t inode;
	uint64_t number;
	uint8_t digest[DIGEST_SIZE];
	char directory[512];
};

/* Quiet. -EUCLEAN if there is one that cannot be understood. */
int journal_marker_get(int fd, struct journal_marker *ret);
/* Quiet. Does not flush. */
int journal_marker_set(int fd, const struct journal_marker *marker);
bool journal_marker_same(const struct journal_marker *a, const struct journal_marker *b);
/* The journal's name in its directory. */
void journal_name(uint64_t number, char ret[JOURNAL_NAME_SIZE]);

#endif
