/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfalls 6 and 14: everything that a file is besides its bytes survives a commit, or the commit says why not. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "committing.h"

#define SIZE ((size_t)20000)
#define OTHER 12345u

/* Edits one byte and commits. */
static int edit_and_commit(const struct way *w, const char *path, uint32_t flags)
{
	struct snapmap_mut *map = way_open(w, path);

	((char *)snapmap_mut_data(map))[100] ^= 1;
	return way_finish(w, map, flags);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	ck_assert_msg(!lstat(path, &st), "%s: %s", path, strerror(errno));
	return st.st_mode & 07777;
}

/* AUTO does not keep the inode where an attribute would be lost by that. */
static bool asked_to_keep_inode(const struct way *w)
{
	return w->strategy == SNAPMAP_STRATEGY_CLONE || w->strategy == SNAPMAP_STRATEGY_EXCHANGE;
}

START_TEST(test_every_bit_of_the_mode_is_kept)
{
	static const mode_t modes[] = {0644, 0600, 0666, 0777, 0755, 0604, 04755, 02755, 01644, 07777, 04711, 0640};
	const struct way *w = way_at(_i);

	for (size_t i = 0; w && i < sizeof(modes) / sizeof(modes[0]); i++) {
		test_make_file("f", SIZE, 1);
		ck_assert(!chmod("f", modes[i]));
		/* Writing to a file in place takes set-user-ID away: that is the kernel's rule, not ours. */
		if (asked_to_keep_inode(w) && (modes[i] & 06000))
			continue;
		ck_ok(edit_and_commit(w, "f", 0));
		ck_assert_msg(mode_of("f") == modes[i], "%o became %o", modes[i], mode_of("f"));
	}
}
END_TEST

START_TEST(test_umask_does_not_touch_the_mode)
{
	const struct way *w = way_at(_i);

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0666));
	umask(077);
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert_uint_eq(mode_of("f"), 0666);
}
END_TEST

START_TEST(test_owner_and_group_are_kept)
{
	const struct way *w = way_at(_i);
	struct stat st;

	if (!test_is_root())
		skip_all_ways("only root can give files away");
	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chown("f", OTHER, OTHER + 1));
	ck_assert(!chmod("f", asked_to_keep_inode(w) ? 0755 : 06755));
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert(!stat("f", &st));
	ck_assert_uint_eq(st.st_uid, OTHER);
	ck_assert_uint_eq(st.st_gid, OTHER + 1);
	ck_assert_uint_eq(mode_of("f"), asked_to_keep_inode(w) ? 0755 : 06755);
}
END_TEST

/* ---- what cannot be kept ---- */

/* Runs in a child that is another user than the file's owner. */
struct attempt {
	const struct way *way;
	const char *path;
	uint32_t flags;
	const char *says;
};

static int attempt(void *arg)
{
	const struct attempt *a = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = a->way->source};
	struct snapmap_commit_options c = {.size = sizeof(c), .flags = a->flags, .strategy = a->way->strategy};
	struct snapmap_mut *map;
	char edited;
	int rc = snapmap_mut_open(a->path, &o, &map);

	if (rc)
		return 1;
	edited = ((char *)snapmap_mut_data(map))[100] ^= 1;
	rc = snapmap_mut_commit(map, &c);
	if (rc && (!strstr(snapmap_last_error(), a->says) || ((char *)snapmap_mut_data(map))[100] != edited ||
		   snapmap_mut_dirty(map, NULL, 0) != 1))
		return 2;
	snapmap_mut_close(map);
	return rc;
}

