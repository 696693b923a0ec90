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
#include "mapping.h"
#include "sys.h"

struct snapmap {
	struct mapping mapping;
	struct live *live; /* NULL unless it is guarded */
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

static int map_image(const struct source *source, const struct image *image, const struct options *options,
		     const char *subject, struct snapmap **ret)
{
	size_t n = strlen(subject) + 1;
	struct snapmap *map = (struct snapmap *)calloc(1, sizeof(*map) + n);
	int rc;

	if (!map)
		return error_set(-ENOMEM, "open", NULL);
	memcpy(map->subject, subject, n);
	rc = mapping_open(image->fd, image->size, false, &map->mapping);
	if (rc) {
		free(map);
		return error_set(rc, "map", NULL);
	}
	map->size = (size_t)image->size;
	fill_info(image, source->fs, &map->info);
	if (options->flags & SNAPMAP_GUARD) {
		rc = guard_add(&map->mapping, false, &map->live);
		if (rc)
			error_set(rc, "guard", NULL);
	}
	if (!rc && (options->flags & SNAPMAP_POPULATE))
		rc = mapping_prefault(&map->mapping, map->size, 0, map->size);
	if (rc)
		snapmap_close(map);
	else
		*ret = map;
	return rc;
}

/* Consumes the source. */
static int open_source(struct source *source, int dirfd, const char *dir, const struct options *options,
		       const char *subject, struct snapmap **ret)
{
	struct source_request request = {
		.fd = source->fd,
		.own_offset = source->own_offset,
		.dirfd = dirfd,
		.dir = dir,
		.st = &source->st,
		.fs = source->fs,
		.options = options,
	};
	struct image image;
	int rc = mapping_check_size((uint64_t)source->st.st_size);

	if (rc)
		error_set(rc, "map", NULL);
	else
		rc = image_open(&request, &image);
	if (!rc) {
		rc = map_image(source, &image, options, subject, ret);
		sys_close(image.fd);
	}
	source_close(source);
	return rc;
}

/* The usual case: no link at the end, so that the file lies where the path says. */
static int open_plain(const char *path, const struct stat *st, const struct options *options, struct snapmap **ret)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	struct source source;
	int rc = source_open_known(path, st, !(options->flags & SNAPMAP_NOFOLLOW), &source);

	if (rc)
		return rc;
	/* The kernel took the path, so it fits. */
	if (slash)
		memcpy(dir, path, (size_t)(slash - path) + 1);
	else
		dir[0] = '.';
	dir[slash ? slash - path + 1 : 1] = 0;
	return open_source(&source, -1, dir, options, path, ret);
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
	struct options o;
	struct stat st;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "open", "path and result must not be NULL");
	rc = options_read(options, &o);
	if (rc)
		return rc;
	rc = sys_fstatat(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &st);
	if (rc)
		return error_set(rc, "open", NULL);
	return S_ISLNK(st.st_mode) ? open_link(path, &o, ret) : open_plain(path, &st, &o, ret);
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
	return 0;
}

int snapmap_prefault(const struct snapmap *map, uint64_t offset, uint64_t length)
{
	error_begin(map ? map->subject : "(null)");
	if (!map)
		return error_set(-EINVAL, "prefault", "handle must not be NULL");
	return mapping_prefault(&map->mapping, map->size, offset, length);
}

void snapmap_close(struct snapmap *map)
{
	if (!map)
		return;
	if (map->live)
		registry_remove(map->live);
	mapping_close(&map->mapping);
	free(map);
}
