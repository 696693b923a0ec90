/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfalls 6 and 14: everything that a file is besides its bytes survives a commit, or the commit says why not. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>

#include "committing.h"

#define SIZE ((size_t)20000)
#define OTHER 12345u

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
		ck_ok(way_edit(w, "f", 0));
		ck_assert_msg(mode_of("f") == modes[i], "%o became %o", modes[i], mode_of("f"));
	}
}
END_TEST

/* They would be lost in silence: so those who write into the file refuse, and say so before. */
START_TEST(test_strategies_that_keep_the_inode_refuse_set_user_id)
{
	static const uint32_t in_place[] = {SNAPMAP_STRATEGY_EXCHANGE, SNAPMAP_STRATEGY_CLONE,
					    SNAPMAP_STRATEGY_JOURNAL};
	struct snapmap_probe before, after;
	struct snapmap_mut *map;

	test_make_file("f", SIZE, 1);
	ck_ok(snapmap_probe("f", &before));
	ck_assert(!chmod("f", 04755));
	ck_ok(snapmap_probe("f", &after));
	ck_ok(snapmap_mut_open("f", NULL, &map));
	((char *)snapmap_mut_data(map))[0] ^= 1;
	for (size_t i = 0; i < sizeof(in_place) / sizeof(in_place[0]); i++) {
		struct snapmap_commit_options o = {.size = sizeof(o), .strategy = in_place[i]};

		ck_fails(snapmap_mut_commit(map, &o), -EOPNOTSUPP);
		for (uint32_t k = 0; k < after.nstrategies; k++)
			if (after.strategies[k].id == in_place[i] && !before.strategies[k].error)
				ck_assert_int_eq(after.strategies[k].error, -EOPNOTSUPP);
	}
	ck_ok(snapmap_mut_commit_and_close(map, NULL));
	ck_assert_uint_eq(mode_of("f"), 04755);
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
	ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "f", 0));
	ck_assert(!stat("f", &st));
	ck_assert_uint_eq(st.st_uid, OTHER);
	ck_assert_uint_eq(st.st_gid, OTHER + 1);
	ck_assert_uint_eq(mode_of("f"), asked_to_keep_inode(w) ? 0755 : 06755);
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
	ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "f", 0));
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
	if (capable && asked_to_keep_inode(w)) {
		ck_fails(way_edit(w, "f", 0), -EOPNOTSUPP);
		ck_says("capabilities");
		ck_assert_int_eq(getxattr("f", "security.capability", got, sizeof(got)), sizeof(capability));
	} else if (capable) {
		/* The owner is another, for giving a file away takes its capabilities. */
		ck_assert(!chown("f", OTHER, OTHER));
		ck_assert(!setxattr("f", "security.capability", capability, sizeof(capability), 0));
		ck_ok(way_edit(w, "f", 0));
		ck_assert_int_eq(getxattr("f", "security.capability", got, sizeof(got)), sizeof(capability));
		ck_assert(!memcmp(got, capability, sizeof(capability)));
	} else {
		ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "d/f", 0));
	ck_assert_int_eq(getxattr("d/f", "system.posix_acl_access", got, sizeof(got)), -1);
	ck_assert_int_eq(errno, ENODATA);
	ck_assert_uint_eq(mode_of("d/f"), 0640);
	/* A file with a list of its own keeps that. */
	n = make_acl(own, OTHER + 1, 4, 4);
	ck_assert(!setxattr("d/f", "system.posix_acl_access", own, n, 0));
	ck_ok(way_edit(w, "d/f", 0));
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
		ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "d/f", 0));
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
	ck_ok(way_edit(w, "f", 0));
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
	ck_ok(way_edit(w, "f", 0));
	ck_assert(!stat("f", &st));
	ck_assert_int_ge(st.st_mtim.tv_sec, start.tv_sec - 2);
}
END_TEST

static void add_attributes(TCase *tc)
{
	tcase_add_loop_test(tc, test_every_bit_of_the_mode_is_kept, 0, WAYS_TOO);
	tcase_add_test(tc, test_strategies_that_keep_the_inode_refuse_set_user_id);
	tcase_add_loop_test(tc, test_umask_does_not_touch_the_mode, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_owner_and_group_are_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_extended_attributes_are_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_large_extended_attribute_is_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_attributes_of_root_are_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_access_control_list_is_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_default_list_of_the_directory_does_not_leak_into_the_file, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_inode_flags_are_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_inode_flags_of_the_directory_do_not_leak_into_the_file, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_no_copy_on_write_is_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_project_is_kept, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_sparse_file_stays_sparse, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_time_of_modification_is_now, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("attributes");

	test_each_fs(s, "attributes", add_attributes);
	return s;
}
