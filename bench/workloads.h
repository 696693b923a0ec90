/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table: one line for each workload, in the order in which they run. See struct workload. */
#ifndef SNAPMAP_BENCH_WORKLOADS_H
#define SNAPMAP_BENCH_WORKLOADS_H

#include "bench/place.h"
#include "bench/workload.h"

/* WORKLOAD(name in C) */
#define WORKLOADS                   \
	/* work_open.c */           \
	WORKLOAD(open_size)         \
	WORKLOAD(open_sparse)       \
	WORKLOAD(open_extents)      \
	WORKLOAD(open_touch)        \
	WORKLOAD(bare_open_reflink) \
	WORKLOAD(bare_open_lease)   \
	/* work_edit.c */           \
	WORKLOAD(edit_dirty)        \
	WORKLOAD(edit_size)         \
	WORKLOAD(bare_edit)

#define WORKLOAD(name) extern const struct workload name;
WORKLOADS
#undef WORKLOAD

#endif
