/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory behind snapfs, and snapshots of its files, by system calls only. */
#include "config.h"

#include "instants.h"

#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <snapmap.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define NOBODY 65534

/* --- a directory as it is */

/* What is passed on cannot be more than what is below. */
#define need_plain_directory()                                     \
	do {                                                       \
		need_mounts();                                     \
		if (!strcmp(test_fs()->name, "fuse"))              \
			test_skip("bindfs below does not do all"); \
	} while (0)

START_TEST(test_all_is_passed_through)
{
	struct stat st, below;
	char value[16];

	need_plain_directory();
	mount_wrapper("");
	ck_assert(is_mounted());
	ck_run(0, "umask 027 && mkdir m/d && echo one >m/d/f && ln m/d/f m/g && ln -s d/f m/s && mkfifo m/p && "
		  "chown -h 7:8 m/s && chown 9:10 m/g && chmod 4711 m/g && touch -d @12.5 m/g");
	ck_run(0, "cd l && stat -c '%%n %%a %%u %%g %%h %%s %%Y %%i' d d/f g s p >../below && cd ../m && "
		  "stat -c '%%n %%a %%u %%g %%h %%s %%Y %%i' d d/f g s p >../above && cmp ../below ../above");
	ck_run(0, "stat -c '%%a %%u %%g %%Y' m/d/f");
	ck_assert_str_eq(out, "4711 9 10 12\n");
	ck_assert(file_says("m/s", "one\n"));
	if (!setxattr("m/g", "user.a", "text", 4, 0)) {
		ck_assert_int_eq(getxattr("l/g", "user.a", value, sizeof(value)), 4);
		ck_fails(setxattr("m/g", "user.a", "x", 1, XATTR_CREATE), EEXIST);
		ck_sys(removexattr("m/g", "user.a"));
		ck_fails(getxattr("l/g", "user.a", value, sizeof(value)), ENODATA);
	}
	ck_run(0, "stat -f -c '%%b %%s %%c %%l' m >above && stat -f -c '%%b %%s %%c %%l' l | cmp - above");
	ck_sys(stat("m/g", &st));
	ck_sys(stat("l/g", &below));
	ck_assert_int_eq(st.st_ctim.tv_nsec, below.st_ctim.tv_nsec);
	/* Who writes loses the bits that give rights. */
	ck_run(0, "setpriv --reuid 9 --regid 10 --clear-groups sh -c 'echo more >>m/g' && stat -c %%a l/g");
	ck_assert_str_eq(out, "711\n");
	unmount_wrapper();
	ck_assert(!is_mounted());
}
END_TEST

