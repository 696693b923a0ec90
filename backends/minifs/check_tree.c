/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking directories, and what they lead to. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Directories that were found and not looked at yet. */
struct todo {
	struct checker *c;
	struct {
		uint32_t ino, parent;
	} * v;
	size_t n, capacity;
};

static void push(struct todo *todo, uint32_t ino, uint32_t parent)
{
	if (todo->n == todo->capacity) {
		size_t capacity = todo->capacity ? todo->capacity * 2 : 64;
		void *v = realloc(todo->v, capacity * sizeof(*todo->v));

		if (!v) {
			todo->c->error = -ENOMEM;
			return;
		}
		todo->v = v;
		todo->capacity = capacity;
	}
	todo->v[todo->n].ino = ino;
	todo->v[todo->n++].parent = parent;
}

/**
 * struct places - dirents of one directory, by where they are in it
 *
 * Names that are there twice are found by sorting: the time that takes does not depend
 * on what they are, as that with a hash does.
 */
struct places {
	uint64_t *v;
	size_t n, capacity;
};

struct looking {
	struct todo *todo;
	struct mfs_inode dir;
	uint32_t parent;
	struct places doubles; /* whose names are there before, in order */
};

static bool add_place(struct looking *l, struct places *places, uint64_t place)
{
	if (places->n == places->capacity) {
		size_t capacity = places->capacity ? places->capacity * 2 : 256;
		uint64_t *v = (uint64_t *)realloc(places->v, capacity * sizeof(*v));

		if (!v) {
			l->todo->c->error = -ENOMEM;
			return false;
		}
		places->v = v;
		places->capacity = capacity;
	}
	places->v[places->n++] = place;
	return true;
}

static const struct disk_dirent *dirent_of(const struct looking *l, uint64_t place)
{
	uint32_t block;

	if (mfs_dir_block(l->todo->c->fs, &l->dir, place / MFS_BLOCK, &block))
		return NULL;
	return (const struct disk_dirent *)(mfs_at(l->todo->c->fs, block) + place % MFS_BLOCK);
}

/* As far as they can be read; nothing is said or mended. */
static void collect_block(struct looking *l, uint64_t at, struct places *ret)
{
	const struct disk_dirent *ent;
	uint32_t block;

	if (mfs_dir_block(l->todo->c->fs, &l->dir, at, &block))
		return;
	for (uint32_t offset = 0; offset < MFS_BLOCK; offset += get16(ent->reclen)) {
		if (mfs_dirent_at(mfs_at(l->todo->c->fs, block), offset, &ent))
			return;
		if (get32(ent->inode) && !add_place(l, ret, at * MFS_BLOCK + offset))
			return;
	}
}

static int compare_names(const struct disk_dirent *a, const struct disk_dirent *b)
{
	uint16_t n = get16(a->namelen), m = get16(b->namelen);

	return n != m ? (n > m) - (n < m) : memcmp(a->name, b->name, n);
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct looking *l = (const struct looking *)arg;
	uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;
	int order = compare_names(dirent_of(l, p), dirent_of(l, q));

	return order ? order : (p > q) - (p < q);
}

static int by_place(const void *a, const void *b)
{
	uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;

	return (p > q) - (p < q);
}

static void find_doubles(struct looking *l)
{
	uint64_t blocks = l->dir.size / MFS_BLOCK, most = l->todo->c->inodes[l->dir.ino].cut;
	struct places all = {0};

	for (uint64_t at = 0; at < blocks && at < most && !l->todo->c->error; at++)
		collect_block(l, at, &all);
	if (!l->todo->c->error && all.n)
		qsort_r(all.v, all.n, sizeof(*all.v), by_name, l);
	for (size_t i = 1; i < all.n && !l->todo->c->error; i++)
		if (!compare_names(dirent_of(l, all.v[i - 1]), dirent_of(l, all.v[i])))
			add_place(l, &l->doubles, all.v[i]);
	if (l->doubles.n)
		qsort(l->doubles.v, l->doubles.n, sizeof(*l->doubles.v), by_place);
	free(all.v);
}

static bool is_double(const struct looking *l, uint64_t place)
{
	const struct places *d = &l->doubles;

	return d->n && bsearch(&place, d->v, d->n, sizeof(*d->v), by_place);
}

