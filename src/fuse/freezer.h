/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding an instant at which the kernel has no page of a file that it has not written. */
#ifndef SNAPMAP_FREEZER_H
#define SNAPMAP_FREEZER_H

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "helper.h"

/*
 * How many writes of pages may be on their way: more than the kernel sends by itself, as
 * answers are held back.
 */
#define SERVING_BACKGROUND 16384

struct held;

/* Answers to writes of pages that are held back, so that the pages stay as they are. */
struct holding {
	struct held *first;
	uint64_t pages;
	pthread_mutex_t lock;
};

/**
 * struct freezing - what is to be done
 * @pages: the file as the kernel has it
 * @file: for the functions
 * @lock, @unlock: keep all changes of the file away
 * @hold: with the lock: answers to writes of pages go there by holding_take(), until it is
 *	called with NULL
 * @make: with the lock, at an instant
 * @arg: for @make
 */
struct freezing {
	struct helper *pages;
	void *file;
	void (*lock)(void *file);
	void (*unlock)(void *file);
	void (*hold)(void *file, struct holding *holding);
	void (*make)(void *file, void *arg);
	void *arg;
};

/* In no thread that answers. 0 if it was made; -EBUSY: there was no instant; -EAGAIN: none can be found. */
int freezer_run(const struct freezing *f);

/*
 * After a write of pages was done, and while changes are possible. True: it is answered
 * later. Without memory it is answered now; then no instant is found, as a page is not
 * counted.
 */
bool holding_take(struct holding *holding, fuse_req_t req, uint64_t offset, size_t size, ssize_t answer);

#endif
