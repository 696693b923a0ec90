/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying that keeps holes, in pieces, with progress and cancel between them.
 *
 * The kernel copies where it can (copy_file_range); a buffer does where it
 * cannot. Holes are asked for (SEEK_HOLE) if the description is ours alone, for
 * asking moves its offset. Otherwise, and where the file system does not tell
 * (some FUSE ones), pages of zeros are left out.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base.h"
#include "sys.h"

/* Large enough to be fast, small enough to stop soon. */
#define PIECE ((size_t)8 << 20)
#define BUFFER ((size_t)1 << 20)
#define BLOCK ((size_t)4096)

struct state {
	const struct sparse_copy *copy;
	uint64_t done, total, written;
	uint64_t paced; /* of @written, what has been written out */
	char *buffer;
	bool no_copy_range;
	bool look_for_zeros;
};

/* Quiet. A size beyond RLIMIT_FSIZE would raise SIGXFSZ, which is not ours to raise. */
int file_size_allowed(uint64_t size)
{
	uint64_t limit;
	int rc = sys_file_size_limit(&limit);

	if (rc)
		return rc;
	return size > limit || size > INT64_MAX ? -EFBIG : 0;
}

/* Not from malloc(), which may keep what it once had. */
static char *take_buffer(size_t size)
{
	void *p;

	return sys_map(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &p) ? NULL : (char *)p;
}

static void return_buffer(char *buffer, size_t size)
{
	if (buffer)
		sys_unmap(buffer, size);
}

static int between_pieces(struct state *s)
{
	const struct sparse_copy *c = s->copy;

	if (c->progress && c->progress(c->progress_arg, s->done, s->total))
		return -ECANCELED;
	return c->check ? c->check(c->check_arg) : 0;
}

/* An error counts: it is told here and not again by fsync(2). By bytes, for data can lie in many small extents. */
static int pace(struct state *s)
{
	int fd = s->copy->to;

	if (!s->copy->paced || s->written - s->paced < PIECE)
		return 0;
	s->paced = s->written;
	return fs_write_out(fd, fs_traits_of(fd));
}

bool bytes_are_zero(const char *bytes, size_t n)
{
	return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, n - 1));
}

/* Writes what is not zeros, in runs of whole blocks. */
static int write_nonzero(struct state *s, const char *data, size_t n, uint64_t to)
{
	size_t run = 0;

	for (size_t at = 0; at < n;) {
		size_t block = n - at < BLOCK ? n - at : BLOCK;
		bool zero = bytes_are_zero(data + at, block);

		at += block;
		if (zero || at == n) {
			size_t end = zero ? at - block : at;
			int rc = end > run ? sys_pwrite_full(s->copy->to, data + run, end - run, to + run) : 0;

			if (rc)
				return rc;
			s->written += end - run;
			run = at;
		}
	}
	return 0;
}

/* 0 bytes: end of file. */
static ssize_t copy_by_buffer(struct state *s, uint64_t from, uint64_t to, size_t n)
{
	size_t got;
	int rc;

	if (!s->buffer && !(s->buffer = take_buffer(BUFFER)))
		return -ENOMEM;
	rc = sys_pread_full(s->copy->from, s->buffer, n < BUFFER ? n : BUFFER, from, &got);
	if (rc)
		return rc;
	if (s->look_for_zeros) {
		rc = write_nonzero(s, s->buffer, got, to);
	} else {
		rc = sys_pwrite_full(s->copy->to, s->buffer, got, to);
		s->written += got;
	}
	return rc ? rc : (ssize_t)got;
}

static ssize_t copy_piece(struct state *s, uint64_t from, uint64_t to, size_t n)
{
	ssize_t got;

	if (s->no_copy_range || s->copy->by_buffer || s->look_for_zeros || !s->copy->seekable)
		return copy_by_buffer(s, from, to, n);
	got = sys_copy_range(s->copy->from, from, s->copy->to, to, n);
	/* 0 is not believed either: some file systems say so for files they cannot splice. */
	if (got <= 0 && got != -ENOSPC && got != -EDQUOT && got != -EIO) {
		s->no_copy_range = true;
		return copy_by_buffer(s, from, to, n);
	}
	if (got > 0)
		s->written += (uint64_t)got;
	return got;
}

/* Copies [from, from + n), which holds data. Returns how far it came before the end of the file. */
static int copy_data(struct state *s, uint64_t from, uint64_t n, uint64_t to, uint64_t *ret_copied)
{
	uint64_t at = 0;

	while (at < n) {
		size_t piece = n - at < PIECE ? (size_t)(n - at) : PIECE;
		ssize_t got = copy_piece(s, from + at, to + at, piece);
		int rc;

		if (got < 0)
			return (int)got;
		if (!got)
			break;
		at += (uint64_t)got;
		s->done += (uint64_t)got;
		rc = pace(s);
		if (!rc)
			rc = between_pieces(s);
		if (rc)
			return rc;
	}
	*ret_copied = at;
	return 0;
}

