/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_mut: an overlay and the file that it commits to. See include/snapmap/map_mut.h. */
#include "config.h"

#include "snapmap/map_mut.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attributes.h"
#include "commit.h"
#include "handle.h"
#include "journal.h"
#include "map_paged.h"
#include "publish.h"
#include "strategy.h"
#include "sys.h"
#include "view.h"

#define COMMIT_FLAGS_KNOWN (SNAPMAP_COMMIT_FORCE | SNAPMAP_COMMIT_NOSYNC | SNAPMAP_COMMIT_BREAK_LINKS)

#define OPEN_TRIES 16

/*
 * @view: whose memory it is; then there is no overlay, and a target only if it is paged, that
 * is, will be our own as soon as an image is needed. NULL: our own.
 */
struct snapmap_mut {
	struct edited_view *view;
	struct overlay overlay;
	struct target target;
	char tried[400];
	char subject[]; /* what errors call the file */
};

static const char in_child[] = "the handle belongs to the process that opened it, not to its children";

static bool is_foreign(const struct snapmap_mut *map)
{
	return spill_is_foreign(map->overlay.spill) || (paged_is(map->view) && paged_is_foreign(map->view));
}

/* From here on it has an image. */
static int make_own(struct snapmap_mut *map)
{
	struct overlay overlay;
	int rc;

	if (!paged_is(map->view))
		return 0;
	rc = paged_become(map->view, map->target.fd, map->target.fs, &map->target.place, &overlay);
	if (rc)
		return rc;
	map->overlay = overlay;
	map->view = NULL;
	return 0;
}

static const struct place nowhere = {.dirfd = -1, .link_dirfd = -1};

/* Takes over the target, the image and the home, which is used with SNAPMAP_SPILL only, also if it fails. */
static int make_handle(struct target *target, struct image *image, struct spill_home *home,
		       const struct options *options, const char *subject, struct snapmap_mut **ret)
{
	struct spill *spill = NULL;
	size_t n = strlen(subject) + 1;
	struct snapmap_mut *map = (struct snapmap_mut *)calloc(1, sizeof(*map) + n);
	int rc = map ? 0 : error_set(-ENOMEM, "open", NULL);

	if (!rc && (options->flags & SNAPMAP_SPILL))
		rc = spill_open(image, home, options, &spill);
	if (rc) {
		close_fd(&home->fd);
		sys_close(image->fd);
	} else {
		rc = overlay_open(image, spill, options->flags & SNAPMAP_GUARD, &map->overlay);
	}
	if (rc) {
		free(map);
		target_close(target);
		return rc;
	}
	map->target = *target;
	memcpy(map->subject, subject, n);
	error_copy_tried(map->tried, sizeof(map->tried));
	*ret = map;
	return 0;
}

/* Before it was locked somebody may have put another file in its place. */
static bool has_lost_name(const struct place *place, const struct stat *st)
{
	struct stat now;

	return place->dirfd >= 0 && (place_stat(place, &now) || now.st_dev != st->st_dev || now.st_ino != st->st_ino);
}

/* Takes over the target, but only if it succeeds. */
static int make_paged(const struct source *source, struct target *target, const struct options *options,
		      const char *subject, struct snapmap_mut **ret)
{
	size_t n = strlen(subject) + 1;
	struct snapmap_mut *map = (struct snapmap_mut *)calloc(1, sizeof(*map) + n);
	int rc = map ? 0 : error_set(-ENOMEM, "open", NULL);

	if (!rc)
		rc = paged_open(source, &target->place, options, subject, &target->stamp, &map->view);
	if (rc) {
		free(map);
		return rc;
	}
	map->target = *target;
	memcpy(map->subject, subject, n);
	*ret = map;
	return 0;
}

/* Takes over source and place, also if it fails. -ESTALE: the name went to another file. */
static int open_source(struct source *source, struct place *place, const struct options *options, const char *subject,
		       struct snapmap_mut **ret)
{
	struct target target = {.place = *place, .fd = source->fd, .fs = source->fs};
	struct source_request request = {
		.fd = source->fd,
		.own_offset = source->own_offset,
		.dirfd = place->dirfd,
		.st = &source->st,
		.verity = source->verity,
		.fs = source->fs,
		.mount = source->mount,
		.options = options,
		.editable = true,
	};
	struct spill_home home = {.fd = -1};
	struct image image;
	int rc = mapping_check_size((uint64_t)source->st.st_size);

