/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling whether a file changed: identity, size, ctime and mtime.
 *
 * Invariant: if stamp_take() on a local file system gave S, then any write(2) that
 * was not complete by then makes a stamp that differs from S, and so does any store
 * through a mapping whose page fault begins later. Three things must be seen to:
 *  - A page that is dirty and mapped writable takes stores without any trace.
 *    Writing it out protects it again, so that the next store faults and moves
 *    ctime. A store that faults while this goes on makes its page writable
 *    again, so the ctime must be the same before and after. (In memory nothing
 *    is written out, and stores go unseen: see FS_WRITE_BACK.) A fault that moved
 *    ctime before the first look, and made its page dirty after the write-out, is not
 *    noticed: the kernel has nothing that waits for it. Its store shows in no stamp
 *    until the page is written out.
 *  - A write(2) moves ctime first and the bytes later, holding the inode's lock. So
 *    that lock is waited for. Direct writes over existing blocks do not hold it for
 *    themselves alone; only a lease rules them out.
 *  - Two changes within one step of the file system's clock leave the same ctime.
 *    So no stamp is taken in the step of the last change.
 */
#include "config.h"

#include "base.h"
#include "sys.h"

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void stamp_of(const struct stat *st, struct stamp *ret)
{
	*ret = (struct stamp){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.ctime = st->st_ctim,
		.mtime = st->st_mtim,
	};
}

#define NS_PER_S 1000000000LL
#define TRIES 4

static long long ns_of(const struct timespec *t)
{
	return (long long)t->tv_sec * NS_PER_S + t->tv_nsec;
}

/*
 * How far apart two changes must be to get different times, in ns. Some formats
 * keep whole seconds (ext4 with small inodes), even ones (vfat) or hundredths; what
 * they kept tells. 0: multigrain timestamps, which differ after each stat.
 */
static long long clock_step(const struct stat *st, const struct fs_traits *fs)
{
	struct timespec tick;

	if (!st->st_ctim.tv_nsec)
		return fs->flags & FS_EVEN_TIMES ? 2 * NS_PER_S : NS_PER_S;
	if (st->st_ctim.tv_nsec % 10000000 == 0)
		return NS_PER_S / 50;
	if (fs_has_fine_times(fs))
		return 0;
	sys_clock_tick(&tick);
	return ns_of(&tick);
}

/*
 * Waits until a change made from now on gets another ctime than the present one.
 * The clock is asked again after sleeping: it is the one that file systems take
 * their times from, and goes in ticks, which can be late.
 */
static void wait_for_step(const struct stat *st, const struct fs_traits *fs)
{
	long long step = clock_step(st, fs), rest;
	struct timespec now, fine, pause;

	while (step) {
		sys_now_coarse(&now);
		sys_now(&fine);
		rest = ns_of(&st->st_ctim) + step - ns_of(&now);
		/*
		 * A time in the future is not one of this clock, which somebody has set back. In the
		 * future is what the fine clock has not reached: the kernel may have taken the time
		 * from that one (multigrain timestamps), which is ahead by up to a tick.
		 */
		if (rest <= 0 || ns_of(&st->st_ctim) > ns_of(&fine))
			return;
		pause = (struct timespec){.tv_sec = rest / NS_PER_S, .tv_nsec = rest % NS_PER_S};
		sys_sleep(&pause);
	}
}

static enum sys_wait way_to_wait(const struct fs_traits *fs)
{
	return fs->flags & FS_LAYERED	     ? SYS_WAIT_BY_ALL
	       : fs->flags & FS_LISTS_LOCKED ? SYS_WAIT_BY_EXTENTS
					     : SYS_WAIT_BY_HOLES;
}

static int try_stamp(int fd, const struct fs_traits *fs, bool own_offset, struct stamp *ret, bool *ret_settled)
{
	struct stat before, after;
	struct stamp stamp;
	int rc = sys_fstat_fresh(fd, &before);

	if (rc)
		return rc;
	wait_for_step(&before, fs);
	rc = fs_write_out(fd, fs);
	if (rc)
		return rc;
	sys_wait_for_writers(fd, (uint64_t)before.st_size, way_to_wait(fs), own_offset);
	rc = sys_fstat_fresh(fd, &after);
	if (rc)
		return rc;
	stamp_of(&before, &stamp);
	stamp_of(&after, ret);
	*ret_settled = stamp_same(&stamp, ret);
	return 0;
}

/*
 * A file that does not stop changing gets a stamp that no file has, so that it is
 * never taken for unchanged. Without an offset of its own the descriptor cannot be
 * asked for holes, and writers under way are waited for on XFS only.
 */
int stamp_take(int fd, const struct fs_traits *fs, bool own_offset, struct stamp *ret)
{
	bool settled = false;
	struct stamp stamp;

	for (int i = 0; i < TRIES && !settled; i++) {
		int rc = try_stamp(fd, fs, own_offset, &stamp, &settled);

		if (rc)
			return error_set(rc, "look for changes of", NULL);
	}
	*ret = stamp;
	if (!settled)
		stamp_spoil(ret);
	return 0;
}

/*
 * The same for a file that nobody has open for writing, and has not since before it was
 * last looked at: nothing has to be waited for. Quiet.
 */
int stamp_take_at_rest(int fd, const struct fs_traits *fs, struct stamp *ret)
{
	struct timespec now;
	struct stat st;
	int rc = sys_fstat_fresh(fd, &st);
	long long step;

	if (rc)
		return rc;
	stamp_of(&st, ret);
	/* The next change could get the same time. */
	step = clock_step(&st, fs);
	sys_now(&now);
	if (step && ns_of(&now) - ns_of(&st.st_ctim) < 2 * step)
		stamp_spoil(ret);
	return 0;
}

void stamp_spoil(struct stamp *stamp)
{
	stamp->ino = 0;
}

bool stamp_is_spoilt(const struct stamp *stamp)
{
	return !stamp->ino;
}

bool stamp_same(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && same_time(&a->ctime, &b->ctime) &&
	       same_time(&a->mtime, &b->mtime);
}

bool stamp_same_file(const struct stamp *a, const struct stat *b)
{
	return a->dev == b->st_dev && a->ino == b->st_ino;
}