static bool is_dots(const struct disk_dirent *ent)
{
	return ent->name[0] == '.' && (get16(ent->namelen) == 1 || (get16(ent->namelen) == 2 && ent->name[1] == '.'));
}

static void set_inode(struct checker *c, uint32_t block, uint32_t offset, uint32_t ino)
{
	uint8_t *bytes;

	if (chk_touch(c, block, &bytes))
		((struct disk_dirent *)(bytes + offset))->inode = put32(ino);
}

/* What a name leads to. False if the name has to go. */
static bool check_child(struct looking *l, const struct disk_dirent *ent, uint64_t place)
{
	struct checker *c = l->todo->c;
	uint32_t ino = get32(ent->inode);
	unsigned n = get16(ent->namelen);
	struct mfs_inode child;
	struct inode_model *model;

	if (memchr(ent->name, 0, n) || memchr(ent->name, '/', n) || is_dots(ent)) {
		chk_problem(c, "directory %u has a name that cannot be", l->dir.ino);
		return false;
	}
	if (is_double(l, place)) {
		chk_problem(c, "directory %u has the name '%.*s' twice", l->dir.ino, (int)n, ent->name);
		return false;
	}
	if (ino < MFS_ROOT || ino >= c->fs->geo.inodes ||
	    (!(c->inodes[ino].state & INODE_USED) && !chk_revive(c, ino))) {
		chk_problem(c, "the name '%.*s' in directory %u leads to no inode", (int)n, ent->name, l->dir.ino);
		return false;
	}
	model = &c->inodes[ino];
	mfs_inode_decode(c->fs, ino, &child);
	if ((child.flags & MFS_INODE_HIDDEN) || (S_ISDIR(child.mode) && (model->state & INODE_REACHED))) {
		chk_problem(c, "the name '%.*s' in directory %u leads to what cannot have it", (int)n, ent->name,
			    l->dir.ino);
		return false;
	}
	model->state |= INODE_REACHED;
	model->links++;
	if (S_ISDIR(child.mode)) {
		c->inodes[l->dir.ino].links++;
		push(l->todo, ino, l->dir.ino);
	}
	return true;
}

/* What cannot be read as dirents becomes a deleted one, up to the end of the block. */
static void mend_rest(struct checker *c, uint32_t block, uint32_t before, uint32_t offset)
{
	struct disk_dirent *ent;
	uint8_t *bytes;

	if (!chk_touch(c, block, &bytes))
		return;
	if (MFS_BLOCK - offset < MFS_DIRENT_HEADER) {
		ent = (struct disk_dirent *)(bytes + before);
		ent->reclen = put16((uint16_t)(MFS_BLOCK - before));
		return;
	}
	ent = (struct disk_dirent *)(bytes + offset);
	*ent = (struct disk_dirent){.reclen = put16((uint16_t)(MFS_BLOCK - offset))};
}

static void mend_start(struct looking *l, uint32_t block)
{
	struct checker *c = l->todo->c;
	struct disk_dirent *ent;
	uint8_t *bytes;

	if (!chk_touch(c, block, &bytes))
		return;
	memset(bytes, 0, MFS_BLOCK);
	ent = (struct disk_dirent *)bytes;
	*ent = (struct disk_dirent){put32(l->dir.ino), put16((uint16_t)mfs_reclen(1)), put16(1)};
	ent->name[0] = '.';
	ent = (struct disk_dirent *)(bytes + mfs_reclen(1));
	*ent = (struct disk_dirent){put32(l->parent), put16((uint16_t)(MFS_BLOCK - mfs_reclen(1))), put16(2)};
	memcpy(ent->name, "..", 2);
}

