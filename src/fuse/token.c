/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "jobs.h"
#include "token.h"

int token_make(char ret[SNAPFS_TOKEN_SIZE])
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	memset(ret, 0, SNAPFS_TOKEN_SIZE);
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

struct stale_name {
	struct fuse_session *session;
	fuse_ino_t parent;
	char name[sizeof(SNAPFS_PREFIX) + SNAPFS_TOKEN_SIZE];
};

static void forget(void *arg)
{
	struct stale_name *stale = (struct stale_name *)arg;

	fuse_lowlevel_notify_inval_entry(stale->session, stale->parent, stale->name, strlen(stale->name));
	free(stale);
}

void token_forget_name(struct fuse_session *session, fuse_ino_t parent, const char *prefix, const char *token)
{
	struct stale_name *stale = (struct stale_name *)malloc(sizeof(*stale));

	if (!stale)
		return;
	stale->session = session;
	stale->parent = parent;
	snprintf(stale->name, sizeof(stale->name), "%s%s", prefix, token);
	if (!job_add(forget, stale))
		free(stale);
}
