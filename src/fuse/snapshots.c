/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots of files of the mounted image (snapmap/snapfs.h): files without a name that
 * share the blocks. Opening and closing does not reach us, so a snapshot ends when the
 * kernel has forgotten it, which it does after the last close(2), for the file has no links
 * and the name that it was found by is taken from the kernel within a second.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"
#include "protocol.h"
#include "server.h"

#define MOST_OF_A_USER 1024

/**
 * struct snapshot - one of a file
 * @ino: its own number
 * @uid: who asked for it
 * @lookups: of the kernel
 * @parent, @named: the kernel has found it there, and has the name
 * @alive: it has a token
 */
struct snapshot {
	char token[SNAPFS_TOKEN_SIZE];
	uint64_t ino, offset, size;
	uid_t uid;
	uint64_t lookups;
	fuse_ino_t parent;
	bool named, alive;
	struct timespec born;
	struct snapshot *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct snapshot *snapshots;
static atomic_uint count;

/* With the lock. */
static struct snapshot *find(uint64_t ino)
{
	struct snapshot *s = snapshots;

	while (s && s->ino != ino)
		s = s->next;
	return s;
}

bool snapshot_is(uint64_t ino)
{
	bool is;

	if (!atomic_load(&count))
		return false;
	pthread_mutex_lock(&lock);
	is = find(ino) != NULL;
	pthread_mutex_unlock(&lock);
	return is;
}

static bool has_too_many(uid_t uid)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (const struct snapshot *s = snapshots; s; s = s->next)
		n += s->uid == uid;
	pthread_mutex_unlock(&lock);
	return n >= MOST_OF_A_USER;
}

static void add(struct snapshot *s)
{
	clock_gettime(CLOCK_MONOTONIC, &s->born);
	s->alive = true;
	pthread_mutex_lock(&lock);
	s->next = snapshots;
	snapshots = s;
	atomic_fetch_add(&count, 1);
	pthread_mutex_unlock(&lock);
	jobs_wake();
}

/* @ret gets all but the token. */
static int make(struct server *server, struct snapshot *s, const struct wish *wish, struct snapfs_snapshot *ret)
{
	struct minifs_new new_one = {0};
	struct minifs_entry entry;
	struct stat st;
	int rc = minifs_ino_stat(server->fs, wish->ino, &st);

	if (!rc)
		rc = token_make(s->token);
	if (rc)
		return rc;
	/* Who may read the file may read it. */
	new_one.mode = st.st_mode & 0444;
	new_one.uid = st.st_uid;
	new_one.gid = st.st_gid;
	rc = minifs_ino_share(server->fs, wish->ino, wish->offset, wish->length, &new_one, &entry);
	if (rc)
		return rc;
	*ret = protocol_clip(wish->offset, wish->length, (uint64_t)st.st_size);
	s->ino = entry.ino;
	s->offset = ret->offset;
	s->size = ret->size;
	s->uid = wish->uid;
	return 0;
}

int snapshot_make(struct server *server, const struct wish *wish, struct snapfs_snapshot *ret)
{
	struct snapshot *s;
	int rc;

	if (has_too_many(wish->uid))
		return -EDQUOT;
	s = (struct snapshot *)calloc(1, sizeof(*s));
	rc = s ? make(server, s, wish, ret) : -ENOMEM;
	if (rc) {
		free(s);
		return rc;
	}
	memcpy(ret->token, s->token, sizeof(ret->token));
	add(s);
	return 0;
}

bool snapshot_lookup(struct server *server, fuse_ino_t parent, const char *name, struct minifs_entry *ret)
{
	const char *token = name + sizeof(SNAPFS_PREFIX) - 1;
	struct snapshot *s = NULL;
	bool held = false;

	if (!atomic_load(&count) || strncmp(name, SNAPFS_PREFIX, sizeof(SNAPFS_PREFIX) - 1) != 0)
		return false;
	pthread_mutex_lock(&lock);
	for (s = snapshots; s && (!s->alive || strcmp(s->token, token) != 0);)
		s = s->next;
	if (s)
		held = !minifs_ino_hold(server->fs, s->ino, ret);
	if (held) {
		s->lookups++;
		s->parent = parent;
		s->named = true;
	}
	pthread_mutex_unlock(&lock);
	if (held)
		jobs_wake();
	return held;
}

/* With the lock. */
static void take_out(const struct snapshot *s)
{
	struct snapshot **at = &snapshots;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	atomic_fetch_sub(&count, 1);
}

/* Gives up our own hold. */
static void discard(struct server *server, struct snapshot *s)
{
	if (minifs_ino_forget(server->fs, s->ino, 1))
		commits_note(&server->commits, CHANGE_BYTES);
	free(s);
}

/* What the kernel had and has no longer, it has closed. */
void snapshot_forget(struct server *server, uint64_t ino, uint64_t n)
{
	struct snapshot *s;
	bool last = false;

	if (!atomic_load(&count))
		return;
	pthread_mutex_lock(&lock);
	s = find(ino);
	if (s) {
		s->lookups -= n < s->lookups ? n : s->lookups;
		last = !s->lookups;
	}
	if (last)
		take_out(s);
	pthread_mutex_unlock(&lock);
	if (last)
		discard(server, s);
}

static struct snapshot *take_due(const struct timespec *now, bool *ret_more)
{
	struct snapshot *s;

	*ret_more = false;
	pthread_mutex_lock(&lock);
	for (s = snapshots; s; s = s->next) {
		bool due = now->tv_sec - s->born.tv_sec >= SNAPFS_PATIENCE;

		if (due)
			s->alive = false;
		*ret_more |= s->alive;
		if (due && !s->lookups)
			break;
	}
	if (s)
		take_out(s);
	pthread_mutex_unlock(&lock);
	return s;
}

/* A name that the kernel has; false: there is none. */
static bool take_name(fuse_ino_t *ret_parent, char ret_name[80])
{
	struct snapshot *s;

	pthread_mutex_lock(&lock);
	for (s = snapshots; s && !s->named;)
		s = s->next;
	if (s) {
		s->named = false;
		*ret_parent = s->parent;
		snprintf(ret_name, 80, SNAPFS_PREFIX "%s", s->token);
	}
	pthread_mutex_unlock(&lock);
	return s != NULL;
}

bool snapshots_expire(struct server *server)
{
	struct timespec now;
	struct snapshot *s;
	fuse_ino_t parent;
	char name[80];
	bool more;

	while (take_name(&parent, name))
		fuse_lowlevel_notify_inval_entry(server->session, parent, name, strlen(name));
	clock_gettime(CLOCK_MONOTONIC, &now);
	while ((s = take_due(&now, &more)))
		discard(server, s);
	return more;
}

int snapshot_state(uint64_t ino, struct snapfs_state *ret)
{
	const struct snapshot *s;

	pthread_mutex_lock(&lock);
	s = find(ino);
	if (s) {
		*ret = (struct snapfs_state){.version = SNAPFS_VERSION, .offset = s->offset, .size = s->size};
		memcpy(ret->token, s->token, sizeof(ret->token));
	}
	pthread_mutex_unlock(&lock);
	return s ? 0 : -ENOTTY;
}
