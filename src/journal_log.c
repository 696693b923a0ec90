/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: what has to be done to a file to bring it to its new version.
 *
 *	offset	size
 *	0	16	"SNAPMAP JOURNAL" and a line feed
 *	16	8	version of the format, 1
 *	24	8	inode number of the file
 *	32	8	generation: commits by journal that the file had seen before
 *	40	8	size of the file before
 *	48	8	the file is given this size first, unless it is 2^64 - 1
 *	56	8	its size afterwards
 *	64	8	number of pieces, n
 *	72	48 n	for each piece its offset in the file and its length, 8 bytes each, and the
 *			digest of its bytes (BLAKE2b, 32 bytes)
 *	then the bytes of all pieces, in order, and nothing behind
 *
 * Numbers are little-endian. Pieces have at most 1 MiB, are sorted, do not overlap, and
 * lie within the new size. The digest of all that precedes the bytes is in the file's
 * marker. So a journal is the one that was meant, bit by bit, or it is refused; and since
 * only those who may write to the file can set its marker, it does not matter who could
 * put what under the journal's name.
 *
 * What a journal does to a file does not depend on what it has done already: it sets
 * the size and bytes at places, and reads nothing.
 */
#include "config.h"

#include "journal_log.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "sys.h"

#define MAGIC "SNAPMAP JOURNAL\n"
#define FORMAT 1
#define PIECE ((size_t)1 << 20)

struct head {
	char magic[16];
	uint64_t version;
	uint64_t inode;
	uint64_t generation;
	uint64_t old_size;
	uint64_t cut;
	uint64_t size;
	uint64_t pieces;
};
_Static_assert(sizeof(struct head) == 72, "no padding");

struct journal_piece {
	uint64_t offset;
	uint64_t length;
	uint8_t digest[DIGEST_SIZE];
};
_Static_assert(sizeof(struct journal_piece) == 48, "no padding");

static size_t count_pieces(const struct ranges *ranges)
{
	size_t n = 0;

	for (size_t i = 0; i < ranges->n; i++)
		n += (size_t)((ranges->v[i].length + PIECE - 1) / PIECE);
	return n;
}

int journal_bytes_read(const struct journal_bytes *from, char *buffer, size_t n, uint64_t offset, size_t *ret_got)
{
	int rc;

	if (from->fd >= 0)
		return sys_pread_full(from->fd, buffer, n, offset, ret_got);
	rc = sys_copy_memory(buffer, from->memory + offset, n);
	if (!rc)
		*ret_got = n;
	return rc;
}

/* ---- writing ---- */

struct writer {
	int fd;
	uint64_t at;
	char *buffer; /* two pieces */
	size_t used;
};

static int flush(struct writer *w)
{
	int rc = sys_pwrite_full(w->fd, w->buffer, w->used, w->at);

	w->at += w->used;
	w->used = 0;
	return rc;
}

static int add_piece(struct writer *w, const struct journal_bytes *from, uint64_t offset, size_t n,
		     struct journal_piece *ret)
{
	size_t got;
	int rc = journal_bytes_read(from, w->buffer + w->used, n, offset, &got);

	if (rc)
		return rc;
	memset(w->buffer + w->used + got, 0, n - got);
	*ret = (struct journal_piece){.offset = htole64(offset), .length = htole64(n)};
	digest_of(w->buffer + w->used, n, ret->digest);
	w->used += n;
	return w->used >= PIECE ? flush(w) : 0;
}

static int add_range(struct writer *w, const struct journal_bytes *from, const struct snapmap_range *r,
		     struct journal_piece **piece)
{
	int rc = 0;

	for (uint64_t done = 0; !rc && done < r->length;) {
		size_t n = r->length - done < PIECE ? (size_t)(r->length - done) : PIECE;

		rc = add_piece(w, from, r->offset + done, n, (*piece)++);
		done += n;
	}
	return rc;
}

static int write_all(struct writer *w, struct head *head, size_t size, const struct journal_bytes *from,
		     const struct ranges *ranges)
{
	struct journal_piece *piece = (struct journal_piece *)(head + 1);
	int rc = 0;

	w->at = size;
	for (size_t i = 0; !rc && i < ranges->n; i++)
		rc = add_range(w, from, &ranges->v[i], &piece);
	if (!rc)
		rc = flush(w);
	return rc ? rc : sys_pwrite_full(w->fd, head, size, 0);
}

int journal_log_write(int fd, const struct journal_edit *edit, const struct journal_bytes *from,
		      const struct ranges *ranges, uint8_t ret_digest[DIGEST_SIZE])
{
	size_t n = count_pieces(ranges), size = sizeof(struct head) + n * sizeof(struct journal_piece);
	struct writer w = {.fd = fd, .buffer = (char *)malloc(2 * PIECE)};
	struct head *head = (struct head *)malloc(size);
	int rc = w.buffer && head ? 0 : -ENOMEM;

	if (!rc) {
		*head = (struct head){
			.version = htole64(FORMAT),
			.inode = htole64(edit->inode),
			.generation = htole64(edit->generation),
			.old_size = htole64(edit->old_size),
			.cut = htole64(edit->cut),
			.size = htole64(edit->size),
			.pieces = htole64(n),
		};
		memcpy(head->magic, MAGIC, sizeof(head->magic));
		rc = write_all(&w, head, size, from, ranges);
	}
	if (!rc)
		digest_of(head, size, ret_digest);
	free(w.buffer);
	free(head);
	return rc;
}

