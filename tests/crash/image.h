/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other thing that is committed to: an image of a mini file system. Its versions are
 * its syncs, and count as those of FILE_F. Between two of them files inside are written,
 * patched, renamed, cloned and removed; what is in the image then follows from the seed
 * and the version alone, and the version stands in it.
 */
#ifndef SNAPMAP_CRASH_IMAGE_H
#define SNAPMAP_CRASH_IMAGE_H

#include <stdatomic.h>

#include "judge.h"

/*
 * Syncs for ever, or so many times, from a version on; 0: the image is made first. *@busy:
 * while it does. 0 or a negative errno.
 */
int image_work(struct act *a, uint64_t version, unsigned long syncs, uint64_t random, atomic_bool *busy);
/* In the working directory. Leaves the version that the image has then in the verdict. */
void image_judge(const struct judge *j, struct verdict *v);

#endif
