/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* struct snapmap_segment: memory that files are read into when it is touched. */
#ifndef SNAPMAP_SEGMENT_H
#define SNAPMAP_SEGMENT_H

#include <snapmap/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: deferred I/O
 *
 * A segment is a range of addresses. Reading a file into it returns at once, whatever
 * the size, and is otherwise like read(2): the bytes are those of the file at the time of
 * the call, whatever happens to the file afterwards. Only the pages that are touched cost
 * anything. Writing back passes over what is unchanged in memory and in the file.
 *
 * The memory can be used in every way: any thread may load and store, and hand it to
 * system calls. The rules:
 *
 *  - A page that was not touched comes from a snapshot, taken at the call that read it.
 *  - A store makes the page private. Reading over it, or zeroing it, ends that.
 *  - A read of which a page is only a part, at the two ends, leaves the rest of the page
 *    alone. That part is read at once; so are reads of less than SNAPMAP_SEGMENT_DEFERS.
 *  - A snapshot is dropped with the last page that came from it.
 *  - Where no snapshot can be had without a copy, the call is a plain read(2), which
 *    struct snapmap_segment_stats tells. With SNAPMAP_STRICT it is -EBUSY.
 *
 * There are two ways, of which snapmap_segment_create() takes the first that works:
 *
 * PAGER: threads of the library serve the page faults (userfaultfd). Needs CAP_SYS_PTRACE
 * or vm.unprivileged_userfaultfd, and Linux 5.7. Works for every address and offset, and
 * for every file that can be leased, shared (reflink), or never changes. A child of
 * fork() does not have the memory: touching it is a SIGSEGV there. A page that cannot be
 * read is a SIGBUS, and snapmap_segment_stats.error. Before Linux 6.7 every page that
 * was touched is compared with its snapshot when it is written back.
 *
 * MAPPED: for everybody, and always with SNAPMAP_INHERIT. The kernel maps pages of a
 * private image that shares the file's extents; reads whose address and offset are not
 * the same modulo the page size, and those of files that cannot be shared, are plain
 * reads. Each deferred read can take up to three of the process's mappings
 * (vm.max_map_count). A child of fork() has the memory as it was.
 *
 * A file that is leased (ext4, tmpfs) stays so until somebody opens it for writing, also
 * this process; then it is copied, unless it can be shared, while that open waits. A file
 * that is open for writing can be shared, but not leased.
 *
 * Threads: calls may overlap with one another and with use of the memory, if they are for
 * different ranges; as with read(2), what is in a range that two use at once is undefined,
 * but nothing else.
 */

struct snapmap_segment;

#define SNAPMAP_SEGMENT_DEFERS 16384 /* bytes; of whole pages */

/* snapmap_segment_stats.way */
#define SNAPMAP_SEGMENT_PAGER 1u
#define SNAPMAP_SEGMENT_MAPPED 2u

/**
 * struct snapmap_segment_stats - what a segment has saved, and what it paid
 * @way: SNAPMAP_SEGMENT_PAGER or SNAPMAP_SEGMENT_MAPPED
 * @error: sticky, a negative errno once a page could not be read; 0 while all is well
 * @size: of the segment, in bytes
 * @snapshots: that pages stand for now
 * @bytes_standing: of pages that stand for a snapshot: they were not stored into
 * @reads_deferred, @reads_plain: calls that returned at once, and those that were read(2)
 * @bytes_deferred: that the former returned
 * @bytes_read: that were read at once, by plain reads and at the ends of the others
 * @faults: that threads of the library have served
 * @bytes_loaded: of pages that were put in place because they, or one nearby, were touched.
 *	0 for SNAPMAP_SEGMENT_MAPPED, where the kernel does it
 * @bytes_given_back: of pages that were taken back because of the limit
 * @bytes_skipped: that were written back by doing nothing
 * @bytes_written: that were written
 * @bytes_shared: that were written by sharing extents
 * @refused: why the last plain read was one, or ""
 * @reserved: zero
 */
struct snapmap_segment_stats {
	uint32_t way;
	int32_t error;
	uint64_t size;
	uint64_t snapshots;
	uint64_t bytes_standing;
	uint64_t reads_deferred;
	uint64_t reads_plain;
	uint64_t bytes_deferred;
	uint64_t bytes_read;
	uint64_t faults;
	uint64_t bytes_loaded;
	uint64_t bytes_given_back;
	uint64_t bytes_skipped;
	uint64_t bytes_written;
	uint64_t bytes_shared;
	char refused[256];
	uint64_t reserved[8];
};

/**
 * snapmap_segment_create() - make a segment
 * @size: bytes. Only address space: all of it is zeros, which take no memory
 * @options: see struct snapmap_options, or NULL. Of the flags SNAPMAP_STRICT and
 *	SNAPMAP_INHERIT; of the sources AUTO, IMMUTABLE, LEASE and REFLINK
 * @ret: gets the segment, to be released with snapmap_segment_destroy()
 *
 * Return: 0, or
 * -EINVAL for a NULL result, a size of 0, unknown flags or sources, a wrong options size;
 * -EFBIG if there is no address space for it;
 * -ENOMEM, -EMFILE, -ENFILE, -EAGAIN if memory, descriptors or threads ran out.
 */
