/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: minifs - a small file system inside a file
 *
 * An image has directories, files, links, attributes, and files that share blocks. It is
 * held as memory: operations change that memory, and minifs_sync() makes all of them
 * the image at once, as snapmap_mut_commit() does. Whatever happens, the image is the
 * one of the last sync. backends/minifs/FORMAT.md in the sources specifies the bytes.
 *
 * Paths begin at the root of the image, with or without a slash, and lead through
 * symbolic links, which stay inside. Permissions are kept, but not enforced, and the
 * umask is not looked at. New files belong to the effective user and group that opened
 * the image. Reading does not move access times. Each operation is done, or it fails and
 * nothing has changed.
 *
 * Errors, besides those that each function names: -EINVAL for NULL or unknown flags,
 * -EROFS for a change to an image that was opened for reading, -EUCLEAN if the image is
 * damaged (see minifs_check()), -ENOMEM; for paths -ENOENT, -ENOTDIR, -ENAMETOOLONG (a
 * name of more than 255 bytes, or a path of 4096), -ELOOP. snapmap_last_error() has the
 * sentence.
 *
 * Threads: any number may use one image at the same time. minifs_close() wants it to
 * itself.
 */
#ifndef MINIFS_H
#define MINIFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct timespec;

/** struct minifs - an open image */
struct minifs;

/** struct minifs_file - an open file of an image, which stays there when its last name goes */
struct minifs_file;

/* minifs_format_options.flags */
#define MINIFS_FORMAT_FORCE (1u << 0) /* overwrite a file that exists */
#define MINIFS_FORMAT_LARGE (1u << 1) /* files up to 4 TiB, and an index for large directories */

/**
 * struct minifs_format_options - what an image is to be like
 * @size: sizeof(struct minifs_format_options); any other value is -EINVAL
 * @flags: MINIFS_FORMAT_* flags, or 0
 * @bytes: size of the image, a multiple of 4096 up to 16 TiB; 0 is 256 KiB
 * @inodes: how many files and directories there can be, rounded up to a multiple of 16;
 *	0 is one for each 16 KiB, but at least 80
 * @mode: permissions of the root directory; 0 is 0755
 * @uuid: what tells the image from others; NULL is a random one. 16 bytes
 * @label: a name for people, up to 31 bytes; may be NULL
 *
 * An image of more than 64 blocks (256 KiB) is MINIFS_FORMAT_LARGE always.
 */
struct minifs_format_options {
	uint32_t size;
	uint32_t flags;
	uint64_t bytes;
	uint32_t inodes;
	uint32_t mode;
	const uint8_t *uuid;
	const char *label;
};

/**
 * minifs_format() - make an image
 * @path: the file; its bytes that are zeros are holes
 * @options: see struct minifs_format_options, or NULL
 *
 * Return: 0, -EEXIST without MINIFS_FORMAT_FORCE, -EBUSY if somebody has the image open
 * for writing, -EINVAL for a size that cannot be, or an error of snapmap_mut_create() or
 * snapmap_mut_commit().
 */
int minifs_format(const char *path, const struct minifs_format_options *options);

#define MINIFS_RDONLY (1u << 0)

/**
 * minifs_open() - open an image
 * @path: the file
 * @flags: 0, or MINIFS_RDONLY: a snapshot to read, which nobody else's changes reach
 * @ret: gets the image, to be released with minifs_close()
 *
 * Who opens for writing locks the file by flock(2), which ends with the process. What
 * deleted files left that were open when the image was last synced is freed. A sync that
 * was cut off by a crash is finished first, or for a reader in its snapshot.
 *
 * On local file systems (not overlayfs) an open for writing costs O(1) whatever the size:
 * the file itself is mapped (SNAPMAP_SOURCE_EXCLUSIVE). Who writes to it without looking
 * at the lock is found by the next sync; who cuts it makes touching the image a SIGBUS.
 * Elsewhere it takes a snapshot.
 *
 * Return: 0, -EBUSY if somebody else has it open for writing, -EINVAL if it is no image,
 * -EOPNOTSUPP for a newer format, -EUCLEAN if it is damaged, or an error of
 * snapmap_open() or snapmap_mut_open().
 */
int minifs_open(const char *path, uint32_t flags, struct minifs **ret);

