/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Renaming, over something else too, and into another directory. */
#include "config.h"

#include <string.h>

#include "fs.h"

struct renaming {
	struct mfs_walk from, to;
	bool exchange;
	struct mfs_inode *from_dir, *to_dir; /* the same struct if it is the same directory */
	struct mfs_inode moved, replaced;
};

/* 1 if @ino is @dir or above it. */
static int is_above(const struct mfs *fs, uint32_t ino, const struct mfs_inode *dir)
{
	struct mfs_inode at = *dir;

	for (uint32_t steps = 0; steps < fs->geo.inodes; steps++) {
		struct mfs_place up;
		int rc;

		if (at.ino == ino)
			return 1;
		if (at.ino == MFS_ROOT)
			return 0;
		rc = mfs_dir_find(fs, &at, "..", 2, &up);
		if (!rc)
			rc = mfs_inode_load(fs, up.ino, &at);
		if (!rc && !S_ISDIR(at.mode))
			rc = -EUCLEAN;
		if (rc)
			return rc == -ENOENT ? -EUCLEAN : rc;
	}
	return -EUCLEAN;
}

static int find_both(const struct mfs *fs, uint32_t flags, struct renaming *r)
{
	int rc;

	if (!r->from.length || r->from.dots || !r->to.length || r->to.dots)
		return (flags & MFS_RENAME_NOREPLACE) && r->to.ino ? -EEXIST : -EBUSY;
	if (!r->from.ino || (r->exchange && !r->to.ino))
		return -ENOENT;
	if ((flags & MFS_RENAME_NOREPLACE) && r->to.ino)
		return -EEXIST;
	r->from_dir = &r->from.dir;
	r->to_dir = r->from.dir.ino == r->to.dir.ino ? &r->from.dir : &r->to.dir;
	if (!r->to_dir->links)
		return -ENOENT;
	rc = mfs_inode_load(fs, r->from.ino, &r->moved);
	if (!rc && r->to.ino)
		rc = mfs_inode_load(fs, r->to.ino, &r->replaced);
	if (!rc && !S_ISDIR(r->moved.mode) && (r->from.slash || (r->to.slash && !r->exchange)))
		rc = -ENOTDIR;
	return rc;
}

/* Neither into itself, nor over a directory that it is in. */
static int check_tree(const struct mfs *fs, const struct renaming *r)
{
	int rc = S_ISDIR(r->moved.mode) ? is_above(fs, r->moved.ino, r->to_dir) : 0;

	if (rc)
		return rc < 0 ? rc : -EINVAL;
	rc = r->to.ino && S_ISDIR(r->replaced.mode) ? is_above(fs, r->replaced.ino, r->from_dir) : 0;
	return rc > 0 ? (r->exchange ? -EINVAL : -ENOTEMPTY) : rc;
}

static int check_kinds(const struct mfs *fs, const struct renaming *r)
{
	bool directory = S_ISDIR(r->moved.mode);

	/* What is replaced is a directory too, and takes its link with it. */
	if (!r->to.ino)
		return directory && r->from_dir != r->to_dir && r->to_dir->links >= MFS_LINK_MAX ? -EMLINK : 0;
	if (directory && !S_ISDIR(r->replaced.mode))
		return -ENOTDIR;
	if (!directory && S_ISDIR(r->replaced.mode))
		return -EISDIR;
	if (!r->replaced.links || (directory && r->to_dir->links <= 2))
		return -EUCLEAN;
	return directory ? mfs_dir_empty(fs, &r->replaced) : 0;
}

static int replace(struct mfs *fs, struct renaming *r)
{
	struct mfs_place place;
	int rc = mfs_dir_find(fs, r->to_dir, r->to.name, r->to.length, &place);

	if (!rc && S_ISDIR(r->replaced.mode))
		r->to_dir->links--;
	if (!rc)
		rc = mfs_dir_set(fs, r->to_dir, &place, r->moved.ino);
	if (rc)
		return rc;
	r->replaced.links -= S_ISDIR(r->replaced.mode) ? r->replaced.links : 1;
	r->replaced.ctime = mfs_now();
	return r->replaced.links ? mfs_inode_store(fs, &r->replaced) : mfs_inode_unlinked(fs, &r->replaced);
}

