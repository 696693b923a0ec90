/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For stress tests: how long, how much, and processes that do to a file whatever can
 * be done to it. Nothing here makes a check, so threads and children may call it.
 */
#ifndef SNAPMAP_TESTS_STRESS_H
#define SNAPMAP_TESTS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Long runs (make stress) set SNAPMAP_STRESS_SECONDS; else a test takes about @seconds. */
double stress_seconds(double seconds);
bool stress_is_long(void);
uint64_t stress_now(void); /* nanoseconds */
uint64_t stress_end(double seconds);

/* Compares all of it, and adds the words that were read to *@reads. */
bool stress_same(const void *bytes, const void *wanted, size_t n, uint64_t *reads);
/* Whether all words are the same one; @n in bytes. What does not fill a word is not looked at. */
bool stress_uniform(const void *bytes, size_t n, uint64_t *reads);
/* Writes a file from its start; 0 or -1. */
int stress_write(const char *path, int flags, const void *bytes, size_t n);

/* What is done to a file. Each act may fail where a file system lacks it. */
struct stress_act {
	const char *name;
	void (*act)(const char *path);
	bool breaks; /* a lease on the file cannot outlast it */
};
extern const struct stress_act stress_acts[];
extern const int stress_act_count;

/* A process that acts on demand. */
struct attacker {
	pid_t pid;
	int orders;
	struct attack *attack; /* shared */
};

/* Before there are threads. 0 or -1. */
int attacker_start(struct attacker *ret);
void attacker_stop(struct attacker *a);
void attacker_order(struct attacker *a, int act, const char *path);
bool attacker_is_done(const struct attacker *a);
void attacker_wait(const struct attacker *a);

/* Processes that write whole files, one word over and over, each time another. */
struct writers {
	pid_t pids[8];
	int count;
	struct writing *shared;
};

struct writing {
	atomic_bool stop;
	atomic_ulong writes;
	atomic_ulong longest; /* wait of one of them, in nanoseconds */
};

/* Over files "f0" and so on, of at most @size bytes. 0 or -1. */
int writers_start(struct writers *ret, int count, unsigned files, size_t size, uint64_t seed);
void writers_stop(struct writers *w);

#endif
