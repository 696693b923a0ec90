/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sorted list of ranges that do not touch each other. */
#include "config.h"

#include "ranges.h"

#include <errno.h>
#include <stdlib.h>

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

/* 0 or -ENOMEM. */
int ranges_copy(const struct ranges *r, struct ranges *ret)
{
	struct ranges copy = {0};

	for (size_t i = 0; i < r->n; i++) {
		if (ranges_append(&copy, r->v[i].offset, r->v[i].length)) {
			ranges_free(&copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
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