/**
 * minifs_sync() - make the changes the image, all at once, and durable
 * @fs: an image
 *
 * Where the file itself is mapped this costs what was changed, and keeps the inode: blocks
 * are exchanged (XFS made for it), or a journal beside the file is applied
 * (SNAPMAP_STRATEGY_JOURNAL): then the image is whole at any moment for whoever opens it
 * by this library, though not for cp(1) while it is applied, or after a crash in its
 * middle. Elsewhere the file is replaced.
 *
 * Return: 0, -EBUSY if the file was changed by somebody who did not look at the lock, or
 * an error of snapmap_mut_commit(). The changes stay in memory then, and the next sync
 * tries again.
 */
int minifs_sync(struct minifs *fs);

/**
 * minifs_close() - release an image; changes since the last minifs_sync() are lost
 * @fs: an image none of whose files is open any more, or NULL
 */
void minifs_close(struct minifs *fs);

#define MINIFS_CHECK_REPAIR (1u << 0)

/**
 * struct minifs_check_result - what a check found
 * @found: problems
 * @repaired: as many of them are no more
 */
struct minifs_check_result {
	uint64_t found;
	uint64_t repaired;
};

/**
 * minifs_check() - look for damage in an image, and repair it
 * @path: the file
 * @flags: 0, or MINIFS_CHECK_REPAIR: locks the image, and commits what was repaired
 * @report: called with a sentence for each problem; may be NULL
 * @arg: passed to @report
 * @ret: gets the numbers, also with -EUCLEAN; may be NULL
 *
 * What lost its name gets one in the directory lost+found. That can want room in the
 * image: if there is none all else is repaired nevertheless, and the answer is -EUCLEAN.
 *
 * Return: 0 if the image is clean, or is so now; -EUCLEAN if it is not; or an error of
 * minifs_open() or minifs_sync().
 */
int minifs_check(const char *path, uint32_t flags, void (*report)(void *arg, const char *sentence), void *arg,
		 struct minifs_check_result *ret);

/**
 * struct minifs_space - how full an image is
 * @block_size: bytes of a block
 * @blocks: blocks for files and directories
 * @free_blocks: those that are free
 * @inodes: how many files and directories there can be
 * @free_inodes: how many more
 * @size_max: of a file, in bytes
 * @uuid: of the image
 * @label: of the image, ends with a byte 0
 */
struct minifs_space {
	uint64_t block_size;
	uint64_t blocks;
	uint64_t free_blocks;
	uint64_t inodes;
	uint64_t free_inodes;
	uint64_t size_max;
	uint8_t uuid[16];
	char label[33];
};

/**
 * minifs_statfs() - how full the image is
 * @fs: an image
 * @ret: gets the answer
 *
 * Return: 0 or -EINVAL.
 */
int minifs_statfs(struct minifs *fs, struct minifs_space *ret);

#define MINIFS_NOFOLLOW (1u << 0) /* a symbolic link as last name is meant itself */

/**
 * minifs_stat() - what is known of a file
 * @fs: an image
 * @path: the file
 * @flags: 0 or MINIFS_NOFOLLOW
 * @ret: gets the answer
 *
 * Return: 0 or a negative errno.
 */
int minifs_stat(struct minifs *fs, const char *path, uint32_t flags, struct stat *ret);

/**
 * minifs_create() - a new, empty file
 * @fs: an image
 * @path: name that must not exist
 * @mode: its permissions
 *
 * Return: 0, -EEXIST, -ENOSPC.
 */
int minifs_create(struct minifs *fs, const char *path, mode_t mode);

/**
 * minifs_mkdir() - a new directory
 * @fs: an image
 * @path: name that must not exist
 * @mode: its permissions
 *
 * Return: 0, -EEXIST, -ENOSPC, -EMLINK if the parent has too many directories.
 */
int minifs_mkdir(struct minifs *fs, const char *path, mode_t mode);

/**
 * minifs_symlink() - a new symbolic link
 * @fs: an image
 * @target: what it leads to, up to 4095 bytes
 * @path: name that must not exist
 *
 * Return: 0, -EEXIST, -ENOSPC.
 */
int minifs_symlink(struct minifs *fs, const char *target, const char *path);

/**
 * minifs_readlink() - where a symbolic link leads
 * @fs: an image
 * @path: the link
 * @buf: gets the target, without a byte 0, cut off if it is too long
 * @size: of @buf
 *
 * Return: bytes put into @buf, or -EINVAL if it is no link.
 */