START_TEST(test_names)
{
	char name[300], path[310];
	struct stat st;
	int fd;

	need_plain_directory();
	mount_wrapper("");
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	snprintf(path, sizeof(path), "m/%s", name);
	close(open_in(path, O_CREAT | O_WRONLY));
	name[255] = 'n';
	name[256] = 0;
	snprintf(path, sizeof(path), "m/%s", name);
	ck_fails(open(path, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
	ck_fails(stat("m/later", &st), ENOENT);
	ck_sys(mkdir("m/later", 0755));
	ck_sys(stat("m/later", &st));
	ck_fails(mkdir("m/later", 0755), EEXIST);
	ck_fails(unlink("m/later"), EISDIR);
	ck_fails(rmdir("m/none"), ENOENT);
	ck_run(0, "echo a >m/a && echo b >m/b && mkdir m/e && echo c >m/e/c");
	ck_fails(rmdir("m/e"), ENOTEMPTY);
	fd = open_in("m/b", O_RDONLY);
	ck_sys(rename("m/a", "m/b"));
	ck_assert(file_says("m/b", "a\n"));
	ck_sys(fstat(fd, &st));
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(pread(fd, name, 2, 0), 2);
	ck_assert_mem_eq(name, "b\n", 2);
	close(fd);
	ck_fails(renameat2(AT_FDCWD, "m/b", AT_FDCWD, "m/e", RENAME_NOREPLACE), EEXIST);
	ck_sys(renameat2(AT_FDCWD, "m/b", AT_FDCWD, "m/e/c", RENAME_EXCHANGE));
	ck_assert(file_says("l/e/c", "a\n"));
	ck_assert(file_says("m/b", "c\n"));
	unmount_wrapper();
}
END_TEST

START_TEST(test_large_directory)
{
	need_mounts();
	mount_wrapper("");
	ck_run(0, "mkdir m/d && cd m/d && seq 20000 | xargs touch && ls | wc -l && ls -l | wc -l && find . | wc -l");
	ck_assert_str_eq(out, "20000\n20001\n20001\n");
	/* All are seen while others go. */
	ck_run(0, "find m/d -type f -delete && rmdir m/d && ls -A m");
	ck_assert_str_eq(out, "");
	unmount_wrapper();
}
END_TEST

static int make_as_user(void *arg)
{
	struct stat st;
	int fd;

	(void)arg;
	umask(0022);
	fd = open("m/open/mine", O_CREAT | O_EXCL | O_RDWR, 0666);
	if (fd < 0 || fstat(fd, &st) || st.st_uid != NOBODY || (st.st_mode & 07777) != 0644)
		return 1;
	if (mkdir("m/open/dir", 0777) || stat("l/open/dir", &st) || st.st_uid != NOBODY || (st.st_mode & 0777) != 0755)
		return 2;
	if (symlink("x", "m/open/link") || lstat("l/open/link", &st) || st.st_uid != NOBODY)
		return 3;
	if (!mkdir("m/closed/no", 0755) || errno != EACCES || open("m/secret", O_RDONLY) >= 0 || errno != EACCES)
		return 4;
	if (!chown("m/open/mine", 0, 0) || errno != EPERM || chmod("m/open/mine", 0600))
		return 5;
	return close(fd);
}

START_TEST(test_files_belong_to_who_makes_them)
{
	need_mounts();
	mount_wrapper("");
	ck_run(0, "mkdir m/open m/closed && chmod 777 m/open && echo x >m/secret && chmod 600 m/secret && chmod 755 .");
	ck_assert_int_eq(test_as_user(NOBODY, make_as_user, NULL), 0);
	/* A directory that gives its group, and one that gives its list. */
	ck_run(0, "mkdir m/group && chgrp 7 m/group && chmod 2777 m/group && mkdir m/group/d && stat -c '%%g %%a' "
		  "l/group/d");
	ck_assert_str_eq(out, "7 2755\n");
	if (!run("setfacl -d -m u:77:rwx,o::- m/open")) {
		ck_run(0, "umask 022 && touch m/open/acl && getfacl -cp m/open/acl >above && getfacl -cp l/open/acl | "
			  "cmp - above && "
			  "grep -q user:77 above");
		ck_run(0, "setfacl -m u:77:r m/secret && setpriv --reuid 77 --regid 77 --clear-groups cat m/secret");
	}
	unmount_wrapper();
}
END_TEST

START_TEST(test_locks)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd;

	need_mounts();
	mount_wrapper("");
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_sys(flock(fd, LOCK_EX));
	ck_run(1, "flock -n m/f true");
	ck_sys(flock(fd, LOCK_UN));
	ck_run(0, "flock -n m/f true");
	ck_sys(fcntl(fd, F_OFD_SETLK, &lock));
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_holes_and_copies)
{
	char *bytes;
	size_t n;
	int fd;

	need_mounts();
	mount_wrapper("");
	ck_run(0, "truncate -s 100M m/f && printf x | dd of=m/f bs=1 seek=50M conv=notrunc status=none");
	fd = open_in("m/f", O_RDONLY);
	ck_assert_int_eq(lseek(fd, 0, SEEK_DATA), lseek(open_in("l/f", O_RDONLY), 0, SEEK_DATA));
	ck_run(0, "cp --sparse=auto --reflink=auto m/f m/g && cmp m/f m/g && du -k l/g");
	ck_assert_int_lt(atoi(out), 5000);
	test_make_file("m/h", 3 << 20, 5);
	ck_run(0, "cp --reflink=auto m/h m/i && sync l/i");
	/* Where blocks can be shared below they are. */
	if (test_fs()->reflink && !strncmp(test_fs()->name, "xfs", 3))
		ck_run(0, "filefrag -v l/i | grep -q shared");
	bytes = (char *)test_read_file("l/i", &n);
	ck_assert_uint_eq(test_hash(bytes, n), test_hash_file("m/h"));
	free(bytes);
	close(fd);
	close(fd + 1);
	unmount_wrapper();
}
END_TEST

START_TEST(test_one_server_at_a_time)
{
	need_mounts();
	mount_wrapper("");
	ck_run(1, "mkdir n && snapfs l n");
	ck_assert(strstr(err, "serves it already"));
	ck_run(1, "mkdir -p l/below && snapfs l/below n");
	ck_assert_msg(strstr(err, "is served by snapfs already"), "%s", err);
	unmount_wrapper();
	/* Over itself, which hides what is below. */
	ck_run(0, "echo x >l/f && snapfs l l && cat l/f && ls -A l && umount l");
	ck_assert_str_eq(out, "x\nbelow\nf\n");
	wait_for_wrapper();
	ck_run(1, "snapfs l l/below");
	ck_run(1, "snapfs l/f m");
	ck_run(1, "snapfs none m");
	ck_run(1, "snapfs l m -o kept=x");
	ck_run(1, "snapfs l m -o full=yes");
	/* A trap. */
	ck_run(0, "rm -r l/.snapfs && ln -s /tmp l/.snapfs");
	ck_run(1, "snapfs l m");
	ck_run(0, "rm l/.snapfs && mkdir -m 700 l/.snapfs && chown 77 l/.snapfs");
	ck_run(1, "snapfs l m");
	ck_assert(strstr(err, "belongs to somebody else"));
	ck_assert(!is_mounted());
}
END_TEST

START_TEST(test_our_names_are_hidden)
{
	need_mounts();
	mount_wrapper("");
	ck_run(0, "ls -A m");
	ck_assert_str_eq(out, "");
	ck_fails(mkdir("m/.snapfs", 0755), EEXIST);
	ck_fails(rename("m/.snapfs", "m/x"), EPERM);
	ck_fails(rmdir("m/.snapfs"), EPERM);
	ck_fails(open("m/.snapfs/x", O_CREAT | O_WRONLY, 0600), EPERM);
	ck_fails(open("m/.snapfs-00000000000000000000000000000000", O_RDONLY), ENOENT);
	ck_fails(open("m/.snapfs/lock", O_RDONLY), ENOENT);
	unmount_wrapper();
}
END_TEST

START_TEST(test_more_than_one_file_system)
{
	struct stat a, b;

	need_mounts();
	ck_run(0, "mkdir -p l/t && mount -t tmpfs none l/t && echo x >l/t/a && echo y >l/b");
	mount_wrapper("");
	ck_sys(stat("m/t/a", &a));
	ck_sys(stat("m/b", &b));
	ck_assert_uint_eq(a.st_dev, b.st_dev);
	ck_assert_uint_ne(a.st_ino, b.st_ino);
	ck_fails(rename("m/b", "m/t/b"), EXDEV);
	ck_run(0, "mv m/b m/t/b && cat l/t/b");
	unmount_wrapper();
	ck_run(0, "umount l/t");
}
END_TEST

/* --- snapshots */

static int make_and_open(const char *path, size_t n)
{
	test_make_file(path, n, 1);
	return open_in(path, O_RDWR);
}

START_TEST(test_snapshot_stays)
{
	const size_t n = (size_t)1 << 20;
	struct stat st, original;
	int fd, snapshot;
	uint64_t hash;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", n);
	hash = hash_of(fd);
	ck_sys(fstat(fd, &original));
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_assert_uint_eq(state_of(snapshot).kept, 0);
	ck_assert_int_eq(pwrite(fd, "changed", 7, 5000), 7);
	ck_assert_uint_eq(state_of(snapshot).kept, PAGE);
	ck_assert_int_eq(pwrite(fd, "again", 5, 5000), 5);
	ck_assert_uint_eq(state_of(snapshot).kept, PAGE);
	ck_sys(ftruncate(fd, 100));
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)n), 1);
	ck_run(0, "mv m/f m/g && echo other >m/f && rm m/g");
	ck_assert_uint_eq(hash_of(snapshot), hash);
	close(fd);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	ck_sys(fstat(snapshot, &st));
	ck_assert_int_eq(st.st_mtim.tv_nsec, original.st_mtim.tv_nsec);
	ck_assert_int_eq((int)(st.st_mode & 07777), 0400);
	/* By descriptor again, but for reading only. */
	ck_run(0, "cmp /proc/%d/fd/%d /proc/%d/fd/%d", getpid(), snapshot, getpid(), snapshot);
	close(snapshot);
	unmount_wrapper();
}
END_TEST

