/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: libsnapmap
 *
 * A file as plain memory that nobody else can change, and edits that are
 * published atomically.
 *
 *   struct snapmap      a read-only snapshot of a file     <snapmap/map.h>
 *   struct snapmap_mut  an editable one, with commit       <snapmap/map_mut.h>
 *   struct snapmap_segment  memory that files are read into
 *                       when it is touched                 <snapmap/segment.h>
 *   struct snapmap_tree a directory tree, read when it is
 *                       touched                            <snapmap/tree.h>
 *   struct snapmap_cell the newest snapshot of a file that
 *                       changes, for many threads          <snapmap/cell.h>
 *
 * Conventions. Every function that can fail returns 0 (or a count) or a
 * negative errno, and leaves its outputs alone when it fails;
 * snapmap_last_error() then has a sentence about it. Nothing here prints,
 * exits, raises a signal, changes a signal disposition (but that of SIGBUS, if a
 * handle is opened with SNAPMAP_GUARD: <snapmap/guard.h>), the working directory or
 * the umask. Every descriptor the library opens is close-on-exec. A thread must not
 * be cancelled (pthread_cancel) inside a call.
 *
 * Requires Linux 5.6. What later kernels add is found by asking.
 */
#ifndef SNAPMAP_H
#define SNAPMAP_H

#include <snapmap/cell.h>
#include <snapmap/guard.h>
#include <snapmap/map.h>
#include <snapmap/map_mut.h>
#include <snapmap/probe.h>
#include <snapmap/segment.h>
#include <snapmap/tree.h>
#include <snapmap/types.h>

#endif
