/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for a word to change. Safe in signal handlers, and no cancellation point. */
#include "config.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

/* Returns at once unless *@word is @value; may return early. Only threads of this process wake it. */
void sys_futex_wait(atomic_uint *word, unsigned value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void sys_futex_wake(atomic_uint *word, unsigned threads)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}
