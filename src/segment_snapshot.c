/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What segments read from: files as they were at the call that read them, without a copy.
 *
 * A snapshot can serve a later read too, if the file is unchanged: while its lease is held
 * nobody has opened it for writing, so it is; else its stamp tells, where stamps tell of
 * every change.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "segment.h"
#include "sys.h"

/* ---- one that is there already ---- */

/* Changes that the stamp of a file does not tell: made elsewhere, or through mappings of memory. */
static bool stamp_tells(const struct fs_traits *fs)
{
	return (fs->flags & FS_LOCAL) && !(fs->flags & FS_IN_MEMORY);
}

static bool is_leased(const struct segment_snapshot *snapshot)
{
	struct snapmap_info info;

	return snapshot->map && !snapmap_get_info(snapshot->map, &info) && info.lease == SNAPMAP_LEASE_HELD;
}

bool segment_snapshot_is_now(const struct segment_snapshot *snapshot, const struct stamp *now)
{
	return snapshot->immutable || is_leased(snapshot) ||
	       (stamp_tells(snapshot->fs) && !stamp_is_spoilt(now) && stamp_same(&snapshot->stamp, now));
}

static bool may_be_now(const struct segment_snapshot *snapshot, const struct stat *st)
{
	struct stamp stamp;

	stamp_of(st, &stamp);
	return snapshot->immutable || is_leased(snapshot) ||
	       (stamp_tells(snapshot->fs) && stamp_same(&snapshot->stamp, &stamp));
}

/* The newest of this file. */
static struct segment_snapshot *find(struct snapmap_segment *s, const struct stat *st)
{
	struct segment_snapshot *snapshot, *found = NULL;

	segment_lock(s);
	cds_list_for_each_entry (snapshot, &s->snapshots, node) {
		if (snapshot->ino == st->st_ino && snapshot->dev == st->st_dev) {
			atomic_fetch_add(&snapshot->refs, 1);
			found = snapshot;
			break;
		}
	}
	segment_unlock(s);
	return found;
}

/* To be put back, or NULL. */
static struct segment_snapshot *share(struct snapmap_segment *s, int fd, const struct stat *st)
{
	struct segment_snapshot *snapshot = find(s, st);
	struct stamp now = {0};

	if (!snapshot)
		return NULL;
	if (may_be_now(snapshot, st)) {
		if (snapshot->immutable || is_leased(snapshot))
			return snapshot;
		if (!stamp_take(fd, snapshot->fs, false, &now) && segment_snapshot_is_now(snapshot, &now))
			return snapshot;
	}
	segment_snapshot_put(snapshot);
	return NULL;
}

/* ---- a new one ---- */

/* Of a file that a lease was just taken on. The source is closed by then: @fd is the caller's. */
static int open_leased(struct snapmap_segment *s, int fd, struct source *source, int dirfd,
		       struct segment_snapshot *snapshot)
{
	struct options o = s->options;
	int rc;

	o.source = SNAPMAP_SOURCE_LEASE;
	o.flags = 0;
	rc = map_open_source(source, dirfd, NULL, &o, "a file", &snapshot->map);
	if (rc)
		return rc;
	snapshot->data = (const char *)snapmap_data(snapshot->map);
	snapshot->size = snapmap_size(snapshot->map);
	/* Whoever wants to write waits. Should it be somebody who has already, the times tell. */
	if (stamp_take_at_rest(fd, snapshot->fs, &snapshot->stamp) || snapshot->stamp.size != snapshot->size ||
	    !is_leased(snapshot))
		stamp_spoil(&snapshot->stamp);
	return 0;
}

static int keep_image(struct snapmap_segment *s, struct source *source, const struct image *image,
		      struct segment_snapshot *snapshot)
{
	int rc = 0;

	if (image->consistency != SNAPMAP_CONSISTENCY_POINT_IN_TIME)
		rc = error_set(-EBUSY, "take a snapshot of", "it is being written to");
	if (!rc && s->paged && image->size) {
		rc = mapping_open(image->fd, image->size, false, &snapshot->view);
		snapshot->data = snapshot->view.base;
		if (rc)
			error_set(rc, "map", NULL);
	}
	if (rc) {
		if (image->fd != source->fd)
			sys_close(image->fd);
		return rc;
	}
	snapshot->fd = image->fd;
	if (image->fd == source->fd)
		source->fd = -1;
	snapshot->size = image->size;
	snapshot->stamp = image->stamp;
	if (image->source != SNAPMAP_SOURCE_REFLINK)
		stamp_spoil(&snapshot->stamp);
	snapshot->immutable = image->source == SNAPMAP_SOURCE_IMMUTABLE;
	return 0;
}

