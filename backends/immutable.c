/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * immutable: a file that nobody can change is its own image. Costs no time by the
 * size, shares the page cache with all other readers, and only for reading.
 *
 * Who may be sure of that, and why:
 *  - fs-verity on ext4 and f2fs. It is enabled only while nobody has the file open
 *    for writing, or mapped for it (ETXTBSY): no descriptor and no mapping that
 *    could write is left over from before. From then on opening for writing and
 *    truncation are refused to everybody, and there is no way to disable it. Also
 *    what the disk gives is compared with the hash, so that other bytes are an I/O
 *    error. On btrfs truncate(2) and O_TRUNC do cut such a file (seen on Linux 6.1);
 *    it has reflinks. Behind an overlay fs-verity says nothing: what statx(2)
 *    describes and what is mapped can be different files there.
 *  - erofs and squashfs. The kernel has no code that writes to them, so there is no
 *    open for writing, no truncation, and no mount option that would change this.
 *  - memory files (memfd_create(2)) with F_SEAL_WRITE and F_SEAL_SHRINK. The first
 *    can be set only while there is no shared mapping that may be stored into and
 *    nobody else holds on to a page (direct I/O, say); it ends write(2), new
 *    mappings of that kind and hole punching, the second truncation, for every
 *    descriptor there is; seals cannot be taken off. F_SEAL_FUTURE_WRITE instead of
 *    F_SEAL_WRITE leaves older mappings alive, which still write. F_SEAL_GROW is not
 *    needed: growth adds zeros behind what is mapped. But it was possible to store
 *    behind the end in the last page, through a mapping before the sealing. A handle
 *    promises zeros there, so the rest of that page is looked at.
 *    In a memory file of huge pages (MFD_HUGETLB), a page that is missing comes from
 *    a pool that can be empty, which is a signal; such files are copied.
 *
 * The attributes were looked at after the file was opened, and none of them ever
 * goes away; the size is asked for after that. So it is the final one.
 *
 * The limit: whoever may write to the device or the image file that a file system
 * lies on can change what has not been read into memory yet, or take it away. With
 * fs-verity that is an I/O error, with erofs and squashfs also other bytes. Whoever
 * does not trust the owner of a mounted image asks for a copy.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "backends/backend.h"
#include "src/sys.h"

#define CHANGEABLE "it can be changed: not on erofs or squashfs, no fs-verity, no seals F_SEAL_WRITE and F_SEAL_SHRINK"

/* Memory files have no name. Those of tmpfs that lost it have the seal that forbids seals. */
static bool may_be_sealed(const struct source_request *r)
{
	return (r->fs->flags & FS_IN_MEMORY) && !r->st->st_nlink;
}

static int check_end(int fd, uint64_t size, const char **ret_step)
{
	size_t page = sys_page_size(), used = (size_t)(size % page);
	bool zero = true;
	char *last;
	void *p;
	int rc;

	if (!used)
		return 0;
	*ret_step = "looking at its last page";
	rc = sys_map(NULL, page, PROT_READ, MAP_PRIVATE, fd, size - used, &p);
	if (rc)
		return rc;
	last = (char *)p;
	for (size_t i = used; i < page && zero; i++)
		zero = !last[i];
	sys_unmap(p, page);
	*ret_step = "there are bytes behind its end";
	return zero ? 0 : -EOPNOTSUPP;
}

static int check_seals(const struct source_request *r, const char **ret_step)
{
	const int needed = F_SEAL_WRITE | F_SEAL_SHRINK;
	struct stat st;
	int seals, rc;

	*ret_step = "memory of huge pages";
	if (r->fs->flags & FS_HUGE_PAGES)
		return -EOPNOTSUPP;
	*ret_step = CHANGEABLE;
	seals = sys_seals(r->fd);
	if (seals < 0 || (seals & needed) != needed)
		return -EOPNOTSUPP;
	rc = sys_fstat(r->fd, &st);
	return rc ? rc : check_end(r->fd, (uint64_t)st.st_size, ret_step);
}

/* 0 if nobody can change the file any more. */
static int check(const struct source_request *r, const char **ret_step)
{
	if (r->fs->flags & FS_NEVER_WRITTEN)
		return 0;
	if (r->verity && (r->fs->flags & FS_FIRM_VERITY))
		return 0;
	if (may_be_sealed(r))
		return check_seals(r, ret_step);
	*ret_step = CHANGEABLE;
	return -EOPNOTSUPP;
}

static int immutable_open(const struct source_request *r, struct image *ret, const char **ret_step)
{
	struct image image = {.source = SNAPMAP_SOURCE_IMMUTABLE, .consistency = SNAPMAP_CONSISTENCY_POINT_IN_TIME};
	struct stat st;
	int rc = check(r, ret_step);

	if (rc)
		return rc;
	*ret_step = "looking at its size";
	rc = sys_fstat(r->fd, &st);
	if (rc)
		return rc;
	image.fd = r->fd;
	image.size = (uint64_t)st.st_size;
	*ret = image;
	return 0;
}

const struct backend backend_immutable = {
	.source = SNAPMAP_SOURCE_IMMUTABLE,
	.name = "immutable",
	.rare = true,
	.in_place = true,
	.read_only = true,
	.open = immutable_open,
	.probe = check,
};