/* A directory that moves has another parent. */
static int set_parent(struct mfs *fs, struct mfs_inode *moved, struct mfs_inode *from, struct mfs_inode *to)
{
	struct mfs_place up;
	int64_t mtime = moved->mtime;
	int rc = mfs_dir_find(fs, moved, "..", 2, &up);

	if (!rc)
		rc = mfs_dir_set(fs, moved, &up, to->ino);
	moved->mtime = mtime;
	from->links--;
	to->links++;
	return rc == -ENOENT ? -EUCLEAN : rc;
}

static int move(struct mfs *fs, struct renaming *r)
{
	int rc = mfs_dir_remove(fs, r->from_dir, r->from.name, r->from.length);

	if (!rc)
		rc = r->to.ino ? replace(fs, r) : mfs_dir_add(fs, r->to_dir, r->to.name, r->to.length, r->moved.ino);
	if (!rc && S_ISDIR(r->moved.mode) && r->from_dir != r->to_dir)
		rc = set_parent(fs, &r->moved, r->from_dir, r->to_dir);
	r->moved.ctime = mfs_now();
	if (!rc)
		rc = mfs_inode_store(fs, &r->moved);
	if (!rc)
		rc = mfs_inode_store(fs, r->from_dir);
	return rc ? rc : mfs_inode_store(fs, r->to_dir);
}

static int point_to(struct mfs *fs, struct mfs_inode *dir, const struct mfs_walk *name, uint32_t ino)
{
	struct mfs_place place;
	int rc = mfs_dir_find(fs, dir, name->name, name->length, &place);

	return rc ? rc : mfs_dir_set(fs, dir, &place, ino);
}

static int exchange(struct mfs *fs, struct renaming *r)
{
	bool apart = r->from_dir != r->to_dir;
	int rc = point_to(fs, r->from_dir, &r->from, r->replaced.ino);

	if (!rc)
		rc = point_to(fs, r->to_dir, &r->to, r->moved.ino);
	if (!rc && apart && S_ISDIR(r->moved.mode))
		rc = set_parent(fs, &r->moved, r->from_dir, r->to_dir);
	if (!rc && apart && S_ISDIR(r->replaced.mode))
		rc = set_parent(fs, &r->replaced, r->to_dir, r->from_dir);
	r->moved.ctime = r->replaced.ctime = mfs_now();
	if (!rc)
		rc = mfs_inode_store(fs, &r->moved);
	if (!rc)
		rc = mfs_inode_store(fs, &r->replaced);
	if (!rc)
		rc = mfs_inode_store(fs, r->from_dir);
	return rc ? rc : mfs_inode_store(fs, r->to_dir);
}

static int check_exchange(const struct renaming *r)
{
	bool apart = r->from_dir != r->to_dir;

	if (apart && S_ISDIR(r->moved.mode) && !S_ISDIR(r->replaced.mode) && r->to_dir->links >= MFS_LINK_MAX)
		return -EMLINK;
	if (apart && S_ISDIR(r->replaced.mode) && !S_ISDIR(r->moved.mode) && r->from_dir->links >= MFS_LINK_MAX)
		return -EMLINK;
	return 0;
}

int mfs_rename(struct mfs *fs, const struct mfs_walk *from, const struct mfs_walk *to, uint32_t flags)
{
	struct renaming r = {.from = *from, .to = *to, .exchange = flags & MFS_RENAME_EXCHANGE};
	int rc = find_both(fs, flags, &r);

	if (!rc)
		rc = check_tree(fs, &r);
	if (rc || r.moved.ino == r.to.ino)
		return rc;
	rc = r.exchange ? check_exchange(&r) : check_kinds(fs, &r);
	if (rc)
		return rc;
	return r.exchange ? exchange(fs, &r) : move(fs, &r);
}
