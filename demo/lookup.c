/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A lookup service: threads answer queries from a large sorted file, which somebody replaces
 * all the time. They never wait, and never see a mixture of two versions.
 *
 *	demo/lookup [DIR [SECONDS]]
 *
 * makes the file in DIR (the working directory) and removes it in the end.
 */
#include "config.h"

#include <pthread.h>
#include <snapmap.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define LINES 200000u
#define LINE 24u /* "%010u %012u\n" */

static struct snapmap_cell *cell;
static atomic_bool stop;
static _Atomic uint64_t queries, wrong, versions_seen;
static char path[4096], fresh[4096 + 4];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Each key has the version of the file as its value: so a mixture would show. */
static int write_version(unsigned version)
{
	FILE *f = fopen(fresh, "w");

	if (!f)
		return -1;
	for (unsigned i = 0; i < LINES; i++)
		fprintf(f, "%010u %012u\n", i * 7, version);
	return fclose(f) || rename(fresh, path) ? -1 : 0;
}

/* A file that somebody else wrote is checked before anybody is answered from it. */
static int is_valid(void *arg, const struct snapmap *map)
{
	(void)arg;
	return snapmap_size(map) == (size_t)LINES * LINE ? 0 : -1;
}

/* The value of a key, by halving; NULL if it is not there. */
static const char *look_up(const char *lines, size_t n, unsigned key)
{
	char wanted[11];
	size_t low = 0, high = n;

	snprintf(wanted, sizeof(wanted), "%010u", key);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(wanted, lines + middle * LINE, 10);

		if (!order)
			return lines + middle * LINE + 11;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static void *serve(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg * 2654435761u + 1;
	char last[13] = "";

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		const struct snapmap *map = snapmap_cell_enter(cell);
		const char *lines = (const char *)snapmap_data(map), *first = lines + 11;

		for (int i = 0; i < 100; i++) {
			const char *value;

			random = random * 1664525u + 1013904223u;
			value = look_up(lines, snapmap_size(map) / LINE, random % LINES * 7);
			if (!value || memcmp(value, first, 12) != 0)
				atomic_fetch_add(&wrong, 1);
		}
		if (memcmp(last, first, 12) != 0) {
			memcpy(last, first, 12);
			atomic_fetch_add(&versions_seen, 1);
		}
		snapmap_cell_leave(cell);
		atomic_fetch_add_explicit(&queries, 100, memory_order_relaxed);
	}
	return NULL;
}

static int run(double seconds)
{
	struct snapmap_options options = {.size = sizeof(options), .validate = is_valid};
	struct snapmap_cell_info info;
	pthread_t threads[THREADS];
	unsigned version = 1, started = 0;
	double begin = now();

	if (write_version(version) || snapmap_cell_open(path, &options, &cell)) {
		fprintf(stderr, "lookup: %s\n", snapmap_last_error()[0] ? snapmap_last_error() : "cannot write there");
		return 1;
	}
	while (started < THREADS && !pthread_create(&threads[started], NULL, serve, (void *)(uintptr_t)started))
		started++;
	while (now() - begin < seconds) {
		write_version(++version);
		usleep(20000);
	}
	atomic_store(&stop, true);
	while (started)
		pthread_join(threads[--started], NULL);
	snapmap_cell_get_info(cell, &info);
	printf("%llu queries by %d threads in %.1f s; the file was replaced %u times, %llu versions were published;\n"
	       "a thread saw %.1f of them on average; answers that mixed two versions: %llu\n",
	       (unsigned long long)queries, THREADS, now() - begin, version - 1, (unsigned long long)info.published,
	       (double)versions_seen / THREADS, (unsigned long long)wrong);
	snapmap_cell_close(cell);
	return wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
	int status;

	if (argc > 3) {
		fprintf(stderr, "Usage: %s [DIR [SECONDS]]\n", argv[0]);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/lookup.%ld", argc > 1 ? argv[1] : ".", (long)getpid());
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	status = run(argc > 2 ? atof(argv[2]) : 2);
	unlink(path);
	unlink(fresh);
	return status;
}
