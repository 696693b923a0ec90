/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshot sources. A backend turns an open file into an image: a file that
 * nobody else can change, to be mapped. It is one file of static functions with
 * one constant table of operations at its end; only table.c names the tables.
 */
#ifndef SNAPMAP_BACKEND_H
#define SNAPMAP_BACKEND_H

#include "src/base.h"

/**
 * struct lease_terms - how breaks of leases are served
 * @weight: bytes that would have to be copied if all leases broke at once
 * @enter: the thread to tell of breaks of a lease on @fd, or a negative errno:
 *	-EMFILE if there are to be no more leases. Adds to the weight.
 * @leave: takes back one enter(); whoever gets an image under a lease does it later
 */
struct lease_terms {
	uint64_t (*weight)(void);
	pid_t (*enter)(int fd, uint64_t weight);
	void (*leave)(uint64_t weight);
};

/**
 * struct source_request - what is to be imaged
 * @fd: the file, open for reading
 * @own_offset: @fd's file offset may be moved, and leases taken on it
 * @dirfd: directory of the file, or -1
 * @dir: its path, used if @dirfd is -1; may be NULL
 * @st: the file, looked at after it was opened
 * @looked_at: sys_now_ns() before that look, or 0
 * @verity: it is protected by fs-verity, found by the same look
 * @fs: its file system
 * @mount: number of its mount, never used again, or 0
 * @options: what the caller wants
 * @editable: the image will be written to by its owner, and perhaps published
 * @lease: if the file may be leased
 * @generation: how often the process had forked before the file was opened
 * @unchanging: the file does not change meanwhile, but will soon: a private image is
 *	needed, and no proof that it is a point in time
 * @begin: asked before a private image is begun, with @begin_arg: 0, or an errno with
 *	its sentence, which fails the call. May be NULL
 * @unsealed: the image will be written to before it is used
 */
struct source_request {
	int fd;
	bool own_offset;
	int dirfd;
	const char *dir;
	const struct stat *st;
	uint64_t looked_at;
	bool verity;
	const struct fs_traits *fs;
	uint64_t mount;
	const struct options *options;
	bool editable;
	const struct lease_terms *lease;
	unsigned generation;
	bool unchanging;
	int (*begin)(void *arg);
	void *begin_arg;
	bool unsealed;
};

/**
 * struct image - the unchanging file under a mapping
 * @fd: opened for reading, and for writing if it was asked to be editable. An image
 *	in place has the request's own
 * @size: its size, asked of the image and not of the file
 * @source: SNAPMAP_SOURCE_* of the backend that made it
 * @consistency: SNAPMAP_CONSISTENCY_*
 * @extents: extents that had to be shared, 0 if none
 * @bytes_copied: bytes that had to be copied
 * @weight: bytes that would have to be copied if its lease broke
 * @linkable: may be given a name in the file's directory, and so become the file
 * @unlimited: nameless memory, which no full file system can run out of
 * @stamp: editable images only: the file was in this state no later than the
 *	instant of the image, so whatever differs from it later is a change
 */
struct image {
	int fd;
	uint64_t size;
	uint32_t source;
	uint32_t consistency;
	uint64_t extents;
	uint64_t bytes_copied;
	uint64_t weight;
	bool linkable;
	bool unlimited;
	struct stamp stamp;
};

/**
 * struct backend - operations of a source
 * @source: its SNAPMAP_SOURCE_* bit
 * @name: for people
 * @rare: is only for few files; that it refuses another is not worth telling
 * @read_only: can serve struct snapmap
 * @editable: can serve struct snapmap_mut
 * @in_place: its image is the file itself, as the request has it open
 * @on_request: never chosen automatically
 * @copied_to_edit: its image cannot be written to; whoever must write to it gets a copy of it
 * @open: makes an image. Quiet: a failure says in @ret_step what could not be
 *	done (a constant string); whether the next backend is tried or the call fails
 *	is decided in table.c. Nothing is left behind then.
 * @probe: would @open work here? Asked without reading the whole file.
 */
struct backend {
	uint32_t source;
	const char *name;
	bool rare;
	bool read_only;
	bool editable;
	bool in_place;
	bool on_request;
	bool copied_to_edit;
	int (*open)(const struct source_request *request, struct image *ret, const char **ret_step);
	int (*probe)(const struct source_request *request, const char **ret_step);
};

#define TREE_IMAGE_DIR ".snapmap-tree-" /* and the user: names that trees do not show */

/**
 * struct tree_image - a whole tree that nobody else can change
 * @fd: the directory in it; -1: there is none
 * @root, @dir, @own, @name, @snapshot: of the backend
 */
struct tree_image {
	int fd;
	int root;
	char dir[40];
	int own;
	char name[24];
	int snapshot;
};

/**
 * struct tree_backend - operations of a source for whole trees
 * @source: its SNAPMAP_SOURCE_* bit
 * @name: for people
 * @open: makes an image. Quiet: a failure says in @ret_step what could not be done, and
 *	leaves nothing behind
 * @close: removes it. A child of fork() only lets go of it
 */
struct tree_backend {
	uint32_t source;
	const char *name;
	int (*open)(int dirfd, struct tree_image *ret, const char **ret_step);
	void (*close)(struct tree_image *image, bool in_child);
};

/* table.c */
const struct backend *backend_at(size_t index);
int image_open(const struct source_request *request, struct image *ret);
/* If it is @wanted, a failure has the error sentence; else it is one of what was tried. */
int tree_image_open(int dirfd, bool wanted, struct tree_image *ret);
void tree_image_close(struct tree_image *image, bool in_child);

#endif
