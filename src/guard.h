/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages that cannot be read become zeros: SNAPMAP_GUARD. */
#ifndef SNAPMAP_GUARD_INTERNAL_H
#define SNAPMAP_GUARD_INTERNAL_H

#include "ranges.h"
#include "registry.h"

/* guard_signal.c. Puts our handler of SIGBUS in front, for an open that asks for it. 0 or -ENOMEM, quiet. */
int guard_install(void);

/* The same, and a mapping that it guards from then on, until registry_remove(). */
int guard_add(const struct mapping *mapping, bool writable, struct live **ret);
/* For a mapping that takes the place of another: pages that were lost stay lost, and so does the error. */
void guard_inherit(struct live *to, struct live *from);
/* The sticky error, 0 without one and for NULL. */
int guard_error(struct live *live);
/* After something was mapped over lost pages: they show zeros again. */
void guard_zero_again(struct live *live);
/*
 * Has @put map something over all that is not lost, run by run, until it fails: a page
 * that has been zeros once is zeros all the time. It is called under the latch.
 */
int guard_put_around(struct live *live, int (*put)(void *arg, size_t offset, size_t length), void *arg);
/* What lies behind the first @length bytes is no part of the handle any more. */
void guard_cut(struct live *live, size_t length);
/* The whole mapping becomes zeros, and the handle gets the error. 0 or -ENOMEM. */
int guard_zero_all(struct live *live, int error);
/* Copies @ranges without the lost pages in which nothing was stored since. 0 or -ENOMEM. */
int guard_filter(struct live *live, const struct ranges *ranges, struct ranges *ret);

#endif
