/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where things are in an image: superblock, bitmaps, table of inodes, data, in this
 * order, without gaps. All follows from the numbers of the superblock, which are checked
 * here, once, and never read again.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "fs.h"

#define DEFAULT_BYTES ((uint64_t)256 << 10)
#define DEFAULT_INODES 80u
#define BLOCKS_PER_INODE 4u
#define BLOCKS_MAX ((uint64_t)1 << 32)

static uint64_t divide_up(uint64_t n, uint64_t by)
{
	return (n + by - 1) / by;
}

/* *@ret_why: what is wrong, in words. */
int mfs_geometry_plan(const struct mfs_format *format, struct mfs_geometry *ret, const char **ret_why)
{
	struct mfs_geometry g = {.blocks = (format->bytes ? format->bytes : DEFAULT_BYTES) / MFS_BLOCK};
	uint64_t inodes = format->inodes, data;

	*ret_why = "the size has to be a multiple of 4096, and at most 16 TiB";
	if (format->bytes % MFS_BLOCK || g.blocks > BLOCKS_MAX)
		return -EINVAL;
	if (!inodes)
		inodes = g.blocks / BLOCKS_PER_INODE > DEFAULT_INODES ? g.blocks / BLOCKS_PER_INODE : DEFAULT_INODES;
	g.inode_table_blocks = (uint32_t)divide_up(inodes, MFS_INODES_PER_BLOCK);
	*ret_why = "there are too few inodes, or too many";
	if (inodes <= MFS_ROOT || inodes > UINT32_MAX - MFS_INODES_PER_BLOCK)
		return -EINVAL;
	g.inodes = g.inode_table_blocks * MFS_INODES_PER_BLOCK;
	g.inode_bitmap = 1;
	g.inode_bitmap_blocks = (uint32_t)divide_up(g.inodes, MFS_BITS_PER_BLOCK);
	g.data_bitmap = g.inode_bitmap + g.inode_bitmap_blocks;
	g.data_bitmap_blocks = (uint32_t)divide_up(g.blocks, MFS_BITS_PER_BLOCK);
	g.inode_table = g.data_bitmap + g.data_bitmap_blocks;
	data = (uint64_t)g.inode_table + g.inode_table_blocks;
	*ret_why = "it is too small for its table of inodes";
	if (data >= g.blocks)
		return -EINVAL;
	g.data = (uint32_t)data;
	g.data_blocks = g.blocks - data;
	*ret = g;
	return 0;
}

static bool fits(const struct mfs_geometry *g)
{
	return g->inodes > MFS_ROOT && g->inodes % MFS_INODES_PER_BLOCK == 0 && g->inode_bitmap == 1 &&
	       g->inode_bitmap_blocks == divide_up(g->inodes, MFS_BITS_PER_BLOCK) &&
	       g->data_bitmap == (uint64_t)g->inode_bitmap + g->inode_bitmap_blocks &&
	       g->inode_table == (uint64_t)g->data_bitmap + g->data_bitmap_blocks &&
	       g->inode_table_blocks == divide_up(g->inodes, MFS_INODES_PER_BLOCK) &&
	       g->data == (uint64_t)g->inode_table + g->inode_table_blocks && g->data < g->blocks &&
	       g->data_bitmap_blocks == divide_up(g->blocks, MFS_BITS_PER_BLOCK);
}

int mfs_geometry_read(const struct disk_super *super, uint64_t size, struct mfs_geometry *ret, const char **ret_why)
{
	struct mfs_geometry g = {
		.blocks = get64(super->blocks),
		.inodes = get32(super->inodes),
		.inode_bitmap = get32(super->inode_bitmap),
		.inode_bitmap_blocks = get32(super->inode_bitmap_blocks),
		.data_bitmap = get32(super->data_bitmap),
		.data_bitmap_blocks = get32(super->data_bitmap_blocks),
		.inode_table = get32(super->inode_table),
		.inode_table_blocks = get32(super->inode_table_blocks),
		.data = get32(super->data),
	};

	*ret_why = "its superblock does not fit together";
	if (get32(super->block_size) != MFS_BLOCK || get32(super->inode_size) != MFS_INODE_SIZE ||
	    get32(super->root) != MFS_ROOT || g.blocks > BLOCKS_MAX || !fits(&g))
		return -EUCLEAN;
	*ret_why = "the file is shorter than its superblock says";
	if (g.blocks > size / MFS_BLOCK)
		return -EUCLEAN;
	g.data_blocks = g.blocks - g.data;
	*ret = g;
	return 0;
}

