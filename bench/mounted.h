/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done with file systems that programs serve, so that two are compared. Only root may mount. */
#ifndef SNAPMAP_BENCH_MOUNTED_H
#define SNAPMAP_BENCH_MOUNTED_H

#include <limits.h>

#include "bench/workloads.h"

#define MOUNTED_TREE "/usr/include"

struct mounted;

/**
 * struct mounted_kind - one such file system
 * @name: makes names of files
 * @programs: that have to be installed, and NULL
 * @mount: makes what is below, and mounts it. 0 or a negative errno, with the job's why
 * @unmount: may be NULL
 * @remove: what is below; may be NULL
 */
struct mounted_kind {
	const char *name;
	const char *const *programs;
	int (*mount)(const struct mounted *s);
	int (*unmount)(const struct mounted *s);
	void (*remove)(const struct mounted *s);
};

/* @turn: how many runs there were; each has a directory of its own. */
struct mounted {
	const struct job *job;
	const struct mounted_kind *kind;
	char below[PATH_MAX], mount[PATH_MAX], directory[PATH_MAX + 16];
	unsigned turn;
	char *bytes; /* MIB of them */
};

int mounted_start(const struct job *job, const struct mounted_kind *kind, void **ret);
void mounted_stop(void *state);

/* What is measured, in a directory or with an open file. */
typedef int mounted_act(const struct mounted *s, int fd);
/* Makes a directory with a file "big", has it prepared, and measures. */
int mounted_timed(struct mounted *s, mounted_act *prepare, mounted_act *measured, double *ret);
/* A file of 1 GiB. */
mounted_act mounted_write_all;

int mounted_run_create(void *state, double *ret);
int mounted_run_stat(void *state, double *ret);
int mounted_run_write(void *state, double *ret);
int mounted_run_read(void *state, double *ret);
int mounted_run_flush(void *state, double *ret);
int mounted_run_random(void *state, double *ret);
int mounted_run_copy(void *state, double *ret);
int mounted_run_scattered(void *state, double *ret);
int mounted_run_scattered_read(void *state, double *ret);

#endif
