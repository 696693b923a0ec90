/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories: blocks full of dirents, each as long as its reclen, none across the end
 * of a block. A name that is removed gives its room to the dirent before it; the first
 * of a block becomes a deleted one, with inode 0.
 */
#include "config.h"

#include <string.h>

#include "fs.h"

#define HINTS 8u /* blocks that are looked at for room in a directory with an index */

int mfs_dirent_at(const uint8_t *block, uint32_t offset, const struct disk_dirent **ret)
{
	const struct disk_dirent *ent = (const struct disk_dirent *)(block + offset);
	uint32_t reclen;

	if (offset % 4 || offset > MFS_BLOCK - MFS_DIRENT_HEADER)
		return -EUCLEAN;
	reclen = get16(ent->reclen);
	if (reclen % 4 || reclen < MFS_DIRENT_HEADER || reclen > MFS_BLOCK - offset)
		return -EUCLEAN;
	if (get32(ent->inode) &&
	    (!get16(ent->namelen) || get16(ent->namelen) > MFS_NAME_MAX || mfs_reclen(get16(ent->namelen)) > reclen))
		return -EUCLEAN;
	*ret = ent;
	return 0;
}

/* A directory has no holes. */
int mfs_dir_block(const struct mfs *fs, const struct mfs_inode *dir, uint64_t at, uint32_t *ret)
{
	uint32_t block;
	int rc = mfs_map_get(fs, dir, at, &block);

	if (!rc && !block)
		rc = -EUCLEAN;
	if (!rc)
		*ret = block;
	return rc;
}

static bool is_name(const struct disk_dirent *ent, const char *name, size_t n)
{
	return get32(ent->inode) && get16(ent->namelen) == n && !memcmp(ent->name, name, n);
}

static int find_in_block(const uint8_t *block, const char *name, size_t n, uint32_t *ret_offset)
{
	const struct disk_dirent *ent;

	for (uint32_t offset = 0; offset < MFS_BLOCK; offset += get16(ent->reclen)) {
		int rc = mfs_dirent_at(block, offset, &ent);

		if (rc)
			return rc;
		if (is_name(ent, name, n)) {
			*ret_offset = offset;
			return 0;
		}
	}
	return -ENOENT;
}

static int find_linear(const struct mfs *fs, const struct mfs_inode *dir, const char *name, size_t n,
		       struct mfs_place *ret)
{
	for (uint64_t at = 0; at < dir->size / MFS_BLOCK; at++) {
		uint32_t block, offset;
		int rc = mfs_dir_block(fs, dir, at, &block);

		if (!rc)
			rc = find_in_block(mfs_at(fs, block), name, n, &offset);
		if (!rc) {
			ret->position = at * MFS_BLOCK + offset;
			ret->ino = get32(((const struct disk_dirent *)(mfs_at(fs, block) + offset))->inode);
		}
		if (rc != -ENOENT)
			return rc;
	}
	return -ENOENT;
}

int mfs_dir_find(const struct mfs *fs, const struct mfs_inode *dir, const char *name, size_t n, struct mfs_place *ret)
{
	return dir->index ? mfs_index_find(fs, dir, name, n, ret) : find_linear(fs, dir, name, n, ret);
}

static void put_dirent(uint8_t *block, uint32_t offset, uint32_t reclen, const char *name, size_t n, uint32_t ino)
{
	struct disk_dirent *ent = (struct disk_dirent *)(block + offset);

	memset(ent, 0, ino ? mfs_reclen(n) : MFS_DIRENT_HEADER);
	ent->inode = put32(ino);
	ent->reclen = put16((uint16_t)reclen);
	ent->namelen = put16((uint16_t)n);
	memcpy(ent->name, name, n);
}

static uint32_t used_by(const struct disk_dirent *ent)
{
	return get32(ent->inode) ? mfs_reclen(get16(ent->namelen)) : 0;
}

