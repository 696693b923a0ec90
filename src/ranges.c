/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sorted list of ranges that do not touch each other. */
#include "config.h"

#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ranges_append(struct ranges *ranges, uint64_t offset, uint64_t length)
{
	struct snapmap_range *last = ranges->n ? &ranges->v[ranges->n - 1] : NULL;

	if (!length)
		return 0;
	if (last && last->offset + last->length == offset) {
		last->length += length;
		return 0;
	}
	if (ranges->n == ranges->capacity) {
		size_t capacity = ranges->capacity ? ranges->capacity * 2 : 16;
		struct snapmap_range *v = (struct snapmap_range *)reallocarray(ranges->v, capacity, sizeof(*v));

		if (!v)
			return -ENOMEM;
		ranges->v = v;
		ranges->capacity = capacity;
	}
	ranges->v[ranges->n++] = (struct snapmap_range){offset, length};
	return 0;
}

/* The ranges from @first to before @last, and [offset, end), become one. */
static void merge(struct ranges *r, size_t first, size_t last, uint64_t offset, uint64_t end)
{
	struct snapmap_range *a = &r->v[first], *z = &r->v[last - 1];
	uint64_t a_end = z->offset + z->length;

	offset = offset < a->offset ? offset : a->offset;
	*a = (struct snapmap_range){offset, (end > a_end ? end : a_end) - offset};
	memmove(a + 1, z + 1, (r->n - last) * sizeof(*a));
	r->n -= last - first - 1;
}

int ranges_add(struct ranges *r, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	size_t first = 0, last, behind;
	int rc;

	while (first < r->n && r->v[first].offset + r->v[first].length < offset)
		first++;
	for (last = first; last < r->n && r->v[last].offset <= end;)
		last++;
	if (!length)
		return 0;
	if (last > first) {
		merge(r, first, last, offset, end);
		return 0;
	}
	behind = r->n - first;
	/* Makes room; what it appends is overwritten. */
	rc = ranges_append(r, UINT64_MAX - 1, 1);
	if (rc)
		return rc;
	memmove(&r->v[first + 1], &r->v[first], behind * sizeof(r->v[0]));
	r->v[first] = (struct snapmap_range){offset, length};
	return 0;
}

int ranges_widen(const struct ranges *r, uint64_t unit, uint64_t end, struct ranges *ret)
{
	uint64_t done = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < r->n; i++) {
		uint64_t from = r->v[i].offset & ~(unit - 1);
		uint64_t to = (r->v[i].offset + r->v[i].length + unit - 1) & ~(unit - 1);

		from = from > done ? from : done;
		to = to < end ? to : end;
		if (from >= to)
			continue;
		rc = ranges_append(ret, from, to - from);
		done = to;
	}
	return rc;
}

void ranges_clip(struct ranges *ranges, uint64_t end)
{
	while (ranges->n && ranges->v[ranges->n - 1].offset >= end)
		ranges->n--;
	if (ranges->n) {
		struct snapmap_range *last = &ranges->v[ranges->n - 1];

		if (last->offset + last->length > end)
			last->length = end - last->offset;
	}
}

void ranges_free(struct ranges *ranges)
{
	free(ranges->v);
	*ranges = (struct ranges){0};
}