/* ---- reading ---- */

static int refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EUCLEAN;
}

/* Everything that is said before the pieces. @size: of the journal. */
static int parse_head(const struct head *h, uint64_t size, struct journal_log *log, const char **ret_why)
{
	uint64_t n = le64toh(h->pieces);

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
		return refuse("it is not a journal", ret_why);
	if (le64toh(h->version) != FORMAT)
		return refuse("it has a format of another version", ret_why);
	log->edit = (struct journal_edit){
		.inode = le64toh(h->inode),
		.generation = le64toh(h->generation),
		.old_size = le64toh(h->old_size),
		.cut = le64toh(h->cut),
		.size = le64toh(h->size),
	};
	if (n > (size - sizeof(*h)) / sizeof(struct journal_piece) || log->edit.size > INT64_MAX ||
	    (log->edit.cut > INT64_MAX && log->edit.cut != JOURNAL_NO_CUT))
		return refuse("it says things that cannot be", ret_why);
	log->n = (size_t)n;
	log->data = sizeof(*h) + n * sizeof(struct journal_piece);
	return 0;
}

static int parse_pieces(struct journal_log *log, uint64_t size, const char **ret_why)
{
	uint64_t end = 0, at = log->data;

	for (size_t i = 0; i < log->n; i++) {
		struct journal_piece *p = &log->pieces[i];

		p->offset = le64toh(p->offset);
		p->length = le64toh(p->length);
		if (!p->length || p->length > PIECE || p->offset < end || p->offset > log->edit.size ||
		    p->length > log->edit.size - p->offset || p->length > size - at)
			return refuse("its parts overlap or lie outside of the file", ret_why);
		end = p->offset + p->length;
		at += p->length;
	}
	return at == size ? 0 : refuse("it has not the size that it should have", ret_why);
}

static int read_head(int fd, uint64_t size, const uint8_t digest[DIGEST_SIZE], struct journal_log *log,
		     const char **ret_why)
{
	uint8_t found[DIGEST_SIZE];
	struct digest d;
	struct head h;
	size_t bytes, got = 0;
	int rc = sys_pread_full(fd, &h, sizeof(h), 0, &got);

	if (rc)
		return rc;
	if (got != sizeof(h))
		return refuse("it is too short", ret_why);
	rc = parse_head(&h, size, log, ret_why);
	if (rc)
		return rc;
	bytes = log->n * sizeof(struct journal_piece);
	log->pieces = (struct journal_piece *)malloc(bytes ? bytes : 1);
	if (!log->pieces)
		return -ENOMEM;
	rc = sys_pread_full(fd, log->pieces, bytes, sizeof(h), &got);
	if (rc)
		return rc;
	digest_begin(&d);
	digest_add(&d, &h, sizeof(h));
	digest_add(&d, log->pieces, got);
	digest_end(&d, found);
	if (got != bytes || memcmp(found, digest, sizeof(found)) != 0)
		return refuse("it is damaged, or not the one that was made for this commit", ret_why);
	return parse_pieces(log, size, ret_why);
}

int journal_log_read(int fd, const uint8_t digest[DIGEST_SIZE], struct journal_log *ret, const char **ret_why)
{
	struct journal_log log = JOURNAL_LOG_NONE;
	uint64_t size = 0, hole;
	int rc = sys_size(fd, &size);

	if (!rc && size < sizeof(struct head))
		rc = refuse("it is too short", ret_why);
	/* Nobody is to pay for zeros that whoever made it has not paid for. */
	if (!rc && !sys_seek_hole(fd, 0, &hole) && hole < size)
		rc = refuse("it has holes", ret_why);
	if (!rc)
		rc = read_head(fd, size, digest, &log, ret_why);
	if (rc) {
		free(log.pieces);
		return rc;
	}
	log.fd = fd;
	*ret = log;
	return 0;
}

static int read_piece(const struct journal_log *log, const struct journal_piece *p, uint64_t at, char *buffer)
{
	uint8_t found[DIGEST_SIZE];
	size_t got;
	int rc = sys_pread_full(log->fd, buffer, (size_t)p->length, at, &got);

	if (rc)
		return rc;
	digest_of(buffer, got, found);
	return memcmp(found, p->digest, sizeof(found)) != 0 ? -EUCLEAN : 0;
}

/* @to: where the pieces go, or -1. */
static int each_piece(const struct journal_log *log, int to)
{
	char *buffer = (char *)malloc(PIECE);
	uint64_t at = log->data;
	int rc = buffer ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < log->n; i++) {
		const struct journal_piece *p = &log->pieces[i];

		rc = read_piece(log, p, at, buffer);
		if (!rc && to >= 0)
			rc = sys_pwrite_full(to, buffer, (size_t)p->length, p->offset);
		at += p->length;
	}
	free(buffer);
	return rc;
}

int journal_log_check(const struct journal_log *log)
{
	return each_piece(log, -1);
}

int journal_log_apply(const struct journal_log *log, int to)
{
	int rc = file_size_allowed(log->edit.size);

	if (!rc && log->edit.cut != JOURNAL_NO_CUT)
		rc = sys_ftruncate(to, log->edit.cut);
	if (!rc)
		rc = sys_ftruncate(to, log->edit.size);
	return rc ? rc : each_piece(log, to);
}

void journal_log_close(struct journal_log *log)
{
	free(log->pieces);
	log->pieces = NULL;
	close_fd(&log->fd);
}
