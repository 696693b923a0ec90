/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deferred I/O, on what it was thought of for: a whole file system image is read in one
 * gulp, used as the data structure that it is, and written out now and then.
 *
 *	demo/deferred [DIR]
 *
 * makes an image of a mini file system with some files in DIR (the working directory), lists
 * it, reads files and changes some, by following its pointers in memory. Then it tells what
 * was moved, and what read(2) and write(2) of the same ranges would have moved. The layout is
 * that of backends/minifs/FORMAT.md; only the public interface is used.
 */
#include "config.h"

#include <fcntl.h>
#include <minifs.h>
#include <snapmap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define IMAGE (256 * MIB)
#define FILES 60u
#define FILE_SIZE (3 * MIB)
#define PERIODS 3u

/* What the program uses of the format. All of it lies as it does on the disk. */
struct inode {
	uint32_t mode, uid, gid, links;
	uint64_t size, blocks;
	int64_t atime, mtime, ctime;
	uint32_t flags, generation;
	uint32_t direct[12], indirect;
	uint32_t rest[35];
};

struct dirent {
	uint32_t ino;
	uint16_t reclen, len;
	char name[];
};

struct superblock {
	char magic[8];
	uint32_t version, features[3], block_size, inode_size;
	uint64_t blocks;
	uint32_t inodes, parts[6], data;
	uint64_t free_blocks;
	uint32_t free_inodes, root;
};

_Static_assert(sizeof(struct inode) == 256, "an inode has 256 bytes");

static char *image; /* the memory */

static void must(long rc, const char *what)
{
	if (rc >= 0)
		return;
	printf("FAILED: %s: %s\n", what, snapmap_last_error());
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the data structure ---- */

static struct inode *inode_of(uint32_t ino)
{
	const struct superblock *sb = (const struct superblock *)(void *)image;

	return (struct inode *)(void *)(image + sb->parts[4] * BLOCK) + ino;
}

/* Block @i of a file; NULL for a hole. */
static char *block_of(const struct inode *inode, uint64_t i)
{
	const uint32_t *pointers = (const uint32_t *)(void *)(image + inode->indirect * BLOCK);
	uint32_t block = i < 12 ? inode->direct[i] : inode->indirect ? pointers[i - 12] : 0;

	return block ? image + block * BLOCK : NULL;
}

/* Calls @visit for each name. Returns the inode that it returned for one, or 0. */
static uint32_t walk(const struct inode *dir, uint32_t (*visit)(const struct dirent *d, const void *arg),
		     const void *arg)
{
	uint32_t found = 0;

	for (uint64_t i = 0; i < dir->size / BLOCK; i++) {
		char *block = block_of(dir, i);

		for (size_t at = 0; !found && at < BLOCK;) {
			const struct dirent *d = (const struct dirent *)(void *)(block + at);

			if (d->ino)
				found = visit(d, arg);
			at += d->reclen;
		}
	}
	return found;
}

static uint32_t is_called(const struct dirent *d, const void *name)
{
	return strlen((const char *)name) == d->len && !memcmp(d->name, name, d->len) ? d->ino : 0;
}

static uint32_t sum_up(const struct dirent *d, const void *sum)
{
	if (d->name[0] != '.')
		*(uint64_t *)(uintptr_t)sum += inode_of(d->ino)->size;
	return 0;
}

/* ---- the scenario ---- */

static void make_image(const char *path)
{
	struct minifs_format_options o = {.size = sizeof(o), .flags = MINIFS_FORMAT_FORCE, .bytes = IMAGE};
	char *bytes = (char *)malloc(FILE_SIZE), name[40];
	struct minifs *fs;

	must(minifs_format(path, &o), "make an image");
	must(minifs_open(path, 0, &fs), "open the image");
	must(minifs_mkdir(fs, "d", 0755), "make a directory");
	for (unsigned i = 0; i < FILES; i++) {
		memset(bytes, (int)('a' + i % 26), FILE_SIZE);
		snprintf(name, sizeof(name), "d/file%u", i);
		must(minifs_create(fs, name, 0644), "make a file");
		must(minifs_pwrite(fs, name, bytes, FILE_SIZE, 0), "write a file");
	}
	must(minifs_sync(fs), "write the image out");
	minifs_close(fs);
	free(bytes);
}

/* Everything in the directory, one file as a whole, and a few bytes of others. */
static void use_it(unsigned period)
{
	const struct inode *dir = inode_of(walk(inode_of(2), is_called, "d")), *inode;
	uint64_t bytes = 0, sum = 0;
	char name[40];

	walk(dir, sum_up, &bytes);
	snprintf(name, sizeof(name), "file%u", 7 * period);
	inode = inode_of(walk(dir, is_called, name));
	for (uint64_t i = 0; i < inode->size / BLOCK; i++)
		for (size_t k = 0; k < BLOCK; k++)
			sum += (unsigned char)block_of(inode, i)[k];
	printf("  %-20s%.1f MiB in files; the bytes of %s sum up to %llu\n", "list and read", (double)bytes / MIB, name,
	       (unsigned long long)sum);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "file%u", (11 * i + period) % FILES);
		inode = inode_of(walk(dir, is_called, name));
		memcpy(block_of(inode, 100 * i + period), "changed", 7);
	}
}

