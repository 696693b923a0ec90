/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading what the caller wants: everything unknown is refused. */
#include "config.h"

#include <errno.h>

#include "handle.h"

#define FLAGS_KNOWN                                                                                               \
	(SNAPMAP_STRICT | SNAPMAP_NOFOLLOW | SNAPMAP_POPULATE | SNAPMAP_GUARD | SNAPMAP_INHERIT | SNAPMAP_SPILL | \
	 SNAPMAP_CROSS_MOUNTS)
#define NOT_EXCLUSIVE (SNAPMAP_STRICT | SNAPMAP_INHERIT | SNAPMAP_SPILL)
#define SOURCES_KNOWN (SNAPMAP_SOURCE_EXCLUSIVE * 2 - 1)

static int read_all(const struct snapmap_options *o, struct options *ret)
{
	if (!o) {
		*ret = (struct options){0};
		return 0;
	}
	if (o->size != sizeof(*o))
		return error_set(-EINVAL, "open", "options.size must be sizeof(struct snapmap_options)");
	if (o->flags & ~FLAGS_KNOWN)
		return error_set(-EINVAL, "open", "options.flags has unknown bits");
	if ((o->source & ~SOURCES_KNOWN) || (o->source & (o->source - 1)))
		return error_set(-EINVAL, "open", "options.source must be zero or exactly one known source");
	*ret = (struct options){
		.flags = o->flags,
		.source = o->source,
		.tmpdir = o->tmpdir,
		.lease_limit = o->lease_limit,
		.progress = o->progress,
		.progress_arg = o->progress_arg,
		.resident_limit = o->resident_limit,
		.validate = o->validate,
		.validate_arg = o->validate_arg,
	};
	return 0;
}

int options_read(const struct snapmap_options *o, struct options *ret)
{
	struct options options;
	int rc = read_all(o, &options);

	if (!rc && (options.flags & SNAPMAP_SPILL))
		rc = error_set(-EINVAL, "open", "SNAPMAP_SPILL is for handles that can be edited");
	if (!rc && (options.flags & SNAPMAP_CROSS_MOUNTS))
		rc = error_set(-EINVAL, "open", "SNAPMAP_CROSS_MOUNTS is for trees");
	if (!rc)
		*ret = options;
	return rc;
}

int options_read_tree(const struct snapmap_options *o, struct options *ret)
{
	struct options options;
	int rc = read_all(o, &options);

	if (!rc && (options.flags & ~(SNAPMAP_STRICT | SNAPMAP_NOFOLLOW | SNAPMAP_CROSS_MOUNTS)))
		rc = error_set(-EINVAL, "open",
			       "of the flags a tree takes SNAPMAP_STRICT, SNAPMAP_NOFOLLOW and SNAPMAP_CROSS_MOUNTS");
	if (!rc && options.source == SNAPMAP_SOURCE_SUBVOLUME && (options.flags & SNAPMAP_CROSS_MOUNTS))
		rc = error_set(-EINVAL, "open", "a snapshot of a subvolume has no mounts: leave one of the two out");
	if (!rc && options.source == SNAPMAP_SOURCE_EXCLUSIVE)
		rc = error_set(-EINVAL, "open", "the source exclusive is for handles that can be edited");
	if (!rc)
		*ret = options;
	return rc;
}

int options_read_mut(const struct snapmap_options *o, struct options *ret)
{
	struct options options;
	int rc = read_all(o, &options);

	if (!rc && (options.flags & SNAPMAP_CROSS_MOUNTS))
		rc = error_set(-EINVAL, "open", "SNAPMAP_CROSS_MOUNTS is for trees");
	if (!rc && (options.flags & SNAPMAP_SPILL) && (options.flags & SNAPMAP_INHERIT))
		rc = error_set(-EINVAL, "open", "SNAPMAP_SPILL and SNAPMAP_INHERIT exclude each other");
	if (!rc && options.source == SNAPMAP_SOURCE_EXCLUSIVE && (options.flags & NOT_EXCLUSIVE))
		rc = error_set(-EINVAL, "open",
			       "the source exclusive maps the file itself, which SNAPMAP_STRICT, SNAPMAP_INHERIT and "
			       "SNAPMAP_SPILL exclude");
	if (!rc)
		*ret = options;
	return rc;
}
