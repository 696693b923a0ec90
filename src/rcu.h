/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The flavor of liburcu that the library uses: bp, for which no thread has to be
 * registered, and whose readers may be signal handlers. Its names take the
 * generic form (rcu_read_lock and so on) here.
 */
#ifndef SNAPMAP_RCU_H
#define SNAPMAP_RCU_H

/* Inline; but the sanitizers complain of how liburcu 0.13 aligns its own readers. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define _LGPL_SOURCE
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <urcu-bp.h>
#include <urcu/rculfhash.h>
#include <urcu/rculist.h>
#pragma GCC diagnostic pop

/*
 * What liburcu orders the thread sanitizer does not see, so it is told: that what was
 * put in place is whole when it is found, and that sections end before the grace
 * period does.
 */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char rcu_sections; /* retire.c */
#define rcu_publish(p) __tsan_release(p)
#define rcu_found(p) __tsan_acquire(p)
#undef rcu_read_unlock
#define rcu_read_unlock() (__tsan_release(&rcu_sections), urcu_bp_read_unlock())
#undef synchronize_rcu
#define synchronize_rcu() (urcu_bp_synchronize_rcu(), __tsan_acquire(&rcu_sections))
#else
#define rcu_publish(p) ((void)(p))
#define rcu_found(p) ((void)(p))
#endif

#endif
