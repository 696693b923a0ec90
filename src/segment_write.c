/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a segment back.
 *
 * What a plain write of the whole range would do is done to every byte that may differ. A
 * byte is passed over only if it is known to be in the file: the page stands for just this
 * place of a snapshot of this file, nothing was stored into it, and the file's stamp, taken
 * before the first byte is written, is that of the snapshot. If the stamp is another, or
 * tells nothing, the two are compared.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"
#include "sys.h"

#define COULD_NOT "write a segment to"
#define CHUNK ((size_t)256 << 10)	 /* compared at a time */
#define PIECE ((size_t)16 << 20)	 /* written at a time */
#define WORTH_SHARING ((size_t)64 << 10) /* less would only fragment the file */

/**
 * struct writing - one call
 * @fd: the file
 * @read_fd: the same, open for reading; or -1
 * @own_fd: is to be closed
 * @st: the file, before
 * @now: its stamp, before; spoilt if it says nothing
 * @no_sharing: it was tried, and refused
 * @buf: two chunks, or NULL
 */
struct writing {
	struct snapmap_segment *segment;
	int fd, read_fd;
	bool own_fd;
	struct stat st;
	struct stamp now;
	bool no_sharing;
	char *buf;
};

/* ---- pieces ---- */

static int write_memory(struct writing *w, const char *from, size_t n, uint64_t offset)
{
	int rc = sys_pwrite_full(w->fd, from, n, offset);

	if (!rc)
		w->segment->bytes_written += n;
	/* The memory is there; but the page that was to be in it is not. */
	return rc == -EFAULT ? -EIO : rc;
}

/* Both are read, and pages that differ are written. */
static int write_differing(struct writing *w, const struct segment_snapshot *snapshot, uint64_t offset, size_t n)
{
	char *ours = w->buf, *theirs = w->buf + CHUNK;
	const size_t page = sys_page_size();
	size_t got = 0;
	int rc = segment_snapshot_read(snapshot, ours, n, offset);

	if (!rc && w->read_fd >= 0 && sys_pread_full(w->read_fd, theirs, n, offset, &got))
		got = 0;
	for (size_t at = 0, end; !rc && at < n; at = end) {
		bool differs = got < n || memcmp(ours + at, theirs + at, n - at < page ? n - at : page);

		end = at + page;
		while (end < n &&
		       (got < n || (memcmp(ours + end, theirs + end, n - end < page ? n - end : page) != 0) == differs))
			end += page;
		end = end < n ? end : n;
		if (differs)
			rc = write_memory(w, ours + at, end - at, offset + at);
		else
			w->segment->bytes_skipped += end - at;
	}
	return rc;
}

/* True if all of it is done. */
static bool write_by_sharing(struct writing *w, const struct segment_snapshot *snapshot, uint64_t from, size_t n,
			     uint64_t offset)
{
	size_t page = sys_page_size();

	if (w->no_sharing || snapshot->fd < 0 || n < WORTH_SHARING || from % page || offset % page || n % page)
		return false;
	if (sys_clone_range(snapshot->fd, from, n, w->fd, offset)) {
		w->no_sharing = true;
		return false;
	}
	w->segment->bytes_shared += n;
	return true;
}

/* Without loading it into the segment. */
static int write_snapshot(struct writing *w, const struct segment_snapshot *snapshot, uint64_t from, size_t n,
			  uint64_t offset)
{
	size_t whole = page_down(n);
	int rc = 0;

	if (!write_by_sharing(w, snapshot, from, whole, offset))
		whole = 0;
	for (size_t at = whole, piece; !rc && at < n; at += piece) {
		piece = n - at < CHUNK ? n - at : CHUNK;
		rc = segment_snapshot_read(snapshot, w->buf, piece, from + at);
		if (!rc)
			rc = write_memory(w, w->buf, piece, offset + at);
	}
	return rc;
}

/* ---- the range ---- */

static bool is_same_place(const struct writing *w, const struct segment_snapshot *snapshot, uint64_t from,
			  uint64_t offset)
{
	return from == offset && snapshot->dev == w->st.st_dev && snapshot->ino == w->st.st_ino;
}

