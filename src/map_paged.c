/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See map_paged.h. Opening costs the same for every size, also where extents cannot be
 * shared; who only looks at a file, or gives the edits up, never pays for a copy.
 *
 * What is committed needs an image: to be published, and to go on from. It is made from the
 * file while the lease stands, so that its bytes are those that the handle stands for; if
 * the lease was broken, from the bytes that have taken the file's place, and from a snapshot
 * where the file system gave one. Then the image is
 * mapped over the memory, in one step, with all pages that were stored into.
 */
#include "config.h"

#include "map_paged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pager.h"
#include "snapmap/map.h"
#include "sys.h"

/* A smaller file is copied in the time that the first faults take. */
#define LEAST ((uint64_t)32 << 20)
#define NOT_PAGED (SNAPMAP_INHERIT | SNAPMAP_GUARD | SNAPMAP_SPILL | SNAPMAP_POPULATE)
#define PIECE ((size_t)1 << 20)
#define CHUNK ((size_t)64 << 10)

/**
 * struct paged - such a handle
 * @edited: what the handle sees
 * @area: its memory
 * @map: what the pages come from
 * @depth: fork_depth() when it was made
 * @options: how to make the image; tmpdir is its own
 * @error: sticky
 */
struct paged {
	struct edited_view edited;
	struct pager_area area;
	struct snapmap *map;
	unsigned depth;
	struct options options;
	char *tmpdir;
	atomic_int error;
};

static struct paged *paged_of(const struct edited_view *view)
{
	return caa_container_of(view, struct paged, edited);
}

/* ---- what the pager asks ---- */

static struct pager_bytes find(struct pager_area *a, size_t page, size_t most)
{
	const struct paged *p = caa_container_of(a, struct paged, area);
	size_t pages = a->pages - page;

	return (struct pager_bytes){
		.from = (const char *)snapmap_data(p->map) + page * sys_page_size(),
		.pages = pages < most ? pages : most,
	};
}

static void failed(struct pager_area *a, size_t page, int error)
{
	struct paged *p = caa_container_of(a, struct paged, area);
	int none = 0;

	(void)page;
	atomic_compare_exchange_strong(&p->error, &none, error);
}

static const struct pager_ops pager_ops = {.find = find, .failed = failed};

/* ---- what the handle asks ---- */

bool paged_is_foreign(const struct edited_view *view)
{
	return fork_depth() != paged_of(view)->depth;
}

static void free_paged(struct paged *p)
{
	snapmap_close(p->map);
	free(p->tmpdir);
	free(p);
}

static void close_view(struct view *view)
{
	struct paged *p = paged_of(caa_container_of(view, struct edited_view, view));
	bool child = paged_is_foreign(&p->edited);

	pager_remove(&p->area, child);
	if (!child)
		mapping_close(&view->mapping);
	free_paged(p);
}

static int error_of(struct view *view)
{
	return atomic_load(&paged_of(caa_container_of(view, struct edited_view, view))->error);
}

static int find_dirty(const struct paged *p, struct ranges *ret)
{
	int rc = pager_find_stored(&p->area, 0, p->area.pages, ret);

	ranges_clip(ret, p->edited.view.size);
	return rc;
}

static int dirty(struct edited_view *view, struct ranges *ret)
{
	int rc = find_dirty(paged_of(view), ret);

	if (rc) {
		ranges_free(ret);
		return error_set(rc, "find the written pages of", NULL);
	}
	return 0;
}

static int rollback(struct edited_view *view)
{
	struct paged *p = paged_of(view);
	size_t size = sys_page_size();
	struct ranges stored = {0};
	int rc;

	pager_lock(&p->area);
	rc = pager_find_stored(&p->area, 0, p->area.pages, &stored);
	for (size_t i = 0; !rc && i < stored.n; i++)
		rc = pager_drop(&p->area, (size_t)stored.v[i].offset / size, (size_t)stored.v[i].length / size);
	pager_unlock(&p->area);
	ranges_free(&stored);
	return rc ? error_set(rc, "roll back", NULL) : 0;
}

static const struct view_ops view_ops = {.close = close_view, .error = error_of};
static const struct edit_ops edit_ops = {.dirty = dirty, .rollback = rollback};

bool paged_is(const struct edited_view *view)
{
	return view && view->edit == &edit_ops;
}

void paged_get_info(const struct edited_view *view, struct snapmap_info *ret)
{
	struct paged *p = paged_of(view);
	int error = atomic_load(&p->error);

	if (!snapmap_get_info(p->map, ret) && error)
		ret->error = error;
}

/* ---- opening ---- */

