/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct snapmap_segment: its memory, and what its pages stand for. See
 * include/snapmap/segment.h.
 *
 * Invariants: a page that stands for a snapshot was not stored into, or is known to have
 * been (in the page's own tables) and stands for nothing after the next look. A page
 * that stands for nothing is private memory, or not there, and then it is zeros.
 *
 * Nobody touches memory of the segment under the lock: see pager.c.
 */
#include "config.h"

#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty.h"
#include "lease.h"
#include "overlay.h"
#include "sys.h"

#define FLAGS (SNAPMAP_STRICT | SNAPMAP_INHERIT)
#define SOURCES (SNAPMAP_SOURCE_IMMUTABLE | SNAPMAP_SOURCE_LEASE | SNAPMAP_SOURCE_REFLINK | SNAPMAP_SOURCE_SNAPFS)
#define PRIVATE (MAP_PRIVATE | MAP_NORESERVE)

/* ---- the lock ---- */

void segment_lock(struct snapmap_segment *s)
{
	if (s->paged)
		pager_lock(&s->area);
	else
		pthread_mutex_lock(&s->lock);
}

/* Takes those out of the list that no page stands for. */
static void collect_idle(struct snapmap_segment *s, struct cds_list_head *ret)
{
	struct page_owner *owner;

	while ((owner = page_table_next_idle(&s->table))) {
		struct segment_snapshot *snapshot = caa_container_of(owner, struct segment_snapshot, owner);

		cds_list_del(&snapshot->node);
		cds_list_add(&snapshot->node, ret);
	}
}

void segment_unlock(struct snapmap_segment *s)
{
	struct segment_snapshot *snapshot, *next;
	CDS_LIST_HEAD(idle);

	collect_idle(s, &idle);
	if (s->paged)
		pager_unlock(&s->area);
	else
		pthread_mutex_unlock(&s->lock);
	cds_list_for_each_entry_safe (snapshot, next, &idle, node)
		segment_snapshot_put(snapshot);
}

/* ---- what the pager asks ---- */

static struct pager_bytes find(struct pager_area *a, size_t page, size_t most)
{
	struct snapmap_segment *s = caa_container_of(a, struct snapmap_segment, area);
	struct page_run run = page_table_find(&s->table, page, most);
	struct pager_bytes b = {.pages = run.pages};
	struct segment_snapshot *snapshot;

	if (run.owner) {
		snapshot = caa_container_of(run.owner, struct segment_snapshot, owner);
		atomic_fetch_add(&snapshot->refs, 1);
		b.from = snapshot->data + run.offset;
		b.held = snapshot;
	}
	return b;
}

static void let_go(struct pager_area *a, void *held)
{
	(void)a;
	segment_snapshot_put((struct segment_snapshot *)held);
}

static void failed(struct pager_area *a, size_t page, int error)
{
	struct snapmap_segment *s = caa_container_of(a, struct snapmap_segment, area);
	int none = 0;

	(void)page;
	atomic_compare_exchange_strong(&s->error, &none, error);
}

static const struct pager_ops pager_ops = {.find = find, .let_go = let_go, .failed = failed};

/* ---- making it ---- */

static int read_options(const struct snapmap_options *options, struct options *ret)
{
	int rc = options_read(options, ret);

	if (rc)
		return rc;
	if (ret->flags & ~FLAGS)
		return error_set(-EINVAL, "make", "of the flags a segment takes SNAPMAP_STRICT and SNAPMAP_INHERIT");
	if (ret->source & ~SOURCES)
		return error_set(-EINVAL, "make", "a segment reads by the sources immutable, lease and reflink");
	return 0;
}

static void free_segment(struct snapmap_segment *s)
{
	page_table_free(&s->table);
	pthread_mutex_destroy(&s->refusal_lock);
	pthread_mutex_destroy(&s->lock);
	free(s->tmpdir);
	free(s);
}

static int create(size_t size, const struct options *o, struct snapmap_segment **ret)
{
	struct snapmap_segment *s = (struct snapmap_segment *)calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->refusal_lock, NULL);
	CDS_INIT_LIST_HEAD(&s->snapshots);
	s->size = size;
	s->span = page_up(size);
	s->options = *o;
	s->loaded = SIZE_MAX;
	page_table_init(&s->table, s->span / sys_page_size(), sys_page_size());
	if (o->tmpdir && !(s->tmpdir = strdup(o->tmpdir))) {
		free_segment(s);
		return -ENOMEM;
	}
	s->options.tmpdir = s->tmpdir;
	s->depth = fork_depth();
	*ret = s;
	return 0;
}

/* Where the pager cannot be had, the kernel maps the pages. */
static int start_pager(struct snapmap_segment *s)
{
	int rc;

	if (s->options.flags & SNAPMAP_INHERIT)
		return 0;
	s->area.ops = &pager_ops;
	s->area.base = s->base;
	s->area.pages = s->span / sys_page_size();
	rc = pager_add(&s->area);
	s->paged = !rc;
	/* Starting them takes longer than a read. */
	s->watched = s->paged && !lease_watch_stay();
	return rc == -EPERM || rc == -ENOSYS || rc == -EINVAL ? 0 : rc;
}

