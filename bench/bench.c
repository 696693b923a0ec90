/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library costs beside the bare system calls, on each file system.
 *
 *   bench [-r ROUNDS] [-f FILE-SYSTEM] [WORD...]
 *
 * Runs the rows of the table below whose title contains one of the words. File
 * systems come from $SNAPMAP_TEST_FS (see tests/with-fs), else the working
 * directory is taken. To measure something else: write a contender, one file;
 * name it in contenders.h; add a row.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <snapmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/fs.h>

#include "bench/contenders.h"
#include "bench/files.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/**
 * struct row - a comparison as it stands in the table
 * @title: what is done
 * @subject: whose cost it is
 * @baseline: compared with this one, or NULL
 * @bar: the ratio, or without a baseline the value, not to be exceeded; 0 for none
 * @size: bytes of the file
 * @sparse: it is one hole
 * @extents: instead of @size: blocks with holes between them
 * @count: see struct job
 * @before: see struct job
 * @clustered: see struct job
 * @warm: see struct job
 * @own_files: both change their file, so each gets one
 * @reflink: only where extents can be shared
 * @lease: only where files can be leased
 * @copying: the bar is for file systems without reflinks
 * @exchange: only where blocks can be exchanged
 * @bytes: the values are bytes and not seconds
 * @rounds: how many, if not given on the command line
 * @batch: see struct comparison
 */
struct row {
	const char *title;
	const struct contender *subject;
	const struct contender *baseline;
	double bar;
	uint64_t size;
	unsigned extents;
	unsigned count, before;
	bool clustered, warm, own_files, sparse, reflink, lease, exchange, copying, bytes;
	unsigned rounds, batch;
};

#define ONE_PERCENT (unsigned)(GIB / PAGE / 100)

