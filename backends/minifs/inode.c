/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inodes: reading and writing them with their checksums, making and freeing them. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "sys.h"

static struct disk_inode *at(const struct mfs *fs, uint32_t ino)
{
	return (struct disk_inode *)(mfs_at(fs, fs->geo.inode_table) + (uint64_t)ino * MFS_INODE_SIZE);
}

/* Over the number too, so that an inode at another's place is not taken for it. */
static uint32_t crc_of(const struct disk_inode *disk, uint32_t ino)
{
	le32 number = put32(ino);

	return mfs_crc32c(mfs_crc32c(0, &number, sizeof(number)), disk, offsetof(struct disk_inode, crc));
}

bool mfs_inode_crc_ok(const struct mfs *fs, uint32_t ino)
{
	return get32(at(fs, ino)->crc) == crc_of(at(fs, ino), ino);
}

void mfs_inode_decode(const struct mfs *fs, uint32_t ino, struct mfs_inode *ret)
{
	const struct disk_inode *disk = at(fs, ino);

	*ret = (struct mfs_inode){
		.ino = ino,
		.mode = get32(disk->mode),
		.uid = get32(disk->uid),
		.gid = get32(disk->gid),
		.links = get32(disk->links),
		.size = get64(disk->size),
		.blocks = get64(disk->blocks),
		.atime = (int64_t)get64(disk->atime),
		.mtime = (int64_t)get64(disk->mtime),
		.ctime = (int64_t)get64(disk->ctime),
		.flags = get32(disk->flags),
		.generation = get32(disk->generation),
		.xattr = get32(disk->xattr),
		.index = get32(disk->index),
		.next_orphan = get32(disk->next_orphan),
	};
	for (unsigned i = 0; i < MFS_POINTERS; i++)
		ret->pointers[i] = get32(disk->pointers[i]);
}

static int check_size(const struct mfs *fs, const struct mfs_inode *inode)
{
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		return inode->size <= mfs_size_max(fs) ? 0 : -EUCLEAN;
	case S_IFDIR:
		return inode->size && inode->size % MFS_BLOCK == 0 && inode->size <= mfs_size_max(fs) &&
				       inode->size / MFS_BLOCK <= fs->geo.data_blocks &&
				       inode->size <= MFS_DIRECTORY_MAX
			       ? 0
			       : -EUCLEAN;
	case S_IFLNK:
		return inode->size && inode->size < MFS_BLOCK ? 0 : -EUCLEAN;
	default:
		return -EUCLEAN;
	}
}

/* What has to hold for an inode that is used, by itself. */
int mfs_inode_check(const struct mfs *fs, const struct mfs_inode *inode)
{
	if ((inode->mode & ~(uint32_t)(S_IFMT | 07777)) || (inode->flags & ~MFS_INODE_HIDDEN))
		return -EUCLEAN;
	if (inode->xattr && !mfs_is_data(fs, inode->xattr))
		return -EUCLEAN;
	if (inode->index && (!S_ISDIR(inode->mode) || inode->index >= fs->geo.inodes))
		return -EUCLEAN;
	return check_size(fs, inode);
}

int mfs_inode_load(const struct mfs *fs, uint32_t ino, struct mfs_inode *ret)
{
	struct mfs_inode inode;
	int rc;

	if (ino < MFS_ROOT || !mfs_inode_used(fs, ino) || !mfs_inode_crc_ok(fs, ino))
		return -EUCLEAN;
	mfs_inode_decode(fs, ino, &inode);
	rc = mfs_inode_check(fs, &inode);
	/* A few blocks that are there again and again would make it as good as endless. */
	if (!rc && S_ISDIR(inode.mode) && inode.blocks < inode.size / MFS_BLOCK)
		rc = -EUCLEAN;
	if (!rc)
		*ret = inode;
	return rc;
}

int mfs_inode_store(struct mfs *fs, const struct mfs_inode *inode)
{
	uint8_t *bytes;
	struct disk_inode *disk = at(fs, inode->ino);
	int rc = mfs_touch(fs, fs->geo.inode_table + inode->ino / MFS_INODES_PER_BLOCK, &bytes);

	if (rc)
		return rc;
	*disk = (struct disk_inode){
		.mode = put32(inode->mode),
		.uid = put32(inode->uid),
		.gid = put32(inode->gid),
		.links = put32(inode->links),
		.size = put64(inode->size),
		.blocks = put64(inode->blocks),
		.atime = put64((uint64_t)inode->atime),
		.mtime = put64((uint64_t)inode->mtime),
		.ctime = put64((uint64_t)inode->ctime),
		.flags = put32(inode->flags),
		.generation = put32(inode->generation),
		.xattr = put32(inode->xattr),
		.index = put32(inode->index),
		.next_orphan = put32(inode->next_orphan),
	};
	for (unsigned i = 0; i < MFS_POINTERS; i++)
		disk->pointers[i] = put32(inode->pointers[i]);
	disk->crc = put32(crc_of(disk, inode->ino));
	return 0;
}