/* "." and ".." come first. Returns where the others begin, or 0 if the block cannot be read. */
static uint32_t check_start(struct looking *l, uint32_t block)
{
	struct checker *c = l->todo->c;
	const uint32_t second = mfs_reclen(1);
	const struct disk_dirent *self = NULL, *up = NULL;
	const uint8_t *bytes = mfs_at(c->fs, block);

	if (mfs_dirent_at(bytes, 0, &self) || get16(self->reclen) != second || get16(self->namelen) != 1 ||
	    self->name[0] != '.' || mfs_dirent_at(bytes, second, &up) || get16(up->namelen) != 2 ||
	    memcmp(up->name, "..", 2) != 0) {
		if (chk_problem(c, "directory %u does not begin with itself and its parent", l->dir.ino))
			mend_start(l, block);
		return 0;
	}
	if (get32(self->inode) != l->dir.ino && chk_problem(c, "the name '.' in directory %u is wrong", l->dir.ino))
		set_inode(c, block, 0, l->dir.ino);
	if (get32(up->inode) != l->parent && chk_problem(c, "the name '..' in directory %u is wrong", l->dir.ino))
		set_inode(c, block, second, l->parent);
	return second + get16(up->reclen);
}

static void check_names(struct looking *l, uint64_t at, uint32_t block, uint32_t offset)
{
	struct checker *c = l->todo->c;
	const struct disk_dirent *ent;
	uint32_t before = 0;

	while (offset < MFS_BLOCK) {
		if (mfs_dirent_at(mfs_at(c->fs, block), offset, &ent)) {
			if (chk_problem(c, "directory %u is damaged in its block %llu", l->dir.ino,
					(unsigned long long)at))
				mend_rest(c, block, before, offset);
			return;
		}
		if (get32(ent->inode) && !check_child(l, ent, at * MFS_BLOCK + offset) && c->repair)
			set_inode(c, block, offset, 0);
		before = offset;
		offset += get16(ent->reclen);
	}
}

static void check_directory(struct looking *l)
{
	struct checker *c = l->todo->c;

	find_doubles(l);
	for (uint64_t at = 0; at < l->dir.size / MFS_BLOCK && !c->error; at++) {
		uint32_t block, offset = 0;

		if (at >= c->inodes[l->dir.ino].cut || mfs_dir_block(c->fs, &l->dir, at, &block)) {
			chk_problem(c, "directory %u has a hole", l->dir.ino);
			c->inodes[l->dir.ino].state |= INODE_HOLE;
			c->inodes[l->dir.ino].cut = (uint32_t)at;
			break;
		}
		if (!at)
			offset = check_start(l, block);
		if (at || offset)
			check_names(l, at, block, offset);
	}
	free(l->doubles.v);
}

void chk_tree(struct checker *c)
{
	struct todo todo = {.c = c};

	if (c->root_bad)
		return;
	c->inodes[MFS_ROOT].state |= INODE_REACHED;
	c->inodes[MFS_ROOT].links = 1;
	push(&todo, MFS_ROOT, MFS_ROOT);
	while (todo.n && !c->error) {
		struct looking l = {.todo = &todo, .parent = todo.v[todo.n - 1].parent};
		uint32_t ino = todo.v[--todo.n].ino;

		mfs_inode_decode(c->fs, ino, &l.dir);
		c->inodes[ino].links++;
		check_directory(&l);
	}
	free(todo.v);
}

/* Deleted files that were open: what a later opener frees. */
void chk_orphans(struct checker *c)
{
	struct disk_super *super = mfs_super(c->fs);
	uint32_t ino = get32(super->orphans);
	uint8_t *bytes;

	while (ino) {
		struct mfs_inode inode;

		if (ino >= c->fs->geo.inodes || c->inodes[ino].state & (INODE_REACHED | INODE_KNOWN) ||
		    !(c->inodes[ino].state & INODE_USED))
			break;
		mfs_inode_decode(c->fs, ino, &inode);
		if (inode.links || inode.flags)
			break;
		c->inodes[ino].state |= INODE_KNOWN;
		ino = inode.next_orphan;
	}
	if (ino && chk_problem(c, "the list of deleted files is damaged") && chk_touch(c, 0, &bytes))
		super->orphans = put32(0);
}