static void check_image(const char *path)
{
	struct minifs_check_result result = {0};
	struct minifs *fs;
	char name[40], bytes[8];

	must(minifs_check(path, 0, NULL, NULL, &result), "check the image");
	must(minifs_open(path, MINIFS_RDONLY, &fs), "open the image");
	for (unsigned period = 0; period < PERIODS; period++) {
		for (unsigned i = 0; i < 5; i++) {
			snprintf(name, sizeof(name), "d/file%u", (11 * i + period) % FILES);
			must(minifs_pread(fs, name, bytes, 7, (100 * i + period) * BLOCK), "read a file");
			if (result.found || memcmp(bytes, "changed", 7) != 0) {
				puts("FAILED: the image is not what it should be");
				exit(1);
			}
		}
	}
	minifs_close(fs);
	printf("  %-20sa mini file system, without damage, with every change\n", "the image is");
}

static void tell(const char *what, uint64_t ours, uint64_t theirs)
{
	printf("  %-20s%10.2f MiB%14.2f MiB\n", what, (double)ours / MIB, (double)theirs / MIB);
}

/* Reads all of it again, which returns at once: so what was written stands for the file. */
static void read_image(struct snapmap_segment *segment, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	double begin = now();
	ssize_t n = snapmap_segment_pread(segment, fd, image, IMAGE, 0);

	must(n, "read the image");
	printf("  %-20s%zd MiB in %.0f us\n", "read", n / (ssize_t)MIB, now() - begin);
	close(fd);
}

static void write_image(struct snapmap_segment *segment, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	double begin = now();
	ssize_t n = snapmap_segment_pwrite(segment, fd, image, IMAGE, 0);

	must(n, "write the image");
	printf("  %-20s%zd MiB in %.0f us\n", "write", n / (ssize_t)MIB, now() - begin);
	close(fd);
}

int main(int argc, char **argv)
{
	struct snapmap_segment_stats st;
	struct snapmap_segment *segment;
	uint64_t loaded;
	char path[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(path, sizeof(path), "%s/deferred.img", argc > 1 ? argv[1] : ".");
	make_image(path);
	must(snapmap_segment_create(IMAGE, NULL, &segment), "make a segment");
	image = (char *)snapmap_segment_base(segment);
	for (unsigned period = 0; period < PERIODS; period++) {
		read_image(segment, path);
		use_it(period);
		write_image(segment, path);
	}
	must(snapmap_segment_get_stats(segment, &st), "ask for statistics");
	check_image(path);
	/* What the kernel loads for mappings it does not tell; it is what was touched. */
	loaded = st.way == SNAPMAP_SEGMENT_PAGER ? st.bytes_loaded : 0;
	printf("\n  %-20s%14s%18s\n", "bytes moved", "deferred", "read, write");
	tell("into memory", loaded + st.bytes_read, PERIODS * IMAGE);
	tell("to the file", st.bytes_written + st.bytes_shared, PERIODS * IMAGE);
	if (st.way != SNAPMAP_SEGMENT_PAGER)
		puts("  (and the pages that were touched, which the kernel mapped)");
	if (st.refused[0])
		printf("  not all was deferred: %s\n", st.refused);
	snapmap_segment_destroy(segment);
	unlink(path);
	return 0;
}
