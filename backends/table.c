/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one place that names the backends, in order of preference. */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "backends/backend.h"
#include "src/sys.h"

extern const struct backend backend_immutable;
extern const struct backend backend_lease;
extern const struct backend backend_reflink;
extern const struct backend backend_snapfs;
extern const struct backend backend_copy;
extern const struct backend backend_exclusive;

extern const struct tree_backend tree_backend_subvolume;

static const struct backend *const table[] = {
	&backend_immutable, &backend_lease, &backend_reflink, &backend_snapfs, &backend_copy, &backend_exclusive,
};

/* NULL beyond the last. */
const struct backend *backend_at(size_t index)
{
	return index < sizeof(table) / sizeof(table[0]) ? table[index] : NULL;
}

/* Failures that another backend would only repeat. */
static bool is_final(const struct backend *b, int error)
{
	/* A lease costs a descriptor for longer, and has a limit on sizes of its own. */
	if (b->in_place)
		return error == -ECANCELED;
	return error == -ECANCELED || error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EFBIG;
}

static const char *advice(int error, uint32_t wanted)
{
	switch (error) {
	case -EBUSY:
		if (wanted == SNAPMAP_SOURCE_EXCLUSIVE)
			return "it is free once they close it";
		return "it is being written to; try again, or open without the strict flag";
	case -ECANCELED:
		return "the progress function asked to stop";
	case -EOPNOTSUPP:
		return wanted ? "ask for another source, or leave the choice to the library" : NULL;
	default:
		return NULL;
	}
}

static int fail(int error, uint32_t wanted, const char *name, const char *step)
{
	char what[160];

	snprintf(what, sizeof(what), "take a snapshot (%s: %s) of", name, step);
	return error_set(error, what, advice(error, wanted));
}

/* What is copied does not change, so the copy is of the same instant. The stamp is older. */
static int open_copied(const struct backend *b, const struct source_request *request, struct image *ret,
		       const char **ret_step)
{
	struct source_request snapshot = *request, copy = *request;
	cleanup_fd int fd = -1;
	struct image image;
	struct stamp stamp;
	struct stat st;
	int rc = stamp_take(request->fd, request->fs, request->own_offset, &stamp);

	*ret_step = "looking at its times";
	snapshot.editable = false;
	if (!rc)
		rc = b->open(&snapshot, &image, ret_step);
	if (rc)
		return rc;
	fd = image.fd;
	*ret_step = "looking at the snapshot";
	rc = sys_fstat(fd, &st);
	if (rc)
		return rc;
	copy.fd = fd;
	copy.own_offset = true;
	copy.st = &st;
	copy.unchanging = true;
	rc = backend_copy.open(&copy, ret, ret_step);
	if (rc)
		return rc;
	ret->source = image.source;
	ret->stamp = stamp;
	return 0;
}

/* Makes an image with the source that the options ask for, or the first that can. */
int image_open(const struct source_request *request, struct image *ret)
{
	uint32_t wanted = request->options->source;
	const struct backend *last = NULL;
	const char *step = "";
	int rc = -EOPNOTSUPP;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct backend *b = table[i];

		if (wanted == SNAPMAP_SOURCE_AUTO ? b->on_request : wanted != b->source)
			continue;
		if (request->editable ? !b->editable : !b->read_only)
			continue;
		if (b->in_place && request->unchanging)
			continue;
		if (last && !(last->rare && rc == -EOPNOTSUPP))
			error_tried(last->name, rc, step);
		last = b;
		rc = request->begin && !b->in_place ? request->begin(request->begin_arg) : 0;
		if (rc)
			return rc;
		if (b->copied_to_edit && (request->editable || request->unsealed))
			rc = open_copied(b, request, ret, &step);
		else
			rc = b->open(request, ret, &step);
		if (!rc || is_final(b, rc))
			break;
	}
	if (!rc)
		return 0;
	if (!last)
		return error_set(
			rc, "take a snapshot of",
			"this source is not built in, or does not serve this kind of handle; use automatic choice");
	return fail(rc, wanted, last->name, step);
}

/* There is one. */
int tree_image_open(int dirfd, bool wanted, struct tree_image *ret)
{
	const struct tree_backend *b = &tree_backend_subvolume;
	const char *step = "";
	int rc = b->open(dirfd, ret, &step);

	if (!rc)
		return 0;
	if (wanted)
		return fail(rc, b->source, b->name, step);
	error_tried(b->name, rc, step);
	return rc;
}

void tree_image_close(struct tree_image *image, bool in_child)
{
	tree_backend_subvolume.close(image, in_child);
}