int64_t mfs_now(void)
{
	struct timespec now;

	sys_now(&now);
	return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* Not stored yet; nothing leads to it. */
int mfs_inode_new(struct mfs *fs, uint32_t mode, uint32_t uid, uint32_t gid, struct mfs_inode *ret)
{
	uint32_t ino;
	int64_t now = mfs_now();
	uint8_t *bytes;
	int rc = mfs_inode_take(fs, &ino);

	/* Before a look at it, which can fail where the image has a hole. */
	if (!rc)
		rc = mfs_touch(fs, fs->geo.inode_table + ino / MFS_INODES_PER_BLOCK, &bytes);
	if (rc)
		return rc;
	*ret = (struct mfs_inode){
		.ino = ino,
		.mode = mode,
		.uid = uid,
		.gid = gid,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.generation = get32(at(fs, ino)->generation) + 1,
	};
	return 0;
}

/* Frees the inode with all it has. Its generation stays, so that the next one differs. */
int mfs_inode_drop(struct mfs *fs, struct mfs_inode *inode)
{
	struct mfs_inode empty = {.ino = inode->ino, .generation = inode->generation};
	int rc = S_ISDIR(inode->mode) ? mfs_index_drop(fs, inode) : 0;

	if (!rc)
		rc = mfs_map_cut(fs, inode, 0);
	if (!rc && inode->xattr)
		rc = mfs_block_free(fs, inode->xattr);
	if (!rc)
		rc = mfs_inode_store(fs, &empty);
	return rc ? rc : mfs_inode_give(fs, inode->ino);
}

int mfs_inode_orphan(struct mfs *fs, struct mfs_inode *inode)
{
	struct disk_super *super = mfs_super(fs);
	uint8_t *bytes;
	int rc = mfs_touch(fs, 0, &bytes);

	if (rc)
		return rc;
	inode->next_orphan = get32(super->orphans);
	super->orphans = put32(inode->ino);
	return mfs_inode_store(fs, inode);
}

/* The last name is gone: the inode goes too, or, while it is held open, is listed as an orphan. */
int mfs_inode_unlinked(struct mfs *fs, struct mfs_inode *inode)
{
	return mfs_holds(fs, inode->ino) ? mfs_inode_orphan(fs, inode) : mfs_inode_drop(fs, inode);
}

/* Orphans of a former opener. Each step frees an inode, so this ends. */
int mfs_orphans_free(struct mfs *fs)
{
	struct disk_super *super = mfs_super(fs);
	int rc = 0;

	while (!rc && get32(super->orphans)) {
		struct mfs_inode inode;
		uint8_t *bytes;

		rc = mfs_inode_load(fs, get32(super->orphans), &inode);
		if (!rc && (inode.links || (inode.flags & MFS_INODE_HIDDEN) || inode.ino == MFS_ROOT))
			rc = -EUCLEAN;
		if (!rc)
			rc = mfs_touch(fs, 0, &bytes);
		if (!rc)
			super->orphans = put32(inode.next_orphan);
		if (!rc)
			rc = mfs_inode_drop(fs, &inode);
		rc = mfs_end(fs, rc);
	}
	return rc;
}

static int take_off_list(struct mfs *fs, const struct mfs_inode *inode)
{
	struct disk_super *super = mfs_super(fs);
	uint32_t ino = get32(super->orphans);
	struct mfs_inode other;
	uint8_t *bytes;
	int rc = mfs_touch(fs, 0, &bytes);

	if (!rc && ino == inode->ino) {
		super->orphans = put32(inode->next_orphan);
		return 0;
	}
	for (uint32_t steps = 0; !rc && steps < fs->geo.inodes; steps++) {
		rc = mfs_inode_load(fs, ino, &other);
		if (!rc && other.next_orphan == inode->ino) {
			other.next_orphan = inode->next_orphan;
			return mfs_inode_store(fs, &other);
		}
		ino = rc ? 0 : other.next_orphan;
	}
	return rc ? rc : -EUCLEAN;
}

/* Ends @n holds; the last one of an orphan frees it. A transaction of its own. */
int mfs_release(struct mfs *fs, uint32_t ino, uint64_t n)
{
	struct mfs_inode inode;
	int rc;

	if (!mfs_unhold(fs, ino, n) || !fs->store->writable)
		return 0;
	rc = mfs_inode_load(fs, ino, &inode);
	if (rc || inode.links)
		return rc;
	rc = take_off_list(fs, &inode);
	if (!rc)
		rc = mfs_inode_drop(fs, &inode);
	return mfs_end(fs, rc);
}

static struct timespec time_of(int64_t ns)
{
	struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (time.tv_nsec < 0) {
		time.tv_sec--;
		time.tv_nsec += 1000000000;
	}
	return time;
}

void mfs_inode_stat(const struct mfs_inode *inode, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = inode->ino,
		.st_mode = inode->mode,
		.st_nlink = inode->links,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_size = (off_t)inode->size,
		.st_blksize = MFS_BLOCK,
		.st_blocks = (blkcnt_t)(inode->blocks * (MFS_BLOCK / 512)),
		.st_atim = time_of(inode->atime),
		.st_mtim = time_of(inode->mtime),
		.st_ctim = time_of(inode->ctime),
	};
}