	if (rc)
		error_set(rc, "map", NULL);
	if (!rc && (options->source == SNAPMAP_SOURCE_LEASE || paged_is_best(source, place, options))) {
		rc = make_paged(source, &target, options, subject, ret);
		if (!rc)
			return 0;
		if (options->source != SNAPMAP_SOURCE_LEASE) {
			error_begin(subject);
			rc = 0;
		}
	}
	if (!rc && (options->flags & SNAPMAP_SPILL)) {
		rc = spill_find_home(place->dirfd, options->tmpdir, &source->st, &home);
		request.dirfd = home.fd;
	}
	if (!rc)
		rc = journal_image_open(&request, &image);
	if (!rc && image.source == SNAPMAP_SOURCE_EXCLUSIVE && has_lost_name(place, &source->st)) {
		close_fd(&image.fd);
		rc = error_set(-ESTALE, "lock", "another file took its name just now: try again");
	}
	if (rc) {
		close_fd(&home.fd);
		target_close(&target);
		return rc;
	}
	target.stamp = image.stamp;
	rc = make_handle(&target, &image, &home, options, subject, ret);
	if (!rc && (options->flags & SNAPMAP_POPULATE)) {
		rc = snapmap_mut_prefault(*ret, 0, snapmap_mut_size(*ret));
		if (rc)
			snapmap_mut_close(*ret);
	}
	return rc;
}

/*
 * A file may have no name to commit to. But a name must not be overlooked only
 * because the limits did not allow to look for it.
 */
static int out_of_limits(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

/* Takes over the source, also if it fails. */
static int open_found(struct source *source, const struct options *options, const char *subject,
		      struct snapmap_mut **ret)
{
	struct place place = nowhere;
	int rc = place_find_fd(source->fd, &place);

	if (out_of_limits(rc)) {
		source_close(source);
		return error_set(rc, "find the name of", NULL);
	}
	return open_source(source, &place, options, subject, ret);
}

/* A path that leads to a file without leading to a name of it, such as /dev/stdin. */
static int open_nameless(const char *path, const struct options *options, struct snapmap_mut **ret)
{
	struct source source;
	int rc = source_open(path, !(options->flags & SNAPMAP_NOFOLLOW), &source);

	return rc ? rc : open_found(&source, options, path, ret);
}

/* -ESTALE: the name leads to another file than the path does. */
static int open_place(const char *path, struct place *place, const struct stat *st, const struct options *options,
		      struct snapmap_mut **ret)
{
	struct source source;
	int rc = source_open_place(place, &source);

	if (!rc && (source.st.st_dev != st->st_dev || source.st.st_ino != st->st_ino)) {
		source_close(&source);
		rc = -ESTALE;
	}
	if (rc) {
		place_close(place);
		return rc;
	}
	publish_clean_up(place);
	journal_clean_up(&(struct journal_place){.fd = source.fd, .dirfd = place->dirfd}, &source.st);
	return open_source(&source, place, options, path, ret);
}

/* -ESTALE if no name of the file could be found. */
static int open_named(const char *path, const struct options *options, struct snapmap_mut **ret)
{
	bool follow = !(options->flags & SNAPMAP_NOFOLLOW);
	struct place place;
	struct stat st;
	int rc = sys_fstatat(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, &st);

	if (!rc && S_ISLNK(st.st_mode))
		rc = -ELOOP;
	if (rc)
		return error_set(rc, "open", NULL);
	rc = place_find(path, follow, &place);
	if (rc == -ELOOP || out_of_limits(rc))
		return error_set(rc, "open", NULL);
	rc = rc ? -ESTALE : open_place(path, &place, &st, options, ret);
	return rc == -ENOENT || rc == -ELOOP ? -ESTALE : rc;
}

/*
 * A file that is replaced just now is looked for again, for by its descriptor
 * alone it would be a file without a name, which cannot be committed to. A link to
 * a descriptor never leads to a name: what is open has the last word.
 */
static int open_path(const char *path, const struct options *options, struct snapmap_mut **ret)
{
	int rc = -ESTALE;

	for (int i = 0; rc == -ESTALE && i < OPEN_TRIES; i++)
		rc = open_named(path, options, ret);
	return rc == -ESTALE ? open_nameless(path, options, ret) : rc;
}

int snapmap_mut_open(const char *path, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct snapmap_mut *map;
	struct options o;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "open", "path and result must not be NULL");
	rc = options_read_mut(options, &o);
	if (!rc)
		rc = open_path(path, &o, &map);
	if (!rc)
		*ret = map;
	return rc;
}

