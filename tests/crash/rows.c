/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rows.h. */
#include "config.h"

#include "rows.h"

#include <snapmap.h>
#include <stdio.h>
#include <string.h>

static const struct file_system file_systems[] = {
	{"xfs", "xfs", "300M", "nouuid", true},
	{"xfs-exchange", "xfs", "300M", "nouuid", true},
	{"btrfs", "btrfs", "256M", "", false},
	{"ext4", "ext4", "520M", "noinit_itable", true},
	/* Blocks smaller than a page, and of XFS with few extents in each. */
	{"ext4-small", "ext4", "128M", "", true},
	{"xfs-exchange-1k", "xfs", "300M", "nouuid", true},
};

static const struct strategy strategies[] = {
	{"replace", SNAPMAP_STRATEGY_REPLACE, .plain_reads = true},
	/* What it refuses, files that grow, is replaced: so the inode changes now and then. */
	{"exchange", SNAPMAP_STRATEGY_EXCHANGE, .plain_reads = true},
	{"journal", SNAPMAP_STRATEGY_JOURNAL, .keeps_inode = true},
	{"minifs", .image = true},
	{"clone", SNAPMAP_STRATEGY_CLONE, .keeps_inode = true, .plain_reads = true},
};

/* A row whose strategy answers -EOPNOTSUPP is skipped. */
const struct row rows[] = {
	{"xfs-exchange", "exchange", "crash_workload", false, SHAPE_ANY},
	{"xfs-exchange-1k", "exchange", "crash_workload", false, SHAPE_FRAGMENTED},
	{"xfs-exchange", "replace", "crash_workload", false, SHAPE_ANY},
	{"xfs-exchange", "journal", "crash_workload", false, SHAPE_ANY},
	{"xfs", "replace", "crash_workload", false, SHAPE_ANY},
	{"xfs", "journal", "crash_workload", false, SHAPE_ANY},
	{"btrfs", "replace", "crash_workload", false, SHAPE_ANY},
	{"btrfs", "journal", "crash_workload", false, SHAPE_ANY},
	{"ext4", "replace", "crash_workload", false, SHAPE_ANY},
	{"ext4-small", "replace", "crash_workload", false, SHAPE_ANY},
	{"ext4", "journal", "crash_workload", false, SHAPE_ANY},
	{"xfs-exchange", "minifs", "crash_workload", false, SHAPE_ANY},
	{"xfs", "minifs", "crash_workload", false, SHAPE_ANY},
	{"btrfs", "minifs", "crash_workload", false, SHAPE_ANY},
	{"ext4", "minifs", "crash_workload", false, SHAPE_ANY},
	/*
	 * A clone of few extents is one transaction most of the time, and shows no tear; one of
	 * hundreds is many, and whoever flushes another file brings some of them to the disk.
	 */
	{"xfs", "clone", "crash_workload", true, SHAPE_SCATTERED},
	{"btrfs", "clone", "crash_workload", true, SHAPE_SCATTERED},
	{"xfs", "replace", "crash_workload_nofsync", true, SHAPE_ANY},
	{"xfs", "minifs", "crash_workload_nofsync", true, SHAPE_ANY},
	{"ext4", "minifs", "crash_workload_nofsync", true, SHAPE_ANY},
};
const size_t row_count = sizeof(rows) / sizeof(rows[0]);

const struct file_system *file_system_named(const char *name)
{
	for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++)
		if (!strcmp(file_systems[i].name, name))
			return &file_systems[i];
	return NULL;
}

const struct strategy *strategy_named(const char *name)
{
	for (size_t i = 0; i < sizeof(strategies) / sizeof(strategies[0]); i++)
		if (!strcmp(strategies[i].name, name))
			return &strategies[i];
	return NULL;
}

void row_name(const struct row *r, char *ret, size_t capacity)
{
	const char *variant = strrchr(r->workload, '_');

	snprintf(ret, capacity, "%s:%s%s%s", r->file_system, r->strategy, !strcmp(variant, "_workload") ? "" : ":",
		 !strcmp(variant, "_workload") ? "" : variant + 1);
}

const struct row *row_named(const char *name)
{
	char other[64];

	for (size_t i = 0; i < row_count; i++) {
		row_name(&rows[i], other, sizeof(other));
		if (!strcmp(other, name))
			return &rows[i];
	}
	return NULL;
}
