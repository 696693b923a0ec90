/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking inodes one by one: what they say of themselves, and which blocks they have. */
#include "config.h"

#include <string.h>

#include "check.h"

struct blocks_of {
	struct checker *c;
	struct mfs_inode *inode;
	uint64_t count, end; /* blocks it has; blocks of data it may have */
	bool changed;
};

/* The block is this inode's; false, after a message, if it cannot be. */
static bool claim(struct blocks_of *b, uint32_t block, bool exclusive)
{
	struct checker *c = b->c;
	uint32_t *model;

	if (!mfs_is_data(c->fs, block)) {
		chk_problem(c, "inode %u has a pointer to block %u, which is out of range", b->inode->ino, block);
		return false;
	}
	model = &c->blocks[block - c->fs->geo.data];
	if (*model && (exclusive || (*model & BLOCK_EXCLUSIVE))) {
		chk_problem(c, "inode %u has block %u, which belongs to something else", b->inode->ino, block);
		return false;
	}
	*model = exclusive ? BLOCK_EXCLUSIVE | 1 : *model + 1;
	b->count++;
	return true;
}

static bool data_is_exclusive(const struct mfs_inode *inode)
{
	return !S_ISREG(inode->mode) || (inode->flags & MFS_INODE_HIDDEN);
}

/* False if the pointer has to go. */
static bool check_pointer(struct blocks_of *b, uint32_t block, unsigned level, uint64_t first)
{
	struct checker *c = b->c;
	uint64_t span = level ? (uint64_t)1 << (10 * (level - 1)) : 0;

	if (first >= b->end) {
		chk_problem(c, "inode %u has blocks behind its end", b->inode->ino);
		return false;
	}
	if (!claim(b, block, level || data_is_exclusive(b->inode)))
		return false;
	for (unsigned i = 0; level && i < MFS_PER_BLOCK; i++) {
		le32 *entry = (le32 *)mfs_at(c->fs, block) + i;
		uint8_t *bytes;

		if (get32(*entry) && !check_pointer(b, get32(*entry), level - 1, first + i * span) && c->repair &&
		    chk_touch(c, block, &bytes))
			*entry = put32(0);
	}
	return true;
}

static void check_map(struct blocks_of *b)
{
	uint64_t first = 0;

	b->end = (b->inode->size + MFS_BLOCK - 1) / MFS_BLOCK;
	for (unsigned slot = 0; slot < MFS_POINTERS; slot++) {
		unsigned level = slot < MFS_DIRECT ? 0 : slot - MFS_DIRECT + 1;

		if (b->inode->pointers[slot] && !check_pointer(b, b->inode->pointers[slot], level, first)) {
			b->inode->pointers[slot] = 0;
			b->changed = true;
		}
		first += (uint64_t)1 << (10 * level);
	}
}

static void check_xattr(struct blocks_of *b)
{
	struct mfs_inode *inode = b->inode;

	if (!inode->xattr)
		return;
	if (claim(b, inode->xattr, true)) {
		if (!mfs_xattr_check(mfs_at(b->c->fs, inode->xattr)))
			return;
		chk_problem(b->c, "the extended attributes of inode %u are damaged", inode->ino);
		b->c->blocks[inode->xattr - b->c->fs->geo.data] = 0;
		b->count--;
	}
	inode->xattr = 0;
	b->changed = true;
}

static void check_count(struct blocks_of *b)
{
	if (b->count == b->inode->blocks)
		return;
	chk_problem(b->c, "inode %u has %llu blocks, not %llu", b->inode->ino, (unsigned long long)b->count,
		    (unsigned long long)b->inode->blocks);
	b->inode->blocks = b->count;
	b->changed = true;
}

/* Behind the end, in its block, are zeros: else growing would show what was there. */
static void check_tail(struct checker *c, const struct mfs_inode *inode)
{
	size_t used = inode->size % MFS_BLOCK;
	const uint8_t *bytes;
	uint32_t block;

	if (!S_ISREG(inode->mode) || !used || mfs_map_get(c->fs, inode, inode->size / MFS_BLOCK, &block) || !block)
		return;
	bytes = mfs_at(c->fs, block) + used;
	if (!bytes[0] && !memcmp(bytes, bytes + 1, MFS_BLOCK - used - 1))
		return;
	if (chk_problem(c, "inode %u has bytes behind its end that are not zeros", inode->ino))
		c->inodes[inode->ino].state |= INODE_TAIL;
}

static bool is_bad_symlink(const struct checker *c, const struct mfs_inode *inode)
{
	uint32_t block;

	return S_ISLNK(inode->mode) &&
	       (mfs_map_get(c->fs, inode, 0, &block) || !block || memchr(mfs_at(c->fs, block), 0, (size_t)inode->size));
}

static void check_one(struct checker *c, uint32_t ino)
{
	struct mfs_inode inode;
	struct blocks_of b = {.c = c, .inode = &inode};

	mfs_inode_decode(c->fs, ino, &inode);
	if (mfs_inode_check(c->fs, &inode)) {
		if (chk_problem(c, "inode %u is damaged", ino))
			chk_clear_inode(c, ino);
		return;
	}
	if (!mfs_inode_crc_ok(c->fs, ino)) {
		chk_problem(c, "the checksum of inode %u is wrong", ino);
		b.changed = true;
	}
	c->inodes[ino].state = INODE_USED;
	check_map(&b);
	check_xattr(&b);
	check_count(&b);
	c->inodes[ino].cut = b.count < UINT32_MAX ? (uint32_t)b.count : UINT32_MAX;
	if (is_bad_symlink(c, &inode)) {
		if (chk_problem(c, "the symbolic link in inode %u has no target", ino))
			chk_clear_inode(c, ino);
		return;
	}
	if (b.changed && c->repair)
		chk_store(c, &inode);
	check_tail(c, &inode);
}

void chk_inodes(struct checker *c)
{
	struct mfs_inode root;

	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes; ino++)
		if (mfs_inode_used(c->fs, ino))
			check_one(c, ino);
	if (!(c->inodes[MFS_ROOT].state & INODE_USED) && chk_revive(c, MFS_ROOT))
		return;
	mfs_inode_decode(c->fs, MFS_ROOT, &root);
	if ((c->inodes[MFS_ROOT].state & INODE_USED) && S_ISDIR(root.mode) && !root.flags)
		return;
	c->root_bad = true;
	if (chk_problem(c, "there is no root directory"))
		chk_clear_inode(c, MFS_ROOT);
	/* The number stays taken, for the new one. */
	c->inodes[MFS_ROOT].state = INODE_KNOWN;
}

bool chk_revive(struct checker *c, uint32_t ino)
{
	struct mfs_inode inode;

	if (ino < MFS_ROOT || ino >= c->fs->geo.inodes || mfs_inode_used(c->fs, ino))
		return false;
	mfs_inode_decode(c->fs, ino, &inode);
	if (mfs_inode_check(c->fs, &inode) || !mfs_inode_crc_ok(c->fs, ino) || inode.flags)
		return false;
	chk_problem(c, "inode %u is used, but marked as free", ino);
	check_one(c, ino);
	return c->inodes[ino].state & INODE_USED;
}
