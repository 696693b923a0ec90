/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking an image: a model of what should be is made from the inodes and the tree,
 * then compared with bitmaps and counts.
 *
 * Repair goes in rounds. What needs no space is mended while the model is made; then the
 * bitmaps are set by the model, and only then comes what needs space, by the ordinary
 * operations. The next round looks at all of it again, until one finds nothing.
 */
#ifndef SNAPMAP_MINIFS_CHECK_H
#define SNAPMAP_MINIFS_CHECK_H

#include "fs.h"

/* model.blocks: number of pointers to it, and: */
#define BLOCK_EXCLUSIVE 0x80000000u /* is not file data: nobody else may have it */

/* inode_model.state */
#define INODE_USED 0x1u
#define INODE_REACHED 0x2u /* a name leads to it */
#define INODE_KNOWN 0x4u   /* hidden, and something has it; or a listed orphan */
#define INODE_TAIL 0x8u	   /* bytes behind its end have to be zeroed */
#define INODE_HOLE 0x10u   /* a directory, to be cut at @cut, where it has none */

struct inode_model {
	uint32_t links;
	uint32_t cut; /* of a directory: blocks of data it has at most */
	uint32_t state;
};

struct checker {
	struct mfs *fs;
	struct mfs_check *check;
	bool first;	   /* round: problems are counted and told */
	bool repair;	   /* this round mends */
	bool root_bad;	   /* there is no root directory to begin with */
	uint64_t problems; /* of this round */
	int error;	   /* of the machine, not of the image */
	uint32_t *blocks;
	struct inode_model *inodes;
};

/* Notes a problem; true if it is to be mended now. */
bool chk_problem(struct checker *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The block may be changed; false if the machine is out of memory. */
bool chk_touch(struct checker *c, uint32_t block, uint8_t **ret);
void chk_store(struct checker *c, const struct mfs_inode *inode);
void chk_clear_inode(struct checker *c, uint32_t ino);

/* check_inode.c */
void chk_inodes(struct checker *c);
/* An inode that has to be there although it is marked as free. */
bool chk_revive(struct checker *c, uint32_t ino);

/* check_tree.c */
void chk_tree(struct checker *c);
void chk_orphans(struct checker *c);
void chk_links(struct checker *c);
void chk_reattach(struct checker *c);

/* check_space.c */
void chk_indexes(struct checker *c);
void chk_counts_inode(struct checker *c);
void chk_counts(struct checker *c, bool mend);
void chk_bitmaps(struct checker *c);

#endif
