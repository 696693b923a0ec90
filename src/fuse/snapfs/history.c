/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What snapshots of a file need and the file has no longer.
 *
 * Before a block is changed the first time after a snapshot it is kept, once, for the
 * latest snapshot that needs it and for all before that one which need it too. A snapshot
 * finds a block in the oldest copy that is kept for it or for a later one, and else in
 * the file. When a snapshot ends, its copies go on to the next older one that needs them,
 * or end as well.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wrapper.h"

#define RUN 256	     /* blocks that are kept at once */
#define BY_KERNEL 64 /* so many or more the kernel is asked to copy, which may share them */

static int compare(const void *a, const void *b)
{
	const struct kept *x = (const struct kept *)a, *y = (const struct kept *)b;

	return x->block < y->block ? -1 : x->block > y->block;
}

/* The newest copy of a block, or NULL. */
static struct kept *find(const struct history *h, uint64_t block)
{
	const struct kept key = {.block = block};
	struct kept **found = (struct kept **)tfind(&key, (void *const *)&h->blocks, compare);

	return found ? *found : NULL;
}

static bool has(const struct snapshot *s, uint64_t block)
{
	return block * BLOCK < s->offset + s->size && (block + 1) * BLOCK > s->offset;
}

/* @s or the latest before it that has the block, if its number is above @after. */
static struct snapshot *latest_with(struct snapshot *s, uint64_t block, uint64_t after)
{
	while (s && s->number > after && !has(s, block))
		s = s->older;
	return s && s->number > after ? s : NULL;
}

/* Who needs the block kept before it changes. */
static struct snapshot *needed_by(const struct history *h, uint64_t block)
{
	const struct kept *kept = find(h, block);

	return latest_with(h->newest, block, kept ? kept->latest->number : 0);
}

/* Narrows a range of bytes to blocks that snapshots may need; false: none. */
static bool narrow(const struct history *h, uint64_t start, uint64_t end, uint64_t *ret_first, uint64_t *ret_after)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (const struct snapshot *s = h->newest; s; s = s->older) {
		if (s->offset < least)
			least = s->offset;
		if (s->offset + s->size > most)
			most = s->offset + s->size;
	}
	/* A block is kept as a whole. */
	least = least / BLOCK * BLOCK;
	most = (most + BLOCK - 1) / BLOCK * BLOCK;
	if (start < least)
		start = least;
	if (end > most)
		end = most;
	*ret_first = start / BLOCK;
	*ret_after = (end + BLOCK - 1) / BLOCK;
	return start < end;
}

bool history_needs(const struct file *file, uint64_t start, uint64_t end)
{
	const struct history *h = file->history;
	uint64_t block, after;

	if (!h || !narrow(h, start, end, &block, &after))
		return false;
	while (block < after && !needed_by(h, block))
		block++;
	return block < after;
}

/* --- copies */

static void link_kept(struct kept *kept, struct snapshot *latest)
{
	kept->latest = latest;
	kept->next = latest->kept;
	kept->link = &latest->kept;
	if (kept->next)
		kept->next->link = &kept->next;
	latest->kept = kept;
	if (kept->slot != NO_SLOT)
		atomic_fetch_add(&latest->kept_bytes, BLOCK);
}

static void unlink_kept(struct kept *kept)
{
	*kept->link = kept->next;
	if (kept->next)
		kept->next->link = kept->link;
	if (kept->slot != NO_SLOT)
		atomic_fetch_sub(&kept->latest->kept_bytes, BLOCK);
}

static int add_kept(struct history *h, uint64_t block, uint64_t slot, struct snapshot *latest)
{
	struct kept *kept = (struct kept *)malloc(sizeof(*kept)), **place;

	if (!kept)
		return -ENOMEM;
	*kept = (struct kept){.block = block, .slot = slot};
	place = (struct kept **)tsearch(kept, &h->blocks, compare);
	if (!place) {
		free(kept);
		return -ENOMEM;
	}
	/* The tree has the newest, by any of the same block. */
	kept->older = *place == kept ? NULL : *place;
	*place = kept;
	link_kept(kept, latest);
	return 0;
}

