/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an image had before it was written to, to put it back.
 *
 * Putting back can fail on a full file system, where each write needs new blocks;
 * the undo then stays good for another attempt, and meanwhile stands in for the
 * parts of the file that it has.
 */
#include "config.h"

#include "undo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sys.h"

static int copy_ranges(const struct ranges *from, struct ranges *ret)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < from->n; i++)
		rc = ranges_append(ret, from->v[i].offset, from->v[i].length);
	return rc;
}

int undo_save(int from, uint64_t size, const struct ranges *ranges, int fd, struct undo *ret)
{
	/*
	 * Sharing extents would make the image's next write to them allocate. Asking for
	 * holes would cost time by the extents up to the next one, for each range.
	 */
	struct sparse_copy copy = {
		.from = from,
		.to = fd,
		.zeros_are_holes = true,
		.by_buffer = true,
	};
	struct undo undo = {.fd = fd, .size = size};
	uint64_t written;
	int rc = copy_ranges(ranges, &undo.ranges);

	ranges_clip(&undo.ranges, size);
	for (size_t i = 0; !rc && i < undo.ranges.n; i++)
		rc = sparse_copy_range(&copy, undo.ranges.v[i].offset, undo.ranges.v[i].length, undo.ranges.v[i].offset,
				       &written);
	if (!rc)
		rc = sys_ftruncate(fd, size);
	if (rc)
		undo_close(&undo);
	else
		*ret = undo;
	return rc;
}

void undo_limit(struct undo *undo, size_t n)
{
	if (undo->ranges.n > n)
		undo->ranges.n = n;
}

static int put_bytes(const struct undo *undo, uint64_t offset, uint64_t end, int to)
{
	struct sparse_copy copy = {.from = undo->fd, .to = to};
	uint64_t written;

	return offset < end ? sparse_copy_range(&copy, offset, end - offset, offset, &written) : 0;
}

/* Zeros do where no hole can be made. */
static int put_hole(const struct undo *undo, uint64_t offset, uint64_t end, int to)
{
	if (offset >= end || !sys_punch_hole(to, offset, end - offset))
		return 0;
	return put_bytes(undo, offset, end, to);
}

static int put_range(const struct undo *undo, uint64_t offset, uint64_t end, int to)
{
	int rc = 0;

	while (!rc && offset < end) {
		uint64_t data, hole;

		sparse_next_data(undo->fd, offset, end, &data, &hole);
		rc = put_hole(undo, offset, data, to);
		if (!rc)
			rc = put_bytes(undo, data, hole, to);
		offset = hole;
	}
	return rc;
}

int undo_put_back(const struct undo *undo, int to)
{
	int rc = sys_ftruncate(to, undo->size);

	for (size_t i = 0; !rc && i < undo->ranges.n; i++) {
		const struct snapmap_range *r = &undo->ranges.v[i];

		rc = put_range(undo, r->offset, r->offset + r->length, to);
	}
	return rc;
}

int undo_load(const struct undo *undo, char *base, uint64_t length)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < undo->ranges.n && undo->ranges.v[i].offset < length; i++) {
		const struct snapmap_range *r = &undo->ranges.v[i];
		uint64_t n = r->offset + r->length < length ? r->length : length - r->offset;
		size_t got = 0;

		rc = sys_pread_full(undo->fd, base + r->offset, (size_t)n, r->offset, &got);
		/* EFAULT: the file's own page could not be read. */
		if (rc == -EFAULT || (!rc && got < n))
			rc = -EIO;
	}
	return rc;
}

static bool was_saved(const struct undo *undo, uint64_t offset)
{
	size_t low = 0, high = undo->ranges.n;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct snapmap_range *r = &undo->ranges.v[middle];

		if (offset < r->offset)
			high = middle;
		else if (offset >= r->offset + r->length)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

int undo_filter(const struct undo *undo, const char *base, const struct ranges *ranges, struct ranges *ret)
{
	size_t page = sys_page_size(), got;
	char *saved = (char *)malloc(page);
	int rc = saved ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < ranges->n; i++) {
		uint64_t end = ranges->v[i].offset + ranges->v[i].length;

		for (uint64_t at = ranges->v[i].offset; !rc && at < end; at += page) {
			size_t n = end - at < page ? (size_t)(end - at) : page;

			got = 0;
			if (was_saved(undo, at))
				rc = sys_pread_full(undo->fd, saved, n, at, &got);
			if (!rc && (got < n || memcmp(saved, base + at, n)))
				rc = ranges_append(ret, at, n);
		}
	}
	free(saved);
	return rc;
}

void undo_close(struct undo *undo)
{
	close_fd(&undo->fd);
	ranges_free(&undo->ranges);
}
