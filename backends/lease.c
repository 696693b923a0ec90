/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease: the file itself, for as long as nobody else wants to change it. Costs the
 * same for every size; the page cache stays shared, and mostly no image is ever made.
 *
 * While a read lease (fcntl(2), F_SETLEASE) is held, each open for writing and each
 * truncate(2) waits until the holder gives the lease up. A thread of the library
 * then makes a private image, maps it over the same addresses, and only then gives
 * the lease up (src/lease_break.c). Why no interleaving of writer, kernel and that
 * thread can show a changed byte:
 *
 *  1. The kernel grants a read lease only if no open file description and no
 *     mapping in the whole system may write to the inode: a shared writable mapping
 *     keeps its description, and so the count of writers, also after close(2).
 *     Files that the kernel makes itself (memfd) have writers that are not counted, and
 *     are not leased. The
 *     check and the grant are made under the lock that an open for writing takes
 *     when it looks for leases, after it has counted itself: one of the two sees the
 *     other.
 *  2. From the grant on every way to change bytes begins with an open for writing or
 *     with truncate(2). Both look for leases first, and wait (or fail, O_NONBLOCK).
 *     The exception is open(2) with O_RDONLY and O_TRUNC, which cuts a file without a
 *     look at leases: so only files are leased that nobody but their owner may write
 *     to, and that user is left to not do that.
 *     Bytes are changed by nothing that needs no such descriptor: rename and unlink
 *     change names only; FICLONE, EXCHANGE_RANGE, fallocate and copy_file_range into
 *     the file need one. File systems where changes can come from elsewhere (network,
 *     FUSE, the layers of overlayfs) are not leased. One way around is left to the
 *     caller: truncate(2) through a mounted overlayfs does not look for leases on the
 *     file in its upper layer (seen on 6.18), so whoever maps files in the upper
 *     directory of a mounted overlay must ask for another source.
 *  3. The size is read after the grant, and the mapping is made after it: both show
 *     the file as it was at that instant, and so does every page that is read later.
 *  4. When a writer comes the kernel marks the lease and sends a signal to the thread
 *     that serves breaks. A signal that comes while one is pending is merged with it,
 *     so each one makes the thread look at all leases in the table. The entry is made
 *     after the grant, so a signal may come before it is there: opens between the two
 *     are counted, and the thread waits for those that had begun, and looks again
 *     (src/lease_watch.c). Now and then it looks without being told, for the kernel
 *     does not send signals between users.
 *  5. The writer still waits while the image is made from the unchanged file. It is
 *     mapped over the old addresses in one step: a reader's page fault waits for the
 *     lock of the address space, and finds either the file or the image, with the
 *     same bytes. Opening and closing handles of the file wait meanwhile for the lock
 *     of its entry, so no address that was given back is mapped over.
 *  6. Only then the lease is given up, and the answer to that call tells whether it
 *     stood until then. The kernel takes a lease away after
 *     /proc/sys/fs/lease-break-time. A second thread looks at all leases while breaks
 *     are being served; when half of that time is over for one, served or not, it
 *     takes the pages of the file out of reach first: the handle is lost, which it
 *     says by a fault and by its sticky error, and never shows wrong bytes. So files
 *     are not leased whose copy would take a large part of that time.
 *
 * What remains is a process that gets no processor for half of the break time, or is
 * stopped (SIGSTOP) for all of it: then nobody can act, and the answer in step 6 makes
 * the handle lost as soon as the process goes on.
 *
 * A child of fork() has no thread to guard it, so the mapping is taken out of its
 * reach before fork() returns there (src/fork.c). MADV_DONTFORK would also see to
 * children of the bare clone system call, but costs a tenth of the time of an open.
 */
#include "config.h"

#include <errno.h>

#include "backends/backend.h"
#include "src/sys.h"

/* Copied in a moment on whatever there is; and how much of that may be leased without a measurement. */
#define SMALL ((uint64_t)16 << 20)
#define SMALL_IN_ALL ((uint64_t)256 << 20)
#define LIMITS_IN_ALL 4 /* times what is copied in the time for one */

/*
 * Reading a hole of a file system in memory takes a page of it, and if it is full
 * that is a signal. Blocks beyond the end, and huge pages, make the number of blocks
 * say nothing.
 */
static bool holes_can_fault(const struct source_request *r)
{
	uint64_t size = (uint64_t)r->st->st_size, blocks = (uint64_t)r->st->st_blocks * 512, hole;

	if (!(r->fs->flags & FS_IN_MEMORY) || blocks == ((size + 4095) & ~(uint64_t)4095))
		return false;
	return blocks < size || !r->own_offset || sys_seek_hole(r->fd, 0, &hole) || hole < size;
}

