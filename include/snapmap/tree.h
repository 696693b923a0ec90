/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_tree: a directory tree as a data structure in memory. */
#ifndef SNAPMAP_TREE_H
#define SNAPMAP_TREE_H

#include <sched.h> /* struct timespec, also in strict C99 */
#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: the file tree as a data structure
 *
 * A tree is walked by following pointers: from the root to @dir, to @files, to @contents. A
 * directory is read when the structure behind @dir is touched first, a file when a byte
 * behind @contents is: by page faults, which threads of the library serve (userfaultfd).
 * What is not touched costs no I/O and no memory. Nobody may store into any of it.
 *
 * Contents: each file is one snapshot with the promises of struct snapmap, taken at the
 * first touch. What happens to the file afterwards does not show. The snapshot has the size
 * that the directory was read with: of a file that has grown since, that much is there. If it
 * has shrunk, vanished, or been replaced by another, @error is set and the bytes are zeros; it
 * is worth a look after the first touch. A page that the disk cannot give is a SIGBUS, and @error.
 * In the file's last page zeros follow its end.
 *
 * One instant: on btrfs the whole tree is one, if the caller may make and delete a snapshot
 * of the subvolume (SNAPMAP_SOURCE_SUBVOLUME, see snapmap_tree_open()). Elsewhere each
 * directory is as it was when it was touched first, and each file too;
 * snapmap_tree_info.consistency tells which.
 *
 * What is in it: a symbolic link has its target as contents, followed by a zero byte, and is
 * not followed, so that there are no loops. Sockets, devices and FIFOs have none. Files of hard
 * links are one entry each, with the same @dev and @ino. Something mounted in the tree has
 * SNAPMAP_FILE_MOUNT and the error -EXDEV, unless SNAPMAP_CROSS_MOUNTS was asked for; so do
 * btrfs subvolumes. Files that state no size although they have bytes (in /proc) have none here.
 *
 * Memory: an entry takes about 140 bytes, and a directory that was touched one page more.
 * Contents that were touched stay in memory; with snapmap_options.resident_limit the oldest
 * are given back when there are too many, and the same bytes come again when they are
 * touched. Small ones (up to SNAPMAP_TREE_SMALL) go to a nameless file in tmpdir meanwhile.
 * Larger ones keep their snapshot open, as a struct snapmap does.
 *
 * Addresses: each file of a directory that was read takes its size, rounded up to pages, of
 * the process's address space (128 TiB on x86-64). A file for which there is none left has
 * the error -EFBIG and is empty.
 *
 * Rights: with CAP_SYS_PTRACE or vm.unprivileged_userfaultfd system calls may be given this
 * memory as any other. For everybody else, on Linux 5.11 and later, loads of the program
 * are served, but a system call that touches what is not there fails with -EFAULT:
 * snapmap_tree_touch() makes a file safe for them. snapmap_tree_info.user_only tells.
 *
 * Threads: any number may walk at once. A child of fork() does not have the memory: touching
 * it is a SIGSEGV there.
 */

struct snapmap_tree;
struct snapmap_dir;

#define SNAPMAP_TREE_SMALL 65536 /* bytes; read in one piece */

/* snapmap_file.flags */
#define SNAPMAP_FILE_MOUNT (1u << 0) /* another file system, or subvolume, begins here */

/**
 * struct snapmap_file - an entry of a directory
 * @name: its last component; for the root the path that was opened
 * @parent: the directory it is in; NULL for the root
 * @mode: type and permissions, as in stat(2)
 * @uid, @gid: owner
 * @error: a negative errno if it, or what is in it, cannot be read; it is empty then, or
 *	zeros if that was found out after @size had been told. Can change with the first touch
 * @mtime: last change of its bytes
 * @size: of @contents in bytes; 0 if there are none
 * @dir: for directories, else NULL; read from disk when it is touched
 * @contents: @size bytes for files and symbolic links, NULL if there are none; read from
 *	disk when they are touched. Aligned to a page, but for links
 * @dev, @ino: the same for hard links to one file. In a snapshot of a subvolume @dev is
 *	the snapshot's
 * @links: number of hard links
 * @flags: SNAPMAP_FILE_*
 */
struct snapmap_file {
	const char *name;
	const struct snapmap_file *parent;
	uint32_t mode, uid, gid;
	int error;
	struct timespec mtime;
	uint64_t size;
	const struct snapmap_dir *dir;
	const void *contents;
	uint64_t dev, ino;
	uint32_t links;
	uint32_t flags;
};

/**
 * struct snapmap_dir - what is in a directory
 * @nfiles: number of entries
 * @error: a negative errno if it could not be read; it is empty then
 * @files: the entries, sorted by name as strcmp() does
 */
struct snapmap_dir {
	size_t nfiles;
	int error;
	const struct snapmap_file *files;
};

/**
 * struct snapmap_tree_info - what serves a tree, and what it cost
 * @source: SNAPMAP_SOURCE_SUBVOLUME if the whole tree is one snapshot, else SNAPMAP_SOURCE_AUTO,
 *	or what was asked for: each file has its own
 * @consistency: SNAPMAP_CONSISTENCY_POINT_IN_TIME if the whole tree is one instant;
 *	SNAPMAP_CONSISTENCY_EACH_FILE if each file is; SNAPMAP_CONSISTENCY_FUZZY if some file had
 *	to be copied while somebody may have been writing
 * @user_only: not 0: system calls do not make pages come, see snapmap_tree_touch()
 * @dirs, @entries: directories that were read, and what was in them
 * @files: whose contents were touched
 * @fuzzy: how many of these may have been copied while somebody was writing
 * @bytes_resident: of contents in memory now
 * @bytes_given_back: because of the limit
 * @faults: that threads of the library have served
 * @tried: why it is not a snapshot of the whole, or ""
 * @reserved: zero
 */
