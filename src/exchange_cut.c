/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cutting extents without changing the file.
 *
 * A block of which a copy lies elsewhere is given the copy's place (ioctl_fideduperange(2)):
 * the kernel compares both, with writers shut out, and no time of the file moves. It sets
 * aside what the tree of extents needs for each such block, and a crash leaves the
 * same bytes there. What is an extent of its own then is exchanged without another one.
 */
#include "config.h"

#include "exchange_cut.h"

#include <errno.h>
#include <stdlib.h>

#include "base.h"
#include "exchange_steps.h"
#include "sys.h"

#define CHUNK ((size_t)128 << 10)

/* The blocks where a step finds an extent that is not taken as a whole, or none. */
static int append_cuts(const struct exchange_step *s, uint64_t block, struct ranges *ret)
{
	uint64_t last = s->offset + s->length - block;
	int rc;

	if (s->file <= 0)
		return 0;
	if (s->hole || s->length == block)
		return ranges_append(ret, s->offset, s->length);
	rc = s->left ? ranges_append(ret, s->offset, block) : 0;
	return rc || !s->right ? rc : ranges_append(ret, last, block);
}

static int find_cuts(const struct exchange_steps *steps, uint64_t block, uint64_t size, struct ranges *ret)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < steps->n; i++)
		rc = append_cuts(&steps->v[i], block, ret);
	ranges_clip(ret, size);
	return rc;
}

/* The copies lie one after the other: written in one piece, that is. */
static int copy_range(int file, const struct snapmap_range *r, char *buffer, int copies, uint64_t *at)
{
	uint64_t end = r->offset + r->length;
	int rc = 0;

	for (uint64_t i = r->offset; !rc && i < end; i += CHUNK) {
		size_t n = end - i < CHUNK ? (size_t)(end - i) : CHUNK, got;

		rc = sys_pread_full(file, buffer, n, i, &got);
		if (!rc && got < n)
			rc = -EAGAIN;
		if (!rc)
			rc = sys_pwrite_full(copies, buffer, n, *at);
		*at += n;
	}
	return rc;
}

static int copy(int file, const struct ranges *cuts, int copies)
{
	char *buffer = (char *)malloc(CHUNK);
	int rc = buffer ? 0 : -ENOMEM;
	uint64_t at = 0;

	for (size_t i = 0; i < cuts->n; i++)
		sys_read_ahead(file, cuts->v[i].offset, cuts->v[i].length);
	for (size_t i = 0; !rc && i < cuts->n; i++)
		rc = copy_range(file, &cuts->v[i], buffer, copies, &at);
	free(buffer);
	return rc ? rc : sys_write_out(copies);
}

static int share(int copies, int file, const struct ranges *cuts)
{
	uint64_t at = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < cuts->n; i++) {
		const struct snapmap_range *r = &cuts->v[i];

		rc = sys_share_same(copies, at, r->length, file, r->offset);
		at += r->length;
	}
	return rc;
}

int exchange_cut(int file, const struct exchange_steps *steps, uint64_t block, int copies)
{
	struct ranges cuts = {0};
	uint64_t size;
	int rc = sys_size(file, &size);

	if (!rc)
		rc = find_cuts(steps, block, size, &cuts);
	if (!rc)
		rc = copy(file, &cuts, copies);
	if (!rc)
		rc = share(copies, file, &cuts);
	ranges_free(&cuts);
	return rc;
}
