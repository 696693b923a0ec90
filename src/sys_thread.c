/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads of the library's own: they never take a signal of the application. And who a thread is. */
#include "config.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

/* Room for paths on the stack. More where the C library or a sanitizer wants more. */
#define STACK ((size_t)512 << 10)

pid_t sys_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

/* Of the calling thread: the user whose rights decide what may be opened. */
uid_t sys_geteuid(void)
{
	return geteuid();
}

gid_t sys_getegid(void)
{
	return getegid();
}

static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return !syscall(SYS_capget, &header, data) && (data[capability / 32].effective >> capability % 32 & 1);
}

/* The one in which user numbers are what they are: a namespace made by a user maps its own. */
static bool in_first_user_namespace(void)
{
	unsigned long inside = 1, outside = 1, count = 0;
	FILE *map = fopen("/proc/self/uid_map", "re");
	bool first;

	if (!map)
		return false;
	first = fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && !inside && !outside &&
		count == UINT32_MAX;
	fclose(map);
	return first;
}

/* CAP_SYS_ADMIN, which system calls of file systems ask for. */
bool sys_is_admin(void)
{
	return has_capability(CAP_SYS_ADMIN) && in_first_user_namespace();
}

static int create(pthread_t *thread, bool small, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	if (small)
		pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return -rc;
}

/* Of the calling thread, at most 15 characters. Naming another would take a descriptor for a moment. */
void sys_thread_name(const char *name)
{
	prctl(PR_SET_NAME, name);
}

/* That this process may use. */
unsigned sys_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

/* Born with all signals blocked. */
int sys_thread_start(void *(*run)(void *arg), void *arg, pthread_t *ret)
{
	sigset_t all, before;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	rc = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc)
		return -rc;
	rc = create(&thread, true, run, arg);
	if (rc == -EINVAL)
		rc = create(&thread, false, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return rc;
	*ret = thread;
	return 0;
}
