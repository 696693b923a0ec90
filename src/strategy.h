/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit strategies: ways in which an image becomes the file. */
#ifndef SNAPMAP_STRATEGY_H
#define SNAPMAP_STRATEGY_H

#include "commit.h"

/**
 * struct strategy - operations of a commit strategy
 * @id: its SNAPMAP_STRATEGY_*
 * @name: for people
 * @automatic: keeps every promise, so it may be chosen without being asked for
 * @by_edits: makes do with the edits; the others get an image of all the new bytes
 * @edits_if_exclusive: so it does for a handle of the file itself, where @image is NULL then
 * @keeps_inode: the file stays the one that it was
 * @publish: makes the new bytes the file. Sets the error sentence. -EOPNOTSUPP: not
 *	here, and nothing has changed; on any other failure nothing has changed
 *	either, as far as the strategy's description does not say otherwise.
 * @probe: would @publish work for this target? Quiet; @ret_why says why not.
 */
struct strategy {
	uint32_t id;
	const char *name;
	bool automatic;
	bool by_edits;
	bool edits_if_exclusive;
	bool keeps_inode;
	int (*publish)(struct commit *commit);
	int (*probe)(const struct target *target, const char **ret_why);
};

/* In order of preference; NULL beyond the last. */
const struct strategy *strategy_at(size_t index);

#endif