/* Sorted by size, for a file serves all rows in succession that want the same. */
static const struct row table[] = {
	{"open by reflink, 1 MiB", &open_reflink, &bare_reflink, 1.15, .size = MIB, .reflink = true, .rounds = 31,
	 .batch = 40},
	{"open by lease, 1 MiB", &open_lease, &bare_open, 1.5, .size = MIB, .lease = true, .rounds = 31, .batch = 100},
	{"writer's wait, 1 MiB", &writer_wait, &bare_image, 0, .size = MIB, .lease = true, .rounds = 31, .batch = 1},
	{"8 threads open by lease", &threads_lease, &bare_threads, 1.25, .size = MIB, .count = 8, .lease = true,
	 .rounds = 15, .batch = 1},
	{"open as it comes, 1 MiB", &open_auto, &bare_mmap, 0, .size = MIB, .rounds = 15, .batch = 20},
	{"open and read a page, 1 MiB", &open_and_touch, &bare_mmap_and_touch, 0, .size = MIB, .rounds = 15,
	 .batch = 20},
	{"exchange 16 pages, 1 MiB", &commit_exchange, &bare_exchange, 0, .size = MIB, .count = 16, .own_files = true,
	 .exchange = true, .rounds = 15, .batch = 1},
	{"memory, snapmap", &memory_of_map, NULL, 64.0 * KIB, .size = MIB, .count = 1000, .bytes = true, .rounds = 5,
	 .batch = 1, .reflink = true},
	{"memory, snapmap_mut", &memory_of_map_mut, NULL, 64.0 * KIB, .size = MIB, .count = 1000, .bytes = true,
	 .rounds = 5, .batch = 1, .reflink = true},
	{"edit 16 pages, 64 MiB", &edit_whole, &bare_edit, 1.2, .size = 64 * MIB, .count = 16, .own_files = true,
	 .copying = true, .rounds = 15, .batch = 1},
	{"open by copy, 64 MiB", &open_copy, &bare_copy, 0, .size = 64 * MIB, .rounds = 9, .batch = 1},
	{"commit 16 pages, 64 MiB", &commit_replace, &bare_rewrite, 0, .size = 64 * MIB, .count = 16, .own_files = true,
	 .rounds = 7, .batch = 1},
	{"exchange 1 page, 512 MiB", &commit_exchange, &bare_exchange, 1.3, .size = 512 * MIB, .count = 1,
	 .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 10 pages, 512 MiB", &commit_exchange, &bare_exchange, 0, .size = 512 * MIB, .count = 10,
	 .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 100 pages, 512 MiB", &commit_exchange, &bare_exchange, 0, .size = 512 * MIB, .count = 100,
	 .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 1000, 20 before", &commit_exchange, &bare_exchange, 0, .size = 512 * MIB, .count = 1000,
	 .before = 20, .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"1000 and the way of the crate", &commit_exchange, &bare_clone_back, 0.333, .size = 512 * MIB, .count = 1000,
	 .before = 20, .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 10000 pages, 512 MiB", &commit_exchange, &bare_exchange, 0, .size = 512 * MIB, .count = 10000,
	 .own_files = true, .exchange = true, .rounds = 5, .batch = 1},
	{"exchange 100000 pages, 512 MiB", &commit_exchange, &bare_exchange, 0, .size = 512 * MIB, .count = 100000,
	 .own_files = true, .exchange = true, .rounds = 5, .batch = 1},
	{"edit 1 page, 512 MiB", &edit_whole, &bare_edit, 0, .size = 512 * MIB, .count = 1, .own_files = true,
	 .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 16, 1000 extents", &commit_exchange, &bare_exchange, 0, .extents = 1000, .count = 16,
	 .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 16, 50000 extents", &commit_exchange, &bare_exchange, 0, .extents = 50000, .count = 16,
	 .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"open by reflink, 1000 extents", &open_reflink, &bare_reflink, 0, .extents = 1000, .reflink = true,
	 .rounds = 15, .batch = 5},
	{"exchange 16 pages, 4 GiB hole", &commit_exchange, &bare_exchange, 0, .size = 4 * GIB, .sparse = true,
	 .count = 16, .own_files = true, .exchange = true, .rounds = 15, .batch = 1},
	{"exchange 16 pages, 1 GiB", &commit_exchange, &bare_exchange, 0, .size = GIB, .count = 16, .own_files = true,
	 .exchange = true, .rounds = 15, .batch = 1},
	{"open by reflink, 1 GiB", &open_reflink, &bare_reflink, 1.15, .size = GIB, .reflink = true, .rounds = 31,
	 .batch = 40},
	{"open by lease, 1 GiB", &open_lease, &bare_open, 1.5, .size = GIB, .lease = true, .rounds = 31, .batch = 100},
	{"sum by lease, warm 1 GiB", &sum_lease, &bare_sum, 1.03, .size = GIB, .lease = true, .rounds = 15, .batch = 1},
	{"writer's wait, 1 GiB", &writer_wait, &bare_image, 2.0, .size = GIB, .lease = true, .rounds = 15, .batch = 1},
	{"open for editing, 1 GiB", &open_mut, &bare_reflink, 0, .size = GIB, .reflink = true, .rounds = 15,
	 .batch = 20},
	{"dirty scan, 1 % at random", &scan, NULL, 0.010, .size = GIB, .count = ONE_PERCENT, .reflink = true,
	 .rounds = 15, .batch = 1},
	{"dirty scan, 1 % in 16 runs", &scan, NULL, 0.010, .size = GIB, .count = ONE_PERCENT, .clustered = true,
	 .reflink = true, .rounds = 15, .batch = 1},
	{"dirty scan, random, all read", &scan, NULL, 0.010, .size = GIB, .count = ONE_PERCENT, .warm = true,
	 .reflink = true, .rounds = 15, .batch = 1},
	{"commit by replace, 16 pages", &commit_replace, &bare_commit_replace, 1.3, .size = GIB, .count = 16,
	 .own_files = true, .reflink = true, .rounds = 31, .batch = 1},
	{"commit by clone, 16 pages", &commit_clone, &bare_commit_clone, 1.3, .size = GIB, .count = 16,
	 .own_files = true, .reflink = true, .rounds = 31, .batch = 1},
};