static int open_image(struct snapmap_segment *s, struct source *source, int dirfd, uint32_t by,
		      struct segment_snapshot *snapshot)
{
	struct options o = s->options;
	struct source_request request = {
		.fd = source->fd,
		.own_offset = source->own_offset,
		.dirfd = dirfd,
		.st = &source->st,
		.looked_at = source->looked_at,
		.verity = source->verity,
		.fs = source->fs,
		.mount = source->mount,
		.options = &o,
		/* For its stamp. A server's snapshot has none, for its file system's stamps tell nothing. */
		.editable = by == SNAPMAP_SOURCE_REFLINK,
		.generation = source->generation,
	};
	struct image image = {.fd = -1};
	int rc;

	o.source = by;
	o.flags = 0;
	rc = journal_image_open(&request, &image);
	return rc ? rc : keep_image(s, source, &image, snapshot);
}

/* By the first of the sources that can. */
static int open_by_any(struct snapmap_segment *s, int fd, struct source *source, struct segment_snapshot *snapshot)
{
	static const uint32_t sources[] = {SNAPMAP_SOURCE_IMMUTABLE, SNAPMAP_SOURCE_LEASE, SNAPMAP_SOURCE_REFLINK,
					   SNAPMAP_SOURCE_SNAPFS};
	struct place place = {.dirfd = -1, .link_dirfd = -1};
	int rc = -EOPNOTSUPP;

	place_find_fd(source->fd, &place);
	for (size_t i = 0; rc && i < sizeof(sources) / sizeof(sources[0]); i++) {
		uint32_t by = sources[i];

		if ((s->options.source && s->options.source != by) || (by == SNAPMAP_SOURCE_LEASE && !s->paged))
			continue;
		if (rc == -ECANCELED || source->fd < 0)
			break;
		rc = by == SNAPMAP_SOURCE_LEASE ? open_leased(s, fd, source, place.dirfd, snapshot)
						: open_image(s, source, place.dirfd, by, snapshot);
	}
	place_close(&place);
	return rc;
}

static int open_new(struct snapmap_segment *s, int fd, struct segment_snapshot **ret)
{
	struct segment_snapshot *snapshot = (struct segment_snapshot *)calloc(1, sizeof(*snapshot));
	struct source source;
	int rc;

	if (!snapshot)
		return error_set(-ENOMEM, "read", NULL);
	rc = source_open_fd(fd, &source);
	if (rc) {
		free(snapshot);
		return rc;
	}
	snapshot->refs = 1;
	snapshot->fd = -1;
	snapshot->fs = source.fs;
	snapshot->dev = source.st.st_dev;
	snapshot->ino = source.st.st_ino;
	rc = open_by_any(s, fd, &source, snapshot);
	source_close(&source);
	if (rc)
		segment_snapshot_put(snapshot);
	else
		*ret = snapshot;
	return rc;
}

int segment_snapshot_get(struct snapmap_segment *s, int fd, struct segment_snapshot **ret)
{
	struct segment_snapshot *snapshot;
	struct stat st;
	int rc = sys_fstat(fd, &st);

	if (rc)
		return error_set(rc, "read", NULL);
	snapshot = S_ISREG(st.st_mode) ? share(s, fd, &st) : NULL;
	if (!snapshot)
		return open_new(s, fd, ret);
	*ret = snapshot;
	return 0;
}

void segment_snapshot_put(struct segment_snapshot *snapshot)
{
	if (atomic_fetch_sub(&snapshot->refs, 1) != 1)
		return;
	snapmap_close(snapshot->map);
	mapping_close(&snapshot->view);
	close_fd(&snapshot->fd);
	free(snapshot);
}

int segment_snapshot_read(const struct segment_snapshot *snapshot, void *buf, size_t n, uint64_t offset)
{
	size_t got;
	int rc;

	if (snapshot->data)
		return sys_copy_memory(buf, snapshot->data + offset, n);
	rc = sys_pread_full(snapshot->fd, buf, n, offset, &got);
	return rc ? rc : got == n ? 0 : -EIO;
}
