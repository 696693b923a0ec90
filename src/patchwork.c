/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pieces of an unchanging source, put together at addresses that follow each other.
 *
 * The source is memory: a private mapping of a file, with pages that were written over it.
 * A page that was not written is mapped from the file. One that was is nowhere but in that
 * memory, and a private mapping cannot be mapped a second time (mremap(2) with an old size
 * of 0 wants a shared one): it is copied. So is what would take too many mappings, of which
 * a process has 65,530.
 *
 * Edits are found as pages that belong to no file, and then compared with the source: pages
 * that were copied, or that hold what they held before, are none.
 */
#include "config.h"

#include "patchwork.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty.h"
#include "sys.h"

#define MAPPED_MAX 1024u

/* A part of a piece that is wholly written or not. */
struct part {
	struct piece piece;
	bool written;
};

struct parts {
	struct part *v;
	size_t n, capacity;
};

static int append(struct parts *parts, const struct piece *piece, bool written)
{
	if (!piece->length)
		return 0;
	if (parts->n == parts->capacity) {
		size_t capacity = parts->capacity ? parts->capacity * 2 : 16;
		struct part *v = (struct part *)realloc(parts->v, capacity * sizeof(*v));

		if (!v)
			return -ENOMEM;
		parts->v = v;
		parts->capacity = capacity;
	}
	parts->v[parts->n++] = (struct part){*piece, written};
	return 0;
}

/* The first piece that ends behind @at. */
static size_t first_behind(const struct patchwork *p, uint64_t at)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->pieces[middle].at + p->pieces[middle].length <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct piece cut(const struct piece *piece, uint64_t start, uint64_t end)
{
	uint64_t piece_end = piece->at + piece->length;
	struct piece ret = *piece;

	if (start > ret.at) {
		ret.from += start - ret.at;
		ret.at = start;
	}
	ret.length = (end < piece_end ? end : piece_end) - ret.at;
	return ret;
}

