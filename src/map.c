/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap: a read-only mapping of an image. See include/snapmap/map.h. */
#include "config.h"

#include "snapmap/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "handle.h"
#include "journal.h"
#include "lease.h"
#include "mapping.h"
#include "sys.h"
#include "view.h"

struct snapmap {
	struct mapping mapping;
	struct lease_hold hold; /* empty if the image is private */
	struct live *live;	/* of a private image or view that is guarded, or NULL */
	struct view *view;	/* whose memory it is, NULL: our own */
	size_t size;
	struct snapmap_info info;
	char subject[]; /* what errors call the file */
};

static void fill_info(const struct image *image, const struct fs_traits *fs, struct snapmap_info *ret)
{
	*ret = (struct snapmap_info){
		.source = image->source,
		.consistency = image->consistency,
		.lease = SNAPMAP_LEASE_NONE,
		.size = image->size,
		.extents = image->extents,
		.bytes_copied = image->bytes_copied,
	};
	strncpy(ret->file_system, fs->name, sizeof(ret->file_system) - 1);
	error_copy_tried(ret->tried, sizeof(ret->tried));
}

static void unmap(struct snapmap *map)
{
	if (map->hold.leased) {
		lease_leave(&map->hold, &map->mapping);
		return;
	}
	if (map->live)
		registry_remove(map->live);
	if (map->view)
		map->view->ops->close(map->view);
	else
		mapping_close(&map->mapping);
}

static bool is_guarded(const struct source_request *r)
{
	return r->options->flags & SNAPMAP_GUARD;
}

static int map_private(const struct image *image, bool guarded, struct snapmap *map)
{
	int rc = mapping_open(image->fd, image->size, false, &map->mapping);

	if (!rc && guarded)
		rc = guard_add(&map->mapping, false, &map->live);
	if (rc)
		mapping_close(&map->mapping);
	return rc;
}

/*
 * Maps the file itself, if other handles have a lease on it already. Returns 1 if it
 * does; 0 if not, for whatever reason: then an image is made, and tells it.
 */
static int map_shared(const struct source_request *r, struct snapmap *map)
{
	uint32_t wanted = r->options->source;
	struct image image = {
		.source = SNAPMAP_SOURCE_LEASE,
		.consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME,
	};

	if (!r->lease || (wanted != SNAPMAP_SOURCE_AUTO && wanted != SNAPMAP_SOURCE_LEASE) ||
	    lease_share(r->st, is_guarded(r), &map->mapping, &map->hold))
		return 0;
	image.size = map->hold.leased->size;
	fill_info(&image, r->fs, &map->info);
	return 1;
}

/* Takes over the image's descriptor if that is the source's own. */
static int map_image(struct source *source, const struct source_request *r, struct image *image, struct snapmap *map)
{
	bool in_place = image->fd == source->fd, leased = in_place && image->source == SNAPMAP_SOURCE_LEASE;
	int rc;

	if (leased && image->size) {
		rc = lease_adopt(&source->fd, r, image->size, image->weight, is_guarded(r), &map->mapping, &map->hold);
		/* It may be the lease of another thread that serves, and it has its own instant. */
		if (!rc)
			image->size = map->hold.leased->size;
	} else {
		rc = map_private(image, is_guarded(r), map);
		/* Nothing at all needs no lease. */
		if (leased) {
			sys_lease_drop(source->fd);
			lease_terms.leave(image->weight);
		}
	}
	if (!in_place)
		sys_close(image->fd);
	if (!rc)
		fill_info(image, r->fs, &map->info);
	return rc;
}

/* A lease that was lost between grant and mapping: once more, without. */
static int map_anew(struct source *source, struct source_request *r, struct snapmap *map)
{
	struct image image;
	int rc;

	if (map_shared(r, map))
		return 0;
	rc = journal_image_open(r, &image);
	if (rc)
		return rc;
	rc = map_image(source, r, &image, map);
	if (rc == -EAGAIN && image.source == SNAPMAP_SOURCE_LEASE && r->options->source == SNAPMAP_SOURCE_AUTO) {
		r->lease = NULL;
		return map_anew(source, r, map);
	}
	return rc ? error_set(rc, "map", NULL) : 0;
}

static int map_source(struct source *source, struct source_request *r, const char *subject, struct snapmap **ret)
{
	size_t n = strlen(subject) + 1;
	struct snapmap *map = (struct snapmap *)calloc(1, sizeof(*map) + n);
	int rc;

	if (!map)
		return error_set(-ENOMEM, "open", NULL);
	memcpy(map->subject, subject, n);
	rc = map_anew(source, r, map);
	if (rc) {
		free(map);
		return rc;
	}
	map->size = (size_t)map->info.size;
	if (r->options->flags & SNAPMAP_POPULATE)
		rc = mapping_prefault(&map->mapping, map->size, 0, map->size);
	if (rc)
		snapmap_close(map);
	else
		*ret = map;
	return rc;
}

