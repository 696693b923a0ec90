/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparing the cost of two ways to do the same thing, on a machine that does other things too. */
#ifndef SNAPMAP_BENCH_HARNESS_H
#define SNAPMAP_BENCH_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct job - what is to be done
 * @dir: directory on the file system in question
 * @path: the file, of @size bytes
 * @size: bytes of the file
 * @count: pages to edit, or handles to open, or extents: what the contender makes of it
 * @before: commits made before the first that counts
 * @clustered: edits lie in a few runs instead of all over the file
 * @warm: every page of the mapping was read before
 */
struct job {
	const char *dir;
	const char *path;
	uint64_t size;
	unsigned count;
	unsigned before;
	bool clustered;
	bool warm;
};

/**
 * struct contender - one way to do it
 * @name: for people
 * @start: before the first round; may be NULL. @ret is handed to the other two.
 * @run: does it once. Gives the cost in @ret: seconds, or bytes. It takes the
 *	time itself, for only it knows what is preparation and what is the job.
 * @stop: after the last round; may be NULL
 *
 * @start and @run return 0 or a negative errno.
 */
struct contender {
	const char *name;
	int (*start)(const struct job *job, void **ret);
	int (*run)(void *state, double *ret);
	void (*stop)(void *state);
};

/**
 * struct comparison - contenders and how often they run
 * @job: the job of the subject
 * @baseline_job: the job of the baseline; the same, but for @path if both change their file
 * @subject: what is measured
 * @baseline: what it is compared with; NULL if only the value counts
 * @rounds: at least HARNESS_ROUNDS_MIN
 * @batch: a round is the median of that many runs in a row
 */
struct comparison {
	struct job job;
	struct job baseline_job;
	const struct contender *subject;
	const struct contender *baseline;
	unsigned rounds;
	unsigned batch;
};

#define HARNESS_ROUNDS_MIN 5u
#define HARNESS_ROUNDS_MAX 1000u

struct quartiles {
	double low;
	double median;
	double high;
};

/* @ratio: of the pairs, each a round of the subject over the round of the baseline next to it */
struct result {
	struct quartiles subject;
	struct quartiles baseline;
	struct quartiles ratio;
};

int harness_compare(const struct comparison *comparison, struct result *ret);

/* Sorts the values. */
struct quartiles harness_quartiles(double *values, unsigned n);

/* Seconds of a clock that only goes forward. */
double harness_now(void);

#endif