bool paged_is_best(const struct source *source, const struct place *place, const struct options *options)
{
	struct imaging_request imaging = {
		.fd = source->fd,
		.dirfd = place->dirfd,
		.tmpdir = options->tmpdir,
		.st = &source->st,
		.fs = source->fs,
		.mount = source->mount,
	};
	uint64_t limit, space;

	if ((options->flags & NOT_PAGED) || !(source->fs->flags & (FS_LEASES | FS_ASKED)))
		return false;
	if ((source->fs->flags & FS_ASKED) && options->source == SNAPMAP_SOURCE_SNAPFS)
		return true;
	if (options->source != SNAPMAP_SOURCE_AUTO || (uint64_t)source->st.st_size < LEAST)
		return false;
	imaging_limit(&imaging, &limit, &space);
	return limit != UINT64_MAX;
}

/* A server is asked unless it is to be a lease. */
static bool is_asked(const struct source *source, const struct options *options)
{
	return (source->fs->flags & FS_ASKED) && options->source != SNAPMAP_SOURCE_LEASE;
}

/* A snapshot for which nothing is copied. The target keeps its own descriptor. */
static int open_source(const struct source *source, const struct place *place, const struct options *options,
		       const char *subject, struct snapmap **ret)
{
	struct options o = *options;
	struct source again;
	int rc = source_open_fd(source->fd, &again);

	if (rc)
		return rc;
	o.source = is_asked(source, options) ? SNAPMAP_SOURCE_SNAPFS : SNAPMAP_SOURCE_LEASE;
	o.flags = 0;
	rc = map_open_source(&again, place->dirfd, NULL, &o, subject, ret);
	source_close(&again);
	return rc;
}

static bool is_leased(const struct paged *p)
{
	struct snapmap_info info;

	return !snapmap_get_info(p->map, &info) && info.lease == SNAPMAP_LEASE_HELD;
}

/* What the file was before a snapshot that a server made. */
static int take_stamp_before(const struct source *source, const struct options *options, struct stamp *ret)
{
	int rc = is_asked(source, options) ? stamp_take(source->fd, source->fs, source->own_offset, ret) : 0;

	return rc ? error_set(rc, "look for changes of", NULL) : 0;
}

/* What the file is, and was since before the lease was taken. */
static int take_stamp(const struct paged *p, const struct source *source, struct stamp *ret)
{
	int rc;

	if (is_asked(source, &p->options))
		return 0;
	rc = stamp_take_at_rest(source->fd, source->fs, ret);
	if (rc)
		return error_set(rc, "look for changes of", NULL);
	if (stamp_is_spoilt(ret) || ret->size != snapmap_size(p->map) || !is_leased(p))
		return error_set(-EAGAIN, "lease", "it is being changed");
	return 0;
}

static int start_pager(struct paged *p)
{
	size_t span = page_up(snapmap_size(p->map));
	void *base;
	int rc = sys_map(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &base);

	if (rc)
		return error_set(rc, "map", NULL);
	p->area.ops = &pager_ops;
	p->area.base = (char *)base;
	p->area.pages = span / sys_page_size();
	rc = pager_add(&p->area);
	if (!rc && !p->area.userfault->tells_stores) {
		pager_remove(&p->area, false);
		rc = -EOPNOTSUPP;
	}
	if (rc) {
		sys_unmap(base, span);
		return error_set(rc, "serve page faults of", NULL);
	}
	p->edited.view.mapping = (struct mapping){(char *)base, span};
	return 0;
}

static int check_options(const struct options *options)
{
	if (options->flags & NOT_PAGED)
		return error_set(
			-EOPNOTSUPP, "open",
			"an editable handle by a lease or by snapfs has none of SNAPMAP_INHERIT, SNAPMAP_GUARD, "
			"SNAPMAP_SPILL and SNAPMAP_POPULATE");
	return 0;
}

int paged_open(const struct source *source, const struct place *place, const struct options *options,
	       const char *subject, struct stamp *ret_stamp, struct edited_view **ret)
{
	struct paged *p = (struct paged *)calloc(1, sizeof(*p));
	int rc = p ? check_options(options) : error_set(-ENOMEM, "open", NULL);

	if (!rc && !source->st.st_size)
		rc = error_set(-EOPNOTSUPP, "lease", "it is empty");
	if (!rc && options->tmpdir && !(p->tmpdir = strdup(options->tmpdir)))
		rc = error_set(-ENOMEM, "open", NULL);
	if (!rc) {
		p->options = *options;
		rc = take_stamp_before(source, options, ret_stamp);
	}
	if (!rc)
		rc = open_source(source, place, options, subject, &p->map);
	if (!rc)
		rc = take_stamp(p, source, ret_stamp);
	if (!rc)
		rc = start_pager(p);
	if (rc) {
		if (p)
			free_paged(p);
		return rc;
	}
	p->depth = fork_depth();
	p->options.source = SNAPMAP_SOURCE_AUTO;
	p->options.progress = NULL; /* was for the open only */
	p->options.tmpdir = p->tmpdir;
	p->edited.edit = &edit_ops;
	p->edited.view.ops = &view_ops;
	p->edited.view.size = snapmap_size(p->map);
	*ret = &p->edited;
	return 0;
}

/* ---- becoming an ordinary handle ---- */