int snapmap_segment_create(size_t size, const struct snapmap_options *options, struct snapmap_segment **ret)
{
	struct snapmap_segment *s = NULL;
	struct options o;
	void *base;
	int rc;

	error_begin("a segment");
	if (!ret || !size)
		return error_set(-EINVAL, "make", "the result must not be NULL, nor the size 0");
	rc = read_options(options, &o);
	if (rc)
		return rc;
	if (size > (size_t)PTRDIFF_MAX - sys_page_size())
		return error_set(-EFBIG, "make", NULL);
	rc = create(size, &o, &s);
	if (!rc) {
		rc = sys_map(NULL, s->span, PROT_READ | PROT_WRITE, PRIVATE | MAP_ANONYMOUS, -1, 0, &base);
		rc = rc == -ENOMEM ? -EFBIG : rc;
	}
	if (!rc) {
		s->base = (char *)base;
		rc = start_pager(s);
	}
	if (rc) {
		if (s && s->base)
			sys_unmap(s->base, s->span);
		if (s)
			free_segment(s);
		return error_set(rc, "make", NULL);
	}
	*ret = s;
	return 0;
}

static bool is_child(const struct snapmap_segment *s)
{
	return fork_depth() != s->depth;
}

/*
 * In a child of fork() the pager's memory is not there, and its addresses may be in use for
 * something else. Locks may be taken for good.
 */
void snapmap_segment_destroy(struct snapmap_segment *s)
{
	struct segment_snapshot *snapshot, *next;
	bool child;

	if (!s)
		return;
	child = is_child(s);
	if (s->paged)
		pager_remove(&s->area, child);
	if (!s->paged || !child)
		sys_unmap(s->base, s->span);
	cds_list_for_each_entry_safe (snapshot, next, &s->snapshots, node)
		segment_snapshot_put(snapshot);
	if (s->watched && !child)
		lease_watch_leave();
	free_segment(s);
}

void *snapmap_segment_base(const struct snapmap_segment *s)
{
	return s->base;
}

size_t snapmap_segment_size(const struct snapmap_segment *s)
{
	return s->size;
}

static bool is_within(const struct snapmap_segment *s, const void *buf, size_t n)
{
	size_t at = (size_t)((const char *)buf - s->base);

	return at <= s->size && n <= s->size - at;
}

bool segment_has(const struct snapmap_segment *s, const void *buf, size_t n)
{
	return is_within(s, buf, n) && !is_child(s);
}

int segment_check(const struct snapmap_segment *s, const void *buf, size_t n, const char *what)
{
	if (!s)
		return error_set(-EINVAL, what, "the segment must not be NULL");
	if (!is_within(s, buf, n))
		return error_set(-EFAULT, what, "the range must lie within the segment");
	if (is_child(s))
		return error_set(-ESTALE, what, "it is that of the parent: a child of fork() makes its own");
	return 0;
}

/* ---- what pages stand for ---- */

static int map_pages(struct snapmap_segment *s, size_t page, size_t pages, struct segment_snapshot *snapshot,
		     uint64_t offset)
{
	size_t size = sys_page_size();
	char *at = s->base + page * size;
	void *p;

	if (snapshot)
		return sys_map(at, pages * size, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED, snapshot->fd, offset, &p);
	return sys_map(at, pages * size, PROT_READ | PROT_WRITE, PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, &p);
}

int segment_associate(struct snapmap_segment *s, size_t page, size_t pages, struct segment_snapshot *snapshot,
		      uint64_t offset)
{
	bool first = snapshot && !snapshot->owner.pages && !snapshot->owner.listed;
	int rc;

	if (!pages)
		return 0;
	rc = page_table_set(&s->table, page, pages, snapshot ? &snapshot->owner : NULL, offset);
	if (!rc) {
		if (first) {
			atomic_fetch_add(&snapshot->refs, 1);
			cds_list_add(&snapshot->node, &s->snapshots);
		}
		rc = s->paged ? pager_drop(&s->area, page, pages) : map_pages(s, page, pages, snapshot, offset);
		/* As they were, so nothing that can be had again. Never fails, for it needs no new nodes. */
		if (rc)
			page_table_set(&s->table, page, pages, NULL, 0);
	}
	return rc;
}

/* Those of @ranges that stand for something do so no more. */
static int detach(struct snapmap_segment *s, const struct ranges *ranges)
{
	size_t size = sys_page_size();
	int rc = 0;

	for (size_t i = 0; !rc && i < ranges->n; i++) {
		size_t at = (size_t)ranges->v[i].offset / size, end = at + (size_t)ranges->v[i].length / size;

		while (!rc && at < end) {
			struct page_run run = page_table_find(&s->table, at, end - at);

			if (run.owner)
				rc = page_table_set(&s->table, at, run.pages, NULL, 0);
			at += run.pages;
		}
	}
	return rc;
}

