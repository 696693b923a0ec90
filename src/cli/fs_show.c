/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap fs": what only looks at the image. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"

#define NAMES 64

static void print_mode(mode_t mode, char ret[11])
{
	static const char letters[] = "rwxrwxrwx";

	ret[0] = S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : '-';
	for (int i = 0; i < 9; i++)
		ret[i + 1] = mode & (0400u >> i) ? letters[i] : '-';
	if (mode & S_ISUID)
		ret[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		ret[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		ret[9] = mode & S_IXOTH ? 't' : 'T';
	ret[10] = 0;
}

static void print_time(const struct timespec *time, char *ret, size_t size)
{
	struct tm tm;

	if (!localtime_r(&time->tv_sec, &tm) || !strftime(ret, size, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(ret, size, "%lld", (long long)time->tv_sec);
}

/* Names cannot drive the terminal. */
static void put_name(const char *name)
{
	bool safe = !isatty(STDOUT_FILENO);

	for (; *name; name++)
		putchar(!safe && ((unsigned char)*name < ' ' || *name == 127) ? '?' : *name);
}

static int print_long(struct minifs *fs, const char *path, const char *name)
{
	char mode[11], when[32], target[4096];
	struct stat st;
	ssize_t n;
	int rc = minifs_stat(fs, path, MINIFS_NOFOLLOW, &st);

	if (rc)
		return fs_failed(rc);
	print_mode(st.st_mode, mode);
	print_time(&st.st_mtim, when, sizeof(when));
	printf("%s %3lu %5u %5u %12lld %s ", mode, (unsigned long)st.st_nlink, st.st_uid, st.st_gid,
	       (long long)st.st_size, when);
	put_name(name);
	n = S_ISLNK(st.st_mode) ? minifs_readlink(fs, path, target, sizeof(target) - 1) : 0;
	if (n > 0) {
		target[n] = 0;
		printf(" -> ");
		put_name(target);
	}
	putchar('\n');
	return STATUS_OK;
}

static int print_name(struct fs_job *job, const char *directory, const char *name)
{
	char path[4096 + 256];

	if (!job->long_format) {
		put_name(name);
		putchar('\n');
		return STATUS_OK;
	}
	snprintf(path, sizeof(path), "%s%s%s", directory, *directory ? "/" : "", name);
	return print_long(job->fs, path, name);
}

static int list_directory(struct fs_job *job, const char *path)
{
	struct minifs_dirent names[NAMES];
	uint64_t cursor = 0;
	ssize_t n = 1;
	int status = STATUS_OK;

	while (!status && n > 0 && !signals_stopped()) {
		n = minifs_readdir(job->fs, path, &cursor, names, NAMES);
		for (ssize_t i = 0; !status && i < n; i++)
			if (strcmp(names[i].name, ".") != 0 && strcmp(names[i].name, "..") != 0)
				status = print_name(job, path, names[i].name);
	}
	return n < 0 ? fs_failed((int)n) : status;
}

static int list(struct fs_job *job, const char *path)
{
	struct stat st;
	int rc = minifs_stat(job->fs, path, 0, &st);

	if (rc)
		return fs_failed(rc);
	if (S_ISDIR(st.st_mode))
		return list_directory(job, path);
	return print_name(job, "", path);
}

/* All of them are tried; the status is that of the last one that failed. */
static int for_each(struct fs_job *job, int (*one)(struct fs_job *job, const char *path))
{
	int status = STATUS_OK;

	for (int i = 0; i < job->count && !signals_stopped(); i++) {
		int failed = one(job, job->arguments[i]);

		if (failed)
			status = failed;
	}
	return status;
}

static int list_with_heading(struct fs_job *job, const char *path)
{
	printf("%s:\n", path);
	return list(job, path);
}

int fs_ls(struct fs_job *job)
{
	if (!job->count)
		return list(job, "/");
	return for_each(job, job->count > 1 ? list_with_heading : list);
}

static int cat(struct fs_job *job, const char *path)
{
	static char bytes[1 << 20];
	struct minifs_file *file;
	uint64_t offset = 0;
	ssize_t n = 1;
	int rc = minifs_file_open(job->fs, path, &file), failed = 0;

	if (rc)
		return fs_failed(rc);
	while (n > 0 && !failed && !signals_stopped()) {
		n = minifs_file_pread(file, bytes, sizeof(bytes), offset);
		if (n > 0)
			failed = io_write(STDOUT_FILENO, bytes, (size_t)n);
		offset += n > 0 ? (uint64_t)n : 0;
	}
	minifs_file_close(file);
	if (failed)
		return report_error(failed, "cannot write to standard output");
	return n < 0 ? fs_failed((int)n) : STATUS_OK;
}

int fs_cat(struct fs_job *job)
{
	return for_each(job, cat);
}

static int show(struct fs_job *job, const char *path)
{
	char mode[11], accessed[32], modified[32], changed[32];
	struct stat st;
	int rc = minifs_stat(job->fs, path, MINIFS_NOFOLLOW, &st);

	if (rc)
		return fs_failed(rc);
	print_mode(st.st_mode, mode);
	print_time(&st.st_atim, accessed, sizeof(accessed));
	print_time(&st.st_mtim, modified, sizeof(modified));
	print_time(&st.st_ctim, changed, sizeof(changed));
	put_name(path);
	printf("\n  inode     %llu\n  mode      %s (%04o)\n  links     %lu\n  owner     %u\n  group     %u\n",
	       (unsigned long long)st.st_ino, mode, st.st_mode & 07777, (unsigned long)st.st_nlink, st.st_uid,
	       st.st_gid);
	printf("  size      %lld bytes\n  blocks    %lld of %ld bytes\n", (long long)st.st_size,
	       (long long)st.st_blocks * 512 / st.st_blksize, (long)st.st_blksize);
	printf("  accessed  %s\n  modified  %s\n  changed   %s\n", accessed, modified, changed);
	return STATUS_OK;
}

int fs_stat(struct fs_job *job)
{
	return for_each(job, show);
}

int fs_df(struct fs_job *job)
{
	struct minifs_space s;
	int rc = minifs_statfs(job->fs, &s);

	if (rc)
		return fs_failed(rc);
	if (*s.label) {
		printf("label   ");
		put_name(s.label);
		putchar('\n');
	}
	printf("uuid    ");
	for (size_t i = 0; i < sizeof(s.uuid); i++)
		printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", s.uuid[i]);
	printf("\nblocks  %" PRIu64 " of %" PRIu64 " free, of %" PRIu64 " bytes each\n", s.free_blocks, s.blocks,
	       s.block_size);
	printf("inodes  %" PRIu64 " of %" PRIu64 " free\n", s.free_inodes, s.inodes);
	printf("files   up to %" PRIu64 " bytes\n", s.size_max);
	return STATUS_OK;
}
