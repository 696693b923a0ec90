/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files to measure with, and edits of them. */
#include "config.h"

#include "bench/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BUFFER ((size_t)1 << 20)

/* splitmix64 (https://prng.di.unimi.it/splitmix64.c) */
uint64_t file_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void fill(char *buffer, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
		uint64_t number = file_random(state);

		memcpy(buffer + i, &number, sizeof(number));
	}
}

static int create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd;
}

/* Writes @size bytes in pieces, each followed by a hole of the same size if @holes. */
static int write_pieces(int fd, uint64_t size, size_t piece, bool holes, bool (*stopped)(void))
{
	char *buffer = (char *)malloc(BUFFER);
	uint64_t state = 1, at = 0, done = 0;
	int rc = buffer ? 0 : -ENOMEM;

	while (!rc && done < size) {
		size_t n = size - done < piece ? (size_t)(size - done) : piece;

		fill(buffer, n, &state);
		if (pwrite(fd, buffer, n, (off_t)at) != (ssize_t)n)
			rc = errno ? -errno : -EIO;
		if (stopped && stopped())
			rc = -ECANCELED;
		done += n;
		at += holes ? 2 * n : n;
	}
	if (!rc && fsync(fd))
		rc = -errno;
	free(buffer);
	return rc;
}

int file_make(const char *path, uint64_t size, bool (*stopped)(void))
{
	int fd = create(path), rc;

	if (fd < 0)
		return fd;
	rc = write_pieces(fd, size, BUFFER, false, stopped);
	close(fd);
	return rc;
}

int file_make_fragmented(const char *path, unsigned extents, bool (*stopped)(void))
{
	int fd = create(path), rc;

	if (fd < 0)
		return fd;
	rc = write_pieces(fd, extents * (uint64_t)PAGE, PAGE, true, stopped);
	close(fd);
	return rc;
}

int file_make_sparse(const char *path, uint64_t size)
{
	int fd = create(path), rc = 0;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size))
		rc = -errno;
	close(fd);
	return rc;
}

int file_clone(const char *from, const char *to)
{
	int source = open(from, O_RDONLY | O_CLOEXEC), target, rc = 0;

	if (source < 0)
		return -errno;
	target = create(to);
	if (target >= 0 && (ioctl(target, FICLONE, source) || fsync(target)))
		rc = -errno;
	close(source);
	if (target < 0)
		return target;
	close(target);
	return rc;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool all_differ(const uint64_t *pages, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		if (pages[i] == pages[i - 1])
			return false;
	return true;
}

#define RUNS 16

/* Sixteen runs of pages, at places of their own. */
static void pick_runs(uint64_t *pages, unsigned count, uint64_t npages, uint64_t *state)
{
	uint64_t each = count / RUNS + 1, room = npages / RUNS;

	for (unsigned i = 0; i < count; i++) {
		unsigned run = (unsigned)(i / each);

		if (i % each == 0)
			pages[i] = run * room + file_random(state) % (room - each);
		else
			pages[i] = pages[i - 1] + 1;
	}
}

/* Selection sampling: Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S. */
static void pick_many(uint64_t *pages, unsigned count, uint64_t npages, uint64_t *state)
{
	unsigned picked = 0;

	for (uint64_t page = 0; picked < count; page++)
		if (file_random(state) % (npages - page) < count - picked)
			pages[picked++] = page;
}

int pages_pick(const struct job *job, uint64_t *state, uint64_t *ret_pages)
{
	uint64_t npages = job->size / PAGE;

	if (!job->count || job->count > npages - npages / 8)
		return why_set(job->why, -EOPNOTSUPP, "the file has too few pages for %u edits", job->count);
	if (job->clustered) {
		pick_runs(ret_pages, job->count, npages, state);
		return 0;
	}
	if (job->count > npages / 16) {
		pick_many(ret_pages, job->count, npages, state);
		return 0;
	}
	/* Those that come up twice are replaced one by one. */
	for (unsigned i = 0; i < job->count; i++)
		ret_pages[i] = file_random(state) % npages;
	qsort(ret_pages, job->count, sizeof(*ret_pages), by_number);
	while (!all_differ(ret_pages, job->count)) {
		for (unsigned i = 1; i < job->count; i++)
			if (ret_pages[i] == ret_pages[i - 1])
				ret_pages[i - 1] = file_random(state) % npages;
		qsort(ret_pages, job->count, sizeof(*ret_pages), by_number);
	}
	return 0;
}

void pages_edit(char *base, const uint64_t *pages, unsigned count, uint64_t value)
{
	for (unsigned i = 0; i < count; i++)
		memcpy(base + pages[i] * PAGE, &value, sizeof(value));
}

bool page_differs(const char *a, const char *b)
{
	return memcmp(a, b, PAGE) != 0;
}

unsigned pages_read(const char *base, uint64_t size)
{
	const volatile char *p = base;
	unsigned sum = 0;

	for (uint64_t at = 0; at < size; at += PAGE)
		sum += (unsigned char)p[at];
	return sum;
}

uint64_t bytes_sum(const void *base, uint64_t size)
{
	const volatile uint64_t *p = (const volatile uint64_t *)base;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < size / sizeof(*p); i++)
		sum += p[i];
	return sum;
}
