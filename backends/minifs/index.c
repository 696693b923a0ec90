/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of a large directory: a hash table beside the dirents, in a hidden inode.
 * Each slot has the hash of a name and the place of its dirent, so what is found is
 * compared with the name itself; the dirents stay the truth.
 */
#include "config.h"

#include <string.h>

#include "fs.h"

/* Slots in a row that are looked at: far more than names have together that are not made to. */
#define STEPS_MAX (UINT32_C(1) << 20)

struct table {
	struct mfs_inode inode;
	struct disk_index *header;
	uint32_t header_block, slots;
};

/* FNV-1a, from a start of the image's own, with its bits mixed. */
static uint32_t hash_of(const struct mfs *fs, const char *name, size_t n)
{
	const uint8_t *uuid = mfs_super(fs)->uuid;
	uint32_t h = 0x811c9dc5u ^
		     ((uint32_t)uuid[0] | (uint32_t)uuid[1] << 8 | (uint32_t)uuid[2] << 16 | (uint32_t)uuid[3] << 24);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)name[i]) * 0x01000193u;
	h ^= h >> 15;
	return h * 0x2c1b3c6du;
}

static int open_table(const struct mfs *fs, const struct mfs_inode *dir, struct table *ret)
{
	struct table t;
	int rc = mfs_inode_load(fs, dir->index, &t.inode);

	if (!rc && (!S_ISREG(t.inode.mode) || !(t.inode.flags & MFS_INODE_HIDDEN)))
		rc = -EUCLEAN;
	if (!rc)
		rc = mfs_map_get(fs, &t.inode, 0, &t.header_block);
	if (!rc && !t.header_block)
		rc = -EUCLEAN;
	if (rc)
		return rc;
	t.header = (struct disk_index *)mfs_at(fs, t.header_block);
	t.slots = get32(t.header->slots);
	if (t.slots < MFS_SLOTS_PER_BLOCK || (t.slots & (t.slots - 1)) ||
	    t.inode.size != ((uint64_t)t.slots / MFS_SLOTS_PER_BLOCK + 1) * MFS_BLOCK ||
	    t.slots / MFS_SLOTS_PER_BLOCK > fs->geo.data_blocks)
		return -EUCLEAN;
	*ret = t;
	return 0;
}

static int slot_at(const struct mfs *fs, const struct table *t, uint32_t i, uint32_t *ret_block, struct disk_slot **ret)
{
	uint32_t block;
	int rc = mfs_map_get(fs, &t->inode, 1 + i / MFS_SLOTS_PER_BLOCK, &block);

	if (!rc && !block)
		rc = -EUCLEAN;
	if (rc)
		return rc;
	*ret_block = block;
	*ret = (struct disk_slot *)mfs_at(fs, block) + i % MFS_SLOTS_PER_BLOCK;
	return 0;
}

static uint64_t position_of(const struct disk_slot *slot)
{
	return ((uint64_t)get32(slot->where) - 1) * 4;
}

/* 1 if the slot's dirent has that name, 0 if not. */
static int has_name(const struct mfs *fs, const struct mfs_inode *dir, uint64_t position, const char *name, size_t n,
		    uint32_t *ret_ino)
{
	const struct disk_dirent *ent;
	uint32_t block;
	int rc = position < dir->size ? mfs_dir_block(fs, dir, position / MFS_BLOCK, &block) : -EUCLEAN;

	if (!rc)
		rc = mfs_dirent_at(mfs_at(fs, block), (uint32_t)(position % MFS_BLOCK), &ent);
	if (rc)
		return rc;
	*ret_ino = get32(ent->inode);
	return *ret_ino && get16(ent->namelen) == n && !memcmp(ent->name, name, n);
}

