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
 *
 * A file that nobody has open for writing has no dirty pages: a mapping holds its file
 * open, and the kernel says that a file is closed after all of its writes.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wrapper.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#define MOST_NS 2000000000 /* for all attempts together */
#define HOLD_NS 200000000  /* how long answers are held at once */
#define PAUSE_NS 50000	   /* between counts */
#define NOT_YET 1

/* Who waits for a snapshot of a file. */
struct asking {
	struct wish wish;
	void (*done)(void *arg, int rc, const struct snapfs_snapshot *snapshot);
	void *arg;
	int rc;
	struct snapfs_snapshot snapshot;
	struct asking *next;
};

/* cachestat(2) */
struct range {
	uint64_t offset, length;
};
struct counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- the file as the kernel has it, by a name that only we know */

static void name_of(const struct file *file, char ret[80])
{
	snprintf(ret, 80, SNAPFS_PREFIX "%s%016llx", wrapper.secret, (unsigned long long)(uintptr_t)file);
}

struct file *freeze_lookup(const char *name)
{
	const char *rest = name + sizeof(SNAPFS_PREFIX) - 1;
	struct file *file;

	if (strncmp(name, SNAPFS_PREFIX, sizeof(SNAPFS_PREFIX) - 1) != 0 ||
	    strncmp(rest, wrapper.secret, sizeof(wrapper.secret) - 1) != 0)
		return NULL;
	file = (struct file *)(uintptr_t)strtoull(rest + sizeof(wrapper.secret) - 1, NULL, 16);
	file_hold(file);
	return file;
}

/* A descriptor or a negative errno. */
static int open_pages(const struct file *file)
{
	char name[80];
	int dir = open(wrapper.request->directory, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (dir < 0)
		return -errno;
	name_of(file, name);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		fd = -errno;
	close(dir);
	fuse_lowlevel_notify_inval_entry(wrapper.session, FUSE_ROOT_ID, name, strlen(name));
	return fd;
}

/* --- holding answers */

static void begin_holding(struct file *file, struct holding *holding)
{
	*holding = (struct holding){.lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_rwlock_wrlock(&file->lock);
	file->holding = holding;
	pthread_rwlock_unlock(&file->lock);
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

static void end_holding(struct file *file, struct holding *holding)
{
	pthread_rwlock_wrlock(&file->lock);
	file->holding = NULL;
	pthread_rwlock_unlock(&file->lock);
	give_answers(holding);
	pthread_mutex_destroy(&holding->lock);
}

/* 0: all bytes are below, now, with the lock. NOT_YET, or a negative errno. */
static int look(int fd, const struct holding *holding)
{
	const struct range all = {0};
	struct counts counts;

	if (syscall(SYS_cachestat, fd, &all, &counts, 0))
		return -EAGAIN;
	return !counts.dirty && counts.writeback == holding->pages ? 0 : NOT_YET;
}

/* With the lock, exclusive: all of one instant. */
static void make_all(struct file *file, struct asking *askings)
{
	for (struct asking *a = askings; a; a = a->next)
		a->rc = snapshot_make(file, &a->wish, &a->snapshot);
}

static int look_and_make(struct file *file, int fd, const struct holding *holding, struct asking *askings)
{
	int rc;

	pthread_rwlock_wrlock(&file->lock);
	rc = look(fd, holding);
	if (!rc)
		make_all(file, askings);
	pthread_rwlock_unlock(&file->lock);
	return rc;
}

static int try_to_freeze(struct file *file, int fd, struct asking *askings)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	uint64_t until = now_ns() + HOLD_NS;
	struct holding holding;
	int rc;

	begin_holding(file, &holding);
	for (;;) {
		sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		rc = look_and_make(file, fd, &holding, askings);
		if (rc != NOT_YET || now_ns() >= until)
			break;
		nanosleep(&pause, NULL);
	}
	end_holding(file, &holding);
	return rc;
}

/* Most of what is dirty is written before answers are held. */
static int freeze(struct file *file, struct asking *askings)
{
	uint64_t until = now_ns() + MOST_NS;
	int fd = open_pages(file), rc;

	if (fd < 0)
		return -EAGAIN;
	do {
		sync_file_range(fd, 0, 0,
				SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		rc = try_to_freeze(file, fd, askings);
	} while (rc == NOT_YET && now_ns() < until);
	close(fd);
	return rc == NOT_YET ? -EBUSY : rc;
}

/* --- who asks */

static void answer_all(struct asking *askings, int rc)
{
	while (askings) {
		struct asking *a = askings;

		askings = a->next;
		a->done(a->arg, rc ? rc : a->rc, &a->snapshot);
		free(a);
	}
}

static struct asking *take_askings(struct file *file)
{
	struct asking *askings;

	pthread_mutex_lock(&lock);
	askings = file->askings;
	file->askings = NULL;
	file->queued = askings != NULL;
	pthread_mutex_unlock(&lock);
	return askings;
}

/* Those that come meanwhile get another instant. */
static void serve(void *arg)
{
	struct file *file = (struct file *)arg;
	struct asking *askings;

	while ((askings = take_askings(file)))
		answer_all(askings, freeze(file, askings));
	file_forget(file, 1);
}

/* True: answered later. */
static bool ask_later(struct file *file, struct asking *asking)
{
	bool queued = true;

	pthread_mutex_lock(&lock);
	asking->next = file->askings;
	file->askings = asking;
	if (!file->queued) {
		file_hold(file);
		queued = job_add(serve, file);
		file->queued = queued;
		if (!queued)
			file->askings = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (!queued)
		file_forget(file, 1);
	return queued;
}

void freeze_ask(struct file *file, const struct wish *wish,
		void (*done)(void *arg, int rc, const struct snapfs_snapshot *snapshot), void *arg)
{
	struct snapfs_snapshot snapshot;
	struct asking *asking;
	bool quiet;
	int rc = 0;

	pthread_rwlock_wrlock(&file->lock);
	quiet = !atomic_load(&file->writers);
	if (quiet)
		rc = snapshot_make(file, wish, &snapshot);
	pthread_rwlock_unlock(&file->lock);
	if (quiet) {
		done(arg, rc, &snapshot);
		return;
	}
	asking = (struct asking *)malloc(sizeof(*asking));
	if (asking) {
		*asking = (struct asking){.wish = *wish, .done = done, .arg = arg};
		if (ask_later(file, asking))
			return;
		free(asking);
	}
	done(arg, -ENOMEM, &snapshot);
}
