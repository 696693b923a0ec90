/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap fs": files out of an image, and within it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fs.h"

#define PIECE ((size_t)1 << 20)
#define LARGE ((uint64_t)64 << 20) /* not to be kept in memory */

static char bytes[PIECE];

int fs_clone(struct fs_job *job)
{
	int rc = minifs_clone(job->fs, job->arguments[0], job->arguments[1]);

	return rc ? fs_failed(rc) : STATUS_OK;
}

/* Only what differs is stored, so that holes stay holes, and the commit is small. */
static int get_all(struct minifs_file *file, struct snapmap_mut *map, uint64_t size, struct progress *progress)
{
	bool changed;
	int rc = snapmap_mut_resize(map, (size_t)size);

	if (rc)
		return report_open(rc);
	for (uint64_t offset = 0; offset < size;) {
		ssize_t n = minifs_file_pread(file, bytes, PIECE, offset);

		if (n <= 0)
			return n ? fs_failed((int)n) : report_error(-EIO, "the file ends too early");
		rc = io_store(map, (size_t)offset, bytes, (size_t)n, &changed);
		if (rc)
			return report_open(rc);
		offset += (uint64_t)n;
		if (progress_step(progress, offset, size))
			return report_stopped(NULL);
	}
	return STATUS_OK;
}

static int open_target(const char *name, const struct stat *st, struct snapmap_mut **ret)
{
	struct snapmap_options options = {.size = sizeof(options)};
	int rc;

	if ((uint64_t)st->st_size > LARGE)
		options.flags |= SNAPMAP_SPILL;
	rc = snapmap_mut_open(name, &options, ret);
	return rc == -ENOENT ? snapmap_mut_create(name, st->st_mode & 0777, &options, ret) : rc;
}

static int get_to(struct fs_job *job, struct minifs_file *file, const char *name)
{
	struct progress progress;
	struct snapmap_mut *map;
	struct stat st;
	int rc = minifs_file_stat(file, &st), status;

	if (rc)
		return fs_failed(rc);
	rc = open_target(name, &st, &map);
	if (rc)
		return report_open(rc);
	progress_start(&progress, job->quiet);
	progress.what = name;
	status = get_all(file, map, (uint64_t)st.st_size, &progress);
	progress_end(&progress);
	if (!status) {
		rc = snapmap_mut_commit_and_close(map, NULL);
		if (!rc)
			return STATUS_OK;
		status = report_commit(rc);
	}
	snapmap_mut_close(map);
	return status;
}

int fs_get(struct fs_job *job)
{
	struct minifs_file *file;
	int rc, status;

	if (!strcmp(job->arguments[1], "-")) {
		job->count = 1;
		return fs_cat(job);
	}
	rc = minifs_file_open(job->fs, job->arguments[0], &file);
	if (rc)
		return fs_failed(rc);
	status = get_to(job, file, job->arguments[1]);
	minifs_file_close(file);
	return status;
}