/*
 * A run of bytes that stand for neighbours, or for nothing. Returns how many are done, less
 * than @n only if there are more of them than one step takes.
 */
static ssize_t write_run(struct writing *w, struct segment_snapshot *snapshot, uint64_t from, const char *buf, size_t n,
			 uint64_t offset)
{
	int rc = 0;

	if (!snapshot) {
		n = n < PIECE ? n : PIECE;
		rc = write_memory(w, buf, n, offset);
	} else if (!is_same_place(w, snapshot, from, offset)) {
		rc = write_snapshot(w, snapshot, from, n, offset);
	} else if (segment_snapshot_is_now(snapshot, &w->now)) {
		w->segment->bytes_skipped += n;
	} else {
		n = n < CHUNK ? n : CHUNK;
		rc = write_differing(w, snapshot, offset, n);
	}
	return rc ? rc : (ssize_t)n;
}

/* The bytes from @at on, of the segment, that are of one kind. To be put back. */
static struct segment_snapshot *find_run(struct snapmap_segment *s, size_t at, size_t most, uint64_t *ret_from,
					 size_t *ret_n)
{
	size_t size = sys_page_size(), within = at % size;
	struct segment_snapshot *snapshot = NULL;
	struct page_run run;

	segment_lock(s);
	run = page_table_find(&s->table, at / size, (within + most + size - 1) / size);
	if (run.owner) {
		snapshot = caa_container_of(run.owner, struct segment_snapshot, owner);
		atomic_fetch_add(&snapshot->refs, 1);
	}
	segment_unlock(s);
	*ret_from = run.offset + within;
	*ret_n = run.pages * size - within < most ? run.pages * size - within : most;
	return snapshot;
}

/*
 * Where it cannot be told what was stored into, a page that is what it was is one that
 * equals its snapshot.
 */
static int detach_different(struct snapmap_segment *s, size_t page, size_t pages)
{
	size_t size = sys_page_size();
	char *buf = (char *)malloc(size);
	int rc = buf ? 0 : -ENOMEM;

	for (size_t i = page; !rc && i < page + pages; i++) {
		uint64_t from;
		size_t n;
		struct segment_snapshot *snapshot = find_run(s, i * size, size, &from, &n);

		if (!snapshot)
			continue;
		rc = segment_snapshot_read(snapshot, buf, size, from);
		if (!rc && memcmp(buf, s->base + i * size, size)) {
			segment_lock(s);
			rc = page_table_set(&s->table, i, 1, NULL, 0);
			segment_unlock(s);
		}
		segment_snapshot_put(snapshot);
	}
	free(buf);
	return rc;
}

static int find_stored(struct snapmap_segment *s, size_t at, size_t n)
{
	size_t size = sys_page_size(), first = at / size, pages = (at + n - 1) / size - first + 1;
	int rc;

	segment_lock(s);
	rc = segment_detach_stored(s, first, pages);
	segment_unlock(s);
	return rc == -EOPNOTSUPP ? detach_different(s, first, pages) : rc;
}

/* Whether there may be anything to pass over: only then the file is looked at closely. */
static bool stands_for_file(struct snapmap_segment *s, const struct stat *st)
{
	struct segment_snapshot *snapshot;
	bool found = false;

	segment_lock(s);
	cds_list_for_each_entry (snapshot, &s->snapshots, node)
		found = found || (snapshot->ino == st->st_ino && snapshot->dev == st->st_dev);
	segment_unlock(s);
	return found;
}

static int prepare(struct writing *w, int flags)
{
	w->buf = (char *)malloc(2 * CHUNK);
	if (!w->buf)
		return -ENOMEM;
	if (!stands_for_file(w->segment, &w->st))
		return 0;
	if (stamp_take(w->fd, fs_traits_of(w->fd), false, &w->now))
		stamp_spoil(&w->now);
	if ((flags & O_ACCMODE) == O_RDWR && !(flags & O_DIRECT)) {
		w->read_fd = w->fd;
	} else {
		w->read_fd = sys_reopen(w->fd, O_RDONLY | O_NOCTTY);
		w->own_fd = w->read_fd >= 0;
	}
	return 0;
}