/* What cannot be told is taken for data. */
void sparse_next_data(int fd, uint64_t at, uint64_t end, uint64_t *ret_start, uint64_t *ret_stop)
{
	uint64_t start = at, stop = end;
	int rc = at < end ? sys_seek_data(fd, at, &start) : -ENXIO;

	if (!rc)
		rc = sys_seek_hole(fd, start, &stop);
	if (rc) {
		/* ENXIO: nothing follows, or it was cut off between the two questions. */
		start = rc == -ENXIO ? end : at;
		stop = end;
	}
	*ret_start = start < end ? start : end;
	*ret_stop = stop < end ? stop : end;
}

static void next_to_copy(const struct state *s, uint64_t at, uint64_t end, uint64_t *ret_start, uint64_t *ret_stop)
{
	*ret_start = at;
	*ret_stop = end;
	if (s->copy->seekable)
		sparse_next_data(s->copy->from, at, end, ret_start, ret_stop);
}

/* A file that takes less space than its size has holes, even if it is said to be all data. */
static bool hides_holes(const struct state *s)
{
	struct stat st;

	return !sys_fstat(s->copy->from, &st) && st.st_blocks * 512 < st.st_size;
}

/*
 * Quiet. Copies a range; holes in it are skipped, so where zeros_are_holes is
 * false the caller has made sure that @to has holes there as well. Stops early at
 * the end of the file.
 */
static int copy_range(struct state *s, uint64_t from, uint64_t length, uint64_t to, uint64_t *ret_end)
{
	uint64_t at = 0, start = 0, stop = 0, copied = 0;
	int rc = between_pieces(s);

	while (!rc && at < length) {
		next_to_copy(s, from + at, from + length, &start, &stop);
		if (s->copy->zeros_are_holes && !at && start == from && stop == from + length)
			s->look_for_zeros = !s->copy->seekable || hides_holes(s);
		s->done += start - from - at;
		rc = copy_data(s, start, stop - start, to + (start - from), &copied);
		if (!rc && copied < stop - start)
			break;
		at = stop - from;
	}
	*ret_end = at;
	return_buffer(s->buffer, BUFFER);
	return rc;
}

int sparse_copy_range(const struct sparse_copy *copy, uint64_t from_offset, uint64_t length, uint64_t to_offset,
		      uint64_t *ret_written)
{
	struct state s = {.copy = copy, .total = length};
	uint64_t end;
	int rc = copy_range(&s, from_offset, length, to_offset, &end);

	*ret_written = s.written;
	return rc;
}

/*
 * Quiet. Copies a whole file of @size bytes, or of as many as there are; @ret_size
 * is the number, to which @to is set.
 */
int sparse_copy_file(const struct sparse_copy *copy, uint64_t size, uint64_t *ret_size, uint64_t *ret_written)
{
	struct state s = {.copy = copy, .total = size};
	struct stat st;
	uint64_t end;
	int rc = file_size_allowed(size);

	if (!rc)
		rc = copy_range(&s, 0, size, 0, &end);
	if (!rc)
		rc = sys_fstat(copy->from, &st);
	if (rc)
		return rc;
	if ((uint64_t)st.st_size < size)
		size = (uint64_t)st.st_size;
	rc = sys_ftruncate(copy->to, size);
	if (rc)
		return rc;
	*ret_size = size;
	*ret_written = s.written;
	return 0;
}

/* Where the next byte that is not in a hole of both files is; @end if there is none. */
static uint64_t next_to_compare(const struct sparse_copy *c, uint64_t at, uint64_t end)
{
	uint64_t a = at, b = at;

	if (!c->seekable)
		return at;
	/* What cannot be told is taken for data. */
	if (sys_seek_data(c->from, at, &a) == -ENXIO)
		a = end;
	if (sys_seek_data(c->to, at, &b) == -ENXIO)
		b = end;
	return a < b ? a : b;
}

static int compare_piece(const struct sparse_copy *c, uint64_t at, size_t n, char *a, char *b)
{
	size_t got_a, got_b;
	int rc = sys_pread_full(c->from, a, n, at, &got_a);

	if (!rc)
		rc = sys_pread_full(c->to, b, n, at, &got_b);
	if (rc)
		return rc;
	return got_a == n && got_b == n && !memcmp(a, b, n);
}

int sparse_compare(const struct sparse_copy *copy, uint64_t size)
{
	struct state s = {.copy = copy, .done = size, .total = size};
	char *buffer = take_buffer(2 * BUFFER);
	int rc = buffer ? 1 : -ENOMEM;

	for (uint64_t at = next_to_compare(copy, 0, size); rc == 1 && at < size;) {
		size_t n = size - at < BUFFER ? (size_t)(size - at) : BUFFER;

		rc = compare_piece(copy, at, n, buffer, buffer + BUFFER);
		if (rc == 1)
			rc = between_pieces(&s) ? -ECANCELED : 1;
		at += n;
		if (at < size)
			at = next_to_compare(copy, at, size);
	}
	return_buffer(buffer, 2 * BUFFER);
	return rc;
}
