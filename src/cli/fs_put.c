/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "snapmap fs put": a file into an image. What is changed is memory until a commit, and
 * there must be none in the middle. So much of it goes into a file without a name first,
 * with commits now and then, which only takes room there; at the end the file that was
 * meant shares its blocks. Was that cut off, the next open frees the room.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <minifs/ino.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"

#define PIECE ((size_t)1 << 20)
#define MUCH ((uint64_t)256 << 20) /* to be kept in memory */

/**
 * struct put - a file that is put into an image
 * @fd, @name: where it comes from
 * @path: where it goes to
 * @total: its size, as far as that is known
 * @much: it may be too much for memory
 * @offset: of what is done
 * @committed: of what a commit has taken out of memory
 * @got: bytes that were read already
 */
struct put {
	struct fs_job *job;
	int fd;
	const char *name, *path;
	struct stat st;
	uint64_t total;
	bool much;
	uint64_t offset, committed;
	size_t got;
};

static char bytes[PIECE];

static bool all_zero(const char *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* All of it; zeros stay a hole. 0, or a negative errno. */
static int store(struct minifs_file *file, size_t n, uint64_t offset)
{
	if (all_zero(bytes, n))
		return minifs_file_truncate(file, offset + n);
	for (size_t done = 0; done < n;) {
		ssize_t put = minifs_file_pwrite(file, bytes + done, n - done, offset + done);

		if (put < 0)
			return (int)put;
		done += (size_t)put;
	}
	return 0;
}

/* As much as there is room for; less at the end only. */
static ssize_t read_piece(struct put *p)
{
	ssize_t n = 1;

	while (p->got < PIECE && n > 0) {
		n = io_read(p->fd, bytes + p->got, PIECE - p->got);
		if (n > 0)
			p->got += (size_t)n;
	}
	return n < 0 ? n : (ssize_t)p->got;
}

static int commit_some(struct put *p)
{
	if (!p->much || p->offset - p->committed < MUCH)
		return 0;
	p->committed = p->offset;
	return minifs_sync(p->job->fs);
}

/* Returns an exit status; what came of it is not committed yet. */
static int put_all(struct put *p, struct minifs_file *file, struct progress *progress)
{
	ssize_t n;
	int rc;

	while ((n = read_piece(p)) > 0) {
		rc = store(file, (size_t)n, p->offset);
		if (rc)
			return fs_failed(rc);
		p->offset += (uint64_t)n;
		p->got = 0;
		rc = commit_some(p);
		if (rc)
			return fs_failed(rc);
		if (p->total && progress_step(progress, p->offset, p->total))
			return report_stopped(NULL);
	}
	return n < 0 ? report_error((int)n, "cannot read '%s'", p->name) : STATUS_OK;
}

static int show_and_put(struct put *p, struct minifs_file *file)
{
	struct progress progress;
	int status;

	progress_start(&progress, p->job->quiet);
	progress.what = p->name;
	status = put_all(p, file, &progress);
	progress_end(&progress);
	return status;
}

/* The file that is meant, empty. */
static int make(const struct put *p, struct minifs_file **ret)
{
	mode_t mode = S_ISREG(p->st.st_mode) ? p->st.st_mode & 0777 : 0644;
	int rc = minifs_create(p->job->fs, p->path, mode);

	if (rc == -EEXIST)
		rc = minifs_truncate(p->job->fs, p->path, 0);
	return rc ? rc : minifs_file_open(p->job->fs, p->path, ret);
}

static int make_nameless(const struct put *p, struct minifs_file **ret)
{
	unsigned long long number;
	char name[32];
	int rc;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	snprintf(name, sizeof(name), "/.put-%016llx", number);
	rc = minifs_create(p->job->fs, name, 0600);
	if (rc)
		return rc;
	rc = minifs_file_open(p->job->fs, name, ret);
	minifs_unlink(p->job->fs, name);
	return rc;
}

static int share(const struct put *p, struct minifs_file *from, struct minifs_file *to)
{
	struct stat source, target;
	ssize_t n = minifs_file_stat(from, &source);

	if (!n)
		n = minifs_file_stat(to, &target);
	for (uint64_t at = 0; !n && at < (uint64_t)source.st_size;) {
		n = minifs_ino_copy_range(p->job->fs, source.st_ino, at, target.st_ino, at,
					  (uint64_t)source.st_size - at);
		if (n <= 0)
			return n ? (int)n : -EIO;
		at += (uint64_t)n;
		n = 0;
	}
	return (int)n;
}

static int put_much(struct put *p)
{
	struct minifs_file *file, *target;
	int rc = make_nameless(p, &file), status;

	if (rc)
		return fs_failed(rc);
	status = show_and_put(p, file);
	if (!status) {
		rc = make(p, &target);
		if (!rc) {
			rc = share(p, file, target);
			minifs_file_close(target);
		}
		status = rc ? fs_failed(rc) : STATUS_OK;
	}
	minifs_file_close(file);
	return status;
}

static int put_little(struct put *p)
{
	struct minifs_file *file;
	int rc = make(p, &file), status;

	if (rc)
		return fs_failed(rc);
	status = show_and_put(p, file);
	minifs_file_close(file);
	return status;
}

/* Of what is no file the size is not known; its first piece may be all. */
static int put_from(struct put *p)
{
	ssize_t n = 0;

	if (fstat(p->fd, &p->st))
		return report_error(-errno, "cannot read '%s'", p->name);
	if (S_ISDIR(p->st.st_mode))
		return report_error(-EISDIR, "cannot read '%s'", p->name);
	if (S_ISREG(p->st.st_mode))
		p->total = (uint64_t)p->st.st_size;
	else
		n = read_piece(p);
	if (n < 0)
		return report_error((int)n, "cannot read '%s'", p->name);
	p->much = p->total > MUCH || n == (ssize_t)PIECE;
	return p->much ? put_much(p) : put_little(p);
}

int fs_put(struct fs_job *job)
{
	const char *name = job->arguments[0];
	bool standard = !strcmp(name, "-");
	struct put put = {.job = job, .name = standard ? "standard input" : name, .path = job->arguments[1]};
	int status;

	put.fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	if (put.fd < 0)
		return report_error(-errno, "cannot open '%s'", name);
	status = put_from(&put);
	if (!standard)
		close(put.fd);
	return status;
}
