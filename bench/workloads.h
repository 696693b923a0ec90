/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table: one line for each workload, in the order in which they run. See struct workload. */
#ifndef SNAPMAP_BENCH_WORKLOADS_H
#define SNAPMAP_BENCH_WORKLOADS_H

#include "bench/place.h"
#include "bench/workload.h"

/* The name in C of each, from the file work_*.c before it. */
#define WORKLOADS                        \
	/* work_open.c */                \
	WORKLOAD(open_size)              \
	WORKLOAD(open_sparse)            \
	WORKLOAD(open_extents)           \
	WORKLOAD(open_touch)             \
	/* work_scan.c */                \
	WORKLOAD(scan_warm)              \
	WORKLOAD(scan_cold)              \
	WORKLOAD(scan_random)            \
	/* work_edit.c */                \
	WORKLOAD(edit_dirty)             \
	WORKLOAD(edit_size)              \
	WORKLOAD(edit_source)            \
	WORKLOAD(edit_trial)             \
	/* work_commit.c */              \
	WORKLOAD(commit_dirty)           \
	WORKLOAD(commit_size)            \
	WORKLOAD(commit_sparse)          \
	WORKLOAD(commit_extents)         \
	WORKLOAD(commit_young)           \
	WORKLOAD(commit_aged)            \
	WORKLOAD(open_young)             \
	WORKLOAD(open_aged)              \
	/* work_resize.c */              \
	WORKLOAD(resize_size)            \
	/* work_dirty.c */               \
	WORKLOAD(edits_find)             \
	WORKLOAD(edits_rollback)         \
	/* work_writer.c */              \
	WORKLOAD(writer_wait)            \
	/* work_threads.c */             \
	WORKLOAD(threads_open)           \
	/* work_memory.c */              \
	WORKLOAD(memory_map)             \
	WORKLOAD(memory_mut)             \
	WORKLOAD(memory_plain)           \
	/* work_minifs.c */              \
	WORKLOAD(mounted_create)         \
	WORKLOAD(mounted_stat)           \
	WORKLOAD(mounted_write)          \
	WORKLOAD(mounted_read)           \
	WORKLOAD(mounted_flush)          \
	WORKLOAD(mounted_random)         \
	WORKLOAD(mounted_copy)           \
	/* work_snapfs.c */              \
	WORKLOAD(wrapped_create)         \
	WORKLOAD(wrapped_stat)           \
	WORKLOAD(wrapped_write)          \
	WORKLOAD(wrapped_read)           \
	WORKLOAD(wrapped_scattered)      \
	WORKLOAD(wrapped_scattered_read) \
	WORKLOAD(wrapped_copy)           \
	WORKLOAD(wrapped_snapshot)       \
	WORKLOAD(wrapped_overwrite)      \
	/* work_segment.c */             \
	WORKLOAD(segment_read)           \
	WORKLOAD(segment_touch)          \
	WORKLOAD(segment_write)          \
	WORKLOAD(segment_small)          \
	/* work_tree.c */                \
	WORKLOAD(tree_open)              \
	WORKLOAD(tree_walk)              \
	WORKLOAD(tree_lookup)            \
	WORKLOAD(tree_touch)             \
	/* work_cell.c */                \
	WORKLOAD(cell_enter)             \
	WORKLOAD(cell_longest)           \
	/* work_image.c */               \
	WORKLOAD(in_image_clone)         \
	WORKLOAD(in_image_map)           \
	WORKLOAD(in_image_lookup)        \
	WORKLOAD(in_image_open)          \
	/* against the bare calls */     \
	WORKLOAD(bare_open_reflink)      \
	WORKLOAD(bare_open_lease)        \
	WORKLOAD(bare_scan_lease)        \
	WORKLOAD(bare_edit)              \
	WORKLOAD(bare_exchange)          \
	WORKLOAD(bare_exchange_aged)     \
	WORKLOAD(bare_replace)           \
	WORKLOAD(bare_clone_into)        \
	WORKLOAD(dirty_at_random)        \
	WORKLOAD(dirty_in_runs)          \
	WORKLOAD(dirty_all_read)

#define WORKLOAD(name) extern const struct workload name;
WORKLOADS
#undef WORKLOAD

#endif
