/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is measured. A workload has contenders, which do the same thing in different
 * ways, and points along an axis: a cell of the results is one point at one place,
 * with all contenders side by side. To add one: a file work_NAME.c with its
 * contenders and a struct workload, and a line in the table of workloads.c.
 */
#ifndef SNAPMAP_BENCH_WORKLOAD_H
#define SNAPMAP_BENCH_WORKLOAD_H

#include <snapmap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/results.h"
#include "bench/why.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct contender;
struct place;

/**
 * struct job - what a contender is to do
 * @place: where
 * @contender: who does it
 * @dir: directory there
 * @path: the file, of @size bytes; its own if contenders change it, else that of all
 * @size: bytes of the file
 * @count: pages to edit, threads, or handles to open: what the contender makes of it
 * @before: commits made before the first that counts
 * @clustered: edits lie in a few runs instead of all over the file
 * @warm: every page of the mapping was read before
 * @stopped: whether to give up, with any error
 * @why: may be filled in when returning an error; else the library's sentence or the
 *	text of the errno is taken
 */
struct job {
	const struct place *place;
	const struct contender *contender;
	const char *dir;
	const char *path;
	uint64_t size;
	unsigned count;
	unsigned before;
	bool clustered;
	bool warm;
	bool (*stopped)(void);
	struct why *why;
};

/**
 * struct contender - one way to do it
 * @name: for people; stable, for results are compared by it
 * @library: it is this library, and not a baseline
 * @lacks: what makes the comparison unequal, or NULL
 * @source: SNAPMAP_SOURCE_* that has to work at the place, or 0. What a baseline needs is
 *	called by the name of the source that needs the same.
 * @strategy: the same, SNAPMAP_STRATEGY_*
 * @start: before the first round; may be NULL, then @run gets the job
 * @run: does it once. Gives the cost in @ret: seconds, or bytes. It takes the time
 *	itself, for only it knows what is preparation and what is the job.
 * @stop: after the last round; may be NULL
 *
 * @start and @run return 0 or a negative errno; -EOPNOTSUPP is no failure.
 */
struct contender {
	const char *name;
	bool library;
	const char *lacks;
	uint32_t source;
	uint32_t strategy;
	int (*start)(const struct job *job, void **ret);
	int (*run)(void *state, double *ret);
	void (*stop)(void *state);
};

/* How long a run may take. A point is measured from its level upwards. */
enum level {
	LEVEL_QUICK,
	LEVEL_STANDARD,
	LEVEL_FULL,
};

/**
 * struct point - a value of the axis
 * @value: bytes, pages, extents, threads; 0 without an axis
 * @level: from which on it is measured
 * @bar: see struct results_cell
 */
struct point {
	uint64_t value;
	enum level level;
	double bar;
};

/* Points without a bar, by their level. */
#define QUICK(value)                    \
	{                               \
		(value), LEVEL_QUICK, 0 \
	}
#define STANDARD(value)                    \
	{                                  \
		(value), LEVEL_STANDARD, 0 \
	}
#define FULL(value)                    \
	{                              \
		(value), LEVEL_FULL, 0 \
	}

/**
 * struct workload - what is done, and how often
 * @id: and @title, @description, @group, @axis, @unit: see struct results_workload
 * @remark: one more sentence for the description, about this run; may be NULL
 * @points: along the axis, @npoints of them
 * @contenders: side by side; at most CONTENDERS_MAX, @ncontenders. A bar is for the
 *	first; the others are compared with the first baseline.
 * @size: bytes of the file, unless the axis says it
 * @sparse: the file is one hole
 * @count: see struct job, unless the axis says it
 * @before: see struct job
 * @clustered: see struct job
 * @warm: see struct job
 * @own_files: contenders change their file, so each gets one
 * @settle: what one leaves behind to be written is written before the next one's turn
 * @batch: a round is the median of up to so many runs, as many as take about a
 *	millisecond; 0 for one
 * @rounds: wanted if there is time for them; 0 for 15
 * @bar_applies: whether a bar is meant for this place
 */
struct workload {
	const char *id, *title, *description, *group;
	const char *(*remark)(void);
	enum results_axis axis;
	enum results_unit unit;
	const struct point *points;
	size_t npoints;
	const struct contender *contenders;
	size_t ncontenders;
	uint64_t size;
	bool sparse;
	unsigned count, before;
	bool clustered, warm, own_files, settle;
	unsigned batch, rounds;
	bool (*bar_applies)(const struct place *place);
};

#define CONTENDERS_MAX 16
#define POINTS(array) .points = (array), .npoints = sizeof(array) / sizeof((array)[0])
#define CONTENDERS(array) .contenders = (array), .ncontenders = sizeof(array) / sizeof((array)[0])

/* workloads.c: the table; NULL behind the last. */
const struct workload *workload_at(size_t i);
bool workload_has_bar(const struct workload *workload);

#endif
