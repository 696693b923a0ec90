/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inodes that somebody holds: open files, and what a kernel knows of. They keep their
 * number and content when their last name goes. A table with open addressing: a lookup
 * by number, without a pointer for each inode.
 */
#include "config.h"

#include <stdlib.h>

#include "fs.h"

#define TABLE_MIN 64u

static size_t home_of(const struct mfs_held *held, uint32_t ino)
{
	return (ino * (size_t)0x9e3779b1u) & (held->size - 1);
}

/* The inode's slot, or the empty one where it would be. The table must exist. */
static size_t slot_of(const struct mfs_held *held, uint32_t ino)
{
	size_t i = home_of(held, ino);

	while (held->slots[i].ino && held->slots[i].ino != ino)
		i = (i + 1) & (held->size - 1);
	return i;
}

uint64_t mfs_holds(const struct mfs *fs, uint32_t ino)
{
	return fs->held.size ? fs->held.slots[slot_of(&fs->held, ino)].count : 0;
}

/* At most half full. */
static int make_room(struct mfs_held *held)
{
	struct mfs_held larger = {.size = held->size ? held->size * 2 : TABLE_MIN, .used = held->used};

	if (held->used < held->size / 2)
		return 0;
	larger.slots = (struct mfs_held_inode *)calloc(larger.size, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < held->size; i++)
		if (held->slots[i].ino)
			larger.slots[slot_of(&larger, held->slots[i].ino)] = held->slots[i];
	free(held->slots);
	*held = larger;
	return 0;
}

int mfs_hold(struct mfs *fs, uint32_t ino)
{
	struct mfs_held *held = &fs->held;
	int rc = make_room(held);
	size_t i;

	if (rc)
		return rc;
	i = slot_of(held, ino);
	held->used += !held->slots[i].ino;
	held->slots[i].ino = ino;
	held->slots[i].count++;
	return 0;
}

/* Those behind the gap move up, so that no search ends too early. */
static void clear_slot(struct mfs_held *held, size_t gap)
{
	size_t mask = held->size - 1;

	for (size_t i = (gap + 1) & mask; held->slots[i].ino; i = (i + 1) & mask) {
		size_t home = home_of(held, held->slots[i].ino);

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		held->slots[gap] = held->slots[i];
		gap = i;
	}
	held->slots[gap] = (struct mfs_held_inode){0};
	held->used--;
}

/* Ends @n holds, or all there are. True if none is left. */
bool mfs_unhold(struct mfs *fs, uint32_t ino, uint64_t n)
{
	struct mfs_held *held = &fs->held;
	size_t i = held->size ? slot_of(held, ino) : 0;

	if (!held->size || !held->slots[i].ino)
		return false;
	if (held->slots[i].count > n) {
		held->slots[i].count -= n;
		return false;
	}
	clear_slot(held, i);
	return true;
}

void mfs_held_close(struct mfs *fs)
{
	free(fs->held.slots);
	fs->held = (struct mfs_held){0};
}
