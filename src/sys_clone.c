/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sharing and copying of extents between files, and counting them. */
#include "config.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys.h"

/* Makes all of @to share the extents of @from (ioctl_ficlone(2)). */
int sys_clone(int from, int to)
{
	int rc;

	do
		rc = ioctl(to, FICLONE, from);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int sys_clone_range(int from, uint64_t from_offset, uint64_t length, int to, uint64_t to_offset)
{
	struct file_clone_range range = {
		.src_fd = from,
		.src_offset = from_offset,
		.src_length = length,
		.dest_offset = to_offset,
	};
	int rc;

	do
		rc = ioctl(to, FICLONERANGE, &range);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* Makes @to share the blocks of @from where both have the same bytes (ioctl_fideduperange(2)); -EAGAIN if not. */
int sys_share_same(int from, uint64_t from_offset, uint64_t length, int to, uint64_t to_offset)
{
	_Alignas(struct file_dedupe_range) char
		room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	struct file_dedupe_range *r = (struct file_dedupe_range *)room;

	while (length) {
		memset(room, 0, sizeof(room));
		r->src_offset = from_offset;
		r->src_length = length;
		r->dest_count = 1;
		r->info[0].dest_fd = to;
		r->info[0].dest_offset = to_offset;
		if (ioctl(from, FIDEDUPERANGE, r)) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (r->info[0].status < 0)
			return r->info[0].status;
		if (r->info[0].status == FILE_DEDUPE_RANGE_DIFFERS || !r->info[0].bytes_deduped)
			return -EAGAIN;
		from_offset += r->info[0].bytes_deduped;
		to_offset += r->info[0].bytes_deduped;
		length -= r->info[0].bytes_deduped;
	}
	return 0;
}

/* copy_file_range(2): may copy less than asked; 0 means end of file. */
ssize_t sys_copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, size_t length)
{
	off_t in = (off_t)from_offset, out = (off_t)to_offset;
	ssize_t n;

	do
		n = copy_file_range(from, &in, to, &out, length, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Counts without listing, and without flushing first. */
int sys_count_extents(int fd, uint64_t *ret)
{
	struct fiemap map;

	memset(&map, 0, sizeof(map));
	map.fm_length = FIEMAP_MAX_OFFSET;
	if (ioctl(fd, FS_IOC_FIEMAP, &map))
		return -errno;
	*ret = map.fm_mapped_extents;
	return 0;
}

/*
 * The extents from the one at @offset on; as many as fit, and none behind the last.
 * With @flush what is dirty is written out first. Returns their number.
 */
int sys_list_extents(int fd, uint64_t offset, bool flush, struct fiemap_extent *extents, unsigned capacity)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + SYS_EXTENTS_MAX * sizeof(*extents)];
	struct fiemap *map = (struct fiemap *)room;

	memset(map, 0, sizeof(*map));
	map->fm_start = offset;
	map->fm_length = FIEMAP_MAX_OFFSET - offset;
	map->fm_flags = flush ? FIEMAP_FLAG_SYNC : 0;
	map->fm_extent_count = capacity < SYS_EXTENTS_MAX ? capacity : SYS_EXTENTS_MAX;
	if (ioctl(fd, FS_IOC_FIEMAP, map))
		return -errno;
	memcpy(extents, map->fm_extents, map->fm_mapped_extents * sizeof(*extents));
	return (int)map->fm_mapped_extents;
}