int map_open_source(struct source *source, int dirfd, const char *dir, const struct options *options,
		    const char *subject, struct snapmap **ret)
{
	struct source_request request = {
		.fd = source->fd,
		.own_offset = source->own_offset,
		.dirfd = dirfd,
		.dir = dir,
		.st = &source->st,
		.looked_at = source->looked_at,
		.verity = source->verity,
		.fs = source->fs,
		.mount = source->mount,
		.options = options,
		.lease = options->flags & SNAPMAP_INHERIT ? NULL : &lease_terms,
		.generation = source->generation,
	};
	int rc = mapping_check_size((uint64_t)source->st.st_size);

	if (!rc && is_guarded(&request))
		rc = guard_install();
	if (rc)
		error_set(rc, "map", NULL);
	else
		rc = map_source(source, &request, subject, ret);
	return rc;
}

/* Consumes the source. */
static int open_source(struct source *source, int dirfd, const char *dir, const struct options *options,
		       const char *subject, struct snapmap **ret)
{
	int rc = map_open_source(source, dirfd, dir, options, subject, ret);

	source_close(source);
	return rc;
}

/* The usual case: no link at the end, so that the file lies where the path says. Takes over the source. */
static int open_plain(const char *path, struct source *source, const struct options *options, struct snapmap **ret)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	/* The kernel took the path, so it fits. */
	if (slash)
		memcpy(dir, path, (size_t)(slash - path) + 1);
	else
		dir[0] = '.';
	dir[slash ? slash - path + 1 : 1] = 0;
	return open_source(source, -1, dir, options, path, ret);
}

static int open_link(const char *path, const struct options *options, struct snapmap **ret)
{
	struct place place = {.dirfd = -1, .link_dirfd = -1};
	struct source source;
	int rc;

	if (options->flags & SNAPMAP_NOFOLLOW)
		return error_set(-ELOOP, "open", NULL);
	rc = source_open(path, true, &source);
	if (rc)
		return rc;
	place_find_fd(source.fd, &place);
	rc = open_source(&source, place.dirfd, NULL, options, path, ret);
	place_close(&place);
	return rc;
}

int snapmap_open(const char *path, const struct snapmap_options *options, struct snapmap **ret)
{
	struct source source;
	struct options o;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "open", "path and result must not be NULL");
	rc = options_read(options, &o);
	if (rc)
		return rc;
	rc = source_open_directly(path, &source);
	if (rc == -ELOOP)
		return open_link(path, &o, ret);
	return rc ? rc : open_plain(path, &source, &o, ret);
}

int snapmap_open_fd(int fd, const struct snapmap_options *options, struct snapmap **ret)
{
	struct place place = {.dirfd = -1, .link_dirfd = -1};
	struct source source;
	struct options o;
	char subject[40];
	int rc;

	snprintf(subject, sizeof(subject), "file descriptor %d", fd);
	error_begin(subject);
	if (!ret)
		return error_set(-EINVAL, "open", "result must not be NULL");
	rc = options_read(options, &o);
	if (!rc)
		rc = source_open_fd(fd, &source);
	if (rc)
		return rc;
	place_find_fd(source.fd, &place);
	rc = open_source(&source, place.dirfd, NULL, &o, subject, ret);
	place_close(&place);
	return rc;
}

int map_of_view(struct view *view, uint32_t flags, const char *subject, struct snapmap **ret)
{
	size_t n = strlen(subject) + 1;
	struct snapmap *map = (struct snapmap *)calloc(1, sizeof(*map) + n);
	int rc = 0;

	if (!map) {
		view->ops->close(view);
		return error_set(-ENOMEM, "map", NULL);
	}
	memcpy(map->subject, subject, n);
	map->view = view;
	map->mapping = view->mapping;
	map->size = view->size;
	map->info = view->info;
	if (flags & SNAPMAP_GUARD) {
		rc = guard_install();
		if (!rc)
			rc = guard_add(&map->mapping, false, &map->live);
		if (rc)
			error_set(rc, "map", NULL);
	}
	if (!rc && (flags & SNAPMAP_POPULATE))
		rc = mapping_prefault(&map->mapping, map->size, 0, map->size);
	if (rc)
		snapmap_close(map);
	else
		*ret = map;
	return rc;
}

const void *snapmap_data(const struct snapmap *map)
{
	return map->mapping.base;
}

size_t snapmap_size(const struct snapmap *map)
{
	return map->size;
}

int snapmap_get_info(const struct snapmap *map, struct snapmap_info *ret)
{
	error_begin(map ? map->subject : "(null)");
	if (!map || !ret)
		return error_set(-EINVAL, "describe", "handle and result must not be NULL");
	*ret = map->info;
	ret->error = guard_error(map->live);
	if (map->view && !ret->error)
		ret->error = map->view->ops->error(map->view);
	if (map->hold.leased)
		lease_get_info(&map->hold, ret);
	return 0;
}

int snapmap_prefault(const struct snapmap *map, uint64_t offset, uint64_t length)
{
	error_begin(map ? map->subject : "(null)");
	if (!map)
		return error_set(-EINVAL, "prefault", "handle must not be NULL");
	if (map->hold.leased && atomic_load(&map->hold.live->lost))
		return error_set(atomic_load(&map->hold.live->error), "prefault a range of",
				 "its bytes were lost when somebody wrote to the file: open it anew");
	return mapping_prefault(&map->mapping, map->size, offset, length);
}

void snapmap_close(struct snapmap *map)
{
	if (!map)
		return;
	unmap(map);
	free(map);
	retire_reap();
}
