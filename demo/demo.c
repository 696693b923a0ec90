/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The demonstration: on each file system a snapshot of a large file, an edit and
 * an atomic commit, each checked, then a table of what they cost.
 *
 * File systems come from $SNAPMAP_TEST_FS (see tests/with-fs), else the working
 * directory is taken. Each is a process of its own, so that a failure ends only
 * its part. Exits with 1 if anything was not as it must be.
 */
#include "config.h"

#include "demo/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <snapmap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/files.h"

#define SIZE (256 * MIB)
#define SIZE_MIN (16 * MIB)
#define PLACES 16

void say(const char *who, const char *format, ...)
{
	va_list arguments;

	printf("  %-14s", who);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

void must(bool condition, const char *format, ...)
{
	va_list arguments;

	if (condition)
		return;
	printf("  FAILED: it does not hold that ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

void must_do(long rc, const char *what)
{
	if (rc >= 0)
		return;
	printf("  FAILED: %s: %s: %s\n", what, strerror((int)-rc), snapmap_last_error());
	fflush(stdout);
	_exit(1);
}

/* ---- one file system ---- */

/* At one time there are up to three more versions of the file, and some in memory. */
static uint64_t fitting_size(const char *dir)
{
	uint64_t size = SIZE, room = 0;
	long memory = sysconf(_SC_AVPHYS_PAGES);
	struct statvfs st;

	if (!statvfs(dir, &st))
		room = (uint64_t)st.f_bavail * st.f_frsize / 4;
	while (size > SIZE_MIN && (size > room || (memory > 0 && size > (uint64_t)memory * PAGE / 4)))
		size /= 2;
	return size;
}

/* Gives back what the files took in the image that the file system lies in. */
static void clean_up(const struct stage *stage)
{
	struct fstrim_range range = {.len = UINT64_MAX};
	int fd = open(stage->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	unlink(stage->path);
	if (fd < 0)
		return;
	syncfs(fd);
	(void)!ioctl(fd, FITRIM, &range);
	close(fd);
}

static void show(struct stage *stage, struct costs *ret)
{
	must_do(file_make(stage->path, stage->size, NULL), "making the file");
	pages_remember(stage);
	tell_snapshot(stage);
	tell_commit(stage);
	measure(stage, ret);
}

/* Returns whether all went well. */
static bool show_apart(struct stage *stage, struct costs *ret)
{
	int status = -1;
	pid_t pid;

	printf("\n%s: a file of %llu MiB\n", stage->name, (unsigned long long)(stage->size / MIB));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		show(stage, ret);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	clean_up(stage);
	if (pid > 0 && WIFSIGNALED(status))
		printf("  FAILED: died of signal %d\n", WTERMSIG(status));
	return status == 0;
}

/* ---- all of them ---- */

/* Each entry of the list is "name=directory". */
static unsigned find_stages(const char *list, struct stage *stages)
{
	char *copy = strdup(list), *rest = copy, *entry;
	unsigned n = 0;

	while (n < PLACES && (entry = strsep(&rest, " "))) {
		char *equals = strchr(entry, '=');

		if (!equals)
			continue;
		*equals = 0;
		snprintf(stages[n].name, sizeof(stages[n].name), "%s", entry);
		snprintf(stages[n].dir, sizeof(stages[n].dir), "%s", equals + 1);
		snprintf(stages[n].path, sizeof(stages[n].path), "%s/demo-file", stages[n].dir);
		stages[n].size = fitting_size(stages[n].dir);
		n++;
	}
	free(copy);
	return n;
}

static void print_time(double seconds)
{
	printf(seconds < 0.01 ? " %10.3f" : " %10.1f", seconds * 1e3);
}

static void print_table(const struct stage *stages, const struct costs *costs, const bool *well, unsigned n)
{
	printf("\nMilliseconds, medians; each commit changes %u pages and closes the handle.\n\n"
	       "%-13s %-8s %10s %10s %10s %10s %10s\n%-13s %-8s %10s %10s %10s %10s %10s\n",
	       PAGES, "", "", "open", "plain", "open to", "", "by hand", "file system", "source", "snapshot", "mmap",
	       "edit", "commit", "(*)");
	for (unsigned i = 0; i < n; i++) {
		const struct costs *c = &costs[i];

		if (!well[i])
			continue;
		printf("%-13s %-8s", stages[i].name, c->source);
		print_time(c->open);
		print_time(c->mmap);
		print_time(c->open_mut);
		print_time(c->commit);
		print_time(c->rewrite);
		putchar('\n');
	}
	printf("\n(*) The same edit without the library: read all, write all to a temporary file,\n"
	       "    fsync, rename, fsync the directory.\n");
}

static void print_skipped(void)
{
	const char *missing = getenv("SNAPMAP_TEST_MISSING");

	if (geteuid())
		printf("\nNot as root, so only on directories at hand.");
	if (missing && missing[0])
		printf("\nSkipped, because they could not be had here: %s\n", missing);
}

int main(void)
{
	static struct stage stages[PLACES];
	static bool well[PLACES];
	const char *list = getenv("SNAPMAP_TEST_FS");
	struct costs *costs = (struct costs *)mmap(NULL, PLACES * sizeof(*costs), PROT_READ | PROT_WRITE,
						   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned n = find_stages(list ? list : "here=.", stages), failed = 0;

	if (costs == MAP_FAILED)
		return 1;
	printf("libsnapmap %s: a file as memory that does not change, and atomic commits\n", snapmap_version());
	for (unsigned i = 0; i < n; i++) {
		well[i] = show_apart(&stages[i], &costs[i]);
		failed += !well[i];
	}
	print_table(stages, costs, well, n);
	print_skipped();
	if (!n || failed)
		printf("\n%u of %u file systems FAILED\n", failed, n);
	return !n || failed;
}
