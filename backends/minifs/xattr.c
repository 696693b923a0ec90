/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes: all of an inode's in one block, one behind the other. */
#include "config.h"

#include <string.h>
#include <sys/xattr.h>

#include "fs.h"

static uint32_t entry_size(size_t namelen, size_t valuelen)
{
	return MFS_XATTR_HEADER + (((uint32_t)namelen + (uint32_t)valuelen + 3u) & ~3u);
}

/* *@ret is NULL at the end. Each entry that is returned lies within the block. */
static int next_entry(const uint8_t *block, uint32_t offset, const struct disk_xattr **ret)
{
	const struct disk_xattr *entry = (const struct disk_xattr *)(block + offset);

	*ret = NULL;
	if (offset > MFS_BLOCK - MFS_XATTR_HEADER || !get16(entry->namelen))
		return 0;
	if (get16(entry->namelen) > MFS_NAME_MAX)
		return -EUCLEAN;
	if (entry_size(get16(entry->namelen), get16(entry->valuelen)) > MFS_BLOCK - offset)
		return -EUCLEAN;
	if (memchr(entry->bytes, 0, get16(entry->namelen)))
		return -EUCLEAN;
	*ret = entry;
	return 0;
}

static uint32_t size_of(const struct disk_xattr *entry)
{
	return entry_size(get16(entry->namelen), get16(entry->valuelen));
}

int mfs_xattr_check(const uint8_t *block)
{
	const struct disk_xattr *entry;
	uint32_t offset = 0;

	for (;;) {
		int rc = next_entry(block, offset, &entry);

		if (rc || !entry)
			return rc;
		offset += size_of(entry);
	}
}

/* *@ret_end: where the entries end. *@ret: the one of that name, or NULL. */
static int find(const uint8_t *block, const char *name, const struct disk_xattr **ret, uint32_t *ret_end)
{
	const struct disk_xattr *entry;
	size_t n = strlen(name);
	uint32_t offset = 0;

	*ret = NULL;
	for (;;) {
		int rc = next_entry(block, offset, &entry);

		if (rc)
			return rc;
		if (!entry)
			break;
		if (get16(entry->namelen) == n && !memcmp(entry->bytes, name, n))
			*ret = entry;
		offset += size_of(entry);
	}
	*ret_end = offset;
	return 0;
}

static int check_name(const char *name)
{
	return !name[0] || strlen(name) > MFS_NAME_MAX ? -ERANGE : 0;
}

static int block_of(const struct mfs *fs, const struct mfs_inode *inode, const uint8_t **ret)
{
	if (!mfs_is_data(fs, inode->xattr))
		return -EUCLEAN;
	*ret = mfs_at(fs, inode->xattr);
	return 0;
}

/* A @size of 0 asks for the size only. */
ssize_t mfs_xattr_get(const struct mfs *fs, const struct mfs_inode *inode, const char *name, void *value, size_t size)
{
	const struct disk_xattr *entry;
	const uint8_t *block;
	uint32_t end;
	int rc = check_name(name);

	if (!rc && !inode->xattr)
		rc = -ENODATA;
	if (!rc)
		rc = block_of(fs, inode, &block);
	if (!rc)
		rc = find(block, name, &entry, &end);
	if (!rc && !entry)
		rc = -ENODATA;
	if (!rc && size && get16(entry->valuelen) > size)
		rc = -ERANGE;
	if (rc)
		return rc;
	if (size)
		memcpy(value, entry->bytes + get16(entry->namelen), get16(entry->valuelen));
	return get16(entry->valuelen);
}

ssize_t mfs_xattr_list(const struct mfs *fs, const struct mfs_inode *inode, char *list, size_t size)
{
	const struct disk_xattr *entry;
	const uint8_t *block;
	uint32_t offset = 0;
	size_t used = 0;
	int rc;

	if (!inode->xattr)
		return 0;
	rc = block_of(fs, inode, &block);
	while (!rc) {
		rc = next_entry(block, offset, &entry);
		if (rc || !entry)
			break;
		if (size && used + get16(entry->namelen) + 1 > size)
			return -ERANGE;
		if (size) {
			memcpy(list + used, entry->bytes, get16(entry->namelen));
			list[used + get16(entry->namelen)] = 0;
		}
		used += (size_t)get16(entry->namelen) + 1;
		offset += size_of(entry);
	}
	return rc ? rc : (ssize_t)used;
}