static uint64_t bytes_free(void)
{
	struct statvfs st;

	ck_sys(statvfs("l", &st));
	return (uint64_t)st.f_bfree * st.f_frsize;
}

/* Neither what was kept nor a file that was deleted stays, while the kernel still knows the snapshots. */
START_TEST(test_room_comes_back)
{
	const uint64_t n = (uint64_t)8 << 20;
	uint64_t before;

	need_mounts();
	if (!strncmp(test_fs()->name, "btrfs", 5))
		test_skip("it gives room back when it likes");
	mount_wrapper("");
	ck_run(0, "echo x >m/first && sync -f l");
	before = bytes_free();
	for (int i = 0; i < 3; i++) {
		int fd = make_and_open("m/f", n), snapshot = take_snapshot(fd, 0, SNAPFS_ALL);

		ck_sys(ftruncate(fd, (off_t)n / 2));
		ck_run(0, "mv m/first m/f && cp m/f m/first");
		close(fd);
		close(snapshot);
	}
	ck_run(0, "sync -f l");
	ck_soon(bytes_free() + n / 4 >= before);
	unmount_wrapper();
}
END_TEST

START_TEST(test_snapshots_share_what_is_kept)
{
	int fd, s[3];
	uint64_t hash;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	hash = hash_of(fd);
	s[0] = take_snapshot(fd, 0, SNAPFS_ALL);
	s[1] = take_snapshot(fd, 0, SNAPFS_ALL);
	s[2] = take_snapshot(fd, 10 * PAGE, PAGE);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	ck_assert_int_eq(pwrite(fd, "x", 1, 10 * PAGE), 1);
	ck_assert_uint_eq(state_of(s[0]).kept, 0);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	ck_assert_uint_eq(state_of(s[2]).kept, PAGE);
	close(s[2]);
	ck_soon(state_of(s[1]).kept == 2 * PAGE);
	close(s[1]);
	ck_soon(state_of(s[0]).kept == 2 * PAGE);
	ck_assert_uint_eq(hash_of(s[0]), hash);
	s[1] = take_snapshot(fd, 0, SNAPFS_ALL);
	hash = hash_of(s[1]);
	ck_assert_int_eq(pwrite(fd, "y", 1, 0), 1);
	ck_assert_uint_eq(state_of(s[0]).kept, 2 * PAGE);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	close(s[0]);
	ck_assert_uint_eq(state_of(s[1]).kept, PAGE);
	ck_assert_uint_eq(hash_of(s[1]), hash);
	close(s[1]);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_ranges_and_errors)
{
	struct snapfs_snapshot s;
	struct snapfs_state state;
	int fd, write_only, snapshot;
	char bytes[20];

	need_mounts();
	mount_wrapper("");
	test_write_file("m/f", "0123456789", 10);
	fd = open_in("m/f", O_RDONLY);
	ck_sys(ask_for(fd, 3, 4, &s));
	ck_assert_uint_eq(s.size, 4);
	ck_assert_uint_eq(s.file_size, 10);
	snapshot = open_snapshot("m", &s);
	ck_assert_int_eq(pread(snapshot, bytes, sizeof(bytes), 0), 4);
	ck_assert_mem_eq(bytes, "3456", 4);
	ck_assert_uint_eq(state_of(snapshot).offset, 3);
	ck_fails(open_snapshot("l", &s), ENOENT);
	close(snapshot);
	ck_soon(is_gone(&s));
	ck_sys(ask_for(fd, 8, 100, &s));
	ck_assert_uint_eq(s.size, 2);
	ck_sys(ask_for(fd, 100, SNAPFS_ALL, &s));
	ck_assert_uint_eq(s.size, 0);
	ck_fails(ask_for(fd, UINT64_MAX, 1, &s), EINVAL);
	s = (struct snapfs_snapshot){.version = 7};
	ck_fails(ioctl(fd, SNAPFS_IOC_SNAPSHOT, &s), EINVAL);
	s = (struct snapfs_snapshot){.version = SNAPFS_VERSION, .flags = 1};
	ck_fails(ioctl(fd, SNAPFS_IOC_SNAPSHOT, &s), EINVAL);
	ck_fails(ioctl(fd, SNAPFS_IOC_STATE, &state), ENOTTY);
	write_only = open_in("m/f", O_WRONLY);
	ck_fails(ask_for(write_only, 0, SNAPFS_ALL, &s), EBADF);
	close(write_only);
	write_only = open_in("m", O_RDONLY | O_DIRECTORY);
	ck_fails(ask_for(write_only, 0, SNAPFS_ALL, &s), EISDIR);
	close(write_only);
	/* For reading only, and nothing about it can be changed. */
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	snapshot = open_snapshot("m", &s);
	ck_fails(write(snapshot, "x", 1), EBADF);
	ck_fails(fchmod(snapshot, 0644), EROFS);
	ck_fails(ftruncate(snapshot, 0), EINVAL);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

static int snapshots_of_a_user(void *arg)
{
	const struct snapfs_snapshot *roots = (const struct snapfs_snapshot *)arg;
	int fd = open("m/f", O_RDONLY), snapshot;
	char byte;

	if (open_snapshot("m", roots) >= 0 || errno != EACCES)
		return 1;
	snapshot = try_snapshot(fd, 0, SNAPFS_ALL);
	if (snapshot < 0 || pread(snapshot, &byte, 1, 0) != 1 || byte != '0')
		return 2;
	if (run("echo 'snapshot 0 - secret' >m/.snapfs/control") == 0 || run("cat m/.snapfs/control") ||
	    strncmp(out, "error 13 ", 9) != 0)
		return 3;
	if (run("echo 'snapshot 2 3 /f' >m/.snapfs/control && cat m/$(cat m/.snapfs/control)") ||
	    strcmp(out, "234") != 0)
		return 4;
	return 0;
}

START_TEST(test_users_ask)
{
	struct snapfs_snapshot s;
	int fd;

	need_mounts();
	mount_wrapper("");
	test_write_file("m/f", "0123456789", 10);
	test_write_file("m/secret", "x", 1);
	ck_run(0, "chmod 644 m/f && chmod 600 m/secret && chmod 755 .");
	fd = open_in("m/f", O_RDONLY);
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	ck_assert_int_eq(test_as_user(NOBODY, snapshots_of_a_user, &s), 0);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_control_file)
{
	need_mounts();
	mount_wrapper("");
	test_write_file("m/f", "0123456789", 10);
	ck_run(0, "exec 3<>m/.snapfs/control && echo 'snapshot 0 - f' >&3 && read -r path <&3 && exec 4<m/$path && "
		  "echo changed >m/f && cat <&4");
	ck_assert_str_eq(out, "0123456789");
	ck_run(0, "echo 'snapshot 1 2 f' >m/.snapfs/control; cat m/$(cat m/.snapfs/control)");
	ck_assert_str_eq(out, "ha");
	ck_run(0, "echo 'snapshot x - f' >m/.snapfs/control 2>/dev/null; cat m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 22 ", 9), "%s", out);
	ck_run(0, "mkdir m/d && mkfifo m/d/p; echo 'snapshot 0 - d/p' >m/.snapfs/control 2>/dev/null; cat "
		  "m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 95 ", 9), "%s", out);
	ck_run(0, "echo 'snapshot 0 - none' >m/.snapfs/control 2>/dev/null; cat m/.snapfs/control");
	ck_assert_msg(!strncmp(out, "error 2 ", 8), "%s", out);
	unmount_wrapper();
}
END_TEST