struct place {
	char name[64];
	char dir[PATH_MAX - 64];
	bool reflink, lease, exchange;
	char path[PATH_MAX];
	const struct row *made_for;
};

static unsigned rounds_wanted;
static unsigned met, missed, failed;

static bool has_source(const char *dir, uint32_t source)
{
	struct snapmap_probe probe;

	if (snapmap_probe(dir, &probe))
		return false;
	for (uint32_t i = 0; i < probe.nsources; i++)
		if (probe.sources[i].id == source)
			return !probe.sources[i].error;
	return false;
}

static bool has_strategy(const char *dir, uint32_t strategy)
{
	struct snapmap_probe probe;

	if (snapmap_probe(dir, &probe))
		return false;
	for (uint32_t i = 0; i < probe.nstrategies; i++)
		if (probe.strategies[i].id == strategy)
			return !probe.strategies[i].error;
	return false;
}

/* Gives back what a file took in the image that the file system lies in. */
static void trim(const char *dir)
{
	struct fstrim_range range = {.len = UINT64_MAX};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	syncfs(fd);
	(void)!ioctl(fd, FITRIM, &range);
	close(fd);
}

static int make_file(struct place *place, const struct row *row)
{
	struct statvfs st;

	if (place->made_for && place->made_for->size == row->size && place->made_for->sparse == row->sparse &&
	    place->made_for->extents == row->extents)
		return 0;
	unlink(place->path);
	trim(place->dir);
	place->made_for = row;
	if (row->sparse)
		return file_make_sparse(place->path, row->size);
	if (row->extents)
		return file_make_fragmented(place->path, row->extents);
	if (!statvfs(place->dir, &st) && (uint64_t)st.f_bavail * st.f_frsize < row->size + 16 * MIB)
		return -ENOSPC;
	return file_make(place->path, row->size);
}

static void print_value(double value, bool bytes)
{
	if (bytes)
		printf(" %6.2f KiB", value / (double)KIB);
	else if (value < 1e-3)
		printf(" %7.1f us", value * 1e6);
	else
		printf(" %7.2f ms", value * 1e3);
}

/* The bars are meant for file systems as they are, and not for a layer above them. */
static bool has_bars(const struct place *place, const struct row *row)
{
	if (row->copying)
		return !place->reflink && strcmp(place->name, "fuse");
	if (row->exchange)
		return place->exchange;
	return (row->lease ? place->lease : place->reflink) && !strstr(place->name, "overlay");
}

static void print_result(const struct place *place, const struct row *row, const struct result *r)
{
	double judged = row->baseline ? r->ratio.median : r->subject.median;
	bool ok = judged <= row->bar;

	printf("  %-29s", row->title);
	print_value(r->subject.median, row->bytes);
	if (row->baseline) {
		print_value(r->baseline.median, row->bytes);
		printf(" %5.2f %5.2f-%-5.2f", r->ratio.median, r->ratio.low, r->ratio.high);
	} else {
		printf(" %23s", "");
	}
	if (row->bar != 0 && has_bars(place, row)) {
		if (row->baseline)
			printf(" %5.2f", row->bar);
		else if (row->bytes)
			printf(" %.0f KiB", row->bar / (double)KIB);
		else
			printf(" %.0f ms", row->bar * 1e3);
		printf(" %s", ok ? "met" : "MISSED");
		met += ok;
		missed += !ok;
	}
	putchar('\n');
	fflush(stdout);
}

static void own_file(char *path, size_t n, const struct place *place, const char *side)
{
	snprintf(path, n, "%s/%s", place->dir, side);
}

/* Where both change their file, each gets its own; the same extents stand behind both if possible. */
static int make_own_files(struct comparison *c, const struct place *place, const struct row *row, char *ours,
			  char *theirs)
{
	int rc;

	own_file(ours, PATH_MAX, place, "subject");
	own_file(theirs, PATH_MAX, place, "baseline");
	rc = place->reflink ? file_clone(place->path, ours) : file_make(ours, row->size);
	if (!rc)
		rc = place->reflink ? file_clone(place->path, theirs) : file_make(theirs, row->size);
	c->job.path = ours;
	c->baseline_job.path = theirs;
	return rc;
}