ssize_t minifs_readlink(struct minifs *fs, const char *path, char *buf, size_t size);

/**
 * minifs_link() - one more name for a file
 * @fs: an image
 * @from: the file; a symbolic link is not followed
 * @to: name that must not exist
 *
 * Return: 0, -EEXIST, -EPERM for a directory, -EMLINK, -ENOSPC.
 */
int minifs_link(struct minifs *fs, const char *from, const char *to);

/**
 * minifs_unlink() - remove a name; the file goes with the last one, once nobody has it open
 * @fs: an image
 * @path: the name
 *
 * Return: 0, -EISDIR.
 */
int minifs_unlink(struct minifs *fs, const char *path);

/**
 * minifs_rmdir() - remove an empty directory
 * @fs: an image
 * @path: the directory
 *
 * Return: 0, -ENOTEMPTY, -EBUSY for the root, -EINVAL if it ends in ".".
 */
int minifs_rmdir(struct minifs *fs, const char *path);

/**
 * minifs_rename() - give a file or directory another name, over one that exists too
 * @fs: an image
 * @from: the name
 * @to: the new one
 *
 * As rename(2), with its errors: -EINVAL into itself, -ENOTEMPTY, -EISDIR, -ENOTDIR, -EBUSY
 * for "." and "..", -EMLINK, -ENOSPC.
 *
 * Return: 0 or a negative errno.
 */
int minifs_rename(struct minifs *fs, const char *from, const char *to);

/**
 * struct minifs_dirent - a name in a directory
 * @ino: number of the inode
 * @mode: its type, as in stat.st_mode
 * @name: ends with a byte 0
 */
struct minifs_dirent {
	uint64_t ino;
	uint32_t mode;
	char name[256];
};

/**
 * minifs_readdir() - names of a directory, "." and ".." included
 * @fs: an image
 * @path: the directory
 * @cursor: 0 to begin with; moved behind what is returned
 * @entries: gets up to @capacity names
 * @capacity: how many fit, not 0
 *
 * A name that stays all the time is returned once, whatever else comes and goes.
 *
 * Return: how many, 0 at the end.
 */
ssize_t minifs_readdir(struct minifs *fs, const char *path, uint64_t *cursor, struct minifs_dirent *entries,
		       size_t capacity);

/**
 * minifs_pread() - read from a file
 * @fs: an image
 * @path: the file
 * @buf: gets the bytes
 * @n: how many
 * @offset: from where
 *
 * Return: bytes read, fewer than @n only at the end of the file; -EISDIR.
 */
ssize_t minifs_pread(struct minifs *fs, const char *path, void *buf, size_t n, uint64_t offset);

/**
 * minifs_pwrite() - write to a file
 * @fs: an image
 * @path: the file
 * @buf: the bytes
 * @n: how many
 * @offset: to where; what is between the end and there reads as zeros
 *
 * Return: bytes written, fewer than @n only up to the largest size of a file; -ENOSPC, and
 * nothing is written then; -EFBIG; -EISDIR.
 */
ssize_t minifs_pwrite(struct minifs *fs, const char *path, const void *buf, size_t n, uint64_t offset);

/**
 * minifs_truncate() - another size
 * @fs: an image
 * @path: the file
 * @size: in bytes; growth is a hole
 *
 * Return: 0, -EFBIG, -EISDIR, -ENOSPC.
 */
int minifs_truncate(struct minifs *fs, const char *path, uint64_t size);

/**
 * minifs_clone() - a new file with the same content, which shares all blocks
 * @fs: an image
 * @from: a file
 * @to: name that must not exist
 *
 * Mode, owner, group and extended attributes are those of @from. Takes time and space by
 * the pointers, not by the data.
 *
 * Return: 0, -EEXIST, -ENOSPC, -EISDIR.
 */
int minifs_clone(struct minifs *fs, const char *from, const char *to);

/**
 * minifs_clone_range() - have a range of a file share the blocks of another range
 * @fs: an image
 * @from: a file
 * @from_offset: a multiple of 4096
 * @to: a file, the same or another
 * @to_offset: a multiple of 4096
 * @length: a multiple of 4096, or up to the end of @from; 0 is up to the end
 *
 * As the ioctl FICLONERANGE.
 *
 * Return: 0, -EINVAL for a range that cannot be shared, -EFBIG, -EISDIR, -ENOSPC.
 */
