/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a path to an inode, through symbolic links. A path begins at the root, with or without a slash. */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "fs.h"

#define LINKS_MAX 40

struct walker {
	const struct mfs *fs;
	bool follow; /* also a link as the last name */
	bool name;   /* it is the last name that matters, not what is behind it: no link there is followed */
	unsigned links;
	struct mfs_inode dir;
	char rest[2 * PATH_MAX]; /* what is still to be walked */
};

/* Puts a link's target in front of what is left. */
static int expand(struct walker *w, const struct mfs_inode *link, const char *rest, bool slash)
{
	char target[2 * PATH_MAX];
	size_t n = (size_t)link->size, left = strlen(rest);
	ssize_t got;

	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (n + left + 2 > sizeof(target))
		return -ENAMETOOLONG;
	got = mfs_read(w->fs, link, target, n, 0);
	if (got < 0)
		return (int)got;
	if (memchr(target, 0, n))
		return -EUCLEAN;
	if (slash)
		target[n++] = '/';
	memcpy(target + n, rest, left + 1);
	memcpy(w->rest, target, n + left + 1);
	return target[0] == '/' ? mfs_inode_load(w->fs, MFS_ROOT, &w->dir) : 0;
}

static int load_named(const struct mfs *fs, uint32_t ino, struct mfs_inode *ret)
{
	int rc = mfs_inode_load(fs, ino, ret);

	return !rc && (ret->flags & MFS_INODE_HIDDEN) ? -EUCLEAN : rc;
}

static void finish(const struct walker *w, const char *name, size_t n, bool slash, uint32_t ino, struct mfs_walk *ret)
{
	ret->dir = w->dir;
	memcpy(ret->name, name, n);
	ret->name[n] = 0;
	ret->length = n;
	ret->slash = slash;
	ret->dots = !strcmp(ret->name, ".") || !strcmp(ret->name, "..");
	ret->ino = ino;
}

/* One name of the path. 1: that was the last one, and *@ret is filled in. */
static int step(struct walker *w, struct mfs_walk *ret)
{
	const char *name = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(name, "/");
	const char *rest = name + n + strspn(name + n, "/");
	bool slash = rest > name + n, last = !*rest;
	struct mfs_place place = {0};
	struct mfs_inode inode;
	int rc;

	if (!n) {
		finish(w, "", 0, true, w->dir.ino, ret);
		return 1;
	}
	if (!S_ISDIR(w->dir.mode))
		return -ENOTDIR;
	if (n > MFS_NAME_MAX)
		return -ENAMETOOLONG;
	rc = mfs_dir_find(w->fs, &w->dir, name, n, &place);
	if (rc == -ENOENT && last) {
		finish(w, name, n, slash, 0, ret);
		return 1;
	}
	if (!rc)
		rc = load_named(w->fs, place.ino, &inode);
	if (rc)
		return rc;
	if (S_ISLNK(inode.mode) && (!last || w->follow || (slash && !w->name)))
		return expand(w, &inode, rest, slash);
	if (last && slash && !w->name && !S_ISDIR(inode.mode))
		return -ENOTDIR;
	if (last) {
		finish(w, name, n, slash, place.ino, ret);
		return 1;
	}
	w->dir = inode;
	memmove(w->rest, rest, strlen(rest) + 1);
	return 0;
}

static int walk(struct walker *w, const char *path, struct mfs_walk *ret)
{
	size_t n = strlen(path);
	int rc;

	if (!n)
		return -ENOENT;
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(w->rest, path, n + 1);
	rc = load_named(w->fs, MFS_ROOT, &w->dir);
	if (!rc && !S_ISDIR(w->dir.mode))
		rc = -EUCLEAN;
	while (!rc)
		rc = step(w, ret);
	return rc < 0 ? rc : 0;
}

/* To where a link as the last name leads with @follow; else to that name, whatever it is. */
int mfs_walk_to(const struct mfs *fs, const char *path, bool follow, struct mfs_walk *ret)
{
	struct walker w = {.fs = fs, .follow = follow, .name = !follow};

	return walk(&w, path, ret);
}

int mfs_find(const struct mfs *fs, const char *path, bool follow, struct mfs_inode *ret)
{
	struct walker w = {.fs = fs, .follow = follow};
	struct mfs_walk found;
	int rc = walk(&w, path, &found);

	if (!rc && !found.ino)
		rc = -ENOENT;
	return rc ? rc : load_named(fs, found.ino, ret);
}

int mfs_walk_at(const struct mfs *fs, uint32_t dir, const char *name, struct mfs_walk *ret)
{
	struct walker w = {.fs = fs};
	struct mfs_place place = {0};
	size_t n = strlen(name);
	int rc = load_named(fs, dir, &w.dir);

	if (!rc && !S_ISDIR(w.dir.mode))
		rc = -ENOTDIR;
	if (!rc && !n)
		rc = -ENOENT;
	if (!rc && n > MFS_NAME_MAX)
		rc = -ENAMETOOLONG;
	if (!rc && strchr(name, '/'))
		rc = -EINVAL;
	if (rc)
		return rc;
	rc = mfs_dir_find(fs, &w.dir, name, n, &place);
	/* Nothing is made in a directory that is deleted, but open. */
	if (rc == -ENOENT && w.dir.links)
		rc = 0;
	if (!rc)
		finish(&w, name, n, false, place.ino, ret);
	return rc;
}
