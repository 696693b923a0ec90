/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is done around fork(). A process made by the bare clone system call, or by
 * _Fork(), goes unnoticed.
 *
 * Forks are counted, on both sides: after one, two processes map the same image, and
 * neither may change it in place any more.
 *
 * All locks of the library are taken before a fork, so that the child, which has only
 * one thread, finds them free and what they guard whole; but for the latch of the
 * guard, which the child makes free: latch.c says why that is enough.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "latch.h"
#include "lease.h"
#include "overlay.h"
#include "pager.h"

static atomic_uint generation;
static atomic_uint depth;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int registered;

static void before(void)
{
	retire_prepare_fork();
	/* Before all locks: who holds it may wait for threads that need what follows. */
	pager_before_fork();
	retire_before_fork();
	/* A first read-side section would take a lock that the next call keeps. */
	rcu_read_lock();
	rcu_read_unlock();
	/* First: whoever waits for a grace period holds none of our locks, but may wait for those who want one. */
	urcu_bp_before_fork();
	lease_before_fork();
	registry_lock();
	retire_lock();
	spill_before_fork();
}

static void after_in_parent(void)
{
	spill_after_fork();
	retire_unlock();
	registry_unlock();
	atomic_fetch_add(&generation, 1);
	lease_after_fork();
	urcu_bp_after_fork_parent();
	retire_after_fork(false);
	pager_after_fork();
}

static void after_in_child(void)
{
	latch_forget();
	spill_after_fork_in_child();
	retire_unlock();
	registry_unlock();
	atomic_fetch_add(&generation, 1);
	lease_after_fork_in_child();
	atomic_fetch_add(&depth, 1);
	urcu_bp_after_fork_child();
	retire_after_fork(true);
	pager_after_fork_in_child();
}

/* Before main(), so that no fork is missed. */
__attribute__((constructor)) static void start_early(void);

static void start_counting(void)
{
	registered = -pthread_atfork(before, after_in_parent, after_in_child);
}

static void start_early(void)
{
	pthread_once(&once, start_counting);
}

unsigned fork_depth(void)
{
	pthread_once(&once, start_counting);
	return atomic_load(&depth);
}

int fork_generation(unsigned *ret)
{
	pthread_once(&once, start_counting);
	if (registered)
		return registered;
	*ret = atomic_load(&generation);
	return 0;
}
