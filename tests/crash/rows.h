/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which file systems and strategies are explored: the only place that names them. */
#ifndef SNAPMAP_CRASH_ROWS_H
#define SNAPMAP_CRASH_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

/* @name: a row of tests/volume */
struct file_system {
	const char *name;
	const char *type;
	const char *size;
	const char *options; /* of mount */
	bool shutdown;	     /* has the shutdown ioctl */
};

struct strategy {
	const char *name;
	uint32_t id;
	bool keeps_inode; /* so hard links stay */
	bool image;	  /* not files but an image of a mini file system: image.h */
	bool plain_reads; /* whoever reads without the library sees one version too */
};

/*
 * @torn: not a row that is to hold, but a test of the harness: it has to find a torn
 * state. @workload: the program that commits.
 */
struct row {
	const char *file_system;
	const char *strategy;
	const char *workload;
	bool torn;
	enum shape shape; /* of the first file */
};

extern const struct row rows[];
extern const size_t row_count;

/* NULL if there is none of the name. */
const struct file_system *file_system_named(const char *name);
const struct strategy *strategy_named(const char *name);
/* "xfs:replace", or "xfs:replace:nofsync" */
void row_name(const struct row *r, char *ret, size_t capacity);
const struct row *row_named(const char *name);

#endif