/* The file while nobody can change it. -EAGAIN if somebody could. */
static int image_file(const struct paged *p, int file, const struct fs_traits *fs, const struct place *place,
		      struct image *ret)
{
	struct stat st;
	struct source_request request = {
		.fd = file,
		.own_offset = true,
		.dirfd = place->dirfd,
		.st = &st,
		.fs = fs,
		.options = &p->options,
		.editable = true,
		.unchanging = true,
	};
	int rc = is_leased(p) ? sys_fstat(file, &st) : -EAGAIN;

	if (!rc)
		rc = image_open(&request, ret);
	if (!rc && (!is_leased(p) || ret->size != p->edited.view.size)) {
		close_fd(&ret->fd);
		rc = -EAGAIN;
	}
	return rc;
}

/* What is zeros stays a hole. */
static int write_data(int fd, const char *from, size_t n, uint64_t offset)
{
	int rc = 0;

	for (size_t at = 0, part; !rc && at < n; at += part) {
		part = n - at < CHUNK ? n - at : CHUNK;
		if (!bytes_are_zero(from + at, part))
			rc = sys_pwrite_full(fd, from + at, part, offset + at);
	}
	return rc;
}

static int copy_pages(const struct paged *p, int fd)
{
	const char *from = (const char *)snapmap_data(p->map);
	size_t size = p->edited.view.size, n;
	char *buf = (char *)malloc(PIECE);
	int rc = buf ? sys_ftruncate(fd, size) : -ENOMEM;

	for (size_t at = 0; !rc && at < size; at += n) {
		n = size - at < PIECE ? size - at : PIECE;
		rc = sys_copy_memory(buf, from + at, n);
		if (!rc)
			rc = write_data(fd, buf, n, at);
	}
	free(buf);
	return rc;
}

/* The bytes that have taken the place of the file. */
static int image_memory(const struct paged *p, int file, const struct fs_traits *fs, const struct place *place,
			struct image *ret)
{
	struct private_file_request request = {
		.dirfd = place->dirfd,
		.tmpdir = p->options.tmpdir,
		.linkable = true,
		.local_only = true,
	};
	struct image image = {
		.source = SNAPMAP_SOURCE_COPY,
		.consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME,
		.size = p->edited.view.size,
		.bytes_copied = p->edited.view.size,
		.linkable = true,
	};
	cleanup_fd int fd = -1;
	int rc = -EOPNOTSUPP;

	if (place->dirfd >= 0)
		rc = private_file_create(&request, &fd);
	if (rc) {
		image.linkable = request.linkable = request.local_only = false;
		image.unlimited = fs->flags & FS_IN_MEMORY;
		rc = image.unlimited ? private_file_memory("snapmap-copy", &fd) : private_file_create(&request, &fd);
	}
	if (!rc) {
		private_file_prepare(file, fd);
		rc = copy_pages(p, fd);
	}
	if (rc)
		return error_set(rc, "make an image of", NULL);
	image.fd = steal_fd(&fd);
	*ret = image;
	return 0;
}

/*
 * Under the lock of the area, so that no page is put in place meanwhile. Pages that were
 * stored into are in memory: touching them is no fault.
 */
static int take_place(struct paged *p, struct overlay *o)
{
	struct ranges stored = {0};
	int rc;

	pager_lock(&p->area);
	rc = pager_find_stored(&p->area, 0, p->area.pages, &stored);
	for (size_t i = 0; !rc && i < stored.n; i++) {
		size_t at = (size_t)stored.v[i].offset, n = (size_t)stored.v[i].length;

		rc = sys_populate(o->mapping.base + at, n);
		if (!rc)
			rc = sys_copy_memory(o->mapping.base + at, p->area.base + at, n);
	}
	if (!rc)
		rc = sys_move_mapping(o->mapping.base, o->mapping.span, p->area.base);
	if (!rc)
		o->mapping.base = p->area.base;
	pager_unlock(&p->area);
	ranges_free(&stored);
	return rc;
}

int paged_become(struct edited_view *view, int file, const struct fs_traits *fs, const struct place *place,
		 struct overlay *ret)
{
	struct paged *p = paged_of(view);
	struct overlay o;
	struct image image;
	int rc = error_of(&view->view);

	if (rc)
		return error_set(rc, "make an image of", "some of its bytes could not be read");
	rc = image_file(p, file, fs, place, &image);
	if (rc == -EAGAIN)
		rc = image_memory(p, file, fs, place, &image);
	if (!rc)
		rc = overlay_open(&image, NULL, false, &o);
	if (rc)
		return rc;
	rc = take_place(p, &o);
	if (rc) {
		overlay_close(&o);
		return error_set(rc, "map an image of", NULL);
	}
	/* Who waits for a page of what was there before tries again. */
	sys_userfault_wake(p->area.userfault, p->area.base, o.mapping.span);
	pager_remove(&p->area, false);
	free_paged(p);
	*ret = o;
	return 0;
}