int snapmap_mut_open_fd(int fd, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct snapmap_mut *map;
	struct source source;
	struct options o;
	char subject[40];
	int rc;

	snprintf(subject, sizeof(subject), "file descriptor %d", fd);
	error_begin(subject);
	if (!ret)
		return error_set(-EINVAL, "open", "result must not be NULL");
	rc = options_read_mut(options, &o);
	if (!rc)
		rc = source_open_fd(fd, &source);
	if (rc)
		return rc;
	rc = open_found(&source, &o, subject, &map);
	if (!rc)
		*ret = map;
	return rc;
}

/* An image of no bytes, in the directory where the file is to appear. */
static int create_image(const struct place *place, mode_t mode, struct image *ret)
{
	struct private_file_request request = {
		.dirfd = place->dirfd,
		.mode = mode,
		.linkable = true,
		.local_only = true,
	};
	struct image image = {.consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME, .linkable = true};
	int rc = private_file_create(&request, &image.fd);

	if (rc == -EOPNOTSUPP || rc == -EINVAL) {
		request.linkable = image.linkable = false;
		rc = private_file_create(&request, &image.fd);
	}
	if (rc)
		return error_set(rc, "create", NULL);
	*ret = image;
	return 0;
}

/* The image moves to where it can grow, and takes the attributes along that the directory gives. */
static int create_spilled(const struct place *place, const struct options *options, struct spill_home *home,
			  struct image *image)
{
	struct private_file_request request = {.local_only = true};
	cleanup_fd int fd = -1;
	struct stat st;
	int rc = sys_fstat(image->fd, &st);

	if (!rc)
		rc = spill_find_home(place->dirfd, options->tmpdir, &st, home);
	request.dirfd = home->fd;
	if (!rc && !home->beside) {
		rc = private_file_create(&request, &fd);
		if (rc)
			error_set(rc, "make a work file for", NULL);
	}
	if (!rc && fd >= 0)
		rc = attributes_carry(image->fd, fd, true);
	if (fd >= 0 || rc)
		sys_close(image->fd);
	if (rc)
		close_fd(&home->fd);
	else if (fd >= 0)
		image->fd = steal_fd(&fd);
	return rc;
}

int snapmap_mut_create(const char *path, mode_t mode, const struct snapmap_options *options, struct snapmap_mut **ret)
{
	struct target target = {.fd = -1, .mode = mode & 07777};
	struct spill_home home = {.fd = -1};
	struct image image;
	struct options o;
	struct stat st;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "create", "path and result must not be NULL");
	rc = options_read_mut(options, &o);
	if (!rc && o.source == SNAPMAP_SOURCE_EXCLUSIVE)
		rc = error_set(-EINVAL, "create", "the source exclusive is for files that exist");
	if (rc)
		return rc;
	rc = place_find(path, false, &target.place);
	if (rc)
		return error_set(rc == -EISDIR || rc == -ELOOP ? -EEXIST : rc, "create", NULL);
	rc = place_stat(&target.place, &st);
	if (rc != -ENOENT) {
		rc = error_set(rc ? rc : -EEXIST, "create", NULL);
	} else {
		publish_clean_up(&target.place);
		rc = create_image(&target.place, target.mode, &image);
	}
	if (!rc && (o.flags & SNAPMAP_SPILL))
		rc = create_spilled(&target.place, &o, &home, &image);
	if (rc) {
		target_close(&target);
		return rc;
	}
	target.fs = fs_traits_of(image.fd);
	return make_handle(&target, &image, &home, &o, path, ret);
}

int map_mut_of_view(struct edited_view *view, uint32_t flags, const char *subject, struct snapmap_mut **ret)
{
	size_t n = strlen(subject) + 1;
	struct snapmap_mut *map = (struct snapmap_mut *)calloc(1, sizeof(*map) + n);
	int rc = 0;

	if (!map) {
		view->view.ops->close(&view->view);
		return error_set(-ENOMEM, "open", NULL);
	}
	memcpy(map->subject, subject, n);
	map->view = view;
	if (flags & SNAPMAP_POPULATE)
		rc = snapmap_mut_prefault(map, 0, view->view.size);
	if (rc)
		snapmap_mut_close(map);
	else
		*ret = map;
	return rc;
}

