/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/output.h"

#include <errno.h>
#include <snapmap.h>
#include <string.h>

static int open_or_create(const char *path, struct snapmap_mut **ret)
{
	int rc = snapmap_mut_open(path, NULL, ret);

	return rc == -ENOENT ? snapmap_mut_create(path, 0666, NULL, ret) : rc;
}

/* An old result is what is to be overwritten, whoever wrote it. */
int output_write(const char *path, const void *bytes, size_t n, struct why *why)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .flags = SNAPMAP_COMMIT_FORCE};
	struct snapmap_mut *map;
	int rc = open_or_create(path, &map);

	if (rc)
		return why_set(why, rc, "%s", snapmap_last_error());
	rc = snapmap_mut_resize(map, n);
	if (!rc) {
		memcpy(snapmap_mut_data(map), bytes, n);
		rc = snapmap_mut_commit(map, &options);
	}
	if (rc)
		why_set(why, rc, "%s", snapmap_last_error());
	snapmap_mut_close(map);
	return rc;
}
