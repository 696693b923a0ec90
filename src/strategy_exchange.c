/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exchange: blocks with the new bytes change places with those of the file (XFS
 * with exchange-range).
 *
 * A nameless file gets the edits at their own offsets, and holes everywhere else.
 * The kernel then exchanges what was written there with the same ranges of the
 * file in one transaction of its log: a crash shows all of it or none. It writes the
 * new blocks out before that transaction, so no order of writes can show the file with
 * blocks that are not written yet. The inode stays, and with it names, owner, mode and
 * every attribute.
 *
 * Why no update is lost: the kernel is asked what the file is (START_COMMIT); then
 * the file is compared with the handle's stamp, which finds all changes up to that
 * look; then the kernel exchanges only if the file is still what it was when asked
 * (COMMIT_RANGE), with writers shut out. The next system call looks what times the
 * file has now: a write of somebody else before that, who waited for the exchange, say,
 * is taken for part of it; later ones are seen. So all that takes long is done before
 * the exchange (writing the new blocks out) or after that look (flushing the log).
 * A file that is renamed over meanwhile gets the commit just before that.
 *
 * Only commits that keep the size are made this way. The kernel offers to exchange
 * sizes too, but log recovery in the middle of that frees blocks behind the size that
 * the file had (seen on Linux 6.18). And only edits are exchanged: a file that was cut
 * and grown again, or was changed and is to be overwritten, is for another strategy.
 *
 * It is always durable, asked for or not. The images of handles, and clones of the file,
 * share the blocks that were exchanged away, and once the nameless file is gone one of
 * them can be the only owner of a block, and be written to in its place. Before the
 * exchange is on disk a crash can bring these blocks back into the file. So the nameless
 * file stays until then, and if it cannot be flushed, the image stays what it was.
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>

#include "attributes.h"
#include "cluster.h"
#include "exchange_cut.h"
#include "exchange_recovery.h"
#include "in_place.h"
#include "journal.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

/* ---- where it works ---- */

/* Numbers of mounts, never used again; in the low bits the logarithms of the sizes of blocks, or 0, and inodes. */
static _Atomic uint64_t remembered[32];
#define BITS 5
#define LOW_BITS (2 * BITS)

static uint64_t mount_of(int fd)
{
	uint64_t mount = 0;
	struct stat st;
	bool verity;

	return sys_fstat_mount(fd, &st, &mount, &verity) ? 0 : mount;
}

static unsigned logarithm(uint32_t n)
{
	unsigned bits = 0;

	while (n >>= 1)
		bits++;
	return bits;
}

/* Whether it works, and then the sizes that are the same for all files of the mount. */
static bool sizes_of_mount(const struct target *t, int file, struct layout *ret)
{
	uint64_t mount, entry;
	struct sys_exchange_sizes sizes;

	if (!(t->fs->flags & FS_EXCHANGES))
		return false;
	mount = mount_of(file);
	entry = remembered[mount % 32];
	if (!mount || entry >> LOW_BITS != mount) {
		if (sys_exchange_sizes(file, &sizes))
			return false;
		entry = mount << LOW_BITS | logarithm(sizes.inode) << BITS | logarithm(sizes.block);
		remembered[mount % 32] = entry;
	}
	ret->block = (uint64_t)1 << (entry & ((1 << BITS) - 1));
	ret->inode = (uint64_t)1 << ((entry >> BITS) & ((1 << BITS) - 1));
	return ret->block > 1;
}

static const char changed[] = "it was changed, and all of it is to be overwritten";
static const char its_size[] = "its size changes, which the kernel does not do safely";
static const char working[] = "exchange blocks of";
static const char needs_exchange[] = "the strategy exchange needs XFS made with exchange-range, and Linux 6.10";

static int refuse(int error, const char *advice)
{
	return error_set(-EOPNOTSUPP, error == -EXDEV ? "make a file on the mount of" : working, advice);
}

/* What the kernel says when it cannot, sorted out from what went wrong. */
static int outcome(struct commit *c, int error)
{
	switch (error) {
	case 0:
		return 0;
	case -EBUSY:
		return commit_conflict(c);
	case -EOPNOTSUPP:
	case -ENOTTY:
		return refuse(error, needs_exchange);
	case -EINVAL:
	case -EXDEV:
		/* Also when the file was cut since it was looked at. */
		return commit_is_changed(c) > 0 ? commit_conflict(c)
						: refuse(error, "the kernel does not do that with this file");
	default:
		return error_set(error, working, NULL);
	}
}