/* -ENOSPC if there is no room in that block. */
static int add_to_block(struct mfs *fs, const struct mfs_inode *dir, uint64_t at, const char *name, size_t n,
			uint32_t ino, uint64_t *ret_position)
{
	const struct disk_dirent *ent;
	uint32_t block, offset, used;
	uint8_t *bytes;
	int rc = mfs_dir_block(fs, dir, at, &block);

	for (offset = 0; !rc && offset < MFS_BLOCK; offset += get16(ent->reclen)) {
		rc = mfs_dirent_at(mfs_at(fs, block), offset, &ent);
		if (rc)
			return rc;
		if (get16(ent->reclen) - used_by(ent) < mfs_reclen(n))
			continue;
		rc = mfs_touch(fs, block, &bytes);
		if (rc)
			return rc;
		used = used_by(ent);
		put_dirent(bytes, offset + used, get16(ent->reclen) - used, name, n, ino);
		if (used)
			((struct disk_dirent *)(bytes + offset))->reclen = put16((uint16_t)used);
		*ret_position = at * MFS_BLOCK + offset + used;
		return 0;
	}
	return rc ? rc : -ENOSPC;
}

static int append_block(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint32_t ino,
			uint64_t *ret_position)
{
	uint32_t block;
	int rc = dir->size < MFS_DIRECTORY_MAX ? mfs_map_own(fs, dir, dir->size / MFS_BLOCK, false, &block) : -EFBIG;

	if (rc)
		return rc == -EFBIG ? -ENOSPC : rc;
	put_dirent(mfs_at(fs, block), 0, MFS_BLOCK, name, n, ino);
	*ret_position = dir->size;
	dir->size += MFS_BLOCK;
	return 0;
}

static int add_to_any(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint32_t ino,
		      uint64_t *ret_position)
{
	int rc = -ENOSPC;

	for (uint64_t at = 0; rc == -ENOSPC && at < dir->size / MFS_BLOCK; at++)
		rc = add_to_block(fs, dir, at, name, n, ino, ret_position);
	return rc == -ENOSPC ? append_block(fs, dir, name, n, ino, ret_position) : rc;
}

/* A few blocks where there was room last, then a new one, and the whole directory only if that fails. */
static int add_by_hint(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint32_t ino,
		       uint64_t *ret_position)
{
	uint64_t hint, blocks = dir->size / MFS_BLOCK, at;
	int rc = mfs_index_hint(fs, dir, &hint);

	if (rc)
		return rc;
	rc = -ENOSPC;
	for (at = hint; rc == -ENOSPC && at < blocks && at < hint + HINTS; at++)
		rc = add_to_block(fs, dir, at, name, n, ino, ret_position);
	if (rc == -ENOSPC)
		rc = add_to_block(fs, dir, blocks - 1, name, n, ino, ret_position);
	/* A new block may need blocks of pointers. */
	if (rc == -ENOSPC && mfs_blocks_free(fs) > MFS_INDIRECT)
		rc = append_block(fs, dir, name, n, ino, ret_position);
	else if (rc == -ENOSPC)
		rc = add_to_any(fs, dir, name, n, ino, ret_position);
	return rc ? rc : mfs_index_set_hint(fs, dir, *ret_position / MFS_BLOCK);
}

/* The name must not be there yet. Stores the directory. */
int mfs_dir_add(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n, uint32_t ino)
{
	uint64_t position;
	int rc = dir->index ? add_by_hint(fs, dir, name, n, ino, &position)
			    : add_to_any(fs, dir, name, n, ino, &position);

	if (!rc && dir->index)
		rc = mfs_index_add(fs, dir, name, n, position);
	else if (!rc && (fs->ro_compat & MFS_RO_COMPAT_INDEX) && dir->size >= MFS_INDEX_FROM_BLOCKS * MFS_BLOCK)
		rc = mfs_index_build(fs, dir);
	dir->mtime = dir->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, dir);
}

