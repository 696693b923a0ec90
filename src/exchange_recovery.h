/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exchanges that the kernel can end, also after a crash. */
#ifndef SNAPMAP_EXCHANGE_RECOVERY_H
#define SNAPMAP_EXCHANGE_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "exchange_steps.h"
#include "ranges.h"

/**
 * struct layout - how a file lies on XFS
 * @block: size of a block in bytes
 * @inode: size of an inode in bytes
 * @extents: how many it has
 * @attributes: it has extended attributes, which take room from the extents in its inode
 * @holes: there may be some
 */
struct layout {
	uint64_t block;
	uint64_t inode;
	uint64_t extents;
	bool attributes;
	bool holes;
};

/* Without a look at the files: whether these blocks may be exchanged, however the files lie. */
bool exchange_recovery_is_sure(const struct layout *layout, const struct ranges *blocks);
/*
 * Whether these steps may be made, all in one, with a donor of so many extents: 0; -EXFULL if they
 * could give one of the files too many new extents; -EOPNOTSUPP.
 */
int exchange_recovery_check(const struct layout *layout, uint64_t donor_extents, const struct exchange_steps *steps);
/*
 * To be called while @donor, the file of @size bytes that is to bring these blocks, is
 * empty: gives it extents behind its end if it needs more. @layout: of the other file.
 */
int exchange_recovery_pad(int donor, const struct layout *layout, const struct ranges *blocks, uint64_t size);

#endif
