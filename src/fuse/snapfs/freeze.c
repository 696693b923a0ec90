/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks for a snapshot gets it at once if nobody has the file open for writing, for then
 * it has no dirty pages: a mapping holds its file open, and the kernel says that a file is
 * closed after all of its writes. Else an instant has to be found (freezer.h).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* --- the file as the kernel has it, by a name that only we know */

static struct helper_file name_of(const struct file *file)
{
	struct helper_file name = {.node = (uintptr_t)file};

	snprintf(name.name, sizeof(name.name), SNAPFS_PREFIX "%s%016llx", wrapper.secret,
		 (unsigned long long)(uintptr_t)file);
	return name;
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
	const struct helper_file name = name_of(file);
	bool by_name = false;
	int rc = helper_open(&name, &f.pages, &by_name);

	if (rc)
		return -EAGAIN;
	rc = freezer_run(&f);
	helper_close(f.pages);
	if (by_name)
		fuse_lowlevel_notify_inval_entry(wrapper.session, FUSE_ROOT_ID, name.name, strlen(name.name));
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