void map_mut_backing(const struct snapmap_mut *map, struct backing *ret)
{
	const struct overlay *o = &map->overlay;

	*ret = (struct backing){o->mapping.base, o->size, o->image.fd, overlay_error(o)};
}

void *snapmap_mut_data(const struct snapmap_mut *map)
{
	return map->view ? map->view->view.mapping.base : map->overlay.mapping.base;
}

size_t snapmap_mut_size(const struct snapmap_mut *map)
{
	return map->view ? map->view->view.size : map->overlay.size;
}

int snapmap_mut_get_info(const struct snapmap_mut *map, struct snapmap_info *ret)
{
	const struct image *image;

	error_begin(map ? map->subject : "(null)");
	if (!map || !ret)
		return error_set(-EINVAL, "describe", "handle and result must not be NULL");
	if (paged_is(map->view)) {
		paged_get_info(map->view, ret);
		return 0;
	}
	if (map->view) {
		*ret = map->view->view.info;
		ret->error = map->view->view.ops->error(&map->view->view);
		return 0;
	}
	image = &map->overlay.image;
	*ret = (struct snapmap_info){
		.source = image->source,
		.consistency = image->consistency,
		.lease = SNAPMAP_LEASE_NONE,
		.error = overlay_error(&map->overlay),
		.size = image->size,
		.extents = image->extents,
		.bytes_copied = image->bytes_copied,
		.strategy = map->target.strategy,
	};
	snprintf(ret->file_system, sizeof(ret->file_system), "%s", map->target.fs->name);
	memcpy(ret->tried, map->tried, sizeof(map->tried));
	return 0;
}

int snapmap_mut_prefault(const struct snapmap_mut *map, uint64_t offset, uint64_t length)
{
	error_begin(map ? map->subject : "(null)");
	if (!map)
		return error_set(-EINVAL, "prefault", "handle must not be NULL");
	if (is_foreign(map))
		return error_set(-ESTALE, "prefault a range of", in_child);
	if (map->view)
		return mapping_prefault(&map->view->view.mapping, map->view->view.size, offset, length);
	return mapping_prefault(&map->overlay.mapping, map->overlay.size, offset, length);
}

int snapmap_mut_resize(struct snapmap_mut *map, size_t size)
{
	int rc;

	error_begin(map ? map->subject : "(null)");
	if (!map)
		return error_set(-EINVAL, "resize", "handle must not be NULL");
	if (is_foreign(map))
		return error_set(-ESTALE, "resize", in_child);
	if (!paged_is(map->view))
		return map->view ? map->view->edit->resize(map->view, size) : overlay_resize(&map->overlay, size);
	rc = make_own(map);
	return rc ? rc : overlay_resize(&map->overlay, size);
}

ssize_t snapmap_mut_dirty(const struct snapmap_mut *map, struct snapmap_range *ranges, size_t capacity)
{
	struct ranges dirty = {0};
	size_t n;
	int rc;

	error_begin(map ? map->subject : "(null)");
	if (!map || (!ranges && capacity))
		return error_set(-EINVAL, "list the edits of", "handle and array must not be NULL");
	if (is_foreign(map))
		return error_set(-ESTALE, "list the edits of", in_child);
	rc = map->view ? map->view->edit->dirty(map->view, &dirty) : overlay_dirty(&map->overlay, &dirty);
	if (rc)
		return rc;
	n = dirty.n;
	if (n && capacity)
		memcpy(ranges, dirty.v, (n < capacity ? n : capacity) * sizeof(*ranges));
	ranges_free(&dirty);
	return (ssize_t)n;
}

/* What lies below is the file itself, which a commit may have left half done. */
static int make_whole(struct snapmap_mut *map)
{
	if (!overlay_is_exclusive(&map->overlay) || !map->target.unfinished.applying)
		return 0;
	return commit_settle_journal(&map->target);
}

int snapmap_mut_rollback(struct snapmap_mut *map)
{
	int rc;

	error_begin(map ? map->subject : "(null)");
	if (!map)
		return error_set(-EINVAL, "roll back", "handle must not be NULL");
	if (is_foreign(map))
		return error_set(-ESTALE, "roll back", in_child);
	if (map->view)
		return map->view->edit->rollback(map->view);
	rc = make_whole(map);
	return rc ? rc : overlay_rollback(&map->overlay);
}

