/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a place supports, and why not more. */
#ifndef SNAPMAP_PROBE_H
#define SNAPMAP_PROBE_H

#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SNAPMAP_PROBE_SOURCES 8
#define SNAPMAP_PROBE_STRATEGIES 8

/**
 * struct snapmap_probe_entry - the verdict on one source or strategy
 * @id: SNAPMAP_SOURCE_* or SNAPMAP_STRATEGY_*
 * @error: 0 if it works here, else a negative errno
 * @reason: why not, as a sentence, or ""
 */
struct snapmap_probe_entry {
	uint32_t id;
	int32_t error;
	char reason[248];
};

/**
 * struct snapmap_probe - what a place supports
 * @file_system: name of the file system
 * @source: SNAPMAP_SOURCE_* that AUTO would use for struct snapmap, 0 for none
 * @source_mut: the same for struct snapmap_mut
 * @strategy: SNAPMAP_STRATEGY_* that AUTO would use, 0 for none
 * @nsources: entries in @sources
 * @nstrategies: entries in @strategies
 * @sources: in order of preference
 * @strategies: in order of preference
 * @reserved: zero
 */
struct snapmap_probe {
	char file_system[16];
	uint32_t source;
	uint32_t source_mut;
	uint32_t strategy;
	uint32_t nsources;
	uint32_t nstrategies;
	uint32_t reserved0;
	struct snapmap_probe_entry sources[SNAPMAP_PROBE_SOURCES];
	struct snapmap_probe_entry strategies[SNAPMAP_PROBE_STRATEGIES];
	uint64_t reserved[8];
};

/**
 * snapmap_probe() - find out what works for a file, or in a directory
 * @path: a regular file or a directory
 * @ret: gets the answer
 *
 * Tries things out, with files that have no name and with one page of data; what
 * it finds holds for a caller with the same rights. Nothing is left behind. A
 * large file is not copied for it.
 *
 * Return: 0, also if nothing works; -EINVAL for NULL; else the errno of opening
 * @path, as snapmap_open().
 */
int snapmap_probe(const char *path, struct snapmap_probe *ret);

#ifdef __cplusplus
}
#endif

#endif