static void put_geometry(struct disk_super *super, const struct mfs_geometry *g)
{
	super->blocks = put64(g->blocks);
	super->inodes = put32(g->inodes);
	super->inode_bitmap = put32(g->inode_bitmap);
	super->inode_bitmap_blocks = put32(g->inode_bitmap_blocks);
	super->data_bitmap = put32(g->data_bitmap);
	super->data_bitmap_blocks = put32(g->data_bitmap_blocks);
	super->inode_table = put32(g->inode_table);
	super->inode_table_blocks = put32(g->inode_table_blocks);
	super->data = put32(g->data);
	super->free_blocks = put64(g->data_blocks);
	super->free_inodes = put32(g->inodes - MFS_ROOT);
}

static void put_super(struct mfs *fs, const struct mfs_format *format)
{
	struct disk_super *super = mfs_super(fs);

	put_geometry(super, &fs->geo);
	memcpy(super->magic, MFS_MAGIC, sizeof(super->magic));
	super->version = put32(MFS_VERSION);
	super->ro_compat = put32(fs->ro_compat);
	super->incompat = put32(fs->incompat);
	super->block_size = put32(MFS_BLOCK);
	super->inode_size = put32(MFS_INODE_SIZE);
	super->root = put32(MFS_ROOT);
	super->created = put64((uint64_t)mfs_now());
	memcpy(super->uuid, format->uuid, sizeof(super->uuid));
	memcpy(super->label, format->label, sizeof(super->label));
}

static int make_root(struct mfs *fs, const struct mfs_format *format)
{
	struct mfs_inode root;
	int rc = mfs_inode_new(fs, S_IFDIR | (format->mode & 07777), format->uid, format->gid, &root);

	if (!rc)
		rc = mfs_dir_make(fs, &root, root.ino);
	return rc ? rc : mfs_inode_store(fs, &root);
}

/* The store must be empty or zeros: what is zero is not written. */
int mfs_format(struct minifs_store *store, const struct mfs_format *format, const char **ret_why)
{
	struct mfs fs = {.store = store, .inode_rotor = MFS_ROOT};
	int rc = mfs_geometry_plan(format, &fs.geo, ret_why);

	if (rc)
		return rc;
	*ret_why = "there is no room for it";
	rc = store->ops->make_room(store, fs.geo.blocks * MFS_BLOCK);
	if (rc)
		return rc;
	fs.base = store->base;
	fs.incompat = format->large ? MFS_INCOMPAT_LARGE : 0;
	fs.ro_compat = format->index ? MFS_RO_COMPAT_INDEX : 0;
	put_super(&fs, format);
	/* Inodes 0 and 1 are never used. */
	mfs_at(&fs, fs.geo.inode_bitmap)[0] = (1u << MFS_ROOT) - 1;
	rc = mfs_end(&fs, make_root(&fs, format));
	mfs_txn_close(&fs);
	return rc;
}

static int read_super(struct mfs *fs, bool any_crc, const char **ret_why)
{
	const struct disk_super *super = mfs_super(fs);

	*ret_why = "it is not an image of a mini file system";
	if (fs->store->size < MFS_BLOCK || memcmp(super->magic, MFS_MAGIC, sizeof(super->magic)) != 0)
		return -EINVAL;
	*ret_why = "its version or a feature of it is not known here";
	if (get32(super->version) != MFS_VERSION || (get32(super->incompat) & ~MFS_INCOMPAT_KNOWN))
		return -EOPNOTSUPP;
	*ret_why = "it has a feature that allows to read only here";
	if (fs->store->writable && (get32(super->ro_compat) & ~MFS_RO_COMPAT_KNOWN))
		return -EROFS;
	*ret_why = "the checksum of its superblock is wrong";
	if (!any_crc && get32(super->crc) != mfs_crc32c(0, super, offsetof(struct disk_super, crc)))
		return -EUCLEAN;
	fs->incompat = get32(super->incompat);
	fs->ro_compat = get32(super->ro_compat);
	return mfs_geometry_read(super, fs->store->size, &fs->geo, ret_why);
}

int mfs_open(struct mfs *fs, struct minifs_store *store, bool any_crc, const char **ret_why)
{
	int rc;

	*fs = (struct mfs){.store = store, .base = store->base};
	rc = read_super(fs, any_crc, ret_why);
	if (!rc && store->writable && !any_crc) {
		*ret_why = "its list of deleted files is damaged";
		rc = mfs_orphans_free(fs);
	}
	if (rc)
		mfs_txn_close(fs);
	return rc;
}

void mfs_close(struct mfs *fs)
{
	mfs_txn_close(fs);
	mfs_held_close(fs);
	mfs_pins_close(fs);
}

int mfs_sync(struct mfs *fs)
{
	return fs->store->writable ? fs->store->ops->sync(fs->store) : -EROFS;
}
