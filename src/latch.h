/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one lock that signal handlers may take. */
#ifndef SNAPMAP_LATCH_H
#define SNAPMAP_LATCH_H

#include <signal.h>

/* All signals are blocked until latch_give(). Memory that may fault must not be touched in between. */
void latch_take(sigset_t *ret_mask);
void latch_give(const sigset_t *mask);
/* In a child of fork(), by fork.c. */
void latch_forget(void);

#endif
