/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What mappings of files of an image share: the blocks, pinned, and the image, kept.
 *
 * A child of fork() has the same mappings of the same blocks, and its parent knows
 * nothing of them. So once the process has forked the pins stay until the image is
 * closed, in the parent; the child has only copies, in which pins mean nothing, of a lock
 * that some other thread may have had.
 */
#include "config.h"

#include "minifs_mapped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay.h"
#include "snapmap/map.h"
#include "snapmap/map_mut.h"
#include "sys.h"

static struct piece *pieces_of(const struct mfs_extents *extents)
{
	struct piece *pieces = (struct piece *)malloc((extents->n + 1) * sizeof(*pieces));

	for (size_t i = 0; pieces && i < extents->n; i++)
		pieces[i] = (struct piece){
			.at = extents->v[i].at * MFS_BLOCK,
			.from = (uint64_t)extents->v[i].block * MFS_BLOCK,
			.length = extents->v[i].length * MFS_BLOCK,
		};
	return pieces;
}

int mapped_take(struct minifs *fs, const struct mfs_inode *inode, struct mapped *ret)
{
	struct mapped m = {.fs = fs};
	int rc = fork_generation(&m.forks);

	if (!rc)
		rc = mfs_extents_of(&fs->fs, inode, &m.extents);
	if (!rc) {
		m.pieces = pieces_of(&m.extents);
		rc = m.pieces ? 0 : -ENOMEM;
	}
	if (!rc && fs->store.writable)
		rc = mfs_runs_of(&m.extents, &m.runs);
	if (!rc)
		rc = mfs_pin(&fs->fs, &m.runs);
	if (rc) {
		mfs_runs_free(&m.runs);
		mfs_extents_free(&m.extents);
		free(m.pieces);
		return rc;
	}
	image_keep(fs);
	*ret = m;
	return 0;
}

static void free_all(struct mapped *m)
{
	mfs_runs_free(&m->runs);
	mfs_extents_free(&m->extents);
	free(m->pieces);
	m->pieces = NULL;
}

void mapped_give(struct mapped *m)
{
	mfs_unpin(&m->fs->fs, &m->runs);
	free_all(m);
	image_let_go(m->fs);
}

void mapped_leave(struct mapped *m)
{
	unsigned forks;

	if (fork_generation(&forks) || forks != m->forks)
		m->runs.n = 0;
	mapped_give(m);
}

void mapped_end(struct mapped *m, void (*end)(void *arg), void *arg)
{
	unsigned forks = 0;
	struct minifs *fs = m->fs;

	if (!fork_generation(&forks) && forks == m->forks) {
		pthread_rwlock_wrlock(&fs->lock);
		mfs_unpin(&fs->fs, &m->runs);
		if (end)
			end(arg);
		pthread_rwlock_unlock(&fs->lock);
	}
	free_all(m);
	image_let_go(fs);
}

int mapped_find(const struct mapped_request *r, struct mfs_inode *ret)
{
	const struct mfs *fs = &r->fs->fs;
	int rc;

	if (sys_page_size() != MFS_BLOCK)
		return -EOPNOTSUPP;
	rc = r->path ? mfs_find(fs, r->path, !(r->options.flags & SNAPMAP_NOFOLLOW), ret)
		     : mfs_inode_load(fs, r->ino, ret);
	if (!rc && !S_ISREG(ret->mode))
		rc = S_ISDIR(ret->mode) ? -EISDIR : S_ISLNK(ret->mode) ? -ELOOP : -EINVAL;
	return rc;
}

int mapped_check_options(const struct mapped_request *r)
{
	char subject[600];

	if (r->options.source == SNAPMAP_SOURCE_AUTO || r->options.source == SNAPMAP_SOURCE_MINIFS)
		return 0;
	mapped_subject(r, subject, sizeof(subject));
	error_begin(subject);
	return error_set(-EOPNOTSUPP, "map", "a file of an image has only the source minifs");
}

/* Under a lease what is mapped can be exchanged at its own addresses only: see lease.h. */
void mapped_source(struct minifs *fs, bool copy, struct patchwork_source *ret)
{
	struct snapmap_info info;
	struct backing backing;

	*ret = (struct patchwork_source){.base = (const char *)fs->store.base, .fd = -1};
	if (copy)
		return;
	if (fs->mut) {
		map_mut_backing(fs->mut, &backing);
		ret->fd = backing.fd;
	} else {
		ret->twins = !snapmap_get_info(fs->map, &info) && info.lease == SNAPMAP_LEASE_NONE;
	}
}

int mapped_error(const struct mapped *m)
{
	struct snapmap_info info;
	struct backing backing;

	if (!m->fs->mut)
		return snapmap_get_info(m->fs->map, &info) ? -EIO : info.error;
	map_mut_backing(m->fs->mut, &backing);
	return backing.error;
}

int mapped_ask_error(const struct mapped *m)
{
	int rc;

	pthread_rwlock_rdlock(&m->fs->lock);
	rc = mapped_error(m);
	pthread_rwlock_unlock(&m->fs->lock);
	return rc;
}

void mapped_info(const struct mapped *m, uint64_t size, uint64_t copied, struct snapmap_info *ret)
{
	*ret = (struct snapmap_info){
		.source = SNAPMAP_SOURCE_MINIFS,
		.consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME,
		.lease = SNAPMAP_LEASE_NONE,
		.size = size,
		.extents = m->extents.n,
		.bytes_copied = copied,
		.file_system = "minifs",
	};
}

void mapped_subject(const struct mapped_request *r, char *buf, size_t size)
{
	if (r->path)
		snprintf(buf, size, "%.300s:%.280s", r->fs->path, r->path);
	else
		snprintf(buf, size, "%.300s:inode %u", r->fs->path, (unsigned)r->ino);
}