START_TEST(test_owner_that_cannot_be_kept_is_an_error)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = "keep the owner"};
	struct stat before, after;
	uint64_t hash;

	if (!test_is_root())
		skip_all_ways("only root can give files away");
	if (!w || way_keeps_inode(w))
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chown("f", OTHER, 65534) && !chmod("f", 0666) && !chmod(".", 0777));
	hash = test_hash_file("f");
	ck_assert(!stat("f", &before));
	ck_assert_int_eq(test_as_user(65534, attempt, &a), -EPERM);
	ck_assert(!chown("f", 65534, OTHER));
	a.says = "keep the group";
	ck_assert_int_eq(test_as_user(65534, attempt, &a), -EPERM);
	ck_assert(!stat("f", &after));
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* What replacing cannot do, writing into the file can. */
START_TEST(test_clone_keeps_an_owner_that_replace_could_not)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = ""};
	struct stat st;

	if (!test_is_root())
		skip_all_ways("only root can give files away");
	if (!w || !way_keeps_inode(w))
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0666) && !chmod(".", 0777));
	ck_assert_int_eq(test_as_user(65534, attempt, &a), 0);
	ck_assert(!stat("f", &st));
	ck_assert_uint_eq(st.st_uid, 0);
}
END_TEST

START_TEST(test_read_only_file_is_not_replaced)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "f", .says = ""};
	uint64_t hash;

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0444) && !chmod(".", 0777));
	hash = test_hash_file("f");
	if (test_is_root())
		ck_assert(!chown("f", 65534, 65534));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), attempt, &a), -EACCES);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(mode_of("f"), 0444);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

START_TEST(test_read_only_directory_is_named_as_the_reason)
{
	const struct way *w = way_at(_i);
	struct attempt a = {.way = w, .path = "d/f", .says = "directory"};
	uint64_t hash;

	if (!w || way_keeps_inode(w))
		return;
	ck_assert(!mkdir("d", 0777));
	test_make_file("d/f", SIZE, 1);
	ck_assert(!chmod("d/f", 0666) && !chmod("d", 0555));
	hash = test_hash_file("d/f");
	if (test_is_root())
		ck_assert(!chown("d/f", 65534, 65534));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : geteuid(), attempt, &a), -EACCES);
	ck_assert_uint_eq(test_hash_file("d/f"), hash);
	ck_assert_uint_eq(count_names("d"), 1);
	ck_assert(!chmod("d", 0755));
}
END_TEST

START_TEST(test_immutable_file_is_not_replaced)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;
	int fd, flags;
	uint64_t hash;
	int rc;

	if (!test_is_root())
		skip_all_ways("only root can make a file immutable");
	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	hash = test_hash_file("f");
	fd = open("f", O_RDONLY | O_CLOEXEC);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) || (flags |= FS_IMMUTABLE_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags))) {
		close(fd);
		skip_all_ways("no flag for immutable files");
	}
	map = way_open(w, "f");
	((char *)snapmap_mut_data(map))[100] ^= 1;
	rc = way_commit(w, &map, 0);
	snapmap_mut_close(map);
	flags &= ~FS_IMMUTABLE_FL;
	ck_assert(!ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	ck_assert_msg(rc == -EPERM || rc == -EACCES, "%d", rc);
	ck_assert_uint_eq(test_hash_file("f"), hash);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- extended attributes ---- */

START_TEST(test_extended_attributes_are_kept)
{
	const struct way *w = way_at(_i);
	char value[3000], got[3000], name[40];
	int n = 0;

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	test_fill(value, sizeof(value), 2);
	if (setxattr("f", "user.empty", "", 0, 0))
		skip_all_ways("no extended attributes");
	/* As many as fit: file systems differ much. */
	for (; n < 100; n++) {
		snprintf(name, sizeof(name), "user.number.%d", n);
		if (setxattr("f", name, value, (size_t)n * 29, 0))
			break;
	}
	ck_assert_int_gt(n, 5);
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert_int_eq(getxattr("f", "user.empty", got, sizeof(got)), 0);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "user.number.%d", i);
		ck_assert_msg(getxattr("f", name, got, sizeof(got)) == i * 29 && !memcmp(got, value, (size_t)i * 29),
			      "%s of %d", name, n);
	}
}
END_TEST