START_TEST(test_quota)
{
	struct snapfs_snapshot s;
	int fd, snapshot, more;

	need_mounts();
	mount_wrapper("-o snapshots=2,kept=64K");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	more = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_fails(ask_for(fd, 0, SNAPFS_ALL, &s), EDQUOT);
	close(more);
	ck_soon((more = try_snapshot(fd, 0, PAGE)) >= 0);
	close(more);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)i * PAGE), 1);
	ck_assert_uint_eq(state_of(snapshot).kept, 16 * PAGE);
	ck_assert_uint_eq(state_of(snapshot).flags, 0);
	ck_fails(ask_for(fd, 0, SNAPFS_ALL, &s), EDQUOT);
	/* One more, and it is lost, loudly. */
	ck_assert_int_eq(pwrite(fd, "x", 1, 16 * PAGE), 1);
	ck_assert_uint_eq(state_of(snapshot).flags, SNAPFS_LOST);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_fails(pread(snapshot, &s, 1, 0), EIO);
	close(snapshot);
	ck_soon((snapshot = try_snapshot(fd, 0, SNAPFS_ALL)) >= 0);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

START_TEST(test_many_snapshots)
{
	enum {
		MANY = 300
	};
	int fd, s[MANY];
	char byte;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)16 * PAGE);
	for (int i = 0; i < MANY; i++) {
		byte = (char)i;
		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(i % 16) * PAGE), 1);
		s[i] = take_snapshot(fd, 0, SNAPFS_ALL);
	}
	ck_run(0, "rm m/f");
	for (int i = 0; i < MANY; i += 2)
		close(s[i]);
	for (int i = 1; i < MANY; i += 2)
		for (int k = 0; k < 16 && k <= i; k++) {
			ck_assert_int_eq(pread(s[i], &byte, 1, (off_t)k * PAGE), 1);
			ck_assert_int_eq((unsigned char)byte, (unsigned char)(i - (i - k) % 16));
		}
	for (int i = 1; i < MANY; i += 2)
		close(s[i]);
	close(fd);
	unmount_wrapper();
}
END_TEST

