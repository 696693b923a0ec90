/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that does not answer: an ext4 image behind a file of a FUSE server of our own,
 * which keeps all reads waiting for as long as it is told to. For root.
 */
#ifndef SNAPMAP_TESTS_SLOW_DISK_H
#define SNAPMAP_TESTS_SLOW_DISK_H

#include <stdatomic.h>
#include <sys/types.h>

struct slow_disk {
	pid_t server;
	atomic_bool *hold; /* reads wait while it is true */
};

/* Mounts one on "slow" in the working directory. 0, or -1 where that is not possible. */
int slow_disk_start(struct slow_disk *ret);
void slow_disk_stop(struct slow_disk *disk);

#endif
