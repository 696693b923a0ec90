/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that are not those that answer, and so may ask the kernel. */
#ifndef SNAPMAP_JOBS_H
#define SNAPMAP_JOBS_H

#include <stdbool.h>

/* @look: called after each second for which jobs_wake() was called, and while it returns true */
int jobs_start(bool (*look)(void));
void jobs_stop(void);
/* False: no memory. */
bool job_add(void (*run)(void *arg), void *arg);
void jobs_wake(void);

#endif
