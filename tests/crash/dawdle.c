/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes the place of system calls (ld --wrap) in the workloads: now and then they wait
 * first. The steps of a commit follow each other so closely that a crash between two of
 * them would hardly ever be seen; like this each of them is as likely as the others.
 */
#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

static void dawdle(void)
{
	static atomic_ulong count;
	struct timespec t;
	uint64_t random;

	clock_gettime(CLOCK_MONOTONIC, &t);
	random = random_mix((uint64_t)t.tv_nsec, atomic_fetch_add(&count, 1));
	if (random_percent(&random, 12))
		usleep((useconds_t)random_below(&random, 3000));
}

#define WRAP(name, parameters, arguments)       \
	int __real_##name parameters;           \
	int __wrap_##name parameters;           \
	int __wrap_##name parameters            \
	{                                       \
		dawdle();                       \
		return __real_##name arguments; \
	}

WRAP(renameat2, (int a, const char *b, int c, const char *d, unsigned e), (a, b, c, d, e))
WRAP(linkat, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))
WRAP(unlinkat, (int a, const char *b, int c), (a, b, c))
WRAP(ftruncate, (int a, off_t b), (a, b))

ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	dawdle();
	return __real_pwrite(fd, buf, n, offset);
}

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	dawdle();
	return __real_ioctl(fd, request, argument);
}