/*
 * Whoever may write could cut the file without any lease being looked for: with
 * O_RDONLY|O_TRUNC (seen on 6.18). Our own user is trusted not to, others are not.
 */
static bool others_may_write(const struct source_request *r)
{
	return r->st->st_mode & (S_IWGRP | S_IWOTH);
}

/*
 * A memfd, or System V shared memory: the kernel makes their first description without
 * counting it as a writer, so a lease would be granted beside it.
 */
static bool is_kernel_made(const struct source_request *r)
{
	return (r->fs->flags & FS_IN_MEMORY) && !r->st->st_nlink;
}

static const char *why_not(const struct source_request *r)
{
	if (!r->lease)
		return "this handle must outlive a fork or has nobody to watch the lease";
	if (!(r->fs->flags & FS_LEASES))
		return "this file system is not known to honour leases";
	if (!r->own_offset)
		return "the file could not be opened anew";
	if (others_may_write(r))
		return "others may write to it, and could cut it in a way that leases do not see";
	if (is_kernel_made(r))
		return "a memfd may have writers that the kernel does not count";
	if (holes_can_fault(r))
		return "holes of a file system in memory are no memory yet";
	return NULL;
}

/*
 * Would whoever comes to write have to wait for long, or all of them together too
 * long? Else *@ret_weight is what would have to be copied.
 */
static bool takes_too_long(const struct source_request *r, uint64_t size, uint64_t *ret_weight)
{
	uint64_t limit = r->options->lease_limit, all = r->lease->weight() + size, by_rate, space;
	struct imaging_request imaging = {
		.fd = r->fd,
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->options->tmpdir,
		.st = r->st,
		.fs = r->fs,
		.mount = r->mount,
	};

	*ret_weight = size;
	if (size <= SMALL && all <= SMALL_IN_ALL && size <= (limit ? limit : SMALL))
		return false;
	if (file_size_allowed(size))
		return true;
	imaging_limit(&imaging, &by_rate, &space);
	if (by_rate == UINT64_MAX) {
		*ret_weight = 0;
		return false;
	}
	if (size > (limit ? limit : by_rate))
		return true;
	return !limit && (all > space || all / LIMITS_IN_ALL > by_rate);
}

/* Under the grant. */
static int look_at_size(const struct source_request *r, struct image *image, const char **ret_step)
{
	uint64_t weight;
	int rc = sys_size(r->fd, &image->size);

	if (rc || image->size <= (uint64_t)r->st->st_size)
		return rc;
	*ret_step = "it grew meanwhile";
	return takes_too_long(r, image->size, &weight) ? -EAGAIN : 0;
}

static int lease_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	const struct options *o = r->options;
	struct image image = {
		.fd = r->fd,
		.source = SNAPMAP_SOURCE_LEASE,
		.consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME,
	};
	pid_t owner;
	int rc;

	*ret_step = why_not(r);
	if (*ret_step)
		return -EOPNOTSUPP;
	*ret_step = "whoever wants to write to it would have to wait for a copy for too long";
	if (takes_too_long(r, (uint64_t)r->st->st_size, &image.weight))
		return -EFBIG;
	*ret_step = "asking whether to go on";
	if (o->progress && o->progress(o->progress_arg, 0, (uint64_t)r->st->st_size))
		return -ECANCELED;
	owner = r->lease->enter(r->fd, image.weight);
	*ret_step =
		owner == -EMFILE ? "the descriptors for leases are used up" : "starting the thread that watches leases";
	if (owner < 0)
		return owner;
	*ret_step = "taking a lease";
	rc = sys_lease_take(r->fd, owner);
	if (!rc) {
		rc = look_at_size(r, &image, ret_step);
		if (rc)
			sys_lease_drop(r->fd);
	}
	if (rc) {
		r->lease->leave(image.weight);
		return rc;
	}
	*ret = image;
	return 0;
}

static int lease_probe(const struct source_request *r, const char **ret_step)
{
	struct image image;
	int rc = lease_open(r, &image, ret_step);

	if (rc)
		return rc;
	sys_lease_drop(r->fd);
	r->lease->leave(image.weight);
	return 0;
}

const struct backend backend_lease = {
	.source = SNAPMAP_SOURCE_LEASE,
	.name = "lease",
	.read_only = true,
	.in_place = true,
	.open = lease_open,
	.probe = lease_probe,
};