/* --- one instant */

START_TEST(test_one_instant_beside_stores)
{
	need_mounts();
	mount_wrapper("");
	check_instants(200);
	unmount_wrapper();
}
END_TEST

START_TEST(test_one_instant_beside_collected_writes)
{
	need_mounts();
	mount_wrapper("-o writeback");
	check_instants(100);
	unmount_wrapper();
}
END_TEST

START_TEST(test_stores_are_in_it)
{
	const size_t size = (size_t)4000 * PAGE;
	int fd, snapshot;
	char *map, *seen;

	need_mounts();
	mount_wrapper("");
	fd = open_in("m/f", O_RDWR | O_CREAT);
	ck_sys(ftruncate(fd, (off_t)size));
	map = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	test_fill(map, size, 7);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	memset(map, 1, size);
	seen = (char *)mmap(NULL, size, PROT_READ, MAP_SHARED, snapshot, 0);
	ck_assert_ptr_ne(seen, MAP_FAILED);
	ck_sys(msync(map, size, MS_SYNC));
	test_fill(map, size, 7);
	ck_assert(!memcmp(map, seen, size));
	munmap(seen, size);
	munmap(map, size);
	close(snapshot);
	close(fd);
	unmount_wrapper();
}
END_TEST

/* --- the library */

START_TEST(test_library_falls_back)
{
	struct snapmap_info info;
	struct snapmap *maps[2];

	need_mounts();
	mount_wrapper("-o snapshots=1");
	test_make_file("m/f", 100000, 1);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(snapmap_open("m/f", NULL, &maps[i]), 0);
		ck_assert_int_eq(snapmap_get_info(maps[i], &info), 0);
		ck_assert_uint_eq(info.source, i ? SNAPMAP_SOURCE_COPY : SNAPMAP_SOURCE_SNAPFS);
	}
	/* What was tried is told. */
	ck_assert_msg(strstr(info.tried, "snapfs"), "tried: %s", info.tried);
	test_make_file("m/f", 100000, 2);
	ck_assert_uint_ne(test_hash(snapmap_data(maps[0]), 100000), test_hash_file("m/f"));
	snapmap_close(maps[0]);
	snapmap_close(maps[1]);
	unmount_wrapper();
}
END_TEST

