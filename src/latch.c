/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one lock that signal handlers may take.
 *
 * Whoever holds it has all signals blocked and touches no memory that can fault,
 * so no handler runs in the thread that holds it, and waiting for it in a handler
 * ends. It is a futex and not a spinlock: a waiter of high priority must not keep
 * the holder from running. In a child of fork() nobody holds it, whatever a thread
 * of the parent did; what that thread had not finished, the child finds as after a
 * fault that was not dealt with yet, and deals with again.
 */
#include "config.h"

#include "latch.h"

#include <stdatomic.h>

#include "sys.h"

enum {
	FREE,
	TAKEN,
	WAITED_FOR
};

static atomic_uint state;

void latch_forget(void)
{
	atomic_store(&state, FREE);
}

void latch_take(sigset_t *ret_mask)
{
	unsigned expected = FREE;

	sys_block_signals(ret_mask);
	if (atomic_compare_exchange_strong(&state, &expected, TAKEN))
		return;
	while (atomic_exchange(&state, WAITED_FOR) != FREE)
		sys_futex_wait(&state, WAITED_FOR);
}

void latch_give(const sigset_t *mask)
{
	if (atomic_exchange(&state, FREE) == WAITED_FOR)
		sys_futex_wake(&state, 1);
	sys_sigmask(SIG_SETMASK, mask, NULL);
}
