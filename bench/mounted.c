/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/clock.h"
#include "bench/mounted.h"
#include "bench/tool.h"

#define FILES 10000
#define FLUSHES 100
#define SCATTERED 20000
#define PIECE MIB

static int check_programs(const struct mounted *s)
{
	for (const char *const *name = s->kind->programs; *name; name++)
		if (!tool_is_there(*name))
			return why_set(s->job->why, -EOPNOTSUPP, "%s is not installed", *name);
	return geteuid() ? why_set(s->job->why, -EOPNOTSUPP, "only root may mount") : 0;
}

void mounted_stop(void *state)
{
	struct mounted *s = (struct mounted *)state;

	if (!s->kind->unmount || s->kind->unmount(s))
		umount2(s->mount, MNT_DETACH);
	rmdir(s->mount);
	if (s->kind->remove)
		s->kind->remove(s);
	free(s->bytes);
	free(s);
}

int mounted_start(const struct job *job, const struct mounted_kind *kind, void **ret)
{
	struct mounted *s = (struct mounted *)calloc(1, sizeof(*s));
	static unsigned count;
	int rc = 0;

	if (!s)
		return -ENOMEM;
	s->job = job;
	s->kind = kind;
	s->bytes = (char *)malloc(PIECE);
	/* The same kind may be there twice. */
	count++;
	snprintf(s->below, sizeof(s->below), "%.2000s/%s-%u.below", job->dir, kind->name, count);
	snprintf(s->mount, sizeof(s->mount), "%.2000s/%s-%u.mnt", job->dir, kind->name, count);
	if (!s->bytes || mkdir(s->mount, 0755))
		rc = s->bytes ? -errno : -ENOMEM;
	else
		memset(s->bytes, 1, PIECE);
	if (!rc)
		rc = check_programs(s);
	if (!rc)
		rc = kind->mount(s);
	if (rc)
		mounted_stop(s);
	else
		*ret = s;
	return rc;
}

static int new_directory(struct mounted *s)
{
	snprintf(s->directory, sizeof(s->directory), "%s/%u", s->mount, s->turn++);
	return bare_check(mkdir(s->directory, 0755));
}

static int open_in(const struct mounted *s, const char *name, int flags)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", s->directory, name);
	return bare_check(open(path, flags | O_CLOEXEC, 0644));
}

static int flush(int fd)
{
	int rc = fd < 0 ? fd : bare_check(fsync(fd));

	if (fd >= 0)
		close(fd);
	return rc;
}

static int remove_directory(const struct mounted *s)
{
	const char *const rm[] = {"rm", "-r", s->directory, NULL};

	return tool_run(rm, NULL, s->job->why);
}

static int make_files(const struct mounted *s)
{
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		rc = open_in(s, name, O_CREAT | O_WRONLY);
		if (rc >= 0)
			close(rc);
	}
	return rc < 0 ? rc : flush(open_in(s, ".", O_RDONLY | O_DIRECTORY));
}

static int look_at_files(const struct mounted *s)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < FILES; i++) {
		char path[PATH_MAX + 64];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%u", s->directory, i);
		rc = bare_check(stat(path, &st));
	}
	return rc;
}

int mounted_write_all(const struct mounted *s, int fd)
{
	for (uint64_t done = 0; done < GIB; done += PIECE)
		if (pwrite(fd, s->bytes, PIECE, (off_t)done) != (ssize_t)PIECE)
			return -EIO;
	return bare_check(fsync(fd));
}

static int read_all(const struct mounted *s, int fd)
{
	for (uint64_t done = 0; done < GIB; done += PIECE)
		if (pread(fd, s->bytes, PIECE, (off_t)done) != (ssize_t)PIECE)
			return -EIO;
	return 0;
}

static int write_scattered(const struct mounted *s, int fd, unsigned flushes, unsigned writes)
{
	uint64_t random = 1;
	int rc = 0;

	for (unsigned i = 0; !rc && i < flushes; i++) {
		for (unsigned k = 0; !rc && k < writes; k++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			if (pwrite(fd, s->bytes, 4096, (off_t)((random >> 33) % (GIB / 4096) * 4096)) != 4096)
				rc = -EIO;
		}
		if (!rc)
			rc = bare_check(fsync(fd));
	}
	return rc;
}

static int flush_each(const struct mounted *s, int fd)
{
	return write_scattered(s, fd, FLUSHES, 1);
}

static int flush_hundreds(const struct mounted *s, int fd)
{
	return write_scattered(s, fd, FLUSHES, 100);
}

int mounted_timed(struct mounted *s, mounted_act *prepare, mounted_act *measured, double *ret)
{
	double begin;
	int rc = new_directory(s), fd;

	if (rc)
		return rc;
	fd = open_in(s, "big", O_CREAT | O_RDWR);
	rc = fd < 0 ? fd : prepare ? prepare(s, fd) : 0;
	if (!rc)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	begin = clock_now();
	if (!rc)
		rc = measured(s, fd);
	*ret = clock_now() - begin;
	if (fd >= 0)
		close(fd);
	return rc ? rc : remove_directory(s);
}

static int read_scattered(const struct mounted *s, int fd)
{
	uint64_t random = 1;

	for (unsigned i = 0; i < SCATTERED; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (pread(fd, s->bytes, 4096, (off_t)((random >> 33) % (GIB / 4096) * 4096)) != 4096)
			return -EIO;
	}
	return 0;
}

static int write_pages(const struct mounted *s, int fd)
{
	return write_scattered(s, fd, 1, SCATTERED);
}

static int do_create(const struct mounted *s, int fd)
{
	(void)fd;
	return make_files(s);
}

static int do_stat(const struct mounted *s, int fd)
{
	(void)fd;
	return look_at_files(s);
}

static int do_copy(const struct mounted *s, int fd)
{
	const char *const cp[] = {"cp", "-r", MOUNTED_TREE, s->directory, NULL};
	int rc = tool_run(cp, NULL, s->job->why);

	return rc ? rc : bare_check(fsync(fd));
}

int mounted_run_create(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, NULL, do_create, ret);
}

int mounted_run_stat(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, do_create, do_stat, ret);
}

int mounted_run_write(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, NULL, mounted_write_all, ret);
}

int mounted_run_read(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, mounted_write_all, read_all, ret);
}

int mounted_run_flush(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, mounted_write_all, flush_each, ret);
}

int mounted_run_random(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, mounted_write_all, flush_hundreds, ret);
}

int mounted_run_copy(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, NULL, do_copy, ret);
}

int mounted_run_scattered(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, mounted_write_all, write_pages, ret);
}

int mounted_run_scattered_read(void *state, double *ret)
{
	return mounted_timed((struct mounted *)state, mounted_write_all, read_scattered, ret);
}