/* A server of another user need not keep what it promises. */
static int map_of_a_user(void *arg)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_SNAPFS};
	struct snapmap *map;

	(void)arg;
	if (snapmap_open("m/f", &options, &map))
		return 1;
	snapmap_close(map);
	return 0;
}

START_TEST(test_run_by_a_user)
{
	struct snapmap_options options = {.size = sizeof(options), .source = SNAPMAP_SOURCE_SNAPFS};
	struct snapmap *map;

	need_mounts();
	if (run("command -v fusermount3"))
		test_skip("without fusermount3 only root mounts");
	if (!strcmp(test_fs()->name, "fuse") || test_fs()->served)
		test_skip("no device can be opened there");
	/* Most systems have the device like that; here only this test does. */
	ck_sys(unshare(CLONE_NEWNS));
	ck_sys(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ck_run(0,
	       "chmod 755 . && mkdir -p l m && chown %d l m && mknod -m 666 fuse c 10 229 && mount --bind fuse "
	       "/dev/fuse",
	       NOBODY);
	ck_run(0, "setpriv --reuid %d --regid %d --clear-groups snapfs l m", NOBODY, NOBODY);
	ck_run(0, "setpriv --reuid %d --regid %d --clear-groups sh -c 'echo text >m/f && cat l/f'", NOBODY, NOBODY);
	ck_assert_int_eq(test_as_user(NOBODY, map_of_a_user, NULL), 0);
	/* Others do not even see it, root included. */
	ck_assert_int_lt(snapmap_open("m/f", &options, &map), 0);
	ck_run(0, "umount m");
	wait_for_wrapper();
}
END_TEST

/* --- the end */

START_TEST(test_killed_server_loses_nothing)
{
	struct snapfs_snapshot s;
	int fd, snapshot;
	char byte;
	pid_t pid;

	need_mounts();
	pid = wrap_in_foreground("");
	fd = make_and_open("m/f", (size_t)64 * PAGE);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	ck_assert_int_eq(pwrite(fd, "changed", 7, 5000), 7);
	ck_sys(kill(pid, SIGKILL));
	ck_assert_int_eq(wait_for(pid), 128 + SIGKILL);
	ck_fails(pwrite(fd, "x", 1, 0), ENOTCONN);
	ck_fails(open("m/f", O_RDONLY), ENOTCONN);
	ck_fails(pread(snapshot, &byte, 1, 6 * PAGE), ENOTCONN);
	close(snapshot);
	close(fd);
	ck_run(0, "umount -l m && dd if=l/f bs=1 skip=5000 count=7 status=none");
	ck_assert_str_eq(out, "changed");
	/* Something that a server without nameless files would have left. */
	ck_run(0, "echo x >l/.snapfs/kept-0");
	mount_wrapper("");
	ck_assert(file_says("l/.snapfs/lock", ""));
	unmount_wrapper();
}
END_TEST

#define WRITERS 3
#define SLOTS 500

/* Numbers go round in a file, and those that were written are told. */
static void write_numbers(int number, atomic_ulong *told, bool snapshots)
{
	char path[8];
	int fd;

	snprintf(path, sizeof(path), "m/f%d", number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	for (uint64_t n = 1; fd >= 0; n++) {
		if (pwrite(fd, &n, sizeof(n), (off_t)(n % SLOTS) * PAGE) != sizeof(n))
			break;
		*told = n;
		if (snapshots && n % 50 == 0)
			close(try_snapshot(fd, 0, SNAPFS_ALL));
	}
	_exit(0);
}

/* All that a write(2) returned for is below. */
static void check_numbers(int number, uint64_t told)
{
	char path[8];
	int fd;

	snprintf(path, sizeof(path), "l/f%d", number);
	fd = open_in(path, O_RDONLY);
	for (uint64_t n = told < SLOTS ? 1 : told - SLOTS + 1; n <= told; n++) {
		uint64_t found = 0;

		ck_assert_int_eq(pread(fd, &found, sizeof(found), (off_t)(n % SLOTS) * PAGE), sizeof(found));
		/* The next one round may have come, and not been told. */
		ck_assert_msg(found == n || found == n + SLOTS, "%llu instead of %llu of %llu",
			      (unsigned long long)found, (unsigned long long)n, (unsigned long long)told);
	}
	close(fd);
}

START_TEST(test_killed_in_the_middle)
{
	atomic_ulong *told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t random = test_seed();

	need_mounts();
	for (int round = 0; round < 6; round++) {
		pid_t server = wrap_in_foreground(""), writers[WRITERS];

		memset(told, 0, PAGE);
		for (int i = 0; i < WRITERS; i++) {
			writers[i] = fork();
			if (!writers[i])
				write_numbers(i, &told[i], i > 0);
		}
		while (!told[0] || !told[1] || !told[2])
			usleep(1000);
		usleep((useconds_t)(test_random(&random) % 60000));
		ck_sys(kill(server, SIGKILL));
		ck_assert_int_eq(wait_for(server), 128 + SIGKILL);
		for (int i = 0; i < WRITERS; i++)
			ck_assert_int_eq(wait_for(writers[i]), 0);
		ck_run(0, "umount -l m");
		for (int i = 0; i < WRITERS; i++)
			check_numbers(i, told[i]);
	}
	mount_wrapper("");
	unmount_wrapper();
	munmap(told, PAGE);
}
END_TEST

START_TEST(test_signal_writes_stores)
{
	const size_t size = (size_t)64 * PAGE;
	char *map;
	pid_t pid;
	int fd;

	need_mounts();
	pid = wrap_in_foreground("");
	fd = make_and_open("m/f", size);
	map = (char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	memset(map, 7, size);
	ck_sys(kill(pid, SIGTERM));
	ck_assert_int_eq(wait_for(pid), 0);
	munmap(map, size);
	close(fd);
	map = (char *)test_read_file("l/f", NULL);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(map[i], 7);
	free(map);
	run("umount -l m");
}
END_TEST

START_TEST(test_unmount_is_busy_while_snapshots_are_open)
{
	int fd, snapshot;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", 100);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	close(fd);
	ck_assert_int_ne(run("umount m"), 0);
	close(snapshot);
	unmount_wrapper();
}
END_TEST

/* --- a full disk */

static void fill_up(void)
{
	test_fill_disk(0);
}

START_TEST(test_full_disk_loses_the_snapshot)
{
	int fd, snapshot;
	char byte;

	need_mounts();
	mount_wrapper("");
	fd = make_and_open("m/f", (size_t)2000 * PAGE);
	ck_sys(fsync(fd));
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	fill_up();
	for (int i = 0; i < 2000; i++) {
		ssize_t n = pwrite(fd, "x", 1, (off_t)i * PAGE);

		/* On btrfs the writer itself wants space. */
		ck_assert(n == 1 || (n < 0 && errno == ENOSPC));
	}
	ck_assert_uint_eq(state_of(snapshot).flags, SNAPFS_LOST);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_fails(pread(snapshot, &byte, 1, 1999 * PAGE), EIO);
	close(snapshot);
	close(fd);
	ck_run(0, "rm -f ballast");
	unmount_wrapper();
}
END_TEST

START_TEST(test_full_disk_stops_the_writer)
{
	uint64_t hash;
	int fd, snapshot, stopped = 0;

	need_mounts();
	mount_wrapper("-o full=writer");
	fd = make_and_open("m/f", (size_t)2000 * PAGE);
	ck_sys(fsync(fd));
	hash = hash_of(fd);
	snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
	fill_up();
	for (int i = 0; i < 2000; i++) {
		ssize_t n = pwrite(fd, "x", 1, (off_t)i * PAGE);

		ck_assert(n == 1 || (n < 0 && errno == ENOSPC));
		stopped += n < 0;
	}
	ck_assert_int_gt(stopped, 0);
	ck_assert_uint_eq(state_of(snapshot).flags, 0);
	posix_fadvise(snapshot, 0, 0, POSIX_FADV_DONTNEED);
	ck_assert_uint_eq(hash_of(snapshot), hash);
	close(snapshot);
	close(fd);
	ck_run(0, "rm -f ballast");
	unmount_wrapper();
}
END_TEST

static void add_directory(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_all_is_passed_through);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_large_directory);
	tcase_add_test(tc, test_files_belong_to_who_makes_them);
	tcase_add_test(tc, test_locks);
	tcase_add_test(tc, test_holes_and_copies);
	tcase_add_test(tc, test_one_server_at_a_time);
	tcase_add_test(tc, test_our_names_are_hidden);
	tcase_add_test(tc, test_more_than_one_file_system);
}

static void add_snapshots(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_snapshot_stays);
	tcase_add_test(tc, test_room_comes_back);
	tcase_add_test(tc, test_snapshots_share_what_is_kept);
	tcase_add_test(tc, test_ranges_and_errors);
	tcase_add_test(tc, test_users_ask);
	tcase_add_test(tc, test_control_file);
	tcase_add_test(tc, test_quota);
	tcase_add_test(tc, test_many_snapshots);
	tcase_add_test(tc, test_one_instant_beside_stores);
	tcase_add_test(tc, test_one_instant_beside_collected_writes);
	tcase_add_test(tc, test_stores_are_in_it);
	tcase_add_test(tc, test_library_falls_back);
	tcase_add_test(tc, test_run_by_a_user);
	tcase_add_test(tc, test_killed_server_loses_nothing);
	tcase_add_test(tc, test_killed_in_the_middle);
	tcase_add_test(tc, test_signal_writes_stores);
	tcase_add_test(tc, test_unmount_is_busy_while_snapshots_are_open);
}

static void add_full(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_full_disk_loses_the_snapshot);
	tcase_add_test(tc, test_full_disk_stops_the_writer);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs");

	test_each_fs(s, "directory", add_directory);
	test_each_fs(s, "snapshots", add_snapshots);
	test_each_small_fs(s, "full", add_full);
	return s;
}
