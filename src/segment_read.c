/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading into a segment: whole pages later, the rest at once.
 *
 * All of a deferred read is from one snapshot, also the parts of pages at its ends, which
 * are copied from there: so it is one instant, and O_DIRECT has nothing to be aligned.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "segment.h"
#include "sys.h"

#define COULD_NOT "read into a segment from"

/**
 * struct reading - one call
 * @at: where to, from the segment's start
 * @first, @last: offsets of the whole pages within; none unless @first is less
 */
struct reading {
	struct snapmap_segment *segment;
	int fd;
	size_t at, n;
	uint64_t offset;
	size_t first, last;
};

static void find_whole_pages(struct reading *r)
{
	r->first = page_up(r->at);
	r->last = page_down(r->at + r->n);
}

/* ---- at once ---- */

static void note_plain(struct snapmap_segment *s, size_t n)
{
	atomic_fetch_add_explicit(&s->bytes_read, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->reads_plain, 1, memory_order_relaxed);
}

/* As pread(2), but any number of bytes. */
static ssize_t read_plainly(const struct reading *r)
{
	char *buf = r->segment->base + r->at;
	size_t done = 0;

	segment_load(r->segment, buf, r->n < SNAPMAP_SEGMENT_DEFERS ? r->n : 0);
	while (done < r->n) {
		ssize_t n = sys_pread(r->fd, buf + done, r->n - done, r->offset + done);

		if (n < 0 && !done)
			return error_set((int)n, COULD_NOT, NULL);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	note_plain(r->segment, done);
	return (ssize_t)done;
}

static void note_refusal(struct snapmap_segment *s)
{
	pthread_mutex_lock(&s->refusal_lock);
	snprintf(s->refused, sizeof(s->refused), "%s", snapmap_last_error());
	pthread_mutex_unlock(&s->refusal_lock);
}

/* Part of a page, or of all that the read is. */
static int copy_part(const struct reading *r, const struct segment_snapshot *snapshot, size_t at, size_t n)
{
	char *to = r->segment->base + at;

	if (!n)
		return 0;
	segment_load(r->segment, to, n);
	r->segment->bytes_read += n;
	return segment_snapshot_read(snapshot, to, n, r->offset + (at - r->at));
}

/* ---- later ---- */

static int defer(const struct reading *r, struct segment_snapshot *snapshot)
{
	struct snapmap_segment *s = r->segment;
	size_t size = sys_page_size();
	int rc;

	if (r->first >= r->last)
		return copy_part(r, snapshot, r->at, r->n);
	rc = copy_part(r, snapshot, r->at, r->first - r->at);
	if (!rc)
		rc = copy_part(r, snapshot, r->last, r->at + r->n - r->last);
	if (rc)
		return rc;
	segment_lock(s);
	rc = segment_associate(s, r->first / size, (r->last - r->first) / size, snapshot,
			       r->offset + (r->first - r->at));
	segment_unlock(s);
	return rc;
}

/* Whether the pages of memory are pages of the file, as the kernel wants it to map them. */
static bool is_congruent(const struct reading *r)
{
	return (r->at - r->offset) % sys_page_size() == 0;
}

/* -EAGAIN: it has to be a plain read, and the error sentence says why. */
static ssize_t read_later(struct reading *r)
{
	struct snapmap_segment *s = r->segment;
	struct segment_snapshot *snapshot;
	int rc;

	if (!s->paged && !is_congruent(r)) {
		error_set(-EOPNOTSUPP, COULD_NOT, "address and offset are not the same within a page");
		return -EAGAIN;
	}
	rc = segment_snapshot_get(s, r->fd, &snapshot);
	if (rc)
		return rc == -EISDIR || rc == -EBADF ? rc : -EAGAIN;
	if (r->offset >= snapshot->size)
		r->n = 0;
	else if (r->n > snapshot->size - r->offset)
		r->n = (size_t)(snapshot->size - r->offset);
	find_whole_pages(r);
	rc = r->n ? defer(r, snapshot) : 0;
	segment_snapshot_put(snapshot);
	if (rc == -ENOMEM) {
		error_set(rc, COULD_NOT, NULL);
		return -EAGAIN;
	}
	if (rc)
		return error_set(rc, COULD_NOT, NULL);
	s->reads_deferred++;
	s->bytes_deferred += r->n;
	return (ssize_t)r->n;
}

static ssize_t do_read(struct snapmap_segment *s, int fd, void *buf, size_t n, uint64_t offset)
{
	struct reading r = {.segment = s, .fd = fd, .at = (size_t)((char *)buf - s->base), .n = n, .offset = offset};
	ssize_t got;

	find_whole_pages(&r);
	if (r.last <= r.first || r.last - r.first < SNAPMAP_SEGMENT_DEFERS)
		return read_plainly(&r);
	got = read_later(&r);
	if (got != -EAGAIN)
		return got;
	if (s->options.flags & SNAPMAP_STRICT)
		return error_set(-EBUSY, COULD_NOT, "no snapshot can be had without a copy");
	note_refusal(s);
	r.n = n;
	return read_plainly(&r);
}

/* Things that pread(2) would refuse before it looks at the file. */
static int check(const struct snapmap_segment *s, int fd, const void *buf, size_t n, const char *what)
{
	int rc = segment_check(s, buf, n, what), flags;

	if (rc)
		return rc;
	flags = sys_fd_flags(fd);
	if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
		return error_set(-EBADF, what, "it is not open for reading");
	return 0;
}

static void begin(int fd)
{
	char subject[40];

	snprintf(subject, sizeof(subject), "file descriptor %d", fd);
	error_begin(subject);
}

/* Whether it is a read of some bytes, which the kernel says all about. */
static bool is_small(const struct snapmap_segment *s, const void *buf, size_t n)
{
	return s && n && n < SNAPMAP_SEGMENT_DEFERS && segment_has(s, buf, n);
}

ssize_t snapmap_segment_pread(struct snapmap_segment *s, int fd, void *buf, size_t n, int64_t offset)
{
	ssize_t got;
	int rc;

	if (is_small(s, buf, n)) {
		segment_load(s, buf, n);
		got = sys_pread(fd, buf, n, (uint64_t)offset);
		if (got >= 0) {
			note_plain(s, (size_t)got);
			return got;
		}
	}
	begin(fd);
	rc = check(s, fd, buf, n, COULD_NOT);
	if (rc)
		return rc;
	if (offset < 0 || n > (uint64_t)INT64_MAX - (uint64_t)offset)
		return error_set(-EINVAL, COULD_NOT, "the offset is none that a file can have");
	return do_read(s, fd, buf, n, (uint64_t)offset);
}

/*
 * The offset is moved first, and then back by what was not there: so two threads that
 * read by the same descriptor get different bytes, as with read(2).
 */
ssize_t snapmap_segment_read(struct snapmap_segment *s, int fd, void *buf, size_t n)
{
	struct stat st;
	uint64_t at;
	ssize_t got;
	int rc;

	begin(fd);
	rc = check(s, fd, buf, n, COULD_NOT);
	if (!rc)
		rc = sys_fstat(fd, &st);
	if (rc)
		return rc;
	if (S_ISDIR(st.st_mode))
		return error_set(-EISDIR, COULD_NOT, NULL);
	if (!S_ISREG(st.st_mode) || n > INT64_MAX / 2 || sys_seek_by(fd, (int64_t)n, &at)) {
		segment_load(s, buf, n < SNAPMAP_SEGMENT_DEFERS ? n : 0);
		got = sys_read(fd, buf, n);
		if (got < 0)
			return error_set((int)got, COULD_NOT, NULL);
		note_plain(s, (size_t)got);
		return got;
	}
	got = do_read(s, fd, buf, n, at - n);
	if (got < (ssize_t)n)
		sys_seek_by(fd, (got < 0 ? 0 : got) - (int64_t)n, &at);
	return got;
}
