/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Address space and anonymous memory. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys.h"

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif
#ifndef MREMAP_DONTUNMAP /* Linux 5.7; of files 5.13 */
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_DONTNEED_LOCKED /* Linux 5.18 */
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Asked once: a signal handler may call this, and whatever that can find was mapped with its help. */
size_t sys_page_size(void)
{
	static _Atomic size_t known;
	size_t size = known;

	if (!size)
		known = size = (size_t)sysconf(_SC_PAGESIZE);
	return size;
}

/*
 * The thread sanitizer takes mmap() for a store of this thread to all of the memory.
 * What is mapped over other threads' memory is no such thing.
 */
#ifdef __SANITIZE_THREAD__
static void *map(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (!(flags & MAP_FIXED))
		return mmap(address, length, prot, flags, fd, offset);
	return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
}
#else
#define map mmap
#endif

int sys_map(void *address, size_t length, int prot, int flags, int fd, uint64_t offset, void **ret)
{
	void *p = map(address, length, prot, flags, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	/* Kernels before 4.17 take MAP_FIXED_NOREPLACE for a hint. */
	if ((flags & MAP_FIXED_NOREPLACE) && p != address) {
		munmap(p, length);
		return -EEXIST;
	}
	*ret = p;
	return 0;
}

void sys_unmap(void *address, size_t length)
{
	int saved = errno;

	munmap(address, length);
	errno = saved;
}

/* Replaces what is mapped at @to, in one step. */
int sys_move_mapping(void *from, size_t length, void *to)
{
	return mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

/* Drops private pages, also of memory that the application has locked. */
int sys_drop_private(void *address, size_t length)
{
	if (!madvise(address, length, MADV_DONTNEED))
		return 0;
	if (errno == EINVAL && !madvise(address, length, MADV_DONTNEED_LOCKED))
		return 0;
	return -errno;
}

/* Refused by kernels without huge pages, which is as good. */
int sys_no_hugepages(void *address, size_t length)
{
	return madvise(address, length, MADV_NOHUGEPAGE) && errno != EINVAL ? -errno : 0;
}

/* Not in core dumps; and so never merged with a mapping that is. */
void sys_not_dumped(void *address, size_t length)
{
	madvise(address, length, MADV_DONTDUMP);
}

/* Not in a child of fork(), where the addresses are free then. */
int sys_not_inherited(void *address, size_t length)
{
	return madvise(address, length, MADV_DONTFORK) ? -errno : 0;
}

int sys_protect(void *address, size_t length, int prot)
{
	return mprotect(address, length, prot) ? -errno : 0;
}

/* A second mapping of the same shared memory, replacing what is at @to (mremap(2), old size 0). */
int sys_share_mapping(void *from, size_t length, void *to)
{
	return mremap(from, 0, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

/*
 * A second mapping of a file's pages, none of which was written, replacing what is at @to.
 * The pages move there, and the first mapping reads them again (mremap(2), DONTUNMAP).
 */
int sys_twin_mapping(void *from, size_t length, void *to)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	return mremap(from, length, length, flags, to) == MAP_FAILED ? -errno : 0;
}

/*
 * Has the kernel read one byte of each page for us: unlike a load of our own it
 * answers a bad page with EFAULT. Works on every kernel.
 */
static int populate_by_copy(const void *address, size_t length)
{
	size_t page = sys_page_size();
	char sink[64];

	for (size_t done = 0; done < length;) {
		struct iovec from[64], to = {sink, 0};

		while (to.iov_len < 64 && done < length) {
			from[to.iov_len].iov_base = (char *)(uintptr_t)address + done;
			from[to.iov_len].iov_len = 1;
			to.iov_len++;
			done += page;
		}
		if (process_vm_readv(getpid(), &to, 1, from, to.iov_len, 0) != (ssize_t)to.iov_len)
			return errno == EPERM || errno == ENOSYS ? -EOPNOTSUPP : -EIO;
	}
	return 0;
}

/* @address must be aligned to a page. -EIO: a page could not be read. */
int sys_populate(const void *address, size_t length)
{
	if (!madvise((void *)(uintptr_t)address, length, MADV_POPULATE_READ))
		return 0;
	switch (errno) {
	case EINVAL:
	case ENOSYS:
		return populate_by_copy(address, length);
	case EFAULT:
	case EHWPOISON:
		return -EIO;
	default:
		return -errno;
	}
}

/*
 * By the kernel, for which a page that is not to be had is -EIO and no signal. Where that
 * is forbidden (a filter of system calls) it is a plain copy.
 */
int sys_copy_memory(void *to, const void *from, size_t n)
{
	struct iovec local = {to, n}, remote = {(void *)(uintptr_t)from, n};
	ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	if (got == (ssize_t)n)
		return 0;
	if (got >= 0 || errno == EFAULT)
		return -EIO;
	memcpy(to, from, n);
	return 0;
}

/* A nameless file in memory that only this descriptor leads to. */
int sys_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

int sys_seal(int fd, int seals)
{
	return fcntl(fd, F_ADD_SEALS, seals) ? -errno : 0;
}

/* The seals that a file has, F_SEAL_*. -EINVAL if its kind can have none. */
int sys_seals(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals < 0 ? -errno : seals;
}

uint64_t sys_memory_size(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}
