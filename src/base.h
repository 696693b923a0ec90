/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The base layer: what backends and engine share. It knows files and errors,
 * and nothing of snapshots or commits.
 *
 * Every function here that fails has left a sentence with error_set(), except
 * where its comment says "quiet": there the caller decides whether it matters.
 */
#ifndef SNAPMAP_BASE_H
#define SNAPMAP_BASE_H

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "snapmap/types.h"

struct snapmap;

/* base_error.c: the story behind a negative errno, per thread */
void error_begin(const char *subject);
int error_set(int error, const char *what, const char *advice) __attribute__((nonnull(2)));
void error_tried(const char *name, int error, const char *what);
void error_copy_tried(char *buf, size_t size);
const char *error_text(int error);

/* Sets *@fd to -1 after closing what was there; a cleanup for descriptors. */
void close_fd(int *fd);
#define cleanup_fd __attribute__((cleanup(close_fd)))
int steal_fd(int *fd);

/* options.c */
struct options {
	uint32_t flags;
	uint32_t source;
	const char *tmpdir;
	uint64_t lease_limit;
	int (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
	uint64_t resident_limit;
	int (*validate)(void *arg, const struct snapmap *snapshot);
	void *validate_arg;
};

/* base_fs.c: what is known of a file system by its type */
struct fs_traits {
	uint64_t magic;
	const char *name;
	unsigned flags;
};
#define FS_LOCAL (1u << 0)	   /* all changes go through this kernel */
#define FS_WRITE_BACK (1u << 1)	   /* stores through shared mappings move ctime after each write-out */
#define FS_FINE_TIMES (1u << 2)	   /* multigrain timestamps from Linux 6.13 */
#define FS_PSEUDO (1u << 3)	   /* made up while being read */
#define FS_IN_MEMORY (1u << 4)	   /* reading a hole of a mapping allocates; pages are memory anyway */
#define FS_LAYERED (1u << 5)	   /* what counts is the file system below */
#define FS_EVEN_TIMES (1u << 6)	   /* times are even seconds */
#define FS_NEVER_WRITTEN (1u << 7) /* the kernel has no code that writes to it */
#define FS_HUGE_PAGES (1u << 8)	   /* pages come from a limited pool: a hole of a mapping can be a signal */
#define FS_FIRM_VERITY (1u << 9)   /* a file with fs-verity cannot be cut either */
#define FS_ONE_SPACE (1u << 11)	   /* files that can share extents have the same data where FIEMAP says so */
#define FS_LEASES (1u << 10)	   /* each change begins with an open that breaks leases */
#define FS_EXCHANGES (1u << 12)	   /* may be able to exchange blocks of files */
#define FS_LISTS_LOCKED (1u << 13) /* listing extents waits for writers */
#define FS_ASKED (1u << 14)	   /* a server may give snapshots */

const struct fs_traits *fs_traits_of(int fd);
const struct fs_traits *fs_traits_of_mount(int fd, uint64_t mount);
bool fs_has_fine_times(const struct fs_traits *fs);
int fs_write_out(int fd, const struct fs_traits *fs);

/* base_stamp.c: telling whether a file changed */
struct stamp {
	dev_t dev;
	ino_t ino;
	uint64_t size;
	struct timespec ctime;
	struct timespec mtime;
};

void stamp_of(const struct stat *st, struct stamp *ret);
int stamp_take(int fd, const struct fs_traits *fs, bool own_offset, struct stamp *ret);
int stamp_take_at_rest(int fd, const struct fs_traits *fs, struct stamp *ret);
void stamp_spoil(struct stamp *stamp);
bool stamp_is_spoilt(const struct stamp *stamp);
bool stamp_same(const struct stamp *a, const struct stamp *b);
bool stamp_same_file(const struct stamp *a, const struct stat *b);

/* base_private_file.c: files without a name, where nobody else finds them */
struct private_file_request {
	int dirfd;		 /* directory of the file they belong to, or -1 */
	const char *dir;	 /* its path, used if dirfd is -1; may be NULL */
	const char *tmpdir;	 /* options.tmpdir */
	const struct stat *near; /* file whose file system is wanted; NULL: any */
	mode_t mode;
	bool linkable;	 /* may get a name later */
	bool local_only; /* only on the file system of near: no memory, no other place */
};
/* Directories for files that cannot lie beside the one they belong to, in order; NULL: not set. */
#define PRIVATE_FILE_PLACES 6
const char *private_file_place(const char *tmpdir, unsigned i);
int private_file_create(const struct private_file_request *request, int *ret_fd);
void private_file_prepare(int like, int fd);
int private_file_memory(const char *name, int *ret_fd);

/* base_sparse_copy.c: copying, with holes, progress and cancel */
struct sparse_copy {
	int from;
	int to;
	bool seekable;	      /* the description's offset is ours: holes can be asked for */
	bool zeros_are_holes; /* @to is empty where nothing was written yet */
	bool by_buffer;	      /* really copy: never let the kernel share extents */
	bool paced;	      /* written out along the way: little of it waits in memory at a time */
	int (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
	/* Asked between pieces; a value other than 0 ends the copy with it. */
	int (*check)(void *arg);
	void *check_arg;
};
int sparse_copy_range(const struct sparse_copy *copy, uint64_t from_offset, uint64_t length, uint64_t to_offset,
		      uint64_t *ret_written);
int sparse_copy_file(const struct sparse_copy *copy, uint64_t size, uint64_t *ret_size, uint64_t *ret_written);
/* 1 if both files of a finished copy have the same first @size bytes now, 0 if not. Quiet. */
int sparse_compare(const struct sparse_copy *copy, uint64_t size);
bool bytes_are_zero(const char *bytes, size_t n);
int file_size_allowed(uint64_t size);
/* The next run of data in [@at, @end), which moves the offset; empty, at @end, if there is none. */
void sparse_next_data(int fd, uint64_t at, uint64_t end, uint64_t *ret_start, uint64_t *ret_stop);

/* base_imaging.c: what an image of a file would cost */
#define IMAGING_NS ((uint64_t)2000000000) /* what a writer may be made to wait for */
struct imaging_request {
	int fd;
	int dirfd;
	const char *dir; /* used if dirfd is -1 */
	const char *tmpdir;
	const struct stat *st;
	const struct fs_traits *fs;
	uint64_t mount; /* of the file, never used again; or 0 */
};
void imaging_limit(const struct imaging_request *request, uint64_t *ret_limit, uint64_t *ret_space);

#endif