START_TEST(test_large_extended_attribute_is_kept)
{
	const struct way *w = way_at(_i);
	static char value[60000], got[sizeof(value)];
	size_t n = sizeof(value);

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	test_fill(value, sizeof(value), 3);
	while (n > 500 && setxattr("f", "user.large", value, n, 0))
		n = n * 2 / 3;
	if (n <= 500)
		skip_all_ways("no extended attributes");
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert_int_eq(getxattr("f", "user.large", got, sizeof(got)), (ssize_t)n);
	ck_assert(!memcmp(got, value, n));
}
END_TEST

START_TEST(test_attributes_of_root_are_kept)
{
	/* Version 2 of struct vfs_cap_data, little endian: CAP_NET_BIND_SERVICE, permitted and effective. */
	static const unsigned char capability[20] = {0x01, 0, 0, 0x02, 0, 0x04};
	const struct way *w = way_at(_i);
	unsigned char got[32];
	bool capable;

	if (!test_is_root())
		skip_all_ways("only root can set capabilities");
	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	if (setxattr("f", "trusted.mine", "yes", 3, 0))
		skip_all_ways("no trusted attributes");
	capable = !setxattr("f", "security.capability", capability, sizeof(capability), 0);
	if (capable && w->strategy == SNAPMAP_STRATEGY_EXCHANGE) {
		ck_fails(edit_and_commit(w, "f", 0), -EOPNOTSUPP);
		ck_says("capabilities");
		ck_assert_int_eq(getxattr("f", "security.capability", got, sizeof(got)), sizeof(capability));
	} else if (capable && w->strategy != SNAPMAP_STRATEGY_CLONE) {
		/* The owner is another, for giving a file away takes its capabilities. */
		ck_assert(!chown("f", OTHER, OTHER));
		ck_assert(!setxattr("f", "security.capability", capability, sizeof(capability), 0));
		ck_ok(edit_and_commit(w, "f", 0));
		ck_assert_int_eq(getxattr("f", "security.capability", got, sizeof(got)), sizeof(capability));
		ck_assert(!memcmp(got, capability, sizeof(capability)));
	} else {
		ck_ok(edit_and_commit(w, "f", 0));
	}
	ck_assert_int_eq(getxattr("f", "trusted.mine", got, sizeof(got)), 3);
	ck_assert(!memcmp(got, "yes", 3));
}
END_TEST

/* ---- access control lists ---- */

/* One as the kernel takes it: version 2, then tag, permissions and id of each entry, little endian. */
static size_t make_acl(unsigned char *acl, unsigned user, unsigned user_permissions, unsigned mask)
{
	const unsigned entries[][3] = {
		{0x01, 6, ~0u}, {0x02, user_permissions, user}, {0x04, 4, ~0u}, {0x10, mask, ~0u}, {0x20, 0, ~0u},
	};
	size_t at = 4;

	memcpy(acl, "\2\0\0\0", 4);
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		acl[at++] = (unsigned char)entries[i][0];
		acl[at++] = 0;
		acl[at++] = (unsigned char)entries[i][1];
		acl[at++] = 0;
		for (int shift = 0; shift < 32; shift += 8)
			acl[at++] = (unsigned char)(entries[i][2] >> shift);
	}
	return at;
}

START_TEST(test_access_control_list_is_kept)
{
	const struct way *w = way_at(_i);
	unsigned char acl[64], got[64];
	size_t n = make_acl(acl, OTHER, 6, 6);
	mode_t mode;

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	if (setxattr("f", "system.posix_acl_access", acl, n, 0))
		skip_all_ways("no access control lists");
	mode = mode_of("f");
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert_int_eq(getxattr("f", "system.posix_acl_access", got, sizeof(got)), (ssize_t)n);
	ck_assert(!memcmp(acl, got, n));
	ck_assert_uint_eq(mode_of("f"), mode);
}
END_TEST