static int commit_options_read(const struct snapmap_mut *map, const struct snapmap_commit_options *o,
			       uint32_t *ret_flags, uint32_t *ret_strategy)
{
	error_begin(map ? map->subject : "(null)");
	*ret_flags = *ret_strategy = 0;
	if (!map)
		return error_set(-EINVAL, "commit", "handle must not be NULL");
	if (is_foreign(map))
		return error_set(-ESTALE, "commit", in_child);
	if (!o)
		return 0;
	if (o->size != sizeof(*o))
		return error_set(-EINVAL, "commit", "options.size must be sizeof(struct snapmap_commit_options)");
	if (o->flags & ~COMMIT_FLAGS_KNOWN)
		return error_set(-EINVAL, "commit", "options.flags has unknown bits");
	if (o->strategy > SNAPMAP_STRATEGY_IMAGE)
		return error_set(-EINVAL, "commit", "options.strategy is unknown");
	*ret_flags = o->flags;
	*ret_strategy = o->strategy;
	return 0;
}

static int run_commit(struct snapmap_mut *map, uint32_t flags, uint32_t strategy, bool closing)
{
	int rc = make_own(map);

	if (rc)
		return rc;
	return map->view ? map->view->edit->commit(map->view, flags, strategy)
			 : commit_run(&map->overlay, &map->target, flags, strategy, closing);
}

int snapmap_mut_commit(struct snapmap_mut *map, const struct snapmap_commit_options *options)
{
	uint32_t flags, strategy;
	int rc = commit_options_read(map, options, &flags, &strategy);

	return rc ? rc : run_commit(map, flags, strategy, false);
}

int mut_commit_in_place(struct snapmap_mut *map)
{
	uint32_t flags, strategy;
	int rc = commit_options_read(map, NULL, &flags, &strategy);

	return rc ? rc : run_commit(map, flags, COMMIT_IN_PLACE, false);
}

int snapmap_mut_commit_and_close(struct snapmap_mut *map, const struct snapmap_commit_options *options)
{
	uint32_t flags, strategy;
	int rc = commit_options_read(map, options, &flags, &strategy);

	if (!rc)
		rc = run_commit(map, flags, strategy, true);
	if (!rc)
		snapmap_mut_close(map);
	return rc;
}

int snapmap_mut_link(struct snapmap_mut *map, const char *path, const struct snapmap_commit_options *options)
{
	uint32_t flags, strategy;
	int rc = commit_options_read(map, options, &flags, &strategy);

	if (rc)
		return rc;
	if (!path)
		return error_set(-EINVAL, "save", "path must not be NULL");
	if (map->view && !paged_is(map->view))
		return error_set(-EOPNOTSUPP, "save elsewhere",
				 "it is a file in an image: clone it there with minifs_clone, and edit the clone");
	if (strategy != SNAPMAP_STRATEGY_AUTO && strategy != SNAPMAP_STRATEGY_REPLACE)
		return error_set(-EINVAL, "save", "a new file can only be made with the strategy replace");
	rc = make_own(map);
	if (rc)
		return rc;
	error_begin(path);
	return commit_link(&map->overlay, &map->target, path, flags);
}

int mut_probe(const struct snapmap_mut *map, uint32_t id)
{
	const struct strategy *s;
	const char *why;

	for (size_t i = 0; (s = strategy_at(i)); i++)
		if (s->id == id)
			return s->probe(&map->target, &why);
	return -EOPNOTSUPP;
}

int mut_can_commit(const struct snapmap_mut *map, const char **ret_why)
{
	const struct strategy *s;
	int rc = -EOPNOTSUPP;

	for (size_t i = 0; rc && (s = strategy_at(i)); i++)
		if (s->automatic)
			rc = s->probe(&map->target, ret_why);
	return rc;
}

const struct fs_traits *mut_file_system(const struct snapmap_mut *map)
{
	return map->target.fs;
}

void snapmap_mut_close(struct snapmap_mut *map)
{
	if (!map)
		return;
	if (map->view) {
		bool paged = paged_is(map->view);

		map->view->view.ops->close(&map->view->view);
		if (paged)
			target_close(&map->target);
	} else {
		overlay_close(&map->overlay);
		target_close(&map->target);
	}
	free(map);
}
