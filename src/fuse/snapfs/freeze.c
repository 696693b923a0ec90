/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks for a snapshot gets it at once if nobody has the file open for writing, for then
 * it has no dirty pages: a mapping holds its file open, and the kernel says that a file is
 * closed after all of its writes. Else an instant has to be found (freezer.h).
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "src/fuse/jobs.h"
#include "wrapper.h"

/* Who waits for a snapshot of a file. */
struct asking {
	struct wish wish;
	void (*done)(void *arg, int rc, const struct snapfs_snapshot *snapshot);
	void *arg;
	int rc;
	struct snapfs_snapshot snapshot;
	struct asking *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct file *freeze_lookup(const char *name)
{
	struct file *file;
	uint64_t node;

	if (!helper_lookup(name, &node))
		return NULL;
	file = (struct file *)(uintptr_t)node;
	file_hold(file);
	return file;
}

/* --- an instant */

static void lock_file(void *file)
{
	pthread_rwlock_wrlock(&((struct file *)file)->lock);
}

static void unlock_file(void *file)
{
	pthread_rwlock_unlock(&((struct file *)file)->lock);
}

static void hold(void *file, struct holding *holding)
{
	((struct file *)file)->holding = holding;
}

static void make_all(void *arg, void *askings)
{
	struct file *file = (struct file *)arg;

	for (struct asking *a = (struct asking *)askings; a; a = a->next)
		a->rc = snapshot_make(file, &a->wish, &a->snapshot);
}

static int freeze(struct file *file, struct asking *askings)
{
	struct freezing f = {
		.file = file, .lock = lock_file, .unlock = unlock_file, .hold = hold, .make = make_all, .arg = askings};
	int rc = helper_open((uintptr_t)file, 0, &f.pages);

	if (rc)
		return -EAGAIN;
	rc = freezer_run(&f);
	helper_close(f.pages, wrapper.session);
	return rc;
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
