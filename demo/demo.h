/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The demonstration: a story that is checked while it is told, and a table. */
#ifndef SNAPMAP_DEMO_H
#define SNAPMAP_DEMO_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define MIB ((uint64_t)1 << 20)
#define PAGES 16u /* edited by each commit */

/**
 * struct stage - where the demonstration takes place
 * @name: of the file system
 * @dir: a directory on it
 * @path: the file
 * @size: its bytes
 * @original: word at the start of each page that will be edited, as it was at first
 */
struct stage {
	char name[64];
	char dir[PATH_MAX - 64];
	char path[PATH_MAX];
	uint64_t size;
	uint64_t original[PAGES];
};

/* Medians in seconds. */
struct costs {
	char source[16];
	double open;
	double mmap;
	double open_mut;
	double commit;
	double rewrite;
};

/* demo.c: says what happens, in the margin who does it */
void say(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends this file system's part unless @condition holds. */
void must(bool condition, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call of the library: 0 or more is well. */
void must_do(long rc, const char *what);

/* pages.c: the pages that are edited, and what the file has there */
uint64_t page_offset(const struct stage *stage, unsigned page);
void pages_remember(struct stage *stage);
void pages_store(const struct stage *stage, char *base, uint64_t version);
/* 0: all as at first; else the version that all have; UINT64_MAX: a mix. */
uint64_t pages_version(const struct stage *stage, int fd);
uint64_t pages_version_in(const struct stage *stage, const char *base);
uint64_t checksum(const void *data, uint64_t size);

/* story.c */
void tell_snapshot(struct stage *stage);
void tell_commit(struct stage *stage);

/* costs.c */
void measure(const struct stage *stage, struct costs *ret);

#endif
