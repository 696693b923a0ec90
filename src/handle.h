/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the handles share: reading options, opening sources, filling in information. */
#ifndef SNAPMAP_HANDLE_H
#define SNAPMAP_HANDLE_H

#include "backends/backend.h"
#include "place.h"

/* options.c. Set the error sentence. For read-only handles, and for those that can be edited. */
int options_read(const struct snapmap_options *options, struct options *ret);
int options_read_mut(const struct snapmap_options *options, struct options *ret);
int options_read_tree(const struct snapmap_options *options, struct options *ret);

/**
 * struct source - a file to be imaged
 * @fd: open for reading
 * @own_offset: nobody else uses this open file description
 * @st: what it was right after it was opened
 * @looked_at: sys_now_ns() before that
 * @mount: number of its mount, never used again, or 0
 * @verity: it is protected by fs-verity, found by the same look
 * @generation: fork_generation() before it was opened
 * @fs: its file system
 */
struct source {
	int fd;
	bool own_offset;
	struct stat st;
	uint64_t looked_at;
	uint64_t mount;
	unsigned generation;
	bool verity;
	const struct fs_traits *fs;
};

/* map.c. As snapmap_open(); the source is to be closed afterwards, and may be by then. */
struct snapmap;
int map_open_source(struct source *source, int dirfd, const char *dir, const struct options *options,
		    const char *subject, struct snapmap **ret);
/* map_mut.c. Quiet: would this SNAPMAP_STRATEGY_* work, apart from what is edited? 0, or an errno. */
struct snapmap_mut;
int mut_probe(const struct snapmap_mut *map, uint32_t strategy);
/* As snapmap_mut_commit(), by exchange or journal, what costs less. */
int mut_commit_in_place(struct snapmap_mut *map);
/* As mut_probe() for the strategies among which is chosen; if none of them would work @ret_why says why not. */
int mut_can_commit(const struct snapmap_mut *map, const char **ret_why);
const struct fs_traits *mut_file_system(const struct snapmap_mut *map);

/* source.c. Set the error sentence: only regular files with a real size get through. */
/* Without @follow a link as last part of the path is -ELOOP, also one that was put there just now. */
int source_open(const char *path, bool follow, struct source *ret);
/*
 * The same without looking at what it is first, in one call. -ELOOP, without an error
 * sentence, if the path ends in a link, or leads to nothing but links.
 */
int source_open_directly(const char *path, struct source *ret);
int source_open_fd(int fd, struct source *ret);
int source_open_place(const struct place *place, struct source *ret);
/* On a way without links, as sys_open_beneath(). */
int source_open_beneath(int dirfd, const char *path, bool cross, struct source *ret);
void source_close(struct source *source);

#endif
