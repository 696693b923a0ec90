/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel knows files for as long as it has memory, and each may need a descriptor of
 * ours. Before those run out it is asked to forget names that it has not found lately;
 * what is in use it keeps.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "src/fuse/jobs.h"
#include "wrapper.h"

#define AT_ONCE 1024

/* By which name of which directory; in a list, the oldest first. */
struct found {
	struct found *next, **link;
	fuse_ino_t parent;
	char name[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct found *first, **last = &first;
static atomic_bool running;

void forgetting_add(struct file *file, fuse_ino_t parent, const char *name)
{
	struct found *found = (struct found *)malloc(sizeof(*found) + strlen(name) + 1);

	if (!found)
		return;
	found->next = NULL;
	found->parent = parent;
	strcpy(found->name, name);
	pthread_mutex_lock(&lock);
	found->link = last;
	*last = found;
	last = &found->next;
	file->found = found;
	pthread_mutex_unlock(&lock);
}

/* With the lock. */
static void take_out(struct found *found)
{
	*found->link = found->next;
	if (found->next)
		found->next->link = found->link;
	else
		last = found->link;
}

void forgetting_remove(struct file *file)
{
	if (!file->found)
		return;
	pthread_mutex_lock(&lock);
	take_out(file->found);
	pthread_mutex_unlock(&lock);
	free(file->found);
}

/* A copy of the oldest, which goes to the end: it may be in use. NULL: there is none, or no memory. */
static struct found *next_to_forget(void)
{
	struct found *found, *copy = NULL;

	pthread_mutex_lock(&lock);
	found = first;
	if (found) {
		take_out(found);
		found->next = NULL;
		found->link = last;
		*last = found;
		last = &found->next;
		copy = (struct found *)malloc(sizeof(*copy) + strlen(found->name) + 1);
	}
	if (copy) {
		copy->parent = found->parent;
		strcpy(copy->name, found->name);
	}
	pthread_mutex_unlock(&lock);
	return copy;
}

/* A directory that is no more makes the kernel refuse, which is as good. */
static void forget_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct found *found = next_to_forget();

		if (!found)
			break;
		fuse_lowlevel_notify_inval_entry(wrapper.session, found->parent, found->name, strlen(found->name));
		free(found);
	}
	atomic_store(&running, false);
}

void forgetting_begin(void)
{
	if (!atomic_exchange(&running, true) && !job_add(forget_some, NULL))
		atomic_store(&running, false);
}