static void take_out(uint8_t *block, uint32_t at, uint32_t size, uint32_t end)
{
	memmove(block + at, block + at + size, end - at - size);
	memset(block + end - size, 0, size);
}

static void append(uint8_t *block, uint32_t at, const char *name, const void *value, size_t size)
{
	struct disk_xattr *entry = (struct disk_xattr *)(block + at);
	size_t n = strlen(name);

	entry->namelen = put16((uint16_t)n);
	entry->valuelen = put16((uint16_t)size);
	memcpy(entry->bytes, name, n);
	if (size)
		memcpy(entry->bytes + n, value, size);
}

static int own_block(struct mfs *fs, struct mfs_inode *inode, uint8_t **ret)
{
	int rc;

	if (inode->xattr) {
		const uint8_t *block;

		rc = block_of(fs, inode, &block);
		return rc ? rc : mfs_touch(fs, inode->xattr, ret);
	}
	rc = mfs_block_alloc(fs, 0, &inode->xattr);
	if (rc)
		return rc;
	inode->blocks++;
	*ret = mfs_at(fs, inode->xattr);
	memset(*ret, 0, MFS_BLOCK);
	return 0;
}

int mfs_xattr_set(struct mfs *fs, struct mfs_inode *inode, const char *name, const void *value, size_t size, int flags)
{
	const struct disk_xattr *entry;
	uint8_t *block;
	uint32_t end;
	int rc = check_name(name);

	if (!rc && size > MFS_BLOCK)
		rc = -ENOSPC;
	if (!rc && (flags & ~(XATTR_CREATE | XATTR_REPLACE)))
		rc = -EINVAL;
	if (!rc && !inode->xattr && (flags & XATTR_REPLACE))
		rc = -ENODATA;
	if (!rc)
		rc = own_block(fs, inode, &block);
	if (!rc)
		rc = find(block, name, &entry, &end);
	if (!rc && entry && (flags & XATTR_CREATE))
		rc = -EEXIST;
	if (!rc && !entry && (flags & XATTR_REPLACE))
		rc = -ENODATA;
	if (rc)
		return rc;
	if (entry) {
		uint32_t old = size_of(entry);

		take_out(block, (uint32_t)((const uint8_t *)entry - block), old, end);
		end -= old;
	}
	if (entry_size(strlen(name), size) > MFS_BLOCK - end)
		return -ENOSPC;
	/* What lies behind the end need not be zeros, and would be taken for more of them. */
	memset(block + end, 0, MFS_BLOCK - end);
	append(block, end, name, value, size);
	inode->ctime = mfs_now();
	return mfs_inode_store(fs, inode);
}

int mfs_xattr_remove(struct mfs *fs, struct mfs_inode *inode, const char *name)
{
	const struct disk_xattr *entry;
	uint8_t *block;
	uint32_t end;
	int rc = check_name(name);

	if (!rc && !inode->xattr)
		rc = -ENODATA;
	if (!rc)
		rc = own_block(fs, inode, &block);
	if (!rc)
		rc = find(block, name, &entry, &end);
	if (!rc && !entry)
		rc = -ENODATA;
	if (rc)
		return rc;
	take_out(block, (uint32_t)((const uint8_t *)entry - block), size_of(entry), end);
	if (!get16(((const struct disk_xattr *)block)->namelen)) {
		rc = mfs_block_free(fs, inode->xattr);
		inode->xattr = 0;
		if (inode->blocks)
			inode->blocks--;
	}
	inode->ctime = mfs_now();
	return rc ? rc : mfs_inode_store(fs, inode);
}

/* @to has none yet; it is the caller's to store. */
int mfs_xattr_copy(struct mfs *fs, const struct mfs_inode *from, struct mfs_inode *to)
{
	const uint8_t *block;
	uint8_t *copy;
	int rc = from->xattr ? block_of(fs, from, &block) : 0;

	if (rc || !from->xattr)
		return rc;
	rc = own_block(fs, to, &copy);
	if (!rc)
		memmove(copy, block, MFS_BLOCK);
	return rc;
}