/* A slot that is free again has no bytes, so that it reads as zeros where little is written. */
static void free_slot(struct history *h, uint64_t slot)
{
	if (slot == NO_SLOT || h->kept_fd < 0)
		return;
	if (fallocate(h->kept_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(slot * BLOCK), (off_t)BLOCK))
		return;
	if (h->spares == h->spare_capacity) {
		size_t capacity = h->spare_capacity ? 2 * h->spare_capacity : 64;
		uint64_t *spare = (uint64_t *)realloc(h->spare, capacity * sizeof(*spare));

		if (!spare)
			return;
		h->spare = spare;
		h->spare_capacity = capacity;
	}
	h->spare[h->spares++] = slot;
}

static void delete_kept(struct history *h, struct kept *kept)
{
	struct kept *newest = find(h, kept->block), **link = &newest;

	if (newest == kept && !kept->older) {
		tdelete(kept, &h->blocks, compare);
	} else if (newest == kept) {
		*(struct kept **)tfind(kept, &h->blocks, compare) = kept->older;
	} else {
		while (*link != kept)
			link = &(*link)->older;
		*link = kept->older;
	}
	free_slot(h, kept->slot);
	unlink_kept(kept);
	free(kept);
}

/* --- keeping */

static int read_full(int fd, char *to, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			break;
		done += n < 0 ? 0 : (size_t)n;
	}
	/* What is beyond the end of the file, no snapshot has, or only zeros. */
	memset(to + done, 0, size - done);
	return 0;
}

