/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What it costs, beside the two things people do without the library. See bench/ for exact numbers. */
#include "config.h"

#include "demo/demo.h"

#include <fcntl.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/statistics.h"

#define ROUNDS 5

static double time_open(const struct stage *stage, char *ret_source, size_t n)
{
	struct snapmap_info info;
	struct snapmap *map;
	double begin = clock_now(), took;

	must_do(snapmap_open(stage->path, NULL, &map), "snapmap_open");
	took = clock_now() - begin;
	must_do(snapmap_get_info(map, &info), "snapmap_get_info");
	snprintf(ret_source, n, "%s", snapmap_source_name(info.source));
	snapmap_close(map);
	return took;
}

static double time_mmap(const struct stage *stage)
{
	double begin = clock_now(), took;
	int fd = open(stage->path, O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, stage->size, PROT_READ, MAP_PRIVATE, fd, 0);

	close(fd);
	took = clock_now() - begin;
	must(p != MAP_FAILED, "the file can be mapped");
	munmap(p, stage->size);
	return took;
}

static double time_commit(const struct stage *stage, uint64_t version, double *ret_open)
{
	struct snapmap_mut *map;
	double begin = clock_now();

	must_do(snapmap_mut_open(stage->path, NULL, &map), "snapmap_mut_open");
	*ret_open = clock_now() - begin;
	pages_store(stage, (char *)snapmap_mut_data(map), version);
	begin = clock_now();
	must_do(snapmap_mut_commit_and_close(map, NULL), "snapmap_mut_commit_and_close");
	return clock_now() - begin;
}

/* All of @fd into @buffer, or back. */
static bool transfer(int fd, char *buffer, uint64_t size, bool writing)
{
	uint64_t at = 0;

	while (at < size) {
		ssize_t n = writing ? write(fd, buffer + at, size - at) : read(fd, buffer + at, size - at);

		if (n <= 0)
			return false;
		at += (uint64_t)n;
	}
	return true;
}

/* The usual safe way: read all, change it, write all to a temporary file, flush, rename, flush. */
static double time_rewrite(const struct stage *stage, char *buffer, uint64_t version)
{
	char temporary[PATH_MAX + 8];
	double begin = clock_now();
	int dir = open(stage->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int from = open(stage->path, O_RDONLY | O_CLOEXEC), to;
	bool ok;

	snprintf(temporary, sizeof(temporary), "%s.new", stage->path);
	to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ok = from >= 0 && to >= 0 && transfer(from, buffer, stage->size, false);
	if (ok)
		pages_store(stage, buffer, version);
	ok = ok && transfer(to, buffer, stage->size, true) && !fsync(to) && !rename(temporary, stage->path) &&
	     !fsync(dir);
	close(from);
	close(to);
	close(dir);
	must(ok, "the file can be written anew");
	return clock_now() - begin;
}

/* What one left behind to be written must not be paid by the next. */
static void settle(const struct stage *stage)
{
	int fd = open(stage->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd >= 0 && !syncfs(fd), "the file system can be flushed");
	close(fd);
}

void measure(const struct stage *stage, struct costs *ret)
{
	double open_s[ROUNDS], mmap_s[ROUNDS], mut_s[ROUNDS], commit_s[ROUNDS], rewrite_s[ROUNDS];
	char *buffer = (char *)malloc(stage->size);

	must(buffer, "memory can be had");
	/* Else the first round would pay for the memory. */
	memset(buffer, 1, stage->size);
	for (unsigned i = 0; i < ROUNDS; i++) {
		settle(stage);
		open_s[i] = time_open(stage, ret->source, sizeof(ret->source));
		mmap_s[i] = time_mmap(stage);
		commit_s[i] = time_commit(stage, 1000 + i, &mut_s[i]);
		settle(stage);
		rewrite_s[i] = time_rewrite(stage, buffer, 2000 + i);
	}
	free(buffer);
	ret->open = quartiles_of(open_s, ROUNDS).median;
	ret->mmap = quartiles_of(mmap_s, ROUNDS).median;
	ret->open_mut = quartiles_of(mut_s, ROUNDS).median;
	ret->commit = quartiles_of(commit_s, ROUNDS).median;
	ret->rewrite = quartiles_of(rewrite_s, ROUNDS).median;
}