/* ---- the file with the new blocks ---- */

/* What is exchanged as a whole: blocks, and at least pages, for that is what edits are. */
static uint64_t unit_of(uint64_t block)
{
	uint64_t page = sys_page_size();

	return block > page ? block : page;
}

/* The edits, and perhaps what lies around them. */
static int spread(const struct commit *c, const struct layout *l, struct ranges *ret)
{
	const struct cluster_job job = {
		.edits = c->edits,
		.extents = l->extents,
		.sparing = true,
		.image = c->overlay->image.fd,
		.kept = c->kept,
		.size = c->size,
	};

	return cluster_wanted(c->size, l->extents, c->edits) ? cluster_widen(&job, ret) : -ENODATA;
}

static int blocks_to_write(const struct commit *c, const struct layout *l, struct ranges *ret)
{
	struct ranges wide = {0};
	int rc = spread(c, l, &wide);

	rc = ranges_widen(rc ? c->edits : &wide, unit_of(l->block), c->size, ret);
	ranges_free(&wide);
	return rc;
}

/* Where the last of them ends. */
static uint64_t end_of(const struct ranges *blocks)
{
	return blocks->n ? blocks->v[blocks->n - 1].offset + blocks->v[blocks->n - 1].length : 0;
}

static int check_size(struct commit *c, int file)
{
	uint64_t size;
	int rc = sys_size(file, &size);

	if (rc)
		return error_set(rc, "look at", NULL);
	/* Its size was that of the handle's image when it was looked at. */
	return size == c->size ? 0 : commit_conflict(c);
}

/* Whether all of the file lies between the first and the last of them. */
static bool span_file(const struct ranges *blocks, uint64_t size)
{
	return blocks->n && !blocks->v[0].offset && end_of(blocks) >= size;
}

/*
 * After an exchange of the whole length of both files the kernel (seen on Linux 6.18)
 * takes the mark that a file shares blocks away from it if the other file had none,
 * also if most of its blocks stayed where they were, shared: whoever writes to it then
 * writes into its clones. So the donor gets that mark too, by sharing the first block,
 * which is overwritten afterwards.
 */
static int share_a_block(int file, uint64_t size, uint64_t block, int fd)
{
	int rc = size < block ? sys_clone(file, fd) : sys_clone_range(file, 0, block, fd, 0);

	/* Where blocks cannot be shared there are no clones. */
	return rc == -EOPNOTSUPP ? 0 : rc;
}

static int make_file(const struct commit *c, int file, int *ret_fd)
{
	struct private_file_request request = {.dirfd = c->target->place.dirfd};
	struct stat st;
	int rc = sys_fstat(file, &st);

	request.near = &st;
	if (!rc)
		rc = private_file_create(&request, ret_fd);
	if (rc == -ENOENT && request.dirfd < 0)
		return refuse(0, in_place_nowhere);
	return rc ? error_set(rc, "make a file for the new blocks of", NULL) : 0;
}

