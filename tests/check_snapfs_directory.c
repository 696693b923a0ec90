/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory behind snapfs: what programs find there is what is below. */
#include "config.h"

#include "wrapping.h"

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/xattr.h>

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
	char byte[2];
	struct stat st;
	int fd;

	need_plain_directory();
	mount_wrapper("");
	check_names();
	ck_run(0, "echo a >m/a && echo b >m/b && mkdir m/e && echo c >m/e/c");
	ck_fails(rmdir("m/e"), ENOTEMPTY);
	fd = open_in("m/b", O_RDONLY);
	ck_sys(rename("m/a", "m/b"));
	ck_assert(file_says("m/b", "a\n"));
	ck_sys(fstat(fd, &st));
	ck_assert_uint_eq(st.st_nlink, 0);
	ck_assert_int_eq(pread(fd, byte, 2, 0), 2);
	ck_assert_mem_eq(byte, "b\n", 2);
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

START_TEST(test_directory_that_cannot_be_written_to)
{
	int fd, snapshot;

	need_mounts();
	ck_run(0, "mkdir l && echo text >l/f && mount --bind l l && mount -o remount,bind,ro l");
	/* With the area of an earlier time, and without. */
	for (int i = 0; i < 2; i++) {
		ck_run(0, "mkdir -p m && snapfs l m");
		fd = open_in("m/f", O_RDONLY);
		snapshot = take_snapshot(fd, 0, SNAPFS_ALL);
		ck_assert_uint_eq(hash_of(snapshot), test_hash("text\n", 5));
		ck_fails(open("m/new", O_CREAT | O_WRONLY, 0644), EROFS);
		close(snapshot);
		close(fd);
		ck_run(0,
		       "umount m && mount -o remount,bind,rw l && mkdir -p -m 700 l/.snapfs && touch l/.snapfs/lock && "
		       "mount -o remount,bind,ro l");
	}
	/* Nothing there tells when the server has ended. */
	ck_soon(!run("umount l"));
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
	tcase_add_test(tc, test_directory_that_cannot_be_written_to);
	tcase_add_test(tc, test_our_names_are_hidden);
	tcase_add_test(tc, test_more_than_one_file_system);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("snapfs directory");

	test_each_fs(s, "directory", add_directory);
	return s;
}