static int write_full(int fd, const char *from, size_t size, uint64_t offset)
{
	while (size) {
		ssize_t n = pwrite(fd, from, size, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		from += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static bool is_zero(const char *bytes, size_t size)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

/* 0, or a negative errno where the kernel cannot. */
static int copy_by_kernel(const struct history *h, uint64_t from, uint64_t to, uint64_t size)
{
	off_t in = (off_t)from, out = (off_t)to;

	while (size) {
		ssize_t n = copy_file_range(h->fd, &in, h->kept_fd, &out, size, 0);

		if (n < 0)
			return -errno;
		/* The end of the file: the rest of the slots are holes. */
		if (!n)
			break;
		size -= (uint64_t)n;
	}
	return 0;
}

static int open_kept(struct history *h)
{
	if (h->kept_fd < 0)
		h->kept_fd = area_file();
	return h->kept_fd < 0 ? h->kept_fd : 0;
}

static uint64_t take_slots(struct history *h, uint64_t n)
{
	uint64_t slot = h->slots;

	if (n == 1 && h->spares)
		return h->spare[--h->spares];
	h->slots += n;
	return slot;
}

/* @ret_added: how many, also after a failure */
static int add_run(struct history *h, uint64_t block, uint64_t n, uint64_t slot, struct snapshot *latest,
		   uint64_t *ret_added)
{
	uint64_t i = 0;
	int rc = 0;

	while (i < n && !rc) {
		rc = add_kept(h, block + i, slot == NO_SLOT ? NO_SLOT : slot + i, latest);
		i += !rc;
	}
	*ret_added = i;
	return rc;
}

static void free_slots(struct history *h, uint64_t slot, uint64_t n)
{
	for (uint64_t i = 0; i < n && slot != NO_SLOT; i++)
		free_slot(h, slot + i);
}

/* @buffer has room for them. */
static int fill_slots(struct history *h, uint64_t block, uint64_t n, uint64_t slot, char *buffer, bool have)
{
	int rc = 0;

	if (!have && !copy_by_kernel(h, block * BLOCK, slot * BLOCK, n * BLOCK))
		return 0;
	if (!have)
		rc = read_full(h->fd, buffer, n * BLOCK, block * BLOCK);
	return rc ? rc : write_full(h->kept_fd, buffer, n * BLOCK, slot * BLOCK);
}

/* Without a slot if they are zeros, which holes are. */
static int store_run(struct history *h, uint64_t block, uint64_t n, char *buffer, uint64_t *ret_slot)
{
	bool have = n < BY_KERNEL;
	uint64_t slot;
	int rc = have ? read_full(h->fd, buffer, n * BLOCK, block * BLOCK) : 0;

	if (rc || (have && is_zero(buffer, n * BLOCK))) {
		*ret_slot = NO_SLOT;
		return rc;
	}
	rc = open_kept(h);
	if (rc)
		return rc;
	slot = take_slots(h, n);
	rc = fill_slots(h, block, n, slot, buffer, have);
	if (rc)
		free_slots(h, slot, n);
	else
		*ret_slot = slot;
	return rc;
}

static int keep_charged(struct history *h, uint64_t block, uint64_t n, struct snapshot *latest, char *buffer)
{
	uint64_t slot, added;
	int rc = store_run(h, block, n, buffer, &slot);

	if (rc) {
		user_discharge(latest->user, n * BLOCK);
		return rc;
	}
	rc = add_run(h, block, n, slot, latest, &added);
	free_slots(h, slot == NO_SLOT ? NO_SLOT : slot + added, n - added);
	user_discharge(latest->user, (slot == NO_SLOT ? n : n - added) * BLOCK);
	return rc;
}

static int keep_run(struct history *h, uint64_t block, uint64_t n, struct snapshot *latest)
{
	char small[4 * BLOCK], *buffer = n <= 4 ? small : (char *)malloc(n * BLOCK);
	int rc = buffer ? user_charge(latest->user, n * BLOCK, false) : -ENOMEM;

	if (!rc)
		rc = keep_charged(h, block, n, latest, buffer);
	if (buffer != small)
		free(buffer);
	return rc;
}

/* It has no bytes from now on. */
static void lose(struct snapshot *s, int rc)
{
	atomic_store(&s->lost, true);
	daemon_log("the snapshot %s ends, for bytes of it could not be kept (%s)", s->token, strerror(-rc));
}

/* The blocks are kept, or the snapshots that need them are lost, or the change is not to be. */
static int keep_or_lose(struct file *file, uint64_t block, uint64_t n, struct snapshot *latest)
{
	int rc = keep_run(file->history, block, n, latest);

	if (!rc || wrapper.request->writer_fails)
		return rc;
	lose(latest, rc);
	history_remove(latest);
	return 0;
}

/* How many blocks from there on, all needed by the same snapshot. */
static uint64_t run_length(const struct history *h, uint64_t block, uint64_t after, const struct snapshot *latest)
{
	uint64_t n = 1;

	while (n < RUN && block + n < after && needed_by(h, block + n) == latest)
		n++;
	return n;
}

int history_keep(struct file *file, uint64_t start, uint64_t end)
{
	uint64_t block, after;
	int rc = 0;

	if (!file->history || !narrow(file->history, start, end, &block, &after))
		return 0;
	/* Losing the last snapshot ends the history. */
	while (!rc && file->history && block < after) {
		struct snapshot *latest = needed_by(file->history, block);
		uint64_t n;

		if (!latest) {
			block++;
			continue;
		}
		n = run_length(file->history, block, after, latest);
		rc = keep_or_lose(file, block, n, latest);
		/* After a loss older ones may still need them. */
		if (!rc && file->history && !needed_by(file->history, block))
			block += n;
	}
	return rc;
}

int history_keep_data(struct file *file, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	int rc = 0;

	while (!rc && file->history && at < end) {
		off_t data = lseek(file->history->fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		data = data < 0 ? (off_t)at : data;
		hole = lseek(file->history->fd, data, SEEK_HOLE);
		if (hole <= data || (uint64_t)data >= end)
			break;
		at = (uint64_t)hole < end ? (uint64_t)hole : end;
		rc = history_keep(file, (uint64_t)data, at);
	}
	return rc;
}

/* --- reading */

/* Where a snapshot finds a block. */
struct place {
	enum {
		IN_FILE,
		IN_KEPT,
		IN_NONE
	} in;
	uint64_t block; /* there */
};

static struct place place_of(const struct snapshot *s, uint64_t block)
{
	const struct kept *kept = find(s->file->history, block), *found = NULL;

	for (; kept && kept->latest->number >= s->number; kept = kept->older)
		found = kept;
	if (found)
		return found->slot == NO_SLOT ? (struct place){.in = IN_NONE}
					      : (struct place){.in = IN_KEPT, .block = found->slot};
	return (struct place){.in = IN_FILE, .block = block};
}

static bool follows(const struct place *a, uint64_t n, const struct place *b)
{
	return a->in == b->in && (a->in == IN_NONE || a->block + n == b->block);
}

static int read_place(const struct history *h, const struct place *place, char *to, size_t size, uint64_t within)
{
	if (place->in == IN_NONE) {
		memset(to, 0, size);
		return 0;
	}
	return read_full(place->in == IN_FILE ? h->fd : h->kept_fd, to, size, place->block * BLOCK + within);
}

int history_read(const struct snapshot *s, char *to, size_t size, uint64_t offset)
{
	uint64_t at = s->offset + offset, end = at + size;
	int rc = 0;

	while (!rc && at < end) {
		uint64_t block = at / BLOCK, n = 1, stop;
		struct place place = place_of(s, block);

		while ((block + n) * BLOCK < end) {
			struct place next = place_of(s, block + n);

			if (!follows(&place, n, &next))
				break;
			n++;
		}
		stop = (block + n) * BLOCK < end ? (block + n) * BLOCK : end;
		rc = read_place(s->file->history, &place, to, stop - at, at % BLOCK);
		to += stop - at;
		at = stop;
	}
	return rc;
}

/* Where data or a hole is next in the snapshot, which ends with a hole. */
off_t history_seek(const struct snapshot *s, off_t offset, int whence)
{
	const struct history *h = s->file->history;
	off_t at = offset, size = (off_t)s->size;

	if (offset < 0 || offset >= size) {
		errno = ENXIO;
		return -1;
	}
	if (h->blocks)
		return whence == SEEK_HOLE ? size : offset;
	at = lseek(h->fd, (off_t)s->offset + offset, whence);
	if (at < 0)
		return at;
	at -= (off_t)s->offset;
	if (at < size)
		return at;
	errno = ENXIO;
	return whence == SEEK_HOLE ? size : -1;
}

/* --- snapshots come and go */

static struct history *new_history(const struct file *file, int *ret_rc)
{
	struct history *h = (struct history *)calloc(1, sizeof(*h));

	if (!h) {
		*ret_rc = -ENOMEM;
		return NULL;
	}
	h->kept_fd = -1;
	h->fd = file_open(file, O_RDONLY | O_NOATIME);
	if (h->fd == -EPERM)
		h->fd = file_open(file, O_RDONLY);
	if (h->fd < 0) {
		*ret_rc = h->fd;
		free(h);
		return NULL;
	}
	return h;
}

static void delete_history(struct history *h)
{
	close(h->fd);
	if (h->kept_fd >= 0)
		close(h->kept_fd);
	free(h->spare);
	free(h);
}

int history_add(struct file *file, struct snapshot *s)
{
	static atomic_uint_fast64_t numbers;
	int rc = 0;

	if (!file->history)
		file->history = new_history(file, &rc);
	if (!file->history)
		return rc;
	s->file = file;
	s->number = atomic_fetch_add(&numbers, 1) + 1;
	s->older = file->history->newest;
	if (s->older)
		s->older->newer = s;
	file->history->newest = s;
	return 0;
}

/* To an older snapshot that needs it, unless that one has a copy of its own. */
static void pass_on(struct history *h, struct snapshot *from, struct kept *kept)
{
	struct snapshot *to = latest_with(from->older, kept->block, kept->older ? kept->older->latest->number : 0);

	if (kept->slot != NO_SLOT)
		user_discharge(from->user, BLOCK);
	if (!to) {
		delete_kept(h, kept);
		return;
	}
	unlink_kept(kept);
	link_kept(kept, to);
	if (kept->slot != NO_SLOT)
		user_charge(to->user, BLOCK, true);
}

void history_remove(struct snapshot *s)
{
	struct file *file = s->file;
	struct history *h = file->history;

	/* With the last one all of it goes at once. */
	if (!s->older && !s->newer && h->kept_fd >= 0) {
		close(h->kept_fd);
		h->kept_fd = -1;
	}
	while (s->kept)
		pass_on(h, s, s->kept);
	if (s->older)
		s->older->newer = s->newer;
	*(s->newer ? &s->newer->older : &h->newest) = s->older;
	s->file = NULL;
	if (!h->newest) {
		file->history = NULL;
		delete_history(h);
	}
}