static int write_blocks(const struct commit *c, const struct layout *l, int file, const struct ranges *blocks,
			int *ret_fd)
{
	cleanup_fd int fd = -1;
	int rc = make_file(c, file, &fd);

	if (rc)
		return rc;
	if (span_file(blocks, c->size) && share_a_block(file, c->size, l->block, fd))
		return refuse(0, "no block of it can be shared");
	/* First, for a write behind the end makes the kernel reserve, and zero, more than is written. */
	rc = sys_ftruncate(fd, c->size);
	if (!rc)
		rc = exchange_recovery_pad(fd, l, blocks, c->size);
	if (!rc)
		rc = overlay_write(c->overlay, blocks, c->edits, fd);
	if (!rc)
		rc = sys_write_out(fd);
	if (rc)
		return error_set(rc, "write the new blocks of", NULL);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Then it needs no more of them. */
static int cut_extents(const struct commit *c, struct layout *l, int file, const struct exchange_steps *steps)
{
	cleanup_fd int copies = -1;
	struct sys_layout now;
	int rc = make_file(c, file, &copies);

	if (rc)
		return rc;
	rc = exchange_cut(file, steps, l->block, copies);
	if (rc == -EAGAIN || rc == -EOPNOTSUPP || rc == -EINVAL || rc == -EPERM)
		return -EXFULL;
	if (!rc)
		rc = sys_layout(file, &now);
	l->extents = rc ? 0 : now.extents;
	return rc;
}

static int look_at_steps(const struct layout *l, int file, int donor, const struct ranges *blocks,
			 struct exchange_steps *ret)
{
	struct sys_layout st;
	int rc = sys_layout(donor, &st);

	exchange_steps_free(ret);
	if (!rc)
		rc = exchange_steps_list(file, donor, l->block, blocks, ret);
	return rc ? rc : exchange_recovery_check(l, st.extents, ret);
}

static int check_recovery(struct commit *c, const struct layout *l, int file, int donor, const struct ranges *blocks)
{
	struct exchange_steps steps = {0};
	struct layout cut = *l;
	int rc = look_at_steps(l, file, donor, blocks, &steps);

	if (rc == -EXFULL) {
		rc = cut_extents(c, &cut, file, &steps);
		if (!rc)
			rc = look_at_steps(&cut, file, donor, blocks, &steps);
	}
	exchange_steps_free(&steps);
	switch (rc) {
	case 0:
		return 0;
	case -EXFULL:
		/* What others changed meanwhile cannot be cut. */
		return commit_is_changed(c) > 0
			       ? commit_conflict(c)
			       : refuse(0, "the kernel sets too few blocks aside for so many new extents");
	case -EOPNOTSUPP:
		return refuse(0, "the kernel could not finish it after a crash, for so many whole extents");
	default:
		return error_set(rc, working, NULL);
	}
}

/* A file of nothing but the edits. */
static int donate_edits(struct commit *c, const struct layout *l, int file, struct sys_exchange *e, int *ret_fd)
{
	struct ranges blocks = {0};
	int rc = blocks_to_write(c, l, &blocks);

	rc = rc ? error_set(rc, "write the new blocks of", NULL) : check_size(c, file);
	if (!rc)
		rc = write_blocks(c, l, file, &blocks, ret_fd);
	if (!rc && !exchange_recovery_is_sure(l, &blocks))
		rc = check_recovery(c, l, file, *ret_fd, &blocks);
	e->from = rc ? -1 : *ret_fd;
	e->written_only = true;
	e->offset = blocks.n ? blocks.v[0].offset : 0;
	e->length = end_of(&blocks) - e->offset;
	ranges_free(&blocks);
	return rc;
}

/* ---- the exchange ---- */

/* @ret_known: NULL on Linux 6.10 and 6.11, which cannot be asked. */
static int start(struct commit *c, int file, struct sys_freshness *ret, const struct sys_freshness **ret_known)
{
	int rc = sys_exchange_start(file, ret);

	*ret_known = rc ? NULL : ret;
	return rc == -ENOTTY ? 0 : outcome(c, rc);
}

/* The edits stay edits: what they replace may come back with the next mount. */
static int not_flushed(struct commit *c)
{
	stamp_spoil(&c->target->stamp);
	return error_set(-EIO, "flush",
			 "the new content is in place, but a power cut may take it back: look at the file system, then "
			 "commit again with SNAPMAP_COMMIT_FORCE");
}

/* @ret: the file right after it. */
static int exchange_edits(struct commit *c, const struct layout *l, int file, struct stat *ret)
{
	struct sys_exchange e = {.offset = 0};
	const struct sys_freshness *known;
	struct sys_freshness freshness;
	cleanup_fd int donor = -1;
	int rc = donate_edits(c, l, file, &e, &donor);

	if (!rc)
		rc = start(c, file, &freshness, &known);
	if (!rc)
		rc = commit_check_last(c);
	/* Whoever overwrites asks too: what was changed is overwritten in another way. */
	if (!rc && (c->flags & SNAPMAP_COMMIT_FORCE))
		rc = commit_check_unchanged(c);
	if (!rc)
		rc = outcome(c, known ? sys_exchange_if_fresh(file, &e, known) : sys_exchange(file, &e));
	if (!rc && sys_fstat_fresh(file, ret))
		*ret = (struct stat){0};
	/* The donor, which has the old blocks now, stays open until then. */
	if (!rc && sys_fsync(file))
		rc = not_flushed(c);
	return rc;
}

static int check_file(const struct commit *c, struct layout *ret)
{
	struct sys_layout layout;
	struct stat st;
	int rc;

	if (!c->exists)
		return refuse(0, "a file that does not exist yet has none");
	if (!sizes_of_mount(c->target, c->attributes, ret))
		return refuse(0, needs_exchange);
	if (c->changed)
		return refuse(0, changed);
	if (c->size != c->overlay->image.size)
		return refuse(0, its_size);
	if (c->kept < c->size)
		return refuse(0, "it was cut and grown again");
	if (attributes_are_lost_by_writing(c->attributes))
		return refuse(0, in_place_loses);
	rc = sys_layout(c->attributes, &layout);
	if (!rc)
		rc = sys_fstat(c->attributes, &st);
	if (rc)
		return error_set(rc, "look at", NULL);
	if (layout.realtime)
		return refuse(0, "it lies on a realtime device");
	ret->extents = layout.extents;
	ret->attributes = layout.attributes;
	ret->holes = (uint64_t)st.st_blocks * 512 < (uint64_t)st.st_size;
	/* With a limit of 0 the kernel sends a signal also for an empty file. */
	rc = file_size_allowed(c->size ? c->size : 1);
	return rc ? error_set(rc, working, NULL) : 0;
}

static int open_file(const struct commit *c, int *ret_fd)
{
	int rc = in_place_open(c, working, O_RDWR, ret_fd);

	return rc == -ETXTBSY ? refuse(rc, "it is a program that is running") : rc;
}

/*
 * Keeps commits by journal away: by their lock, or if somebody else has locked the file
 * in that way, by the temporary name that they take as well.
 */
static int keep_journals_away(const struct commit *c, int file, struct publication *turn)
{
	struct journal_marker m;
	int rc = journal_lock(file, true);

	if (rc == -EAGAIN) {
		rc = in_place_take_turn(c, working, turn);
		if (rc)
			return rc;
	}
	rc = journal_look(file, &m);
	if (!rc && m.applying)
		rc = error_set(-EBUSY, working, "a commit of it by journal has not ended");
	return rc;
}

static int exchange_in_turn(struct commit *c, const struct layout *l, int file, struct stat *ret)
{
	struct publication turn = {.fd = -1};
	int rc = keep_journals_away(c, file, &turn);

	if (!rc)
		rc = exchange_edits(c, l, file, ret);
	/* A child that was forked just now may have the descriptor too. */
	journal_unlock(file);
	in_place_end_turn(&turn);
	return rc;
}

/* From here on others that change the file are to be noticed. @st: what it was right after the exchange. */
static void adopt(struct commit *c, const struct stat *st)
{
	struct target *t = c->target;
	struct stamp exchanged;

	target_adopt_inode(t, c->attributes, c->size);
	stamp_of(st, &exchanged);
	if (!stamp_same(&t->stamp, &exchanged))
		stamp_spoil(&t->stamp);
}

static int exchange_publish(struct commit *c)
{
	cleanup_fd int file = -1;
	struct layout layout;
	struct stat st;
	int rc = check_file(c, &layout);

	if (!rc)
		rc = open_file(c, &file);
	if (!rc)
		rc = exchange_in_turn(c, &layout, file, &st);
	/* Since the first look. */
	if (rc == -EBUSY && c->conflict && (c->flags & SNAPMAP_COMMIT_FORCE))
		rc = refuse(0, changed);
	if (rc)
		return rc;
	c->published = true;
	if (!c->closing)
		adopt(c, &st);
	return 0;
}

/* ---- would it work? ---- */

static int try_exchange(const struct target *t, const struct stat *near)
{
	struct private_file_request request = {.dirfd = t->place.dirfd, .near = near};
	cleanup_fd int one = -1, other = -1;
	struct sys_exchange e = {.to_eof = true, .written_only = true, .dry_run = true};
	int rc = file_size_allowed(1);

	if (!rc)
		rc = private_file_create(&request, &one);
	if (!rc)
		rc = private_file_create(&request, &other);
	e.from = one;
	return rc ? rc : sys_exchange(other, &e);
}

static int exchange_probe(const struct target *t, const char **ret_why)
{
	struct stat st;
	int rc = in_place_probe(t, &st, ret_why);

	if (rc)
		return rc;
	*ret_why = "it needs XFS made with exchange-range, and Linux 6.10";
	if (!(fs_traits_of(t->fd)->flags & FS_EXCHANGES))
		return -EOPNOTSUPP;
	return try_exchange(t, &st);
}

const struct strategy strategy_exchange = {
	.id = SNAPMAP_STRATEGY_EXCHANGE,
	.name = "exchange",
	.automatic = true,
	.by_edits = true,
	.keeps_inode = true,
	.publish = exchange_publish,
	.probe = exchange_probe,
};