struct snapmap_tree_info {
	uint32_t source;
	uint32_t consistency;
	uint32_t user_only;
	uint32_t reserved0;
	uint64_t dirs;
	uint64_t entries;
	uint64_t files;
	uint64_t fuzzy;
	uint64_t bytes_resident;
	uint64_t bytes_given_back;
	uint64_t faults;
	char tried[400];
	uint64_t reserved[8];
};

/**
 * snapmap_tree_open() - a directory as a data structure
 * @path: a directory
 * @options: see struct snapmap_options, or NULL. Of the flags SNAPMAP_STRICT,
 *	SNAPMAP_NOFOLLOW and SNAPMAP_CROSS_MOUNTS; @resident_limit is for trees
 * @ret: gets the tree, to be released with snapmap_tree_close()
 *
 * Takes the same time whatever is in it.
 *
 * The source SUBVOLUME needs btrfs, and CAP_SYS_ADMIN; or, for whoever owns the subvolume, the
 * mount option user_subvol_rm_allowed. The snapshot is an entry ".snapmap-tree-..." of the
 * subvolume until the tree is closed; trees do not show such names. If its owner crashed,
 * the next open there removes it. Making it waits for btrfs to write what is pending. AUTO
 * takes it where it can, unless SNAPMAP_CROSS_MOUNTS is asked for; IMMUTABLE, LEASE, REFLINK and
 * COPY are what each file is to be read by.
 *
 * With SNAPMAP_STRICT the whole tree has to be one instant, or -EBUSY. What is on erofs or
 * squashfs always is.
 *
 * Return: 0, or what opening a directory fails with (-ENOENT, -ENOTDIR, -EACCES, -ELOOP...), and
 * -EINVAL for a NULL argument, unknown flags or sources, a wrong options size;
 * -EBUSY with SNAPMAP_STRICT;
 * -EOPNOTSUPP if a source was asked for that cannot serve it;
 * -EPERM, -ENOSYS if this system has no userfaultfd for this user (Linux 5.11, or a sandbox);
 * -ENOMEM, -EMFILE, -ENFILE, -EAGAIN if memory, descriptors or threads ran out.
 */
int snapmap_tree_open(const char *path, const struct snapmap_options *options, struct snapmap_tree **ret);

/**
 * snapmap_tree_root() - where it begins
 * @tree: a tree
 *
 * Return: the directory that was opened. It and all that it leads to belong to the tree.
 */
const struct snapmap_file *snapmap_tree_root(const struct snapmap_tree *tree);

/**
 * snapmap_file_lookup() - find a file below a directory
 * @dir: a directory
 * @path: names, separated by "/". "." and ".." are understood, the latter no further than
 *	the root; symbolic links are not followed. "" is @dir itself
 *
 * Hashed: takes no longer in a large directory. Directories on the way are read if they
 * were not yet. In C11 and later @dir may also be the struct snapmap_dir.
 *
 * Return: the file; NULL if there is none, or if something on the way is no directory or
 * cannot be read, which its @error tells.
 */
const struct snapmap_file *snapmap_file_lookup(const struct snapmap_file *dir, const char *path);

/**
 * snapmap_dir_lookup() - the same, from what is in a directory
 * @dir: what is behind a file's @dir
 * @path: as for snapmap_file_lookup()
 *
 * Return: as snapmap_file_lookup().
 */
const struct snapmap_file *snapmap_dir_lookup(const struct snapmap_dir *dir, const char *path);

#ifdef __cplusplus
}
inline const struct snapmap_file *snapmap_file_lookup(const struct snapmap_dir *dir, const char *path)
{
	return snapmap_dir_lookup(dir, path);
}
extern "C" {
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define snapmap_file_lookup(dir, path) \
	_Generic((dir),                                  \
		 const struct snapmap_dir *              \
		 : snapmap_dir_lookup, struct snapmap_dir * \
		 : snapmap_dir_lookup, default           \
		 : snapmap_file_lookup)(dir, path)
#endif

/**
 * snapmap_tree_touch() - read a file, or a directory, now
 * @tree: a tree
 * @file: an entry of it
 *
 * All its bytes are in memory afterwards, and stay there, whatever the limit is: they can
 * be given to system calls also where snapmap_tree_info.user_only is set.
 *
 * Return: 0, or @file->error, or
 * -EINVAL for a NULL argument, -ESTALE in a child of fork(), -ENOMEM.
 */
int snapmap_tree_touch(struct snapmap_tree *tree, const struct snapmap_file *file);

/**
 * snapmap_tree_get_info() - what serves it, and what it did
 * @tree: a tree
 * @ret: gets the answer
 *
 * Return: 0, or -EINVAL for a NULL argument.
 */
int snapmap_tree_get_info(const struct snapmap_tree *tree, struct snapmap_tree_info *ret);

/**
 * snapmap_tree_close() - release a tree
 * @tree: a tree, or NULL
 *
 * Nothing that belongs to it may be used afterwards, nor meanwhile.
 */
void snapmap_tree_close(struct snapmap_tree *tree);

#ifdef __cplusplus
}
#endif

#endif
