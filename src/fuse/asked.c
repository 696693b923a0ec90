/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How snapshots of files of the mounted image are asked for, and made at an instant. We do
 * not know who has a file open, so what the kernel has of it is always looked at.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "freezer.h"
#include "jobs.h"
#include "server.h"
#include "token.h"

/* Who waits for a snapshot. */
struct asking {
	struct server *server;
	fuse_req_t req;
	struct wish wish;
	int rc;
	struct snapfs_snapshot snapshot;
};

void asked_start(struct server *server)
{
	pthread_rwlock_init(&server->changes, NULL);
	if (token_make(server->secret))
		memset(server->secret, 0, sizeof(server->secret));
}

/* --- the file as the kernel has it, by a name that only we know */

static struct helper_file name_of(const struct server *server, uint64_t ino)
{
	struct helper_file name = {.node = ino == MINIFS_ROOT_INO ? FUSE_ROOT_ID : ino};
	struct minifs_entry entry;

	/* The kernel holds it meanwhile: somebody has it open. */
	if (!minifs_ino_hold(server->fs, ino, &entry)) {
		name.generation = entry.generation;
		minifs_ino_forget(server->fs, ino, 1);
	}
	snprintf(name.name, sizeof(name.name), SNAPFS_PREFIX "%s%016llx", server->secret, (unsigned long long)ino);
	return name;
}

bool asked_lookup(const struct server *server, const char *name, struct minifs_entry *ret)
{
	const char *rest = name + sizeof(SNAPFS_PREFIX) - 1;
	size_t n = strlen(server->secret);

	if (!n || strncmp(name, SNAPFS_PREFIX, sizeof(SNAPFS_PREFIX) - 1) != 0 || strncmp(rest, server->secret, n) != 0)
		return false;
	return !minifs_ino_hold(server->fs, strtoull(rest + n, NULL, 16), ret);
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

static int freeze(struct asking *a)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct freezing f = {.file = a, .lock = lock_changes, .unlock = unlock_changes, .hold = hold, .make = make};
	const struct helper_file name = name_of(a->server, a->wish.ino);
	bool by_name = false;
	int rc = helper_open(&name, &f.pages, &by_name);

	if (rc)
		return -EAGAIN;
	pthread_mutex_lock(&one);
	rc = freezer_run(&f);
	pthread_mutex_unlock(&one);
	helper_close(f.pages);
	if (by_name)
		fuse_lowlevel_notify_inval_entry(a->server->session, FUSE_ROOT_ID, name.name, strlen(name.name));
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
	if (asked->version != SNAPFS_VERSION || asked->flags || asked->offset > INT64_MAX)
		return -EINVAL;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EOPNOTSUPP;
	/* Nothing can be changed, and nothing be made. */
	return server->read_only ? -EOPNOTSUPP : 0;
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