/* With O_DIRECT the kernel wants memory, offsets and lengths aligned: so the whole is left to it. */
static ssize_t write_all(struct writing *w, const char *buf, size_t n, uint64_t offset)
{
	struct snapmap_segment *s = w->segment;
	size_t done = 0;
	ssize_t got = 0;

	while (done < n) {
		struct segment_snapshot *snapshot;
		uint64_t from;
		size_t part;

		snapshot = find_run(s, (size_t)(buf + done - s->base), n - done, &from, &part);
		got = write_run(w, snapshot, from, buf + done, part, offset + done);
		if (snapshot)
			segment_snapshot_put(snapshot);
		if (got < 0)
			break;
		done += (size_t)got;
	}
	return done ? (ssize_t)done : got;
}

ssize_t segment_write_back(struct snapmap_segment *s, int fd, const char *buf, size_t n, uint64_t offset)
{
	struct writing w = {.segment = s, .fd = fd, .read_fd = -1};
	int flags = sys_fd_flags(fd), rc;
	ssize_t got;

	stamp_spoil(&w.now);
	rc = sys_fstat(fd, &w.st);
	if (!rc)
		rc = find_stored(s, (size_t)(buf - s->base), n);
	if (!rc)
		rc = prepare(&w, flags);
	got = rc ? rc : write_all(&w, buf, n, offset);
	free(w.buf);
	if (w.own_fd)
		sys_close(w.read_fd);
	return got;
}

/* ---- what is asked ---- */

static int begin(const struct snapmap_segment *s, int fd, const void *buf, size_t n, int *ret_flags)
{
	char subject[40];
	int rc;

	snprintf(subject, sizeof(subject), "file descriptor %d", fd);
	error_begin(subject);
	rc = segment_check(s, buf, n, COULD_NOT);
	if (rc)
		return rc;
	*ret_flags = sys_fd_flags(fd);
	if (*ret_flags < 0 || (*ret_flags & O_PATH) || (*ret_flags & O_ACCMODE) == O_RDONLY)
		return error_set(-EBADF, COULD_NOT, "it is not open for writing");
	return 0;
}

static ssize_t finish(struct snapmap_segment *s, ssize_t got, bool plain)
{
	if (got < 0)
		return error_set((int)got, COULD_NOT, NULL);
	if (plain)
		s->bytes_written += (uint64_t)got;
	return got;
}

ssize_t snapmap_segment_pwrite(struct snapmap_segment *s, int fd, const void *buf, size_t n, int64_t offset)
{
	struct stat st;
	int flags, rc = begin(s, fd, buf, n, &flags);

	if (!rc)
		rc = sys_fstat(fd, &st);
	if (rc)
		return rc;
	if (offset < 0 || n > (uint64_t)INT64_MAX - (uint64_t)offset)
		return error_set(-EINVAL, COULD_NOT, "the offset is none that a file can have");
	/* pwrite(2) appends too, with O_APPEND. */
	if (!n || !S_ISREG(st.st_mode) || (flags & (O_APPEND | O_DIRECT)))
		return finish(s, sys_pwrite(fd, buf, n, (uint64_t)offset), true);
	return finish(s, segment_write_back(s, fd, (const char *)buf, n, (uint64_t)offset), false);
}

ssize_t snapmap_segment_write(struct snapmap_segment *s, int fd, const void *buf, size_t n)
{
	struct stat st;
	uint64_t at;
	ssize_t got;
	int flags, rc = begin(s, fd, buf, n, &flags);

	if (!rc)
		rc = sys_fstat(fd, &st);
	if (rc)
		return rc;
	if (!n || !S_ISREG(st.st_mode) || (flags & (O_APPEND | O_DIRECT)) || n > INT64_MAX / 2 ||
	    sys_seek_by(fd, (int64_t)n, &at))
		return finish(s, sys_write(fd, buf, n), true);
	got = finish(s, segment_write_back(s, fd, (const char *)buf, n, at - n), false);
	if (got < (ssize_t)n)
		sys_seek_by(fd, (got < 0 ? 0 : got) - (int64_t)n, &at);
	return got;
}
