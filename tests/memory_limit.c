/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running something with little memory: see memory_limit.h. */
#include "config.h"

#include "memory_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool put(const char *dir, const char *name, const char *value)
{
	char path[500];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return done;
}

/* In a child group, for the root of a hierarchy cannot be limited. */
static bool try_group(const char *mount, bool unified, const char *bytes, struct memory_limit *ret)
{
	static int number;
	bool limited;

	if (unified)
		put(mount, "cgroup.subtree_control", "+memory");
	snprintf(ret->dir, sizeof(ret->dir), "%s/snapmap-test-%d-%d", mount, (int)getpid(), number++);
	if (mkdir(ret->dir, 0755))
		return false;
	if (unified) {
		put(ret->dir, "memory.swap.max", "0");
		limited = put(ret->dir, "memory.max", bytes);
	} else {
		limited = put(ret->dir, "memory.limit_in_bytes", bytes);
		put(ret->dir, "memory.memsw.limit_in_bytes", bytes);
		put(ret->dir, "memory.swappiness", "0");
	}
	if (!limited)
		rmdir(ret->dir);
	return limited;
}

bool memory_limit_open(size_t bytes, struct memory_limit *ret, const char **ret_why)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;
	char value[30];

	*ret_why = "no memory controller is mounted, or it may not be used";
	if (!mounts)
		return false;
	snprintf(value, sizeof(value), "%zu", bytes);
	while (!found && (m = getmntent(mounts))) {
		bool unified = !strcmp(m->mnt_type, "cgroup2");

		if (unified || (!strcmp(m->mnt_type, "cgroup") && hasmntopt(m, "memory")))
			found = strlen(m->mnt_dir) < 300 && try_group(m->mnt_dir, unified, value, ret);
		ret->throttles = unified;
	}
	endmntent(mounts);
	return found;
}

bool memory_limit_enter(const struct memory_limit *limit)
{
	return put(limit->dir, "cgroup.procs", "0");
}

/* The last process may still be on its way out. */
void memory_limit_close(struct memory_limit *limit)
{
	const struct timespec step = {.tv_nsec = 10000000};

	for (int i = 0; i < 500 && rmdir(limit->dir) && errno == EBUSY; i++)
		nanosleep(&step, NULL);
}
