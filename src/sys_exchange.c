/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exchanging the blocks of two files in one transaction (XFS, Linux 6.10), if
 * wanted only while one of them is as it was before (Linux 6.12).
 *
 * Structures and numbers: ioctl_xfs_exchange_range(2), ioctl_xfs_commit_range(2),
 * and the kernel's fs/xfs/libxfs/xfs_fs.h, which is right about the six words of
 * freshness. Declared here, for few distributions have headers that know them.
 */
#include "config.h"

#include <errno.h>
#include <linux/types.h>
#include <sys/ioctl.h>

#include "sys.h"

struct exchange_range {
	__s32 file1_fd;
	__u32 pad;
	__u64 file1_offset;
	__u64 file2_offset;
	__u64 length;
	__u64 flags;
};

struct commit_range {
	struct exchange_range exchange;
	__u64 file2_freshness[6];
};

#define IOC_EXCHANGE_RANGE _IOW('X', 129, struct exchange_range)
#define IOC_START_COMMIT _IOR('X', 130, struct commit_range)
#define IOC_COMMIT_RANGE _IOW('X', 131, struct commit_range)

#define TO_EOF (1ULL << 0)
#define DRY_RUN (1ULL << 2)
#define FILE1_WRITTEN (1ULL << 3)

static struct exchange_range range_of(const struct sys_exchange *e)
{
	return (struct exchange_range){
		.file1_fd = e->from,
		.file1_offset = e->offset,
		.file2_offset = e->offset,
		.length = e->length,
		.flags = (e->to_eof ? TO_EOF : 0) | (e->written_only ? FILE1_WRITTEN : 0) | (e->dry_run ? DRY_RUN : 0),
	};
}

static int call(int fd, unsigned long request, void *argument)
{
	int rc;

	do
		rc = ioctl(fd, request, argument);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* Only what tells (struct xfs_fsop_geom, XFS_FSOP_GEOM_FLAGS_EXCHANGE_RANGE): ioctl_xfs_fsgeometry(2). */
struct geometry {
	__u32 blocksize;
	__u32 unused[5];
	__u32 inodesize;
	__u32 unused_too[16];
	__u32 flags;
	__u32 rest[40];
};

#define IOC_FSGEOMETRY _IOR('X', 126, struct geometry)
#define HAS_EXCHANGE_RANGE (1u << 24)

_Static_assert(sizeof(struct geometry) == 256, "as the kernel has it");

/* @fd: any file on XFS. */
int sys_exchange_sizes(int fd, struct sys_exchange_sizes *ret)
{
	struct geometry g = {.flags = 0};
	int rc = call(fd, IOC_FSGEOMETRY, &g);

	if (!rc)
		*ret = (struct sys_exchange_sizes){
			.block = g.flags & HAS_EXCHANGE_RANGE ? g.blocksize : 0,
			.inode = g.inodesize,
		};
	return rc;
}

/* What @fd is now, for sys_exchange_if_fresh(). */
int sys_exchange_start(int fd, struct sys_freshness *ret)
{
	struct commit_range c = {0};
	int rc = call(fd, IOC_START_COMMIT, &c);

	for (size_t i = 0; !rc && i < SYS_FRESHNESS_WORDS; i++)
		ret->words[i] = c.file2_freshness[i];
	return rc;
}

/* -EBUSY if @fd changed since @freshness was taken. */
int sys_exchange_if_fresh(int fd, const struct sys_exchange *exchange, const struct sys_freshness *freshness)
{
	struct commit_range c = {.exchange = range_of(exchange)};

	for (size_t i = 0; i < SYS_FRESHNESS_WORDS; i++)
		c.file2_freshness[i] = freshness->words[i];
	return call(fd, IOC_COMMIT_RANGE, &c);
}

int sys_exchange(int fd, const struct sys_exchange *exchange)
{
	struct exchange_range r = range_of(exchange);

	return call(fd, IOC_EXCHANGE_RANGE, &r);
}
