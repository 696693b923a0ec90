/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Noticing forks. After one, two processes map the same image, and neither may
 * change it in place any more. Both sides count, so that both notice. A process
 * made by the bare clone system call goes unnoticed.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "overlay.h"

static atomic_uint generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int registered;

static void count(void)
{
	atomic_fetch_add(&generation, 1);
}

static void start_counting(void)
{
	registered = -pthread_atfork(NULL, count, count);
}

int fork_generation(unsigned *ret)
{
	pthread_once(&once, start_counting);
	if (registered)
		return registered;
	*ret = atomic_load(&generation);
	return 0;
}
