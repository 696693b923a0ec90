/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Searches all files below a directory for a string: in the tree as a data structure, and by
 * openat(2) and read(2), with what each of them costs.
 *
 *	demo/search [DIR [STRING]]
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct found {
	uint64_t files, bytes, hits;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t count(const char *p, size_t n, const char *what)
{
	size_t length = strlen(what);
	const char *end = p + n;
	uint64_t hits = 0;

	while (p && (p = (const char *)memmem(p, (size_t)(end - p), what, length))) {
		hits++;
		p += length;
	}
	return hits;
}

/* ---- in memory: this is all of it ---- */

static void search_tree(const struct snapmap_file *file, const char *what, struct found *found)
{
	if (file->dir) {
		for (size_t i = 0; i < file->dir->nfiles; i++)
			search_tree(&file->dir->files[i], what, found);
	} else if (S_ISREG(file->mode)) {
		found->files++;
		found->bytes += file->size;
		found->hits += count((const char *)file->contents, (size_t)file->size, what);
	}
}

/* ---- by system calls ---- */

struct buffer {
	char *bytes;
	size_t room;
};

static void search_file(int dirfd, const char *name, const char *what, struct buffer *b, struct found *found)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	size_t got = 0;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		if ((size_t)st.st_size > b->room) {
			free(b->bytes);
			b->room = (size_t)st.st_size;
			b->bytes = (char *)malloc(b->room);
			if (!b->bytes)
				exit(1);
		}
		while (got < (size_t)st.st_size && (n = read(fd, b->bytes + got, (size_t)st.st_size - got)) > 0)
			got += (size_t)n;
		found->files++;
		found->bytes += got;
		found->hits += count(b->bytes, got, what);
	}
	close(fd);
}

/* Takes over the descriptor. */
static void search_dir(int fd, const char *what, struct buffer *b, struct found *found)
{
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (d->d_type == DT_DIR) {
			int below = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (below >= 0)
				search_dir(below, what, b, found);
		} else {
			search_file(fd, d->d_name, what, b, found);
		}
	}
	if (dir)
		closedir(dir);
}

/* ---- both ---- */

static void print(const char *how, double seconds, const struct found *f)
{
	printf("  %-28s %8.1f ms   %llu files, %.1f MB, %llu times\n", how, seconds * 1e3, (unsigned long long)f->files,
	       (double)f->bytes / 1e6, (unsigned long long)f->hits);
}

static int run_tree(const char *path, const char *what)
{
	struct snapmap_tree *tree;
	double begin = now();

	if (snapmap_tree_open(path, NULL, &tree)) {
		fprintf(stderr, "search: %s\n", snapmap_last_error());
		return 1;
	}
	for (int round = 0; round < 2; round++) {
		struct found found = {0};

		search_tree(snapmap_tree_root(tree), what, &found);
		print(round ? "the same tree once more" : "tree in memory, opened anew", now() - begin, &found);
		begin = now();
	}
	snapmap_tree_close(tree);
	return 0;
}

static int run_calls(const char *path, const char *what, bool show)
{
	struct buffer buffer = {0};
	struct found found = {0};
	double begin = now();
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "search: cannot open '%s': %s\n", path, strerror(errno));
		return 1;
	}
	search_dir(fd, what, &buffer, &found);
	free(buffer.bytes);
	if (show)
		print("openat(2) and read(2)", now() - begin, &found);
	return 0;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/usr/include", *what = argc > 2 ? argv[2] : "EINVAL";

	if (argc > 3 || !*what) {
		fprintf(stderr, "Usage: %s [DIR [STRING]]\n", argv[0]);
		return 2;
	}
	printf("\"%s\" below %s, in the page cache:\n", what, path);
	/* Once before, so that it is. */
	return run_calls(path, what, false) || run_calls(path, what, true) || run_tree(path, what);
}
