/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transactions: a block is saved before it is changed, and put back if the operation
 * fails. What was free when the operation began needs no saving, and what it frees
 * stays marked as used until it has succeeded, so nothing that may be needed again is
 * given to somebody else meanwhile.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "fs.h"

#define TABLE_MIN 64

static size_t slot_of(const struct mfs_txn *txn, uint32_t block)
{
	size_t i = (block * (size_t)0x9e3779b1u) & (txn->table_size - 1);

	while (txn->table[i] && txn->saved[txn->table[i] - 1].block != block)
		i = (i + 1) & (txn->table_size - 1);
	return i;
}

/* Room for one more, with the table at most half full. */
static int make_room(struct mfs_txn *txn)
{
	size_t size = txn->table_size ? txn->table_size * 2 : TABLE_MIN;
	struct mfs_saved *saved;
	uint32_t *table;

	if (txn->nsaved < txn->capacity)
		return 0;
	saved = (struct mfs_saved *)realloc(txn->saved, size / 2 * sizeof(*saved));
	if (!saved)
		return -ENOMEM;
	txn->saved = saved;
	table = (uint32_t *)calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	free(txn->table);
	txn->table = table;
	txn->table_size = size;
	txn->capacity = size / 2;
	for (size_t i = 0; i < txn->nsaved; i++)
		table[slot_of(txn, saved[i].block)] = (uint32_t)i + 1;
	return 0;
}

bool mfs_is_touched(const struct mfs *fs, uint32_t block)
{
	return fs->txn.nsaved && fs->txn.table[slot_of(&fs->txn, block)];
}

/* Where the image has a hole there may be no room for it. */
int mfs_get_ready(const struct mfs *fs, uint32_t block)
{
	struct minifs_store *store = fs->store;

	return store->ops->get_ready ? store->ops->get_ready(store, (uint64_t)block * MFS_BLOCK, MFS_BLOCK) : 0;
}

static int remember(struct mfs *fs, uint32_t block, bool copy)
{
	struct mfs_txn *txn = &fs->txn;
	uint8_t *kept = NULL;
	int rc;

	if (mfs_is_touched(fs, block))
		return 0;
	rc = make_room(txn);
	if (!rc)
		rc = mfs_get_ready(fs, block);
	if (rc)
		return rc;
	if (copy) {
		kept = (uint8_t *)malloc(MFS_BLOCK);
		if (!kept)
			return -ENOMEM;
		memcpy(kept, mfs_at(fs, block), MFS_BLOCK);
	}
	txn->saved[txn->nsaved] = (struct mfs_saved){.block = block, .copy = kept};
	txn->table[slot_of(txn, block)] = (uint32_t)++txn->nsaved;
	return 0;
}

/* The block may be changed once this has succeeded. */
int mfs_touch(struct mfs *fs, uint32_t block, uint8_t **ret)
{
	int rc = fs->store->writable ? remember(fs, block, true) : -EROFS;

	if (!rc)
		*ret = mfs_at(fs, block);
	return rc;
}

/* The same for a block that was just allocated. */
int mfs_fresh(struct mfs *fs, uint32_t block)
{
	return remember(fs, block, false);
}

/* The block is free once the transaction has succeeded. */
int mfs_txn_free(struct mfs *fs, uint32_t block)
{
	struct mfs_txn *txn = &fs->txn;
	struct mfs_run *last = txn->nfreed ? &txn->freed[txn->nfreed - 1] : NULL;

	if (last && last->start + last->length == block) {
		last->length++;
		return 0;
	}
	if (txn->nfreed == txn->freed_capacity) {
		size_t capacity = txn->freed_capacity ? txn->freed_capacity * 2 : 16;
		struct mfs_run *freed = (struct mfs_run *)realloc(txn->freed, capacity * sizeof(*freed));

		if (!freed)
			return -ENOMEM;
		txn->freed = freed;
		txn->freed_capacity = capacity;
	}
	txn->freed[txn->nfreed++] = (struct mfs_run){.start = block, .length = 1};
	return 0;
}

static void put_back(struct mfs *fs)
{
	for (size_t i = 0; i < fs->txn.nsaved; i++)
		if (fs->txn.saved[i].copy)
			memcpy(mfs_at(fs, fs->txn.saved[i].block), fs->txn.saved[i].copy, MFS_BLOCK);
}

static void release_freed(struct mfs *fs)
{
	for (size_t i = 0; i < fs->txn.nfreed; i++)
		for (uint32_t k = 0; k < fs->txn.freed[i].length; k++)
			mfs_block_release(fs, fs->txn.freed[i].start + k);
}

int mfs_end(struct mfs *fs, int rc)
{
	struct mfs_txn *txn = &fs->txn;
	bool changed = txn->nsaved || txn->nfreed;

	if (rc)
		put_back(fs);
	else if (changed)
		release_freed(fs);
	for (size_t i = 0; i < txn->nsaved; i++)
		free(txn->saved[i].copy);
	/* A large one does not keep its memory. */
	if (txn->table_size > TABLE_MIN)
		mfs_txn_close(fs);
	else if (txn->nsaved)
		memset(txn->table, 0, txn->table_size * sizeof(*txn->table));
	txn->nsaved = txn->nfreed = 0;
	if (!rc && changed)
		mfs_super(fs)->crc = put32(mfs_crc32c(0, fs->base, offsetof(struct disk_super, crc)));
	return rc;
}

/* Between transactions. */
void mfs_txn_close(struct mfs *fs)
{
	free(fs->txn.saved);
	free(fs->txn.table);
	free(fs->txn.freed);
	fs->txn = (struct mfs_txn){0};
}