static size_t first_range_behind(const struct ranges *ranges, uint64_t offset)
{
	size_t low = 0, high = ranges->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->v[middle].offset + ranges->v[middle].length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int split(const struct piece *piece, const struct ranges *written, struct parts *ret)
{
	uint64_t end = piece->from + piece->length, from = piece->from;
	int rc = 0;

	for (size_t i = first_range_behind(written, from); !rc && from < end; i++) {
		uint64_t start = i < written->n ? written->v[i].offset : end;
		uint64_t stop = i < written->n ? start + written->v[i].length : end;
		struct piece clean, dirty;

		start = start < from ? from : start < end ? start : end;
		stop = stop < end ? stop : end;
		clean = (struct piece){piece->at + (from - piece->from), from, start - from};
		dirty = (struct piece){piece->at + (start - piece->from), start, stop > start ? stop - start : 0};
		rc = append(ret, &clean, false);
		if (!rc)
			rc = append(ret, &dirty, true);
		from = stop > start ? stop : start;
	}
	return rc;
}

/* Which pages of the source, as far as there are pieces in [@start, @end), were written. */
static int find_written(const struct patchwork *p, const struct patchwork_source *s, uint64_t start, uint64_t end,
			struct ranges *ret)
{
	uint64_t low = UINT64_MAX, high = 0;
	struct ranges found = {0};
	struct dirty_area area;
	int rc;

	for (size_t i = first_behind(p, start); i < p->n && p->pieces[i].at < end; i++) {
		uint64_t from = p->pieces[i].from, stop = from + p->pieces[i].length;

		low = from < low ? from : low;
		high = stop > high ? stop : high;
	}
	if (low >= high || s->fd < 0)
		return 0;
	area = (struct dirty_area){s->base + low, (size_t)(high - low), (size_t)(high - low), -1};
	rc = dirty_find(&area, DIRTY_SCAN, &found);
	if (rc && rc != -ENOMEM) {
		ranges_clip(&found, 0);
		rc = dirty_find(&area, DIRTY_PAGEMAP, &found);
	}
	/* Without /proc nobody knows: any page may be. */
	if (rc && rc != -ENOMEM) {
		ranges_clip(&found, 0);
		rc = ranges_append(&found, 0, high - low);
	}
	for (size_t i = 0; !rc && i < found.n; i++)
		rc = ranges_append(ret, found.v[i].offset + low, found.v[i].length);
	ranges_free(&found);
	return rc;
}

/* Parts shorter than that are copied. */
static uint64_t shortest_to_map(const struct parts *parts)
{
	uint64_t shortest = sys_page_size();

	for (;; shortest *= 2) {
		size_t n = 0;

		for (size_t i = 0; i < parts->n; i++)
			n += !parts->v[i].written && parts->v[i].piece.length >= shortest;
		if (n <= MAPPED_MAX)
			return shortest;
	}
}

static int copy(const char *from, char *to, size_t length)
{
	int rc = sys_populate(from, length);

	if (!rc)
		memcpy(to, from, length);
	return rc;
}

static int map_part(const struct patchwork *p, const struct patchwork_source *s, const struct piece *piece, char *to)
{
	int prot = p->editable ? PROT_READ | PROT_WRITE : PROT_READ;
	char *from = (char *)(uintptr_t)s->base + piece->from;
	void *mapped;

	if (s->fd < 0)
		return sys_twin_mapping(from, (size_t)piece->length, to);
	return sys_map(to, (size_t)piece->length, prot, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, s->fd, piece->from,
		       &mapped);
}

static int put_parts(struct patchwork *p, const struct patchwork_source *s, const struct parts *parts,
		     const struct mapping *to)
{
	uint64_t shortest = s->fd >= 0 || s->twins ? shortest_to_map(parts) : UINT64_MAX;
	int rc = 0;

	for (size_t i = 0; !rc && i < parts->n; i++) {
		const struct piece *piece = &parts->v[i].piece;
		char *at = to->base + piece->at;

		rc = -EINVAL;
		if (!parts->v[i].written && piece->length >= shortest)
			rc = map_part(p, s, piece, at);
		/* An old kernel makes no twins. */
		if (rc == -EINVAL) {
			rc = copy(s->base + piece->from, at, (size_t)piece->length);
			p->copied += piece->length;
		}
	}
	return rc;
}

/* In the last page of the file, there must be zeros behind the end. */
static bool has_tail(const struct patchwork *p, const struct patchwork_source *s, struct piece *ret)
{
	size_t used = (size_t)p->length & (sys_page_size() - 1);
	struct piece last = p->n ? p->pieces[p->n - 1] : (struct piece){0};

	if (!used || !p->n || last.at + last.length < p->length)
		return false;
	*ret = cut(&last, page_down((size_t)p->length), last.at + last.length);
	if (sys_populate(s->base + ret->from, sys_page_size()))
		return false;
	for (size_t i = used; i < sys_page_size(); i++)
		if (s->base[ret->from + i])
			return true;
	return false;
}

static int put_tail(const struct patchwork *p, const struct piece *last, const struct patchwork_source *s,
		    const struct mapping *to)
{
	size_t page = sys_page_size(), used = (size_t)p->length & (page - 1);
	char *at = to->base + last->at;
	int rc = mapping_put_zeros(to, (size_t)last->at, page);

	if (!rc)
		memcpy(at, s->base + last->from, used);
	return rc;
}

static int put_pieces(struct patchwork *p, const struct patchwork_source *s, const struct mapping *to, uint64_t start,
		      uint64_t end)
{
	struct ranges written = {0};
	struct parts parts = {0};
	struct piece last;
	int rc = find_written(p, s, start, end, &written);

	for (size_t i = first_behind(p, start); !rc && i < p->n && p->pieces[i].at < end; i++) {
		struct piece piece = cut(&p->pieces[i], start, end);

		rc = split(&piece, &written, &parts);
	}
	if (!rc)
		rc = put_parts(p, s, &parts, to);
	if (!rc && p->length < end && has_tail(p, s, &last) && last.at >= start)
		rc = put_tail(p, &last, s, to);
	ranges_free(&written);
	free(parts.v);
	return rc;
}

int patchwork_fill(struct patchwork *p, const struct patchwork_source *s, const struct mapping *to, uint64_t start,
		   uint64_t end)
{
	int rc = mapping_put_zeros(to, (size_t)start, (size_t)(end - start));

	if (!rc)
		rc = put_pieces(p, s, to, start, end);
	if (!rc && !p->editable && end > start)
		rc = sys_protect(to->base + start, (size_t)(end - start), PROT_READ);
	return rc;
}

int patchwork_open(struct patchwork *p, const struct patchwork_source *s)
{
	int rc = mapping_check_size(p->length);

	if (!rc)
		rc = mapping_open_empty((size_t)p->length, &p->mapping);
	if (rc)
		return rc;
	rc = patchwork_fill(p, s, &p->mapping, 0, page_up((size_t)p->length));
	/* Also of nothing the first byte can be looked at. */
	if (!rc && !p->length && !p->editable)
		rc = sys_protect(p->mapping.base, p->mapping.span, PROT_READ);
	if (rc)
		patchwork_close(p);
	return rc;
}

void patchwork_close(struct patchwork *p)
{
	mapping_close(&p->mapping);
}
