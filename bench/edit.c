/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One edit from beginning to end: open, change some pages, commit and close. */
#include "config.h"

#include "bench/contenders.h"

#include <errno.h>
#include <fcntl.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/files.h"

struct edit_state {
	const struct job *job;
	uint64_t random;
	uint64_t pages[];
};

static int start(const struct job *job, void **ret)
{
	struct edit_state *s = (struct edit_state *)calloc(1, sizeof(*s) + job->count * sizeof(s->pages[0]));

	if (!s)
		return -ENOMEM;
	s->job = job;
	*ret = s;
	return 0;
}

static int run_with(void *state, int (*edit)(const struct edit_state *s), double *ret)
{
	struct edit_state *s = (struct edit_state *)state;
	int rc = pages_pick(s->job, &s->random, s->pages);
	double begin = harness_now();

	if (!rc)
		rc = edit(s);
	*ret = harness_now() - begin;
	return rc;
}

static int by_library(const struct edit_state *s)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(s->job->path, NULL, &map);

	if (rc)
		return rc;
	pages_edit((char *)snapmap_mut_data(map), s->pages, s->job->count, s->random);
	rc = snapmap_mut_commit_and_close(map, NULL);
	if (rc)
		snapmap_mut_close(map);
	return rc;
}

/* ---- by system calls: copy, fsync, rename, fsync ---- */

static int check(int rc)
{
	return rc < 0 ? -errno : 0;
}

static int copy_all(int from, int to)
{
	ssize_t n;

	do
		n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
	while (n > 0);
	return n < 0 ? -errno : 0;
}

static int change(const struct edit_state *s, int fd)
{
	for (unsigned i = 0; i < s->job->count; i++)
		if (pwrite(fd, &s->random, sizeof(s->random), (off_t)(s->pages[i] * PAGE)) != sizeof(s->random))
			return -errno;
	return 0;
}

static int rename_and_flush(const struct edit_state *s, const char *temporary)
{
	int dirfd = open(s->job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = check(dirfd);

	if (!rc)
		rc = check(rename(temporary, s->job->path));
	if (!rc)
		rc = check(fsync(dirfd));
	close(dirfd);
	return rc;
}

static int by_hand(const struct edit_state *s)
{
	char temporary[4096];
	int from, to, rc;

	snprintf(temporary, sizeof(temporary), "%s.new", s->job->path);
	from = open(s->job->path, O_RDONLY | O_CLOEXEC);
	to = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	rc = from < 0 || to < 0 ? -errno : copy_all(from, to);
	if (!rc)
		rc = change(s, to);
	if (!rc)
		rc = check(fsync(to));
	close(to);
	close(from);
	return rc ? rc : rename_and_flush(s, temporary);
}

static int run_library(void *state, double *ret)
{
	return run_with(state, by_library, ret);
}

static int run_by_hand(void *state, double *ret)
{
	return run_with(state, by_hand, ret);
}

const struct contender edit_whole = {"open, edit, commit_and_close", start, run_library, free};
const struct contender bare_edit = {"copy, fsync, rename, fsync", start, run_by_hand, free};