/* Pages of a private mapping of a file that were written; there are only those that stand for something. */
static int find_written(const struct snapmap_segment *s, size_t page, size_t pages, struct ranges *ret)
{
	size_t size = sys_page_size();
	struct ranges all = {0};
	int rc = 0;

	for (size_t at = page, end = page + pages; !rc && at < end;) {
		struct page_run run = page_table_find(&s->table, at, end - at);
		struct dirty_area area = {
			.base = s->base + at * size,
			.length = run.pages * size,
			.file_length = run.pages * size,
			.fd = -1,
		};

		if (run.owner) {
			ranges_clip(&all, 0);
			rc = dirty_find(&area, DIRTY_SCAN, &all);
			if (rc == -ENOTTY)
				rc = dirty_find(&area, DIRTY_PAGEMAP, &all);
		}
		for (size_t i = 0; run.owner && !rc && i < all.n; i++)
			rc = ranges_append(ret, at * size + all.v[i].offset, all.v[i].length);
		at += run.pages;
	}
	ranges_free(&all);
	return rc == -ENOMEM ? rc : rc ? -EOPNOTSUPP : 0;
}

int segment_detach_stored(struct snapmap_segment *s, size_t page, size_t pages)
{
	struct ranges stored = {0};
	int rc = s->paged ? pager_find_stored(&s->area, page, pages, &stored) : find_written(s, page, pages, &stored);

	if (!rc)
		rc = detach(s, &stored);
	ranges_free(&stored);
	return rc;
}

/* One page is asked for again and again by small reads. */
void segment_load(struct snapmap_segment *s, const void *buf, size_t n)
{
	size_t size = sys_page_size(), at = (size_t)((const char *)buf - s->base);
	size_t first = at / size, pages = (at + n - 1) / size - first + 1;

	if (!s->paged || !n || (pages == 1 && atomic_load(&s->loaded) == first))
		return;
	pager_load(&s->area, first, pages);
	atomic_store(&s->loaded, first + pages - 1);
}

/* ---- zeros ---- */

/* @at: an offset in the segment. Part of a page. */
static void zero_part(struct snapmap_segment *s, size_t at, size_t n)
{
	if (!n)
		return;
	segment_load(s, s->base + at, n);
	memset(s->base + at, 0, n);
}

int snapmap_segment_zero(struct snapmap_segment *s, void *buf, size_t n)
{
	size_t size = sys_page_size(), at, first, last;
	int rc;

	error_begin("a segment");
	rc = segment_check(s, buf, n, "zero a range of");
	if (rc || !n)
		return rc;
	at = (size_t)((char *)buf - s->base);
	first = page_up(at);
	last = page_down(at + n);
	if (first >= last) {
		first = at + n < first ? at + n : first;
		zero_part(s, at, first - at);
		zero_part(s, first, at + n - first);
		return 0;
	}
	zero_part(s, at, first - at);
	zero_part(s, last, at + n - last);
	segment_lock(s);
	rc = segment_associate(s, first / size, (last - first) / size, NULL, 0);
	segment_unlock(s);
	return rc ? error_set(rc, "zero a range of", NULL) : 0;
}

/* ---- what it tells ---- */

int snapmap_segment_set_limit(struct snapmap_segment *s, uint64_t bytes)
{
	size_t size = sys_page_size();
	int rc;

	error_begin("a segment");
	rc = segment_check(s, s ? s->base : NULL, 0, "limit");
	if (rc)
		return rc;
	if (bytes > s->span)
		bytes = s->span;
	if (s->paged)
		pager_set_limit(&s->area, bytes ? (size_t)(bytes + size - 1) / size : 0);
	return 0;
}

int snapmap_segment_get_stats(struct snapmap_segment *s, struct snapmap_segment_stats *ret)
{
	size_t size = sys_page_size();
	struct segment_snapshot *snapshot;
	struct snapmap_segment_stats st = {0};
	int rc;

	error_begin("a segment");
	rc = ret ? segment_check(s, s ? s->base : NULL, 0, "describe") : error_set(-EINVAL, "describe", "no result");
	if (rc)
		return rc;
	segment_lock(s);
	segment_detach_stored(s, 0, s->span / size);
	segment_unlock(s);
	segment_lock(s);
	cds_list_for_each_entry (snapshot, &s->snapshots, node) {
		st.snapshots++;
		st.bytes_standing += snapshot->owner.pages * size;
	}
	segment_unlock(s);
	st.way = s->paged ? SNAPMAP_SEGMENT_PAGER : SNAPMAP_SEGMENT_MAPPED;
	st.error = atomic_load(&s->error);
	st.size = s->size;
	st.reads_deferred = s->reads_deferred;
	st.reads_plain = s->reads_plain;
	st.bytes_deferred = s->bytes_deferred;
	st.bytes_read = s->bytes_read;
	st.faults = s->area.faults;
	st.bytes_loaded = s->area.pages_in * size;
	st.bytes_given_back = s->area.pages_back * size;
	st.bytes_skipped = s->bytes_skipped;
	st.bytes_written = s->bytes_written;
	st.bytes_shared = s->bytes_shared;
	pthread_mutex_lock(&s->refusal_lock);
	memcpy(st.refused, s->refused, sizeof(st.refused));
	pthread_mutex_unlock(&s->refusal_lock);
	*ret = st;
	return 0;
}
