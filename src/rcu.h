/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The flavor of liburcu that the library uses: bp, for which no thread has to be
 * registered, and whose readers may be signal handlers. Its names take the
 * generic form (rcu_read_lock and so on) here.
 */
#ifndef SNAPMAP_RCU_H
#define SNAPMAP_RCU_H

/* Inline; but the address sanitizer complains of how liburcu aligns its own readers. */
#ifndef __SANITIZE_ADDRESS__
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

#endif