int snapmap_segment_create(size_t size, const struct snapmap_options *options, struct snapmap_segment **ret);

/**
 * snapmap_segment_base() - the memory
 * @segment: a segment
 *
 * Return: its first byte, aligned to a page. Never changes.
 */
void *snapmap_segment_base(const struct snapmap_segment *segment);

/**
 * snapmap_segment_size() - bytes of it
 * @segment: a segment
 *
 * Return: the size that it was made with.
 */
size_t snapmap_segment_size(const struct snapmap_segment *segment);

/**
 * snapmap_segment_pread() - read from a file, later
 * @segment: a segment
 * @fd: what to read from, as for pread(2)
 * @buf: where to, anywhere in the segment
 * @n: bytes; any number, also more than pread(2) takes in one call
 * @offset: of the first byte in the file
 *
 * Return: the number of bytes that are, or will be, at @buf: less than @n only at the end
 * of the file; or what pread(2) fails with, and
 * -EFAULT if the range does not lie within the segment;
 * -EINVAL for a NULL segment, a negative offset, or a size that no file can have;
 * -EBUSY with SNAPMAP_STRICT, if it could only be read at once;
 * -ESTALE in a child of fork().
 */
ssize_t snapmap_segment_pread(struct snapmap_segment *segment, int fd, void *buf, size_t n, int64_t offset);

/**
 * snapmap_segment_read() - the same at the file's offset, which it moves
 * @segment: a segment
 * @fd: what to read from, as for read(2): also pipes and sockets, read at once
 * @buf: where to, anywhere in the segment
 * @n: bytes
 *
 * Return: as snapmap_segment_pread(), and -EINTR as read(2).
 */
ssize_t snapmap_segment_read(struct snapmap_segment *segment, int fd, void *buf, size_t n);

/**
 * snapmap_segment_pwrite() - write to a file what differs from it
 * @segment: a segment
 * @fd: what to write to, as for pwrite(2). With the right to read as well, less is written
 * @buf: where from, anywhere in the segment
 * @n: bytes
 * @offset: of the first byte in the file
 *
 * The file is afterwards byte for byte what pwrite(2) of the whole range would have made
 * it. Pages that were not stored into, and stand for the same place of the same file, are
 * passed over if the file is unchanged since, and compared with it if it may not be (on
 * tmpfs always: changes through mappings leave no trace there). Pages that stand for
 * another place are written by sharing extents, where that is possible. What was
 * stored into is written, and goes on being private: read the range again, which returns at
 * once, to have the next call pass over it.
 *
 * Return: @n, or the bytes written before something failed; or, if that was at once, what
 * pwrite(2) fails with, and
 * -EFAULT if the range does not lie within the segment;
 * -EIO if a page that has to be written could not be read;
 * -EINVAL, -ESTALE as snapmap_segment_pread().
 */
ssize_t snapmap_segment_pwrite(struct snapmap_segment *segment, int fd, const void *buf, size_t n, int64_t offset);

/**
 * snapmap_segment_write() - the same at the file's offset, which it moves
 * @segment: a segment
 * @fd: what to write to, as for write(2). O_APPEND, pipes and sockets: all of it
 * @buf: where from, anywhere in the segment
 * @n: bytes
 *
 * Return: as snapmap_segment_pwrite(), and -EINTR as write(2).
 */
ssize_t snapmap_segment_write(struct snapmap_segment *segment, int fd, const void *buf, size_t n);

/**
 * snapmap_segment_zero() - zeros, without loading what they replace
 * @segment: a segment
 * @buf: where, anywhere in the segment
 * @n: bytes
 *
 * Return: 0, or -EFAULT, -EINVAL, -ESTALE as snapmap_segment_pread(), or -ENOMEM.
 */
int snapmap_segment_zero(struct snapmap_segment *segment, void *buf, size_t n);

/**
 * snapmap_segment_set_limit() - bound the memory of pages that were only read
 * @segment: a segment
 * @bytes: how many of them stay in memory; 0: no limit, as in the beginning
 *
 * The oldest are given back, and come again from their snapshot when they are touched. Pages
 * that were stored into stay. For SNAPMAP_SEGMENT_PAGER, on Linux 6.8 or later; without
 * that, and for SNAPMAP_SEGMENT_MAPPED, whose pages the kernel itself gives back, it does
 * nothing.
 *
 * Return: 0, or -EINVAL for a NULL segment, -ESTALE in a child of fork().
 */
int snapmap_segment_set_limit(struct snapmap_segment *segment, uint64_t bytes);

/**
 * snapmap_segment_get_stats() - what it has done
 * @segment: a segment
 * @ret: gets the answer
 *
 * Looks for stored pages, which takes about 0.1 ms for each GiB of pages that were touched.
 *
 * Return: 0, or -EINVAL for a NULL argument, -ESTALE in a child of fork().
 */
int snapmap_segment_get_stats(struct snapmap_segment *segment, struct snapmap_segment_stats *ret);

/**
 * snapmap_segment_destroy() - release a segment
 * @segment: a segment, or NULL
 *
 * The memory is gone afterwards; nothing is written. Nobody may use the segment meanwhile.
 */
void snapmap_segment_destroy(struct snapmap_segment *segment);

#ifdef __cplusplus
}
#endif

#endif
