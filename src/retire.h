/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Freeing what readers under RCU may still be looking at. */
#ifndef SNAPMAP_RETIRE_H
#define SNAPMAP_RETIRE_H

#include <stdbool.h>

/**
 * struct retired - to be embedded in whatever RCU readers can find
 * @next: used by retire.c
 * @free: called once no reader can have it any more
 */
struct retired {
	struct retired *next;
	void (*free)(struct retired *retired);
};

/* Nobody can find it from now on; it is freed after a grace period, by some later retire_reap(). */
void retire(struct retired *retired, void (*free)(struct retired *retired));
/* For threads of the application, without locks: frees what was retired, if it is much. */
void retire_reap(void);
/* The same, however little it is. */
void retire_flush(void);
/*
 * Waits until no reader can have any more what nobody could find before the call. What is
 * freed because of that is freed before retire_go_on(). Not within a read-side section, nor
 * with locks that are taken before a fork.
 */
void retire_wait(void);
void retire_go_on(void);
/* Around fork(), by fork.c: nobody is inside in between. */
void retire_lock(void);
void retire_unlock(void);
/* Before any other lock: leaves read-side sections, and lets those who wait come to their end. */
void retire_prepare_fork(void);
void retire_before_fork(void);
void retire_after_fork(bool in_child);

#endif