START_TEST(test_default_list_of_the_directory_does_not_leak_into_the_file)
{
	const struct way *w = way_at(_i);
	unsigned char acl[64], own[64], got[64];
	size_t n = make_acl(acl, OTHER, 7, 7);

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", SIZE, 1);
	ck_assert(!chmod("d/f", 0640));
	if (setxattr("d", "system.posix_acl_default", acl, n, 0))
		skip_all_ways("no access control lists");
	ck_ok(edit_and_commit(w, "d/f", 0));
	ck_assert_int_eq(getxattr("d/f", "system.posix_acl_access", got, sizeof(got)), -1);
	ck_assert_int_eq(errno, ENODATA);
	ck_assert_uint_eq(mode_of("d/f"), 0640);
	/* A file with a list of its own keeps that. */
	n = make_acl(own, OTHER + 1, 4, 4);
	ck_assert(!setxattr("d/f", "system.posix_acl_access", own, n, 0));
	ck_ok(edit_and_commit(w, "d/f", 0));
	ck_assert_int_eq(getxattr("d/f", "system.posix_acl_access", got, sizeof(got)), (ssize_t)n);
	ck_assert(!memcmp(own, got, n));
}
END_TEST

/* ---- inode flags, projects ---- */

static bool get_flags(const char *path, int *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = ioctl(fd, FS_IOC_GETFLAGS, ret);

	close(fd);
	return !rc;
}

static bool set_flags(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);

	close(fd);
	return !rc;
}

START_TEST(test_inode_flags_are_kept)
{
	static const int kept[] = {FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL, FS_NODUMP_FL | FS_NOATIME_FL};
	const struct way *w = way_at(_i);
	int before, after, tried = 0;

	for (size_t i = 0; w && i < sizeof(kept) / sizeof(kept[0]); i++) {
		test_make_file("f", SIZE, 1);
		if (!get_flags("f", &before))
			skip_all_ways("no inode flags");
		before |= kept[i];
		if (!set_flags("f", before) || !get_flags("f", &before) || !(before & kept[i])) {
			unlink("f");
			continue;
		}
		tried++;
		ck_ok(edit_and_commit(w, "f", 0));
		ck_assert(get_flags("f", &after));
		ck_assert_msg((after & kept[i]) == kept[i], "%#x became %#x", before, after);
		ck_assert(!unlink("f"));
	}
	if (w && !tried)
		skip_all_ways("no inode flag could be set");
}
END_TEST

/* Where a flag comes from the directory, the file need not have it. */
START_TEST(test_inode_flags_of_the_directory_do_not_leak_into_the_file)
{
	const struct way *w = way_at(_i);
	int flags, before, after;

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", SIZE, 1);
	if (!get_flags("d", &flags) || !set_flags("d", flags | FS_NODUMP_FL | FS_NOATIME_FL))
		skip_all_ways("no inode flags");
	ck_assert(get_flags("d/f", &before));
	ck_ok(edit_and_commit(w, "d/f", 0));
	ck_assert(get_flags("d/f", &after));
	ck_assert_int_eq(before & (FS_NODUMP_FL | FS_NOATIME_FL), after & (FS_NODUMP_FL | FS_NOATIME_FL));
}
END_TEST

/* btrfs sets it on empty files only, and does not share extents between files with and without it. */
START_TEST(test_no_copy_on_write_is_kept)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;
	int flags, fd, rc;

	if (strncmp(test_fs()->name, "btrfs", 5))
		return;
	if (!w)
		return;
	test_write_file("f", "", 0);
	ck_assert(get_flags("f", &flags) && set_flags("f", flags | FS_NOCOW_FL));
	test_fill(bytes, SIZE, 1);
	fd = open("f", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(write(fd, bytes, SIZE), (ssize_t)SIZE);
	close(fd);

	struct snapmap_options o = {.size = sizeof(o), .source = w->source};

	rc = snapmap_mut_open("f", &o, &map);
	if (rc)
		return; /* a source that cannot serve such a file says so */
	((unsigned char *)snapmap_mut_data(map))[100] = bytes[100] ^= 1;
	rc = way_finish(w, map, 0);
	if (way_keeps_inode(w)) {
		ck_assert_msg(!rc || rc == -EOPNOTSUPP, "%d", rc);
		bytes[100] ^= rc ? 1 : 0;
	} else {
		ck_ok(rc);
	}
	ck_assert(get_flags("f", &flags));
	ck_assert(flags & FS_NOCOW_FL);
	ck_assert(test_file_is("f", bytes, SIZE));
}
END_TEST

