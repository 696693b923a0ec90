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
 *     that serves breaks. The handle is entered in the table of leased files after the
 *     grant, so a signal may come before it can be found there: all between is an RCU
 *     read-side section, and the thread waits for a grace period if an open is under
 *     way, and looks again. A signal that comes while one is pending is merged with it, so each one makes
 *     the thread look at all leases.
 *  5. The writer still waits while the image is made from the unchanged file. It is
 *     mapped over the old addresses in one step: a reader's page fault waits for the
 *     lock of the address space, and finds either the file or the image, with the
 *     same bytes. Opening and closing handles of the file wait meanwhile for the lock
 *     of its entry, so no address that was given back is mapped over.
 *  6. Only then the lease is given up, and the answer to that call tells whether it
 *     stood until then. The kernel takes a lease away after
 *     /proc/sys/fs/lease-break-time. When half of that time is over, a second thread
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

/* Copied in a moment on whatever there is. */
#define SMALL ((uint64_t)16 << 20)

/*
 * Reading a hole of a file system in memory takes a page of it, and if it is full
 * that is a signal.
 */
static bool holes_can_fault(const struct source_request *r)
{
	return (r->fs->flags & FS_IN_MEMORY) && r->st->st_blocks * 512 < r->st->st_size;
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
	if (is_kernel_made(r))
		return "a memfd may have writers that the kernel does not count";
	if (holes_can_fault(r))
		return "holes of a file system in memory are no memory yet";
	return NULL;
}

/* Would whoever comes to write have to wait for long? */
static bool takes_too_long(const struct source_request *r, uint64_t size)
{
	uint64_t limit = r->options->lease_limit, by_rate, space;
	struct imaging_request imaging = {
		.fd = r->fd,
		.dirfd = r->dirfd,
		.dir = r->dir,
		.tmpdir = r->options->tmpdir,
		.st = r->st,
		.fs = r->fs,
		.mount = r->mount,
	};

	if (size <= (limit ? limit : SMALL) && size <= SMALL)
		return false;
	imaging_limit(&imaging, &by_rate, &space);
	if (by_rate == UINT64_MAX)
		return false;
	return size > space || size > (limit ? limit : by_rate);
}

static int lease_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
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
	if (takes_too_long(r, (uint64_t)r->st->st_size))
		return -EFBIG;
	*ret_step = "asking whether to go on";
	if (r->options->progress && r->options->progress(r->options->progress_arg, 0, (uint64_t)r->st->st_size))
		return -ECANCELED;
	*ret_step = "the descriptors for leases are used up";
	owner = r->lease->enter(r->fd);
	if (owner < 0)
		return owner;
	*ret_step = "taking a lease";
	rc = sys_lease_take(r->fd, owner);
	if (!rc) {
		rc = sys_size(r->fd, &image.size);
		if (!rc && image.size > (uint64_t)r->st->st_size && takes_too_long(r, image.size)) {
			*ret_step = "it grew meanwhile";
			rc = -EAGAIN;
		}
		if (rc)
			sys_lease_drop(r->fd);
	}
	if (rc) {
		r->lease->leave();
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
	r->lease->leave();
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