static int measure(struct place *place, const struct row *row, struct result *ret)
{
	char ours[PATH_MAX], theirs[PATH_MAX];
	struct comparison c = {
		.job = {place->dir, place->path, row->size, row->count, row->before, row->clustered, row->warm},
		.subject = row->subject,
		.baseline = row->baseline,
		.rounds = rounds_wanted ? rounds_wanted : row->rounds,
		.batch = row->batch,
	};
	int rc = make_file(place, row);

	if (rc)
		return rc;
	if (row->extents)
		c.job.size = 2 * PAGE * row->extents - PAGE;
	c.baseline_job = c.job;
	if (row->own_files)
		rc = make_own_files(&c, place, row, ours, theirs);
	if (!rc)
		rc = harness_compare(&c, ret);
	if (row->own_files) {
		unlink(ours);
		unlink(theirs);
		trim(place->dir);
	}
	return rc;
}

static bool is_wanted(const char *title, char *const *words)
{
	if (!*words)
		return true;
	for (; *words; words++)
		if (strstr(title, *words))
			return true;
	return false;
}

static void run_place(struct place *place, char *const *words)
{
	printf("%s\n", place->name);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct row *row = &table[i];
		struct result result;
		int rc;

		if (!is_wanted(row->title, words) || (row->reflink && !place->reflink) ||
		    (row->lease && !place->lease) || (row->exchange && !place->exchange))
			continue;
		rc = measure(place, row, &result);
		if (!rc) {
			print_result(place, row, &result);
		} else if (rc == -EOPNOTSUPP) {
			printf("  %-29s not here\n", row->title);
		} else {
			printf("  %-29s failed: %s; %s\n", row->title, strerror(-rc), snapmap_last_error());
			failed++;
		}
	}
	unlink(place->path);
	trim(place->dir);
}

/* One "name=directory" of $SNAPMAP_TEST_FS. */
static void run_entry(const char *entry, const char *only, char *const *words)
{
	struct place place = {0};
	const char *equals = strchr(entry, '=');

	if (!equals || (size_t)(equals - entry) >= sizeof(place.name))
		return;
	memcpy(place.name, entry, (size_t)(equals - entry));
	if (only && strcmp(only, place.name))
		return;
	snprintf(place.dir, sizeof(place.dir), "%s", equals + 1);
	snprintf(place.path, sizeof(place.path), "%s/snapmap-bench", place.dir);
	place.reflink = has_source(place.dir, SNAPMAP_SOURCE_REFLINK);
	place.lease = has_source(place.dir, SNAPMAP_SOURCE_LEASE);
	place.exchange = has_strategy(place.dir, SNAPMAP_STRATEGY_EXCHANGE);
	run_place(&place, words);
}

static void run_all(const char *only, char *const *words)
{
	const char *from_environment = getenv("SNAPMAP_TEST_FS");
	char *list = strdup(from_environment ? from_environment : "here=."), *rest = list, *entry;

	while ((entry = strsep(&rest, " ")))
		run_entry(entry, only, words);
	free(list);
}

static void print_head(void)
{
	printf("Medians; of the ratio also the quartiles. The bar is for the ratio, or for the\n"
	       "value where there is nothing to compare with.\n\n"
	       "  %-29s %10s %10s %5s %-11s %s\n",
	       "", "library", "bare", "ratio", "quartiles", "bar");
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	int option;

	while ((option = getopt(argc, argv, "r:f:")) != -1) {
		if (option == 'r')
			rounds_wanted = (unsigned)atoi(optarg);
		else if (option == 'f')
			only = optarg;
		else
			return 2;
	}
	print_head();
	run_all(only, argv + optind);
	printf("\n%u bars met, %u missed, %u rows failed\n", met, missed, failed);
	return failed != 0;
}