static bool set_project(const char *path, unsigned id)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct fsxattr attr;
	bool done = !ioctl(fd, FS_IOC_FSGETXATTR, &attr);

	attr.fsx_projid = id;
	done = done && !ioctl(fd, FS_IOC_FSSETXATTR, &attr);
	close(fd);
	return done;
}

static unsigned project_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct fsxattr attr = {0};

	ck_assert(!ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	close(fd);
	return attr.fsx_projid;
}

START_TEST(test_project_is_kept)
{
	const struct way *w = way_at(_i);

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	if (!set_project("f", 77))
		skip_all_ways("no projects");
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert_uint_eq(project_of("f"), 77);
}
END_TEST

/* ---- holes ---- */

static uint64_t bytes_on_disk(const char *path)
{
	struct stat st;

	ck_assert(!stat(path, &st));
	return (uint64_t)st.st_blocks * 512;
}

/* Pitfall 6: 4 KiB of data in 256 MiB became 256 MiB. */
START_TEST(test_sparse_file_stays_sparse)
{
	const struct way *w = way_at(_i);
	const size_t size = (size_t)256 << 20;
	struct snapmap_mut *map;
	char *data;

	if (!w)
		return;
	if (!strcmp(test_fs()->name, "fuse"))
		skip_all_ways("no holes can be asked for");
	test_make_file("f", 4096, 1);
	ck_assert(!truncate("f", (off_t)size));
	for (int round = 0; round < 3; round++) {
		map = way_open(w, "f");
		data = snapmap_mut_data(map);
		data[(size_t)100 << 20] ^= 1;
		if (round == 1)
			ck_ok(snapmap_mut_resize(map, size / 2));
		if (round == 2)
			ck_ok(snapmap_mut_resize(map, size));
		ck_ok(way_finish(w, map, 0));
		ck_assert_msg(bytes_on_disk("f") < 1 << 20, "%llu bytes", (unsigned long long)bytes_on_disk("f"));
	}
}
END_TEST

/* ---- names that lead to the file ---- */

START_TEST(test_symbolic_link_stays_and_its_file_changes)
{
	static const struct {
		const char *target, *link;
	} links[] = {
		{"f", "relative"},  {"relative", "chain"}, {"chain", "longer chain"},
		{"../f", "d/down"}, {"d/down", "back"},
	};
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	char target[4200];

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		ck_assert(!symlink(links[i].target, links[i].link));
		ck_ok(edit_and_commit(w, links[i].link, 0));
		bytes[100] ^= 1;
		ck_assert_msg(test_file_is("f", bytes, SIZE), "%s", links[i].link);
		memset(target, 0, sizeof(target));
		ck_assert(readlink(links[i].link, target, sizeof(target) - 1) > 0);
		ck_assert_str_eq(target, links[i].target);
	}
	snprintf(target, sizeof(target), "%s/f", test_dir());
	ck_assert(!symlink(target, "absolute"));
	ck_ok(edit_and_commit(w, "absolute", 0));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(count_names("d"), 1);
}
END_TEST

START_TEST(test_symbolic_link_to_another_file_system)
{
	const struct test_fs *other = test_fs_named(strcmp(test_fs()->name, "xfs") ? "xfs" : "tmpfs");
	char path[4200];
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;
	int fd;

	if (!other)
		test_skip("no second file system");
	snprintf(path, sizeof(path), "%s/link-target.XXXXXX", other->dir);
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	test_fill(bytes, SIZE, 1);
	test_make_file(path, SIZE, 1);
	ck_assert(!symlink(path, "f"));
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((unsigned char *)snapmap_mut_data(map))[100] = bytes[100] ^= 1;
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert(test_file_is(path, bytes, SIZE));
	ck_assert_uint_eq(count_names("."), 1);
	ck_assert(!unlink(path));
}
END_TEST