int minifs_clone_range(struct minifs *fs, const char *from, uint64_t from_offset, const char *to, uint64_t to_offset,
		       uint64_t length);

/**
 * minifs_chmod() - other permissions
 * @fs: an image
 * @path: the file
 * @mode: permissions and the set-ID and sticky bits
 *
 * Return: 0 or a negative errno.
 */
int minifs_chmod(struct minifs *fs, const char *path, mode_t mode);

/**
 * minifs_chown() - another owner and group
 * @fs: an image
 * @path: the file
 * @flags: 0 or MINIFS_NOFOLLOW
 * @uid: owner, or (uid_t)-1 to leave it
 * @gid: group, or (gid_t)-1 to leave it
 *
 * A file that is not a directory loses its set-user-ID bit, and, if its group may execute
 * it, its set-group-ID bit.
 *
 * Return: 0 or a negative errno.
 */
int minifs_chown(struct minifs *fs, const char *path, uint32_t flags, uid_t uid, gid_t gid);

/**
 * minifs_utimens() - other times
 * @fs: an image
 * @path: the file
 * @flags: 0 or MINIFS_NOFOLLOW
 * @times: two, of the last access and change, with UTIME_NOW and UTIME_OMIT as for
 *	utimensat(2); or NULL for now. From 1678 to 2262; others become the nearest
 *
 * Return: 0 or a negative errno.
 */
int minifs_utimens(struct minifs *fs, const char *path, uint32_t flags, const struct timespec *times);

/**
 * minifs_getxattr() - an extended attribute
 * @fs: an image
 * @path: the file; a symbolic link is followed
 * @name: its name, of any class
 * @value: gets the value
 * @size: of @value; 0 only asks how long it is
 *
 * Return: length of the value, -ENODATA if there is none, -ERANGE if @size is too small.
 */
ssize_t minifs_getxattr(struct minifs *fs, const char *path, const char *name, void *value, size_t size);

/**
 * minifs_setxattr() - set an extended attribute
 * @fs: an image
 * @path: the file
 * @name: its name, 1 to 255 bytes
 * @value: its value
 * @size: of @value. All attributes of a file have room in 4096 bytes, with 4 more for each
 * @flags: 0, XATTR_CREATE or XATTR_REPLACE as for setxattr(2)
 *
 * Return: 0, -ENOSPC, -EEXIST, -ENODATA, -ERANGE for a name that cannot be.
 */
int minifs_setxattr(struct minifs *fs, const char *path, const char *name, const void *value, size_t size, int flags);

/**
 * minifs_listxattr() - names of all extended attributes
 * @fs: an image
 * @path: the file
 * @list: gets the names, each with a byte 0 behind it
 * @size: of @list; 0 only asks how long it is
 *
 * Return: length of the list, -ERANGE if @size is too small.
 */
ssize_t minifs_listxattr(struct minifs *fs, const char *path, char *list, size_t size);

/**
 * minifs_removexattr() - remove an extended attribute
 * @fs: an image
 * @path: the file
 * @name: its name
 *
 * Return: 0 or -ENODATA.
 */
int minifs_removexattr(struct minifs *fs, const char *path, const char *name);

/**
 * minifs_file_open() - open a file
 * @fs: an image
 * @path: the file
 * @ret: gets it, to be released with minifs_file_close() before the image is closed
 *
 * An open file stays usable when it is renamed, or loses its last name.
 *
 * Return: 0, -EISDIR.
 */
int minifs_file_open(struct minifs *fs, const char *path, struct minifs_file **ret);

/**
 * minifs_file_close() - release an open file
 * @file: an open file, or NULL
 */
void minifs_file_close(struct minifs_file *file);

/**
 * minifs_file_stat() - as minifs_stat()
 * @file: an open file
 * @ret: gets the answer
 *
 * Return: 0 or a negative errno.
 */
int minifs_file_stat(struct minifs_file *file, struct stat *ret);

/**
 * minifs_file_pread() - as minifs_pread()
 * @file: an open file
 * @buf: gets the bytes
 * @n: how many
 * @offset: from where
 *
 * Return: bytes read.
 */
ssize_t minifs_file_pread(struct minifs_file *file, void *buf, size_t n, uint64_t offset);

/**
 * minifs_file_pwrite() - as minifs_pwrite()
 * @file: an open file
 * @buf: the bytes
 * @n: how many
 * @offset: to where
 *
 * Return: bytes written.
 */
