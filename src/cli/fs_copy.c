/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap fs": files into an image, out of it, and within it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"

#define PIECE ((size_t)1 << 20)
#define LARGE ((uint64_t)64 << 20) /* not to be kept in memory */

static char bytes[PIECE];

int fs_clone(struct fs_job *job)
{
	int rc = minifs_clone(job->fs, job->arguments[0], job->arguments[1]);

	return rc ? fs_failed(rc) : STATUS_OK;
}

static bool all_zero(const char *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* Zeros stay a hole. */
static ssize_t put_piece(struct minifs_file *file, size_t n, uint64_t offset)
{
	if (all_zero(bytes, n))
		return minifs_file_truncate(file, offset + n);
	return minifs_file_pwrite(file, bytes, n, offset);
}

/* Returns an exit status; what came of it is not committed yet. */
static int put_all(struct minifs_file *file, int fd, const char *name, uint64_t total, struct progress *progress)
{
	uint64_t offset = 0;
	ssize_t got = 1, put = 0;

	while (got > 0 && put >= 0) {
		got = io_read(fd, bytes, PIECE);
		if (got > 0)
			put = put_piece(file, (size_t)got, offset);
		if (got > 0 && put >= 0 && put < got && !all_zero(bytes, (size_t)got))
			put = minifs_file_pwrite(file, bytes + put, (size_t)(got - put), offset + (uint64_t)put);
		offset += got > 0 ? (uint64_t)got : 0;
		if (total && progress_step(progress, offset, total))
			got = -ECANCELED;
	}
	if (put < 0)
		return fs_failed((int)put);
	if (got == -ECANCELED)
		return report_stopped(NULL);
	return got < 0 ? report_error((int)got, "cannot read '%s'", name) : STATUS_OK;
}

static int make(struct fs_job *job, const char *path, mode_t mode)
{
	int rc = minifs_create(job->fs, path, mode);

	return rc == -EEXIST ? minifs_truncate(job->fs, path, 0) : rc;
}

static int put_from(struct fs_job *job, int fd, const char *name, const char *path)
{
	struct progress progress;
	struct minifs_file *file;
	struct stat st;
	int rc, status;

	if (fstat(fd, &st))
		return report_error(-errno, "cannot read '%s'", name);
	if (S_ISDIR(st.st_mode))
		return report_error(-EISDIR, "cannot read '%s'", name);
	rc = make(job, path, S_ISREG(st.st_mode) ? st.st_mode & 0777 : 0644);
	if (!rc)
		rc = minifs_file_open(job->fs, path, &file);
	if (rc)
		return fs_failed(rc);
	progress_start(&progress, job->quiet);
	progress.what = name;
	status = put_all(file, fd, name, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, &progress);
	progress_end(&progress);
	minifs_file_close(file);
	return status;
}

int fs_put(struct fs_job *job)
{
	const char *name = job->arguments[0];
	bool standard = !strcmp(name, "-");
	int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC), status;

	if (fd < 0)
		return report_error(-errno, "cannot open '%s'", name);
	status = put_from(job, fd, standard ? "standard input" : name, job->arguments[1]);
	if (!standard)
		close(fd);
	return status;
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