START_TEST(test_hard_link_is_refused_with_the_choices)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;

	if (!w || way_keeps_inode(w))
		return;
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	if (link("f", "g"))
		skip_all_ways("no hard links");
	map = way_open(w, "f");
	((char *)snapmap_mut_data(map))[100] ^= 1;
	ck_fails(way_commit(w, &map, 0), -EMLINK);
	ck_says("SNAPMAP_COMMIT_BREAK_LINKS");
	ck_says("clone");
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(inode_of("f"), inode_of("g"));
	ck_assert_uint_eq(count_names("."), 2);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_fails(way_commit(w, &map, SNAPMAP_COMMIT_FORCE), -EMLINK);
	/* On request the names part. */
	ck_ok(way_finish(w, map, SNAPMAP_COMMIT_BREAK_LINKS));
	ck_assert(test_file_is("g", bytes, SIZE));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
}
END_TEST

START_TEST(test_clone_keeps_all_names)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];

	if (!w || !way_keeps_inode(w))
		return;
	test_fill(bytes, SIZE, 1);
	test_make_file("f", SIZE, 1);
	ck_assert(!link("f", "g"));
	ck_ok(edit_and_commit(w, "f", 0));
	bytes[100] ^= 1;
	ck_assert(test_file_is("f", bytes, SIZE));
	ck_assert_uint_eq(inode_of("f"), inode_of("g"));
}
END_TEST

/* Times of the old file are not carried over: the file did change. */
START_TEST(test_time_of_modification_is_now)
{
	const struct way *w = way_at(_i);
	const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	struct timespec start;
	struct stat st;

	if (!w)
		return;
	test_make_file("f", SIZE, 1);
	ck_assert(!utimensat(AT_FDCWD, "f", old, 0));
	clock_gettime(CLOCK_REALTIME, &start);
	ck_ok(edit_and_commit(w, "f", 0));
	ck_assert(!stat("f", &st));
	ck_assert_int_ge(st.st_mtim.tv_sec, start.tv_sec - 2);
}
END_TEST

static void add_attributes(TCase *tc)
{
	tcase_add_loop_test(tc, test_every_bit_of_the_mode_is_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_umask_does_not_touch_the_mode, 0, WAYS);
	tcase_add_loop_test(tc, test_owner_and_group_are_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_owner_that_cannot_be_kept_is_an_error, 0, WAYS);
	tcase_add_loop_test(tc, test_clone_keeps_an_owner_that_replace_could_not, 0, WAYS);
	tcase_add_loop_test(tc, test_read_only_file_is_not_replaced, 0, WAYS);
	tcase_add_loop_test(tc, test_read_only_directory_is_named_as_the_reason, 0, WAYS);
	tcase_add_loop_test(tc, test_immutable_file_is_not_replaced, 0, WAYS);
	tcase_add_loop_test(tc, test_extended_attributes_are_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_large_extended_attribute_is_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_attributes_of_root_are_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_access_control_list_is_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_default_list_of_the_directory_does_not_leak_into_the_file, 0, WAYS);
	tcase_add_loop_test(tc, test_inode_flags_are_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_inode_flags_of_the_directory_do_not_leak_into_the_file, 0, WAYS);
	tcase_add_loop_test(tc, test_no_copy_on_write_is_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_project_is_kept, 0, WAYS);
	tcase_add_loop_test(tc, test_sparse_file_stays_sparse, 0, WAYS);
	tcase_add_loop_test(tc, test_symbolic_link_stays_and_its_file_changes, 0, WAYS);
	tcase_add_test(tc, test_symbolic_link_to_another_file_system);
	tcase_add_loop_test(tc, test_hard_link_is_refused_with_the_choices, 0, WAYS);
	tcase_add_loop_test(tc, test_clone_keeps_all_names, 0, WAYS);
	tcase_add_loop_test(tc, test_time_of_modification_is_now, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("attributes");

	test_each_fs(s, "attributes", add_attributes);
	return s;
}
