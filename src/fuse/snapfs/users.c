/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What users have, and may have. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wrapper.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct user *users;

/* With the lock. One that was here once stays: there are few. */
static struct user *find_or_add(uid_t uid)
{
	struct user *user = users;

	while (user && user->uid != uid)
		user = user->next;
	if (user)
		return user;
	user = (struct user *)calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->next = users;
	users = user;
	return user;
}

int user_enter(uid_t uid, struct user **ret)
{
	struct user *user;
	int rc = 0;

	pthread_mutex_lock(&lock);
	user = find_or_add(uid);
	if (!user)
		rc = -ENOMEM;
	else if (user->snapshots >= wrapper.most_snapshots || user->kept >= wrapper.most_kept)
		rc = -EDQUOT;
	else
		user->snapshots++;
	pthread_mutex_unlock(&lock);
	if (!rc)
		*ret = user;
	return rc;
}

void user_leave(struct user *user)
{
	pthread_mutex_lock(&lock);
	user->snapshots--;
	pthread_mutex_unlock(&lock);
}

int user_charge(struct user *user, uint64_t bytes, bool forced)
{
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!forced && user->kept + bytes > wrapper.most_kept)
		rc = -EDQUOT;
	else
		user->kept += bytes;
	pthread_mutex_unlock(&lock);
	return rc;
}

void user_discharge(struct user *user, uint64_t bytes)
{
	pthread_mutex_lock(&lock);
	user->kept -= bytes;
	pthread_mutex_unlock(&lock);
}

void user_answer(uid_t uid, const char *text)
{
	struct user *user;

	pthread_mutex_lock(&lock);
	user = find_or_add(uid);
	if (user)
		snprintf(user->answer, sizeof(user->answer), "%s", text);
	pthread_mutex_unlock(&lock);
}

void user_last_answer(uid_t uid, char ret[128])
{
	const struct user *user;

	pthread_mutex_lock(&lock);
	user = users;
	while (user && user->uid != uid)
		user = user->next;
	snprintf(ret, 128, "%s", user ? user->answer : "");
	pthread_mutex_unlock(&lock);
}