ssize_t minifs_file_pwrite(struct minifs_file *file, const void *buf, size_t n, uint64_t offset);

/**
 * minifs_file_truncate() - as minifs_truncate()
 * @file: an open file
 * @size: in bytes
 *
 * Return: 0 or a negative errno.
 */
int minifs_file_truncate(struct minifs_file *file, uint64_t size);

/**
 * minifs_file_clone_range() - as minifs_clone_range()
 * @from: an open file
 * @from_offset: a multiple of 4096
 * @to: an open file of the same image, else -EXDEV
 * @to_offset: a multiple of 4096
 * @length: a multiple of 4096, or up to the end of @from; 0 is up to the end
 *
 * Return: 0 or a negative errno.
 */
int minifs_file_clone_range(struct minifs_file *from, uint64_t from_offset, struct minifs_file *to, uint64_t to_offset,
			    uint64_t length);

struct snapmap;
struct snapmap_mut;
struct snapmap_options;

/**
 * minifs_map() - a file of the image as memory that does not change
 * @fs: an image
 * @path: the file; symbolic links are followed unless SNAPMAP_NOFOLLOW
 * @options: see struct snapmap_options, or NULL. Its source may be SNAPMAP_SOURCE_MINIFS
 * @ret: gets the handle, to be released with snapmap_close()
 *
 * The bytes are those of the file now, whether synced or not, whatever is done in the
 * image afterwards. Its blocks cannot be used for anything else until the handle is
 * closed: who writes to the file meanwhile needs room for new ones, and minifs_statfs()
 * does not count them as free.
 *
 * A file whose blocks follow each other is shown where it lies in the memory of the
 * image: that takes time by the pointers to them, and nothing else. Of others, blocks
 * that were synced are mapped, and blocks that were not are copied, as are those of a file
 * in more than about a thousand pieces, and those of an image opened with MINIFS_RDONLY
 * that is under a lease.
 *
 * An image whose files are mapped lives, and stays locked, until the last of these handles
 * is closed, also if it is closed itself first. After a fork() blocks stay used until then.
 *
 * Return: 0, -EISDIR, -EINVAL for something else that is no file, -ELOOP,
 * -EOPNOTSUPP for another source or if pages of memory are not of 4096 bytes, -EFBIG if
 * the address space is too small, -EIO, -ENOMEM.
 */
int minifs_map(struct minifs *fs, const char *path, const struct snapmap_options *options, struct snapmap **ret);

/**
 * minifs_map_mut() - edit a file of the image
 * @fs: an image
 * @path: the file
 * @options: as for minifs_map(). With SNAPMAP_GUARD the file is copied; SNAPMAP_SPILL is
 *	-EOPNOTSUPP
 * @ret: gets the handle, to be released with snapmap_mut_close()
 *
 * snapmap_mut_commit() puts the edits into the file in the image, all at once; minifs_sync()
 * makes them durable. It takes time by the edits, and needs free blocks for them. It fails
 * with -EBUSY if the content of the file was changed meanwhile, or its name leads to
 * another file or to none; with SNAPMAP_COMMIT_FORCE it writes all bytes into the file that
 * the name leads to now, and if there is none it is -ENOENT. The strategy is
 * SNAPMAP_STRATEGY_IMAGE, and others are -EOPNOTSUPP, as is snapmap_mut_link(). Once the
 * image was closed it is -ESTALE.
 *
 * Return: as minifs_map(), and -EROFS for an image that was opened for reading.
 */
int minifs_map_mut(struct minifs *fs, const char *path, const struct snapmap_options *options,
		   struct snapmap_mut **ret);

/**
 * minifs_file_map() - as minifs_map()
 * @file: an open file, which may be closed before the handle
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle
 *
 * Return: 0 or a negative errno.
 */
int minifs_file_map(struct minifs_file *file, const struct snapmap_options *options, struct snapmap **ret);

/**
 * minifs_file_map_mut() - as minifs_map_mut(), wherever the names of the file are
 * @file: an open file, which may be closed before the handle
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle
 *
 * Return: 0 or a negative errno.
 */
int minifs_file_map_mut(struct minifs_file *file, const struct snapmap_options *options, struct snapmap_mut **ret);

#ifdef __cplusplus
}
#endif

#endif
