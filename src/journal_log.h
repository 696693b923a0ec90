/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal: what has to be done to a file to bring it to its new version. */
#ifndef SNAPMAP_JOURNAL_LOG_H
#define SNAPMAP_JOURNAL_LOG_H

#include "base_digest.h"
#include "ranges.h"

/**
 * struct journal_edit - what a journal says
 * @inode: the file's inode number
 * @generation: commits by journal that it had seen before
 * @old_size: its size before
 * @cut: it is given this size first, or JOURNAL_NO_CUT
 * @size: and then this one
 */
struct journal_edit {
	uint64_t inode;
	uint64_t generation;
	uint64_t old_size;
	uint64_t cut;
	uint64_t size;
};

#define JOURNAL_NO_CUT UINT64_MAX

struct journal_piece;

/**
 * struct journal_log - a journal that was read
 * @fd: it
 * @pieces: its data, in order
 * @n: number of those
 * @data: where in the journal they begin
 */
struct journal_log {
	int fd;
	struct journal_edit edit;
	struct journal_piece *pieces;
	size_t n;
	uint64_t data;
};

#define JOURNAL_LOG_NONE \
	{                \
		.fd = -1 \
	}

/**
 * struct journal_bytes - where the data of a journal come from
 * @fd: a file, or -1
 * @memory: else they are here, at the same offsets
 */
struct journal_bytes {
	int fd;
	const char *memory;
};

/* Quiet. Less than @n, in @ret_got, is the end of the file. */
int journal_bytes_read(const struct journal_bytes *from, char *buffer, size_t n, uint64_t offset, size_t *ret_got);
/*
 * All quiet. Writes a journal into the empty file @fd, with @ranges of @from as data.
 * Does not flush.
 */
int journal_log_write(int fd, const struct journal_edit *edit, const struct journal_bytes *from,
		      const struct ranges *ranges, uint8_t ret_digest[DIGEST_SIZE]);
/*
 * Reads a journal whose head has this digest. Takes over @fd on success. -EUCLEAN, with
 * a reason, for anything else.
 */
int journal_log_read(int fd, const uint8_t digest[DIGEST_SIZE], struct journal_log *ret, const char **ret_why);
/* All data are what the head says. -EUCLEAN if not. */
int journal_log_check(const struct journal_log *log);
/* Does it. Each piece is looked at again before it is written. May be repeated. */
int journal_log_apply(const struct journal_log *log, int to);
void journal_log_close(struct journal_log *log);

#endif
