/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: files of an image by number
 *
 * What a server of the image needs that names files as a kernel does: by the number of
 * the inode, and by a directory's number and one name in it. The root is
 * MINIFS_ROOT_INO. These do the same as the functions with paths.
 *
 * Who is to use a number holds it: functions that return a struct minifs_entry take a
 * hold of its inode, which minifs_ino_forget() ends. A held inode keeps its content and
 * its number when its last name goes. The root needs no hold. A number that nobody holds
 * may be -EUCLEAN, or another file's.
 *
 * Names are single ones: -EINVAL with a slash. Errors are those of the functions with
 * paths.
 */
#ifndef MINIFS_INO_H
#define MINIFS_INO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct minifs;
struct timespec;

#define MINIFS_ROOT_INO 2u

/**
 * struct minifs_entry - what a name leads to
 * @ino: number of the inode
 * @generation: other for each file that has the number one after the other
 * @stat: what is known of it
 */
struct minifs_entry {
	uint64_t ino;
	uint64_t generation;
	struct stat stat;
};

/**
 * struct minifs_new - what something new is to be like
 * @mode: type and permissions: a regular file or a directory; for a symbolic link ignored
 * @uid: its owner
 * @gid: its group, unless the directory has the set-group-ID bit
 */
struct minifs_new {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/**
 * minifs_ino_lookup() - find a name in a directory, and hold what it leads to
 * @fs: an image
 * @parent: the directory
 * @name: the name; "." and ".." too
 * @ret: gets the answer
 *
 * Return: 0, -ENOENT, -ENOTDIR.
 */
int minifs_ino_lookup(struct minifs *fs, uint64_t parent, const char *name, struct minifs_entry *ret);

/**
 * minifs_ino_forget() - end holds; what has no name goes with the last one
 * @fs: an image
 * @ino: the inode
 * @n: how many
 *
 * Return: 1 if a file went, which is a change of the image; else 0.
 */
int minifs_ino_forget(struct minifs *fs, uint64_t ino, uint64_t n);

/**
 * minifs_ino_hold() - look at an inode that need not be held yet, and hold it
 * @fs: an image
 * @ino: the inode
 * @ret: gets the answer; its generation tells whether it is still the one that was meant
 *
 * For handles of files that outlive their holds, such as those of name_to_handle_at(2).
 *
 * Return: 0, -ENOENT if there is no such file or it has no name any more and no hold.
 */
int minifs_ino_hold(struct minifs *fs, uint64_t ino, struct minifs_entry *ret);

/**
 * minifs_ino_stat() - as minifs_stat()
 * @fs: an image
 * @ino: the file
 * @ret: gets the answer
 *
 * Return: 0 or a negative errno.
 */
int minifs_ino_stat(struct minifs *fs, uint64_t ino, struct stat *ret);

/* minifs_change.what */
#define MINIFS_SET_MODE (1u << 0)
#define MINIFS_SET_UID (1u << 1)
#define MINIFS_SET_GID (1u << 2)
#define MINIFS_SET_SIZE (1u << 3)
#define MINIFS_SET_ATIME (1u << 4)
#define MINIFS_SET_MTIME (1u << 5)
#define MINIFS_SET_CTIME (1u << 6) /* else it is now */

/**
 * struct minifs_change - other attributes
 * @what: which of the others count: MINIFS_SET_* flags
 * @mode: permissions
 * @uid: owner
 * @gid: group
 * @size: in bytes
 * @atime: time of the last access, or UTIME_NOW in its tv_nsec
 * @mtime: time of the last change of content, as well
 * @ctime: time of the last change, as well
 */
struct minifs_change {
	uint32_t what;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	const struct timespec *atime;
	const struct timespec *mtime;
	const struct timespec *ctime;
};

/**
 * minifs_ino_set() - change attributes, all of them or none
 * @fs: an image
 * @ino: the file
 * @change: which, and to what
 * @ret: gets what is known of the file then; may be NULL
 *
 * Return: 0, -EFBIG, -EISDIR, -ENOSPC.
 */
int minifs_ino_set(struct minifs *fs, uint64_t ino, const struct minifs_change *change, struct stat *ret);

/**
 * minifs_ino_make() - a new file or directory, held
 * @fs: an image
 * @parent: the directory
 * @name: name that must not exist
 * @new_one: what it is to be like
 * @ret: gets what is known of it
 *
 * Return: 0, -EEXIST, -ENOSPC, -EMLINK, -EPERM for types that an image does not have.
 */
int minifs_ino_make(struct minifs *fs, uint64_t parent, const char *name, const struct minifs_new *new_one,
		    struct minifs_entry *ret);

/**
 * minifs_ino_symlink() - a new symbolic link, held
 * @fs: an image
 * @parent: the directory
 * @name: name that must not exist
 * @target: what it leads to, up to 4095 bytes
 * @new_one: its owner and group
 * @ret: gets what is known of it
 *
 * Return: 0, -EEXIST, -ENOSPC.
 */
int minifs_ino_symlink(struct minifs *fs, uint64_t parent, const char *name, const char *target,
		       const struct minifs_new *new_one, struct minifs_entry *ret);

/**
 * minifs_ino_readlink() - as minifs_readlink()
 * @fs: an image
 * @ino: the link
 * @buf: gets the target, without a byte 0
 * @size: of @buf
 *
 * Return: bytes put into @buf.
 */
ssize_t minifs_ino_readlink(struct minifs *fs, uint64_t ino, char *buf, size_t size);

/**
 * minifs_ino_link() - one more name for a file, and one more hold
 * @fs: an image
 * @ino: the file
 * @parent: the directory
 * @name: name that must not exist
 * @ret: gets what is known of it
 *
 * Return: 0, -EEXIST, -EPERM for a directory, -EMLINK, -ENOENT for a file without a name.
 */
int minifs_ino_link(struct minifs *fs, uint64_t ino, uint64_t parent, const char *name, struct minifs_entry *ret);

/**
 * minifs_ino_unlink() - remove a name of a file
 * @fs: an image
 * @parent: the directory
 * @name: the name
 *
 * Return: 0, -EISDIR.
 */
int minifs_ino_unlink(struct minifs *fs, uint64_t parent, const char *name);

/**
 * minifs_ino_rmdir() - remove an empty directory
 * @fs: an image
 * @parent: the directory that it is in
 * @name: the name
 *
 * Return: 0, -ENOTDIR, -ENOTEMPTY.
 */
int minifs_ino_rmdir(struct minifs *fs, uint64_t parent, const char *name);

#define MINIFS_RENAME_NOREPLACE (1u << 0) /* fail with -EEXIST rather than replace */
#define MINIFS_RENAME_EXCHANGE (1u << 1)  /* both names exist, and change places */

/**
 * minifs_ino_rename() - as renameat2(2)
 * @fs: an image
 * @parent: directory of the name
 * @name: the name
 * @new_parent: directory of the new one
 * @new_name: the new one
 * @flags: 0 or one of MINIFS_RENAME_*
 *
 * Return: 0 or a negative errno.
 */
int minifs_ino_rename(struct minifs *fs, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
		      uint32_t flags);

/**
 * struct minifs_named - a name of a directory, and what it leads to
 * @entry: what it leads to
 * @next: cursor to go on behind it
 * @name: ends with a byte 0
 */
struct minifs_named {
	struct minifs_entry entry;
	uint64_t next;
	char name[256];
};

#define MINIFS_HOLD (1u << 0) /* hold what is returned, but for "." and ".." */

/**
 * minifs_ino_readdir() - names of a directory, and what is known of the files
 * @fs: an image
 * @ino: the directory
 * @cursor: 0 to begin with, then the @next of the last name that was used
 * @flags: 0 or MINIFS_HOLD
 * @names: gets up to @capacity names
 * @capacity: how many fit, not 0
 *
 * Return: how many, 0 at the end.
 */
ssize_t minifs_ino_readdir(struct minifs *fs, uint64_t ino, uint64_t cursor, uint32_t flags, struct minifs_named *names,
			   size_t capacity);

/**
 * minifs_ino_pread() - as minifs_pread()
 * @fs: an image
 * @ino: the file
 * @buf: gets the bytes
 * @n: how many
 * @offset: from where
 *
 * Return: bytes read.
 */
ssize_t minifs_ino_pread(struct minifs *fs, uint64_t ino, void *buf, size_t n, uint64_t offset);

/**
 * minifs_ino_pwrite() - as minifs_pwrite()
 * @fs: an image
 * @ino: the file
 * @buf: the bytes
 * @n: how many
 * @offset: to where
 *
 * Return: bytes written.
 */
ssize_t minifs_ino_pwrite(struct minifs *fs, uint64_t ino, const void *buf, size_t n, uint64_t offset);

/**
 * minifs_ino_copy_range() - as copy_file_range(2): shares what lies alike in its blocks
 * @fs: an image
 * @from: a file
 * @from_offset: in bytes
 * @to: a file; the same one if the ranges do not overlap
 * @to_offset: in bytes
 * @length: in bytes; up to the end of @from if that is nearer
 *
 * Return: bytes that are there now, 0 from the end of @from on; -EFBIG, -EINVAL, -ENOSPC.
 */
ssize_t minifs_ino_copy_range(struct minifs *fs, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset,
			      uint64_t length);

/**
 * minifs_ino_share() - a new file without a name, which has the bytes of a range
 * @fs: an image
 * @from: a file
 * @offset: of the range, in bytes
 * @length: of the range, in bytes; up to the end of @from if that is nearer
 * @new_one: permissions, owner and group of the new file
 * @ret: gets the answer, held once; the file goes with the last hold
 *
 * Whole blocks are shared if @offset is a multiple of their size, else bytes are copied.
 *
 * Return: 0, -EISDIR, -EINVAL if it is no regular file, -ENOSPC.
 */
int minifs_ino_share(struct minifs *fs, uint64_t from, uint64_t offset, uint64_t length,
		     const struct minifs_new *new_one, struct minifs_entry *ret);

#define MINIFS_ALLOCATE_KEEP_SIZE (1u << 0) /* the file does not become longer */
#define MINIFS_ALLOCATE_PUNCH (1u << 1)	    /* zeros, as holes */
#define MINIFS_ALLOCATE_ZERO (1u << 2)	    /* zeros, with blocks */

/**
 * minifs_ino_allocate() - as fallocate(2): blocks for a range, zeros, or a hole
 * @fs: an image
 * @ino: the file
 * @flags: MINIFS_ALLOCATE_* flags; _PUNCH wants _KEEP_SIZE and excludes _ZERO
 * @offset: in bytes
 * @length: in bytes, not 0
 *
 * Nothing is allocated behind the end of a file that does not become longer.
 *
 * Return: 0, -EFBIG, -EISDIR, -ENOSPC.
 */
int minifs_ino_allocate(struct minifs *fs, uint64_t ino, uint32_t flags, uint64_t offset, uint64_t length);

/**
 * minifs_ino_seek() - as lseek(2) with SEEK_DATA or SEEK_HOLE
 * @fs: an image
 * @ino: the file
 * @offset: from where
 * @whence: SEEK_DATA or SEEK_HOLE
 * @ret: gets the place
 *
 * Return: 0, -ENXIO behind the end or if no data follows.
 */
int minifs_ino_seek(struct minifs *fs, uint64_t ino, uint64_t offset, int whence, uint64_t *ret);

/**
 * minifs_ino_getxattr() - as minifs_getxattr()
 * @fs: an image
 * @ino: the file
 * @name: its name
 * @value: gets the value
 * @size: of @value; 0 only asks how long it is
 *
 * Return: length of the value.
 */
ssize_t minifs_ino_getxattr(struct minifs *fs, uint64_t ino, const char *name, void *value, size_t size);

/**
 * minifs_ino_setxattr() - as minifs_setxattr()
 * @fs: an image
 * @ino: the file
 * @name: its name
 * @value: its value
 * @size: of @value
 * @flags: 0, XATTR_CREATE or XATTR_REPLACE
 *
 * Return: 0 or a negative errno.
 */
int minifs_ino_setxattr(struct minifs *fs, uint64_t ino, const char *name, const void *value, size_t size, int flags);

/**
 * minifs_ino_listxattr() - as minifs_listxattr()
 * @fs: an image
 * @ino: the file
 * @list: gets the names
 * @size: of @list; 0 only asks how long it is
 *
 * Return: length of the list.
 */
ssize_t minifs_ino_listxattr(struct minifs *fs, uint64_t ino, char *list, size_t size);

/**
 * minifs_ino_removexattr() - as minifs_removexattr()
 * @fs: an image
 * @ino: the file
 * @name: its name
 *
 * Return: 0 or a negative errno.
 */
int minifs_ino_removexattr(struct minifs *fs, uint64_t ino, const char *name);

#ifdef __cplusplus
}
#endif

#endif
