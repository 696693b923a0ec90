/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap: a file as memory that does not change. */
#ifndef SNAPMAP_MAP_H
#define SNAPMAP_MAP_H

#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct snapmap;

/**
 * snapmap_open() - take a read-only snapshot of a file
 * @path: the file; symbolic links are followed unless SNAPMAP_NOFOLLOW
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle, to be released with snapmap_close()
 *
 * Only permission to read the file is needed. Nothing that happens to the file
 * afterwards shows: not writes, truncation, renaming or removal. An open handle
 * holds no descriptor. A file that nobody can change is mapped as it is, which
 * snapmap_info.source tells as SNAPMAP_SOURCE_IMMUTABLE. A commit by journal that was
 * cut off is finished first if the caller may write to the file, which writes to it; if
 * not, in the private image.
 *
 * Return: 0, or
 * -EINVAL for a NULL argument, unknown flags, a wrong options size;
 * -ENOENT, -EACCES, -ELOOP, -ENOTDIR, -ENAMETOOLONG as open(2);
 * -EISDIR for a directory;
 * -EOPNOTSUPP for a device, FIFO or socket, for files of /proc, /sys and their
 *  like, or if the source asked for cannot serve this file;
 * -EFBIG for a file larger than the address space, or than RLIMIT_FSIZE lets the
 *  private copy be;
 * -EBUSY with SNAPMAP_STRICT if no point in time could be had;
 * -EUCLEAN if a commit by journal to it was cut off, and its journal is not there,
 *  damaged or another one: see SNAPMAP_STRATEGY_JOURNAL;
 * -ECANCELED if the progress function said so;
 * -EMFILE, -ENFILE, -ENOMEM, -ENOSPC, -EDQUOT, -EIO if resources ran out.
 *
 * Threads: may be called from any thread at any time.
 */
int snapmap_open(const char *path, const struct snapmap_options *options, struct snapmap **ret);

/**
 * snapmap_open_fd() - take a read-only snapshot of an open file
 * @fd: descriptor of a regular file, open for reading (or O_PATH, where /proc is
 *	mounted). It stays the caller's, and its file offset is left alone.
 * @options: see struct snapmap_options, or NULL
 * @ret: gets the handle
 *
 * A memory file with the seals F_SEAL_WRITE and F_SEAL_SHRINK is mapped as it is;
 * others are copied.
 *
 * Return: as snapmap_open(), and -EBADF if @fd is not open for reading.
 */
int snapmap_open_fd(int fd, const struct snapmap_options *options, struct snapmap **ret);

/**
 * snapmap_data() - the bytes
 * @map: a handle
 *
 * Return: address of the first of snapmap_size() bytes, aligned to a page. Never
 * NULL, also for an empty file. The rest of the last page reads as zeros. The
 * memory may only be read, by any number of threads, until snapmap_close().
 */
const void *snapmap_data(const struct snapmap *map);

/**
 * snapmap_size() - number of bytes
 * @map: a handle
 *
 * Return: size in bytes; it never changes.
 */
size_t snapmap_size(const struct snapmap *map);

/**
 * snapmap_get_info() - which source serves the handle, and what it cost
 * @map: a handle
 * @ret: gets the answer
 *
 * Return: 0, or -EINVAL for a NULL argument.
 */
int snapmap_get_info(const struct snapmap *map, struct snapmap_info *ret);

/**
 * snapmap_prefault() - read a part into memory now
 * @map: a handle
 * @offset: first byte
 * @length: number of bytes; 0 is allowed and does nothing
 *
 * An I/O error that a plain access would turn into a signal is returned instead.
 *
 * Return: 0, or
 * -EINVAL if the range does not lie within the file;
 * -EIO if the storage failed;
 * -ENOMEM if memory ran out.
 */
int snapmap_prefault(const struct snapmap *map, uint64_t offset, uint64_t length);

/**
 * snapmap_close() - release a handle
 * @map: a handle, or NULL
 *
 * The memory is gone afterwards. Keeps errno.
 */
void snapmap_close(struct snapmap *map);

#ifdef __cplusplus
}
#endif

#endif