int mfs_index_find(const struct mfs *fs, const struct mfs_inode *dir, const char *name, size_t n, struct mfs_place *ret)
{
	uint32_t hash = hash_of(fs, name, n), ino = 0;
	struct table t;
	int rc = open_table(fs, dir, &t);

	for (uint32_t step = 0; !rc && step < t.slots; step++) {
		struct disk_slot *slot;
		uint32_t block;

		if (step == STEPS_MAX)
			return -EUCLEAN;
		rc = slot_at(fs, &t, (hash + step) & (t.slots - 1), &block, &slot);
		if (!rc && !get32(slot->where))
			return -ENOENT;
		if (rc || get32(slot->where) == MFS_SLOT_DELETED || get32(slot->hash) != hash)
			continue;
		rc = has_name(fs, dir, position_of(slot), name, n, &ino);
		if (rc > 0) {
			*ret = (struct mfs_place){.position = position_of(slot), .ino = ino};
			return 0;
		}
	}
	return rc ? rc : -ENOENT;
}

/* The first slot for that hash which holds @where, or, for a @where of 0, is empty or deleted. */
static int seek(const struct mfs *fs, const struct table *t, uint32_t hash, uint32_t where, uint32_t *ret_block,
		struct disk_slot **ret)
{
	for (uint32_t step = 0; step < t->slots && step < STEPS_MAX; step++) {
		int rc = slot_at(fs, t, (hash + step) & (t->slots - 1), ret_block, ret);
		uint32_t found = rc ? 0 : get32((*ret)->where);

		if (rc || (where ? found == where : !found || found == MFS_SLOT_DELETED))
			return rc;
		if (!found)
			break;
	}
	return -EUCLEAN;
}

static int insert(struct mfs *fs, struct table *t, uint32_t hash, uint64_t position)
{
	struct disk_slot *slot;
	uint32_t block;
	uint8_t *bytes;
	int rc = seek(fs, t, hash, 0, &block, &slot);

	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (!rc)
		rc = mfs_touch(fs, t->header_block, &bytes);
	if (rc)
		return rc;
	if (!get32(slot->where))
		t->header->used = put32(get32(t->header->used) + 1);
	t->header->live = put32(get32(t->header->live) + 1);
	*slot = (struct disk_slot){.hash = put32(hash), .where = put32((uint32_t)(position / 4) + 1)};
	return 0;
}

/* The dirent is there already. A table that gets too full is made anew. */
int mfs_index_add(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint64_t position)
{
	struct table t;
	int rc = open_table(fs, dir, &t);

	if (rc)
		return rc;
	if ((uint64_t)get32(t.header->used) * 4 < (uint64_t)t.slots * 3)
		return insert(fs, &t, hash_of(fs, name, n), position);
	rc = mfs_index_drop(fs, dir);
	return rc ? rc : mfs_index_build(fs, dir);
}

int mfs_index_remove(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint64_t position)
{
	struct disk_slot *slot;
	struct table t;
	uint32_t block;
	uint8_t *bytes;
	int rc = open_table(fs, dir, &t);

	if (!rc)
		rc = seek(fs, &t, hash_of(fs, name, n), (uint32_t)(position / 4) + 1, &block, &slot);
	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (!rc)
		rc = mfs_touch(fs, t.header_block, &bytes);
	if (rc)
		return rc;
	slot->where = put32(MFS_SLOT_DELETED);
	t.header->live = put32(get32(t.header->live) - 1);
	t.header->hint = put32((uint32_t)(position / MFS_BLOCK));
	return 0;
}

int mfs_index_hint(const struct mfs *fs, const struct mfs_inode *dir, uint64_t *ret)
{
	struct table t;
	int rc = open_table(fs, dir, &t);

	if (!rc)
		*ret = get32(t.header->hint);
	return rc;
}

int mfs_index_set_hint(struct mfs *fs, const struct mfs_inode *dir, uint64_t block)
{
	struct table t;
	uint8_t *bytes;
	int rc = open_table(fs, dir, &t);

	if (!rc && get32(t.header->hint) != block)
		rc = mfs_touch(fs, t.header_block, &bytes);
	if (!rc && get32(t.header->hint) != block)
		t.header->hint = put32((uint32_t)block);
	return rc;
}