static int remove_at(struct mfs *fs, const struct mfs_inode *dir, uint64_t position)
{
	uint32_t block, before = MFS_BLOCK, wanted = (uint32_t)(position % MFS_BLOCK), offset = 0;
	const struct disk_dirent *ent;
	uint8_t *bytes;
	int rc = mfs_dir_block(fs, dir, position / MFS_BLOCK, &block);

	while (!rc && offset < wanted) {
		rc = mfs_dirent_at(mfs_at(fs, block), offset, &ent);
		before = offset;
		offset += rc ? 0 : get16(ent->reclen);
	}
	if (!rc && offset != wanted)
		rc = -EUCLEAN;
	if (!rc)
		rc = mfs_dirent_at(mfs_at(fs, block), wanted, &ent);
	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (rc)
		return rc;
	if (before < MFS_BLOCK) {
		struct disk_dirent *to = (struct disk_dirent *)(bytes + before);

		to->reclen = put16((uint16_t)(get16(to->reclen) + get16(ent->reclen)));
	} else {
		((struct disk_dirent *)bytes)->inode = put32(0);
	}
	return 0;
}

/* Stores the directory. */
int mfs_dir_remove(struct mfs *fs, struct mfs_inode *dir, const char *name, size_t n)
{
	struct mfs_place place;
	int rc = mfs_dir_find(fs, dir, name, n, &place);

	if (!rc && dir->index)
		rc = mfs_index_remove(fs, dir, name, n, place.position);
	if (!rc)
		rc = remove_at(fs, dir, place.position);
	dir->mtime = dir->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, dir);
}

/* The name leads to another inode from now on. Stores the directory. */
int mfs_dir_set(struct mfs *fs, struct mfs_inode *dir, const struct mfs_place *place, uint32_t ino)
{
	uint32_t block;
	uint8_t *bytes;
	int rc = mfs_dir_block(fs, dir, place->position / MFS_BLOCK, &block);

	if (!rc)
		rc = mfs_touch(fs, block, &bytes);
	if (rc)
		return rc;
	((struct disk_dirent *)(bytes + place->position % MFS_BLOCK))->inode = put32(ino);
	dir->mtime = dir->ctime = mfs_now();
	return mfs_inode_store(fs, dir);
}

int mfs_dir_next(const struct mfs *fs, const struct mfs_inode *dir, uint64_t position, struct mfs_name *ret)
{
	const struct disk_dirent *ent;

	for (uint64_t at = position / MFS_BLOCK; at < dir->size / MFS_BLOCK; at++) {
		uint32_t block;
		int rc = mfs_dir_block(fs, dir, at, &block);

		if (rc)
			return rc;
		for (uint32_t offset = 0; offset < MFS_BLOCK; offset += get16(ent->reclen)) {
			rc = mfs_dirent_at(mfs_at(fs, block), offset, &ent);
			if (rc)
				return rc;
			if (!get32(ent->inode) || at * MFS_BLOCK + offset < position)
				continue;
			if (memchr(ent->name, 0, get16(ent->namelen)) || memchr(ent->name, '/', get16(ent->namelen)))
				return -EUCLEAN;
			*ret = (struct mfs_name){
				.next = at * MFS_BLOCK + offset + 4,
				.ino = get32(ent->inode),
				.length = get16(ent->namelen),
				.name = ent->name,
			};
			return 0;
		}
	}
	return -ENOENT;
}

static bool is_dots(const struct mfs_name *name)
{
	return name->name[0] == '.' && (name->length == 1 || (name->length == 2 && name->name[1] == '.'));
}

/* 0, or -ENOTEMPTY. */
int mfs_dir_empty(const struct mfs *fs, const struct mfs_inode *dir)
{
	struct mfs_name name = {0};
	int rc;

	do
		rc = mfs_dir_next(fs, dir, name.next, &name);
	while (!rc && is_dots(&name));
	if (rc == -ENOENT)
		return 0;
	return rc ? rc : -ENOTEMPTY;
}

/* The first block of a new directory. The caller stores it. */
int mfs_dir_make(struct mfs *fs, struct mfs_inode *dir, uint32_t parent)
{
	uint32_t block;
	int rc = mfs_map_own(fs, dir, 0, false, &block);

	if (rc)
		return rc;
	put_dirent(mfs_at(fs, block), 0, mfs_reclen(1), ".", 1, dir->ino);
	put_dirent(mfs_at(fs, block), mfs_reclen(1), MFS_BLOCK - mfs_reclen(1), "..", 2, parent);
	dir->size = MFS_BLOCK;
	dir->links = 2;
	return 0;
}
