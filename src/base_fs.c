/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of a file system by its type. A type not listed is taken to be
 * one where changes can happen unseen.
 *
 * Numbers: statfs(2) and the kernel's include/uapi/linux/magic.h.
 */
#include "config.h"

#include "base.h"
#include "sys.h"

#define DISK (FS_LOCAL | FS_WRITE_BACK)

static const struct fs_traits known[] = {
	{0xef53, "ext4", DISK | FS_FINE_TIMES | FS_LEASES | FS_FIRM_VERITY},
	{0x58465342, "xfs", DISK | FS_FINE_TIMES | FS_LEASES | FS_ONE_SPACE | FS_EXCHANGES | FS_LISTS_LOCKED},
	{0x9123683e, "btrfs", DISK | FS_FINE_TIMES | FS_LEASES | FS_ONE_SPACE},
	{0x01021994, "tmpfs", FS_LOCAL | FS_FINE_TIMES | FS_IN_MEMORY | FS_LEASES},
	{0x858458f6, "ramfs", FS_LOCAL | FS_IN_MEMORY | FS_LEASES},
	{0x958458f6, "hugetlbfs", FS_LOCAL | FS_IN_MEMORY | FS_HUGE_PAGES},
	{0x794c7630, "overlay", FS_LOCAL | FS_LAYERED},
	{0xca451a4e, "bcachefs", DISK | FS_LEASES},
	{0xf2f52010, "f2fs", DISK | FS_LEASES | FS_FIRM_VERITY},
	{0x2fc12fc1, "zfs", FS_LOCAL},
	{0xe0f5e1e2, "erofs", DISK | FS_NEVER_WRITTEN},
	{0x73717368, "squashfs", DISK | FS_NEVER_WRITTEN},
	{0x4d44, "vfat", DISK | FS_EVEN_TIMES},
	{0x2011bab0, "exfat", DISK},
	{0x7366746e, "ntfs3", DISK},
	{0x9660, "iso9660", DISK},
	{0x3434, "nilfs2", DISK},
	{0x3153464a, "jfs", DISK},
	{0x24051905, "ubifs", DISK},
	{0x65735546, "fuse", FS_ASKED},
	{0x6969, "nfs", 0},
	{0xff534d42, "cifs", 0},
	{0xfe534d42, "smb3", 0},
	{0x01021997, "9p", 0},
	{0x00c36400, "ceph", 0},
	{0x7461636f, "ocfs2", 0},
	{0x01161970, "gfs2", 0},
	{0x9fa0, "proc", FS_PSEUDO},
	{0x62656572, "sysfs", FS_PSEUDO},
	{0x64626720, "debugfs", FS_PSEUDO},
	{0x74726163, "tracefs", FS_PSEUDO},
	{0x73636673, "securityfs", FS_PSEUDO},
	{0x0027e0eb, "cgroup", FS_PSEUDO},
	{0x63677270, "cgroup2", FS_PSEUDO},
	{0xcafe4a11, "bpf", FS_PSEUDO},
	{0x6165676c, "pstore", FS_PSEUDO},
	{0x62656570, "configfs", FS_PSEUDO},
	{0xde5e81e4, "efivarfs", FS_PSEUDO},
	{0x42494e4d, "binfmt_misc", FS_PSEUDO},
	{0xf97cff8c, "selinuxfs", FS_PSEUDO},
	{0x43415d53, "smackfs", FS_PSEUDO},
	{0x65735543, "fusectl", FS_PSEUDO},
	{0x19800202, "mqueue", FS_PSEUDO},
	{0x67596969, "rpc_pipefs", FS_PSEUDO},
	{0x07655821, "resctrl", FS_PSEUDO},
};

static const struct fs_traits unknown = {0, "unknown", 0};

/* Never NULL. */
const struct fs_traits *fs_traits_of(int fd)
{
	uint64_t magic;

	if (sys_fs_magic(fd, &magic))
		return &unknown;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].magic == magic)
			return &known[i];
	return &unknown;
}

/*
 * The same, remembered by mount: statfs(2) can be slow, as XFS has its background
 * work done first. @mount is a number that is never used again, or 0.
 */
const struct fs_traits *fs_traits_of_mount(int fd, uint64_t mount)
{
	/* In each slot the number of a mount, and in the low byte the place in the table plus one. */
	static _Atomic uint64_t remembered[64];
	_Atomic uint64_t *slot = &remembered[mount % 64];
	const struct fs_traits *fs;
	uint64_t entry = *slot;

	if (mount && entry >> 8 == mount)
		return &known[(entry & 0xff) - 1];
	fs = fs_traits_of(fd);
	if (mount && mount >> 56 == 0 && fs != &unknown)
		*slot = mount << 8 | (uint64_t)(fs - known + 1);
	return fs;
}

/*
 * With multigrain timestamps a change after a stat always gives another ctime.
 * Without them, two changes within one tick of the clock look the same.
 */
bool fs_has_fine_times(const struct fs_traits *fs)
{
	static _Atomic int version;
	int known_version = version;

	if (!(fs->flags & FS_FINE_TIMES))
		return false;
	if (!known_version)
		version = known_version = sys_kernel_version();
	return known_version >= 613;
}

/* Dirty pages to storage. A layer passes only a flush on to the file system below. */
int fs_write_out(int fd, const struct fs_traits *fs)
{
	if (fs->flags & FS_IN_MEMORY)
		return 0;
	return fs->flags & FS_LAYERED ? sys_fsync(fd) : sys_write_out(fd);
}
