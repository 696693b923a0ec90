/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See record.h. */
#include "config.h"

#include "record.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC "snaprec1"
#define CHUNK ((size_t)65536)

struct event_head {
	uint64_t kind;
	uint64_t offset;
	uint64_t length;
};

static size_t padded(size_t n)
{
	return (n + 7) / 8 * 8;
}

static bool has_data(uint64_t kind)
{
	return kind == EVENT_WRITE || kind == EVENT_MARK;
}

int record_create(const char *path, const struct record_head *head, int *ret_fd)
{
	struct record_head h = *head;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	memcpy(h.magic, MAGIC, sizeof(h.magic));
	if (fd < 0)
		return -1;
	if (write(fd, &h, sizeof(h)) != (ssize_t)sizeof(h)) {
		close(fd);
		return -1;
	}
	*ret_fd = fd;
	return 0;
}

int record_append(int fd, enum event_kind kind, uint64_t offset, size_t length, const void *data)
{
	struct event_head head = {.kind = kind, .offset = offset, .length = length};
	static const char padding[8];
	size_t n = has_data(kind) ? length : 0;
	struct iovec parts[3] = {
		{&head, sizeof(head)},
		{(void *)(uintptr_t)data, n},
		{(void *)(uintptr_t)padding, padded(n) - n},
	};

	return writev(fd, parts, 3) == (ssize_t)(sizeof(head) + padded(n)) ? 0 : -1;
}

static bool is_zero(const char *bytes, size_t n)
{
	return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, n - 1));
}

static int record_extent(int fd, int image, off_t from, off_t to)
{
	static char chunk[CHUNK];

	while (from < to) {
		size_t want = (size_t)(to - from) < CHUNK ? (size_t)(to - from) : CHUNK;
		ssize_t n = pread(image, chunk, want, from);

		if (n <= 0)
			return -1;
		if (!is_zero(chunk, (size_t)n) && record_append(fd, EVENT_WRITE, (uint64_t)from, (size_t)n, chunk))
			return -1;
		from += n;
	}
	return 0;
}

int record_image(int fd, const char *image)
{
	int in = open(image, O_RDONLY | O_CLOEXEC);
	off_t from = 0, to;
	int rc = in < 0 ? -1 : 0;

	while (!rc && (from = lseek(in, from, SEEK_DATA)) >= 0) {
		to = lseek(in, from, SEEK_HOLE);
		rc = record_extent(fd, in, from, to);
		from = to;
	}
	if (in >= 0)
		close(in);
	return rc ? rc : record_append(fd, EVENT_FLUSH, 0, 0, NULL);
}

static void note_mark(struct record *r, const struct event *e)
{
	const struct mark *m = e->data;

	if (e->kind != EVENT_MARK)
		return;
	if (m->kind == MARK_START)
		r->start = r->count;
	if (m->kind == MARK_END)
		r->end = r->count;
}

static int read_events(struct record *r)
{
	const char *bytes = r->mapping;
	size_t at = sizeof(r->head), capacity = 0;

	while (at + sizeof(struct event_head) <= r->mapped) {
		const struct event_head *h = (const void *)(bytes + at);
		struct event *e;

		if (r->count == capacity) {
			capacity = capacity ? 2 * capacity : 1024;
			e = realloc(r->events, capacity * sizeof(*e));
			if (!e)
				return -1;
			r->events = e;
		}
		at += sizeof(*h);
		e = &r->events[r->count];
		*e = (struct event){(enum event_kind)h->kind, h->offset, h->length, bytes + at};
		if (has_data(h->kind))
			at += padded(h->length);
		if (at > r->mapped)
			break;
		note_mark(r, e);
		r->count++;
	}
	return 0;
}

int record_open(const char *path, struct record *ret)
{
	struct record r = {.start = SIZE_MAX, .end = SIZE_MAX};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) || (size_t)st.st_size < sizeof(r.head)) {
		close(fd);
		return -1;
	}
	r.mapped = (size_t)st.st_size;
	r.mapping = mmap(NULL, r.mapped, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (r.mapping == MAP_FAILED)
		return -1;
	memcpy(&r.head, r.mapping, sizeof(r.head));
	if (memcmp(r.head.magic, MAGIC, sizeof(r.head.magic)) || read_events(&r)) {
		record_close(&r);
		return -1;
	}
	if (r.start > r.count)
		r.start = r.count;
	if (r.end > r.count)
		r.end = r.count;
	*ret = r;
	return 0;
}

void record_close(struct record *r)
{
	munmap(r->mapping, r->mapped);
	free(r->events);
	*r = (struct record){0};
}