/* Number of names in the index. */
int mfs_index_count(const struct mfs *fs, const struct mfs_inode *dir, uint64_t *ret)
{
	struct table t;
	int rc = open_table(fs, dir, &t);
	uint64_t names = 0;

	for (uint32_t i = 0; !rc && i < t.slots; i++) {
		struct disk_slot *slot;
		uint32_t block;

		rc = slot_at(fs, &t, i, &block, &slot);
		if (!rc && get32(slot->where) && get32(slot->where) != MFS_SLOT_DELETED)
			names++;
	}
	if (!rc)
		*ret = names;
	return rc;
}

static int count_names(const struct mfs *fs, const struct mfs_inode *dir, uint64_t *ret)
{
	struct mfs_name name = {0};
	uint64_t names = 0;
	int rc;

	while (!(rc = mfs_dir_next(fs, dir, name.next, &name)))
		names++;
	if (rc == -ENOENT)
		*ret = names;
	return rc == -ENOENT ? 0 : rc;
}

static int make_table(struct mfs *fs, uint32_t slots, struct table *ret)
{
	uint32_t block;
	int rc = mfs_inode_new(fs, S_IFREG, 0, 0, &ret->inode);

	for (uint64_t at = 0; !rc && at <= slots / MFS_SLOTS_PER_BLOCK; at++) {
		rc = mfs_map_own(fs, &ret->inode, at, false, &block);
		if (!rc && !at)
			ret->header_block = block;
	}
	if (rc)
		return rc;
	ret->inode.flags = MFS_INODE_HIDDEN;
	ret->inode.size = ((uint64_t)slots / MFS_SLOTS_PER_BLOCK + 1) * MFS_BLOCK;
	ret->header = (struct disk_index *)mfs_at(fs, ret->header_block);
	ret->header->slots = put32(slots);
	ret->slots = slots;
	return mfs_inode_store(fs, &ret->inode);
}

/* Where there is no room for an index the directory goes on without. The caller stores @dir. */
int mfs_index_build(struct mfs *fs, struct mfs_inode *dir)
{
	const struct disk_super *super = mfs_super(fs);
	uint64_t names, blocks;
	uint32_t slots = MFS_SLOTS_PER_BLOCK;
	struct mfs_name name = {0};
	struct table t;
	int rc;

	if (mfs_blocks_free(fs) < dir->size / MFS_BLOCK || !get32(super->free_inodes))
		return 0;
	rc = count_names(fs, dir, &names);
	if (rc)
		return rc;
	while (slots < names * 2 && slots < UINT32_C(1) << 31)
		slots *= 2;
	blocks = slots / MFS_SLOTS_PER_BLOCK;
	if (mfs_blocks_free(fs) < blocks + blocks / MFS_PER_BLOCK + 5 || (blocks + 1) * MFS_BLOCK > mfs_size_max(fs))
		return 0;
	rc = make_table(fs, slots, &t);
	while (!rc && !(rc = mfs_dir_next(fs, dir, name.next, &name)))
		rc = insert(fs, &t, hash_of(fs, name.name, name.length), name.next - 4);
	if (rc != -ENOENT)
		return rc;
	dir->index = t.inode.ino;
	return 0;
}

/* The caller stores @dir. */
int mfs_index_drop(struct mfs *fs, struct mfs_inode *dir)
{
	struct mfs_inode inode;
	int rc;

	if (!dir->index)
		return 0;
	rc = mfs_inode_load(fs, dir->index, &inode);
	if (!rc && (!S_ISREG(inode.mode) || !(inode.flags & MFS_INODE_HIDDEN)))
		rc = -EUCLEAN;
	if (!rc)
		rc = mfs_inode_drop(fs, &inode);
	if (!rc)
		dir->index = 0;
	return rc;
}
