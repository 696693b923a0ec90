/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An instant although the kernel has pages of the file that it has not written yet.
 *
 * What is stored through a shared mapping makes a page dirty, and comes to us when the
 * kernel writes it, some time. To have all of it the file is written back, and then:
 *
 *   1. From now on writes of pages are done but answered later. A page whose write is not
 *	answered is under writeback, and the kernel lets nobody make it dirty meanwhile: a
 *	store into it faults and waits.
 *   2. Dirty pages are written, until cachestat(2) counts none, and as many under
 *	writeback as we hold answers for, while the lock keeps all other changes away.
 *
 * Let T be the moment before that count. A page that is counted clean was clean at T, for
 * a dirty one becomes clean only by an answer of ours. One counted under writeback is one
 * of those that we had at T, for the numbers agree, and has not changed since it was sent.
 * So at T all bytes of the file were below, and no change came since: the snapshot is the
 * file at T. Then the answers are given.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "freezer.h"

#define MOST_NS 2000000000 /* for all attempts together */
#define HOLD_NS 200000000  /* how long answers are held at once */
#define PAUSE_NS 50000	   /* between counts */
#define NOT_YET 1

struct held {
	fuse_req_t req;
	ssize_t answer;
	struct held *next;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool holding_take(struct holding *holding, fuse_req_t req, uint64_t offset, size_t size, ssize_t answer)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct held *held = (struct held *)malloc(sizeof(*held));

	if (!held)
		return false;
	*held = (struct held){.req = req, .answer = answer};
	pthread_mutex_lock(&holding->lock);
	held->next = holding->first;
	holding->first = held;
	holding->pages += (offset + size + page - 1) / page - offset / page;
	pthread_mutex_unlock(&holding->lock);
	return true;
}

static void set_holding(const struct freezing *f, struct holding *holding)
{
	f->lock(f->file);
	f->hold(f->file, holding);
	f->unlock(f->file);
}

static void give_answers(struct holding *holding)
{
	while (holding->first) {
		struct held *held = holding->first;

		holding->first = held->next;
		if (held->answer < 0)
			fuse_reply_err(held->req, (int)-held->answer);
		else
			fuse_reply_write(held->req, (size_t)held->answer);
		free(held);
	}
}

/* 0: all bytes are below, now, with the lock. NOT_YET, or a negative errno. */
static int look(struct helper *pages, const struct holding *holding)
{
	struct helper_counts counts;

	if (helper_count(pages, &counts))
		return -EAGAIN;
	return !counts.dirty && counts.writeback == holding->pages ? 0 : NOT_YET;
}

static int look_and_make(const struct freezing *f, const struct holding *holding)
{
	int rc;

	f->lock(f->file);
	rc = look(f->pages, holding);
	if (!rc)
		f->make(f->file, f->arg);
	f->unlock(f->file);
	return rc;
}

static int try_once(const struct freezing *f)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct holding holding = {.lock = PTHREAD_MUTEX_INITIALIZER};
	uint64_t until = now_ns() + HOLD_NS;
	int rc;

	set_holding(f, &holding);
	for (;;) {
		helper_flush(f->pages, false);
		rc = look_and_make(f, &holding);
		if (rc != NOT_YET || now_ns() >= until)
			break;
		nanosleep(&pause, NULL);
	}
	set_holding(f, NULL);
	give_answers(&holding);
	pthread_mutex_destroy(&holding.lock);
	return rc;
}

/* Most of what is dirty is written before answers are held. */
int freezer_run(const struct freezing *f)
{
	uint64_t until = now_ns() + MOST_NS;
	int rc;

	do {
		helper_flush(f->pages, true);
		rc = try_once(f);
	} while (rc == NOT_YET && now_ns() < until);
	return rc == NOT_YET ? -EBUSY : rc;
}