void chk_links(struct checker *c)
{
	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes && !c->error; ino++) {
		const struct inode_model *model = &c->inodes[ino];
		struct mfs_inode inode;

		if (!(model->state & INODE_USED) || (model->state & INODE_KNOWN))
			continue;
		mfs_inode_decode(c->fs, ino, &inode);
		if (!(model->state & INODE_REACHED)) {
			bool mend = chk_problem(c, "nothing leads to inode %u", ino);

			if (mend && (!inode.links || inode.flags))
				chk_clear_inode(c, ino);
		} else if (inode.links != model->links &&
			   chk_problem(c, "inode %u has %u names, not %u", ino, model->links, inode.links)) {
			inode.links = model->links;
			chk_store(c, &inode);
		}
	}
}

/* From a directory that nothing leads to upwards, as far as that holds. */
static uint32_t find_top(struct checker *c, uint32_t ino)
{
	struct mfs_inode dir;
	struct mfs_place up;

	for (uint32_t steps = 0; steps < c->fs->geo.inodes; steps++) {
		if (mfs_inode_load(c->fs, ino, &dir) || !S_ISDIR(dir.mode) || mfs_dir_find(c->fs, &dir, "..", 2, &up))
			break;
		if (up.ino >= c->fs->geo.inodes || up.ino == ino ||
		    (c->inodes[up.ino].state & (INODE_USED | INODE_REACHED | INODE_KNOWN)) != INODE_USED)
			break;
		ino = up.ino;
	}
	return ino;
}

/* Searches @dir for a name that nothing has, "#@ino" or that with a number. */
static int find_free_name(struct checker *c, const struct mfs_inode *dir, uint32_t ino, char *ret, size_t size)
{
	struct mfs_place place;
	int rc = 0;

	snprintf(ret, size, "#%u", ino);
	for (unsigned n = 1; !rc; n++) {
		rc = mfs_dir_find(c->fs, dir, ret, strlen(ret), &place);
		if (!rc)
			snprintf(ret, size, "#%u.%u", ino, n);
	}
	return rc == -ENOENT ? 0 : rc;
}

/* The directory for what has no name, made if it is not there; with a number if something else has that name. */
static int lost_and_found(struct checker *c, struct mfs_inode *ret)
{
	const struct mfs_owner owner = {0, 0};
	char name[32] = "lost+found";

	for (unsigned n = 1;; n++) {
		struct mfs_walk walk;
		int rc = mfs_walk_at(c->fs, MFS_ROOT, name, &walk);

		if (!rc && !walk.ino)
			return mfs_make(c->fs, &walk, S_IFDIR | 0700, &owner, ret);
		if (!rc)
			rc = mfs_inode_load(c->fs, walk.ino, ret);
		if (rc || S_ISDIR(ret->mode))
			return rc;
		snprintf(name, sizeof(name), "lost+found.%u", n);
	}
}

static int attach(struct checker *c, uint32_t ino)
{
	struct mfs_inode found, inode;
	char name[32];
	int rc = lost_and_found(c, &found);

	if (!rc)
		rc = mfs_inode_load(c->fs, ino, &inode);
	if (!rc)
		rc = find_free_name(c, &found, ino, name, sizeof(name));
	if (!rc && S_ISDIR(inode.mode))
		found.links++;
	if (!rc)
		rc = mfs_dir_add(c->fs, &found, name, strlen(name), ino);
	return mfs_end(c->fs, rc);
}

static bool is_lost(const struct checker *c, uint32_t ino)
{
	return (c->inodes[ino].state & (INODE_USED | INODE_REACHED | INODE_KNOWN)) == INODE_USED;
}

static bool is_lost_directory(const struct checker *c, uint32_t ino)
{
	struct mfs_inode inode;

	return is_lost(c, ino) && !mfs_inode_load(c->fs, ino, &inode) && S_ISDIR(inode.mode);
}

/*
 * Directories that are in no lost one first: what is below them has a name then, which
 * the next round sees. Of directories that are in each other one. Files in the end.
 */
void chk_reattach(struct checker *c)
{
	uint32_t any = 0;
	bool attached = false;

	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes; ino++) {
		if (!is_lost_directory(c, ino))
			continue;
		any = ino;
		if (find_top(c, ino) == ino)
			attached |= !attach(c, ino);
	}
	if (any && !attached)
		attach(c, any);
	if (any)
		return;
	for (uint32_t ino = MFS_ROOT; ino < c->fs->geo.inodes; ino++)
		if (is_lost(c, ino) && attach(c, ino))
			return;
}
