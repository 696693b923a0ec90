/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of a check, and its rounds. See check.h. */
#include "config.h"

#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 12
#define SENTENCES 10000 /* of one image, which may have millions of problems */

/* Names are whatever they are, and must not do more to a terminal than be read. */
static void tell(struct checker *c, const char *format, va_list args)
{
	char sentence[400];

	vsnprintf(sentence, sizeof(sentence), format, args);
	for (char *p = sentence; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	c->check->report(c->check->arg, sentence);
}

bool chk_problem(struct checker *c, const char *format, ...)
{
	va_list args;

	c->problems++;
	if (!c->first)
		return c->repair;
	c->check->found++;
	if (c->check->report && c->check->found <= SENTENCES) {
		va_start(args, format);
		tell(c, format, args);
		va_end(args);
	} else if (c->check->report && c->check->found == SENTENCES + 1) {
		c->check->report(c->check->arg, "there are more problems, which are only counted");
	}
	return c->repair;
}

bool chk_touch(struct checker *c, uint32_t block, uint8_t **ret)
{
	int rc = mfs_touch(c->fs, block, ret);

	if (rc)
		c->error = rc;
	return !rc;
}

void chk_store(struct checker *c, const struct mfs_inode *inode)
{
	int rc = mfs_inode_store(c->fs, inode);

	if (rc)
		c->error = rc;
}

/* What it had is nobody's then, which the next round finds. */
void chk_clear_inode(struct checker *c, uint32_t ino)
{
	struct mfs_inode old, empty = {.ino = ino};

	/* Who knows the old one by number and generation must not find the next one. */
	mfs_inode_decode(c->fs, ino, &old);
	empty.generation = old.generation;
	chk_store(c, &empty);
	c->inodes[ino].state = 0;
}

static void check_super(struct checker *c)
{
	const struct disk_super *super = mfs_super(c->fs);
	uint8_t *bytes;

	if (get32(super->crc) != mfs_crc32c(0, super, offsetof(struct disk_super, crc)) &&
	    chk_problem(c, "the checksum of the superblock is wrong"))
		chk_touch(c, 0, &bytes);
}

static void make_root(struct checker *c)
{
	struct mfs *fs = c->fs;
	struct mfs_inode root = {.ino = MFS_ROOT, .mode = S_IFDIR | 0755};
	int rc;

	root.atime = root.mtime = root.ctime = mfs_now();
	rc = mfs_dir_make(fs, &root, MFS_ROOT);
	if (!rc)
		rc = mfs_inode_store(fs, &root);
	mfs_end(fs, rc);
}

static void cut_directory(struct checker *c, uint32_t ino)
{
	struct mfs_inode dir;
	int rc;

	/* Not loaded: it has fewer blocks than it says. */
	mfs_inode_decode(c->fs, ino, &dir);
	rc = mfs_index_drop(c->fs, &dir);
	if (!rc)
		rc = mfs_map_cut(c->fs, &dir, c->inodes[ino].cut);
	dir.size = (uint64_t)c->inodes[ino].cut * MFS_BLOCK;
	if (!rc)
		rc = dir.size ? mfs_inode_store(c->fs, &dir) : mfs_inode_drop(c->fs, &dir);
	mfs_end(c->fs, rc);
}

static void zero_tail(struct checker *c, uint32_t ino)
{
	struct mfs_inode inode;
	int rc = mfs_inode_load(c->fs, ino, &inode);

	/* A smaller size and back is what zeroes it. */
	if (!rc) {
		inode.size++;
		rc = mfs_resize(c->fs, &inode, inode.size - 1);
	}
	mfs_end(c->fs, rc);
}

/* What needs a bitmap that can be trusted. What fails is found again by the next round. */
static void mend_late(struct checker *c)
{
	bool cut = false;

	if (c->root_bad) {
		make_root(c);
		return;
	}
	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes; ino++) {
		if (c->inodes[ino].state & INODE_HOLE) {
			cut_directory(c, ino);
			cut = true;
		} else if (c->inodes[ino].state & INODE_TAIL) {
			zero_tail(c, ino);
		}
	}
	/* The number of a directory that went may still have a name, and must not be used again before that goes. */
	if (cut)
		return;
	chk_counts(c, true);
	chk_reattach(c);
}

static void one_round(struct checker *c)
{
	check_super(c);
	chk_inodes(c);
	chk_counts_inode(c);
	chk_tree(c);
	chk_indexes(c);
	chk_orphans(c);
	chk_links(c);
	chk_counts(c, false);
	chk_bitmaps(c);
	mfs_end(c->fs, 0);
	if (c->repair && c->problems && !c->error)
		mend_late(c);
}

static int run_round(struct checker *c)
{
	c->problems = 0;
	c->root_bad = false;
	c->blocks = (uint32_t *)calloc(c->fs->geo.data_blocks, sizeof(*c->blocks));
	c->inodes = (struct inode_model *)calloc(c->fs->geo.inodes, sizeof(*c->inodes));
	c->error = c->blocks && c->inodes ? 0 : -ENOMEM;
	if (!c->error)
		one_round(c);
	free(c->blocks);
	free(c->inodes);
	c->first = false;
	return c->error;
}

/* 0: clean, or clean now. -EUCLEAN: it is not, but what could be repaired is. */
int mfs_check(struct mfs *fs, struct mfs_check *check)
{
	struct checker c = {.fs = fs, .check = check, .first = true, .repair = check->repair};
	int rc = run_round(&c);

	for (int i = 1; !rc && c.problems && check->repair && i < ROUNDS; i++)
		rc = run_round(&c);
	if (rc)
		return rc;
	if (check->repair && c.problems < check->found)
		check->repaired = check->found - c.problems;
	return c.problems ? -EUCLEAN : 0;
}
