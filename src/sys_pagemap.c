/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages of a private mapping were written: /proc/thread-self/pagemap.
 *
 * A page of a private file mapping that was written is an anonymous page; one
 * that was not is a page of the file, or not there. An anonymous mapping shows
 * the shared zero page where it was only read; in a file mapping that page means
 * that zeros were stored, and merged by the kernel (KSM). Source: the kernel's
 * Documentation/admin-guide/mm/pagemap.rst.
 */
#include "config.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "snapmap/types.h"
#include "sys.h"

/* PAGEMAP_SCAN, Linux 6.7. Declared here because headers are older than kernels. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define CATEGORY_STORED (1u << 1) /* no longer write-protected by userfaultfd */
#define CATEGORY_FILE (1u << 2)
#define CATEGORY_PRESENT (1u << 3)
#define CATEGORY_SWAPPED (1u << 4)
#define CATEGORY_PFNZERO (1u << 5)
#define SCAN_BATCH 64

/* Opened anew for each scan: it belongs to one address space, and fork makes another. */
int sys_pagemap_open(void)
{
	return sys_openat(AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY, 0);
}

/*
 * Stores the runs of such pages in [start, end) as addresses. Returns the number of runs;
 * @ret_end is where the scan stopped, which is @end unless @capacity was too small.
 * -ENOTTY before Linux 6.7.
 */
int sys_pagemap_scan(int pagemap, uintptr_t start, uintptr_t end, enum sys_pages which, struct snapmap_range *runs,
		     size_t capacity, uintptr_t *ret_end)
{
	/* Those that the pages must have, and those that they must not have. */
	static const struct {
		uint64_t all, none;
	} categories[] = {
		[SYS_PAGES_WRITTEN] = {0, CATEGORY_FILE},
		[SYS_PAGES_WRITTEN_ANONYMOUS] = {0, CATEGORY_FILE | CATEGORY_PFNZERO},
		[SYS_PAGES_STORED] = {CATEGORY_STORED, 0},
		[SYS_PAGES_CLEAN] = {0, CATEGORY_STORED},
	};
	struct scan_region regions[SCAN_BATCH];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = capacity < SCAN_BATCH ? capacity : SCAN_BATCH,
		.category_inverted = categories[which].none,
		.category_mask = categories[which].all | categories[which].none,
		.category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
		.return_mask = CATEGORY_FILE,
	};
	int n;

	do
		n = ioctl(pagemap, SCAN_IOCTL, &arg);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		runs[i] = (struct snapmap_range){regions[i].start, regions[i].end - regions[i].start};
	*ret_end = (uintptr_t)arg.walk_end;
	return n;
}

/* Bits 63 (present), 62 (swapped) and 61 (page of a file) of each page's entry. */
int sys_pagemap_read(int pagemap, uintptr_t start, uint64_t *entries, size_t count)
{
	uint64_t offset = start / sys_page_size() * sizeof(*entries);
	size_t got;
	int rc = sys_pread_full(pagemap, entries, count * sizeof(*entries), offset, &got);

	if (rc)
		return rc;
	return got == count * sizeof(*entries) ? 0 : -EIO;
}
