/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a run of the benchmarks found: the one form in which measuring, JSON, CSV,
 * the HTML report and comparing runs hand it to each other. It says where and how
 * something was measured, and every value of every round; what is derived
 * (quartiles, ratios, fits) is derived from these values by whoever shows it.
 */
#ifndef SNAPMAP_BENCH_RESULTS_H
#define SNAPMAP_BENCH_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a cell's parameter counts, which is the x axis of a chart. */
enum results_axis {
	AXIS_NONE,    /* the workload has one cell a place */
	AXIS_SIZE,    /* bytes of the file */
	AXIS_DIRTY,   /* pages edited */
	AXIS_EXTENTS, /* extents of the file */
	AXIS_THREADS, /* threads at once */
};

enum results_unit {
	UNIT_SECONDS,
	UNIT_BYTES,
};

enum results_status {
	STATUS_MEASURED,
	STATUS_UNSUPPORTED, /* not on this file system; @reason says why */
	STATUS_LEFT_OUT,    /* would be possible: no room, or not within the time; @reason */
	STATUS_BROKEN,	    /* an error; @reason */
};

/**
 * struct results_series - one contender in one cell
 * @name: of the contender, such as "snapmap, exchange" or "write temporary, fsync, rename"
 * @library: it is this library, and not a baseline
 * @lacks: NULL, or what makes the comparison unequal, such as "not atomic"
 * @status: and @reason, NULL if measured
 * @values: one for each round, in the order of the rounds; of all series of a cell
 *	round i was run side by side
 * @nvalues: rounds
 */
struct results_series {
	char *name;
	bool library;
	char *lacks;
	enum results_status status;
	char *reason;
	double *values;
	size_t nvalues;
};

/**
 * struct results_cell - contenders side by side, at one place with one parameter
 * @place: index into results.places
 * @workload: index into results.workloads
 * @parameter: what the workload's axis counts
 * @reference: index of the series that the others are compared with, round by round;
 *	the first baseline. nseries if there is none
 * @bar: the ratio, or without a reference the value, that the first series is not to
 *	exceed here; 0 for none
 * @status: of the cell as a whole, and @reason
 */
struct results_cell {
	size_t place;
	size_t workload;
	uint64_t parameter;
	struct results_series *series;
	size_t nseries;
	size_t reference;
	double bar;
	enum results_status status;
	char *reason;
};

/**
 * struct results_workload - what was done
 * @id: short and stable, for --filter, CSV and --compare, such as "commit-dirty"
 * @title: for people, such as "Commit, by number of edited pages"
 * @description: a sentence on what is timed and what is not
 * @group: heading under which reports show it, such as "Commit"
 */
struct results_workload {
	char *id;
	char *title;
	char *description;
	char *group;
	enum results_axis axis;
	enum results_unit unit;
};

/**
 * struct results_place - a directory that was measured
 * @name: row name, such as "xfs-exchange", or the directory as given
 * @type: type of the file system, "xfs"
 * @options: mount options
 * @device: what it lies on, such as "loop device, image on tmpfs"
 * @features: what snapmap_probe() found, such as "lease, reflink, copy; exchange, replace"
 */
struct results_place {
	char *name;
	char *type;
	char *options;
	char *device;
	char *features;
};

/**
 * struct results - a run
 * @machine: processor, number of them, memory
 * @kernel: uname -r
 * @library: snapmap_version()
 * @date: ISO 8601, UTC
 * @mode: "quick", "standard" or "full"
 * @rounds: at least that many for each cell
 * @seconds: how long the run took
 * @interrupted: what was not measured any more is left out
 */
struct results {
	char *machine;
	char *kernel;
	char *library;
	char *date;
	char *mode;
	unsigned rounds;
	double seconds;
	bool interrupted;
	struct results_place *places;
	size_t nplaces;
	struct results_workload *workloads;
	size_t nworkloads;
	struct results_cell *cells;
	size_t ncells;
};

void results_free(struct results *results);

#endif
