/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of a disk: all that was ever done to it, in order, from an empty one on,
 * with marks by those who use it in between. One file, so that a failure can be kept.
 */
#ifndef SNAPMAP_CRASH_RECORD_H
#define SNAPMAP_CRASH_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "mark.h"

enum event_kind {
	EVENT_WRITE = 1,
	EVENT_ZERO, /* discard, or zeros written as such */
	EVENT_FLUSH,
	EVENT_MARK,
};

struct record_head {
	char magic[8];
	char row[40];
	uint64_t size; /* of the disk */
	uint64_t seed; /* of the workload */
	uint64_t shape;
};

struct event {
	enum event_kind kind;
	uint64_t offset;
	size_t length;
	const void *data; /* of a write, or a struct mark */
};

struct record {
	struct record_head head;
	struct event *events;
	size_t count;
	size_t start, end; /* indices of these marks */
	void *mapping;
	size_t mapped;
};

/* Writing; each returns 0 or -1. */
int record_create(const char *path, const struct record_head *head, int *ret_fd);
int record_append(int fd, enum event_kind kind, uint64_t offset, size_t length, const void *data);
/* All of an image that is not zeros, as writes. */
int record_image(int fd, const char *image);

/* Reading. 0 or -1; a record without MARK_START and MARK_END has @start and @end at its end. */
int record_open(const char *path, struct record *ret);
void record_close(struct record *r);

#endif
