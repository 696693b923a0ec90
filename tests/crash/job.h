/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One piece of work: a kind of crash on a row, with a seed. Kinds: power.c, live.c, full.c. */
#ifndef SNAPMAP_CRASH_JOB_H
#define SNAPMAP_CRASH_JOB_H

#include <stdatomic.h>

#include "judge.h"
#include "rows.h"

enum kind {
	KIND_POWER,  /* power cut, all or nothing of what was not flushed */
	KIND_SUBSET, /* power cut, parts of it */
	KIND_KILL,
	KIND_SHUTDOWN,
	KIND_FULL,
	KINDS
};

struct counts {
	atomic_ulong explored, faults[FAULTS];
};

/* Shared by all workers: what was found in a row. */
struct tally {
	struct counts counts[KINDS];
	atomic_bool unsupported;
	atomic_bool enough;   /* a row that has to be torn was */
	atomic_ulong refused; /* commits that a full file system made fail, as they should */
};

struct job {
	const struct row *row;
	const struct file_system *fs;
	const struct strategy *strategy;
	enum kind kind; /* KIND_POWER stands for KIND_SUBSET too */
	uint64_t seed;
	unsigned long count;
	struct tally *tally;
	char dir[200];	  /* for images and mounts, the worker's own */
	const char *keep; /* directory for records of what failed, or NULL */
	const char *bin;  /* directory of the programs */
};

int job_power(const struct job *job);
int job_kill(const struct job *job);
int job_shutdown(const struct job *job);
int job_full(const struct job *job);

/* One state of a record, told in full. 0 if there is no fault. */
int power_replay(const char *record, uint64_t seed, const char *dir);

/* Counts a verdict, and prints it if it is a fault: @again is how to see it again. */
void job_count(const struct job *job, enum kind kind, const struct verdict *v, const char *again);
/* Whether there is nothing left to find out. */
bool job_enough(const struct job *job);
/* Paths in the worker's directory */
void job_path(const struct job *job, const char *name, char *ret, size_t capacity);
/* Starts the workload in @dir; @marks: its end of the socket. */
pid_t job_start_workload(const struct job *job, const char *dir, int marks, unsigned long commits,
			 const uint64_t *versions);
/* Its exit status: whether to go on. Notes what is unsupported. */
bool job_judge_exit(const struct job *job, int status);

#endif
