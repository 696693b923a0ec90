/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How snapshots of files of the mounted image are asked for, and made at an instant. We do
 * not know who has a file open, so what the kernel has of it is always looked at.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "freezer.h"
#include "jobs.h"
#include "protocol.h"
#include "server.h"

/* Who waits for a snapshot. */
struct asking {
	struct server *server;
	fuse_req_t req;
	struct wish wish;
	int rc;
	struct snapfs_snapshot snapshot;
};

bool asked_lookup(const struct server *server, const char *name, struct minifs_entry *ret)
{
	uint64_t ino;

	return helper_lookup(name, &ino) && !minifs_ino_hold(server->fs, ino, ret);
}

/* --- an instant */

static void lock_changes(void *arg)
{
	pthread_rwlock_wrlock(&((struct asking *)arg)->server->changes);
}

static void unlock_changes(void *arg)
{
	pthread_rwlock_unlock(&((struct asking *)arg)->server->changes);
}

/* One file at a time. */
static void hold(void *arg, struct holding *holding)
{
	const struct asking *a = (const struct asking *)arg;

	a->server->holding = holding;
	a->server->held_ino = a->wish.ino;
}

static void make(void *arg, void *unused)
{
	struct asking *a = (struct asking *)arg;

	(void)unused;
	a->rc = snapshot_make(a->server, &a->wish, &a->snapshot);
}

/* The kernel knows the file: somebody has it open. */
static uint64_t generation_of(struct minifs *fs, uint64_t ino)
{
	struct minifs_entry entry;

	if (minifs_ino_hold(fs, ino, &entry))
		return 0;
	minifs_ino_forget(fs, ino, 1);
	return entry.generation;
}

static int freeze(struct asking *a)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct freezing f = {.file = a, .lock = lock_changes, .unlock = unlock_changes, .hold = hold, .make = make};
	int rc = helper_open(a->wish.ino, generation_of(a->server->fs, a->wish.ino), &f.pages);

	if (rc)
		return -EAGAIN;
	pthread_mutex_lock(&one);
	rc = freezer_run(&f);
	pthread_mutex_unlock(&one);
	helper_close(f.pages, a->server->session);
	return rc ? rc : a->rc;
}

static void serve(void *arg)
{
	struct asking *a = (struct asking *)arg;
	int rc = freeze(a);

	if (rc) {
		fuse_reply_err(a->req, -rc);
	} else {
		commits_note(&a->server->commits, CHANGE_BYTES);
		fuse_reply_ioctl(a->req, 0, &a->snapshot, sizeof(a->snapshot));
	}
	free(a);
}

static int check(const struct server *server, uint64_t ino, const struct snapfs_snapshot *asked)
{
	struct stat st;
	int rc = minifs_ino_stat(server->fs, ino, &st);

	if (rc)
		return rc;
	rc = protocol_check(asked, st.st_mode);
	/* Nothing can be changed, and nothing be made. */
	return !rc && server->read_only ? -EOPNOTSUPP : rc;
}

static void take(fuse_req_t req, uint64_t ino, const struct snapfs_snapshot *asked)
{
	struct server *server = server_of(req);
	int rc = check(server, ino, asked);
	struct asking *a = rc ? NULL : (struct asking *)calloc(1, sizeof(*a));

	if (!rc && !a)
		rc = -ENOMEM;
	if (!rc)
		rc = commits_make_room(&server->commits);
	if (!rc) {
		a->server = server;
		a->req = req;
		a->wish = (struct wish){
			.ino = ino, .offset = asked->offset, .length = asked->length, .uid = fuse_req_ctx(req)->uid};
		if (job_add(serve, a))
			return;
		rc = -ENOMEM;
	}
	free(a);
	fuse_reply_err(req, -rc);
}

bool asked_ioctl(fuse_req_t req, uint64_t ino, unsigned command, const void *in, size_t in_size, size_t out_size)
{
	struct snapfs_snapshot asked;
	struct snapfs_state state;

	if (command == SNAPFS_IOC_SNAPSHOT && in_size >= sizeof(asked)) {
		memcpy(&asked, in, sizeof(asked));
		take(req, ino, &asked);
		return true;
	}
	if (command != SNAPFS_IOC_STATE || out_size < sizeof(state) || snapshot_state(ino, &state))
		return false;
	fuse_reply_ioctl(req, 0, &state, sizeof(state));
	return true;
}

/* --- changes of content stand between these */

int change_begin(struct server *server, uint64_t ino)
{
	if (snapshot_is(ino))
		return -EROFS;
	pthread_rwlock_rdlock(&server->changes);
	return 0;
}

bool change_end(struct server *server, fuse_req_t req, uint64_t ino, const struct page_write *page)
{
	bool held = page && server->holding && server->held_ino == ino &&
		    holding_take(server->holding, req, page->offset, page->size, page->answer);

	pthread_rwlock_unlock(&server->changes);
	return held;
}
