/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A mounted mini file system: what programs find there, by system calls only. */
#include "config.h"

#include "mounting.h"

#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

START_TEST(test_unmount_commits)
{
	need_mounts();
	mount_new("1M");
	ck_assert(is_mounted());
	ck_run(0, "mkdir m/d && echo one >m/d/f && ln m/d/f m/g && ln -s d/f m/s && chmod 640 m/g && chown 7:8 m/g");
	unmount_image();
	ck_assert(!is_mounted());
	mount_image("");
	ck_run(0, "cat m/s && stat -c '%%a %%u %%g %%h' m/g && readlink m/s");
	ck_assert_str_eq(out, "one\n640 7 8 2\nd/f\n");
	unmount_image();
}
END_TEST

START_TEST(test_names)
{
	need_mounts();
	mount_new("1M");
	check_names();
	ck_fails(mkfifo("m/fifo", 0644), EPERM);
	unmount_image();
}
END_TEST

START_TEST(test_rename)
{
	struct stat st, before;
	int fd;

	need_mounts();
	mount_new("1M");
	ck_run(0, "echo a >m/a && echo b >m/b && mkdir m/d m/e && echo c >m/d/c");
	fd = open_in("m/b", O_RDONLY);
	ck_sys(stat("m/a", &before));
	ck_sys(rename("m/a", "m/b"));
	ck_sys(stat("m/b", &st));
	ck_assert_uint_eq(st.st_ino, before.st_ino);
	ck_assert(file_says("m/b", "a\n"));
	ck_sys(fstat(fd, &st));
	ck_assert_uint_eq(st.st_nlink, 0);
	close(fd);
	ck_fails(rename("m/e", "m/d"), ENOTEMPTY);
	ck_fails(rename("m/e", "m/b"), ENOTDIR);
	ck_fails(rename("m/b", "m/e"), EISDIR);
	ck_sys(rename("m/d", "m/e"));
	ck_assert(file_says("m/e/c", "c\n"));
	ck_fails(renameat2(AT_FDCWD, "m/b", AT_FDCWD, "m/e", RENAME_NOREPLACE), EEXIST);
	ck_sys(renameat2(AT_FDCWD, "m/b", AT_FDCWD, "m/new", RENAME_NOREPLACE));
	ck_sys(mkdir("m/x", 0755));
	ck_sys(renameat2(AT_FDCWD, "m/new", AT_FDCWD, "m/x", RENAME_EXCHANGE));
	ck_assert(file_says("m/x", "a\n"));
	/* A directory that goes into another one in exchange for a file. */
	ck_sys(renameat2(AT_FDCWD, "m/new", AT_FDCWD, "m/e/c", RENAME_EXCHANGE));
	ck_assert(file_says("m/new", "c\n"));
	ck_sys(stat("m/e", &st));
	ck_assert_uint_eq(st.st_nlink, 3);
	ck_fails(renameat2(AT_FDCWD, "m/e", AT_FDCWD, "m/e/c", RENAME_EXCHANGE), EINVAL);
	ck_fails(renameat2(AT_FDCWD, "m/e", AT_FDCWD, "m/none", RENAME_EXCHANGE), ENOENT);
	mount_again();
	ck_assert(file_says("m/new", "c\n"));
	unmount_image();
}
END_TEST

START_TEST(test_deleted_while_open)
{
	unsigned long before;
	char bytes[8192], found[8192];
	struct stat st;
	int fd, dir;

	need_mounts();
	mount_new("1M");
	before = free_of_mount();
	test_fill(bytes, sizeof(bytes), 1);
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_assert_int_eq(ck_sys(write(fd, bytes, sizeof(bytes))), sizeof(bytes));
	ck_sys(unlink("m/f"));
	ck_fails(stat("m/f", &st), ENOENT);
	ck_sys(fsync(fd));
	ck_assert_int_eq(ck_sys(pread(fd, found, sizeof(found), 0)), sizeof(found));
	ck_assert(!memcmp(bytes, found, sizeof(found)));
	ck_sys(ftruncate(fd, 100));
	ck_sys(fchmod(fd, 0600));
	ck_sys(fstat(fd, &st));
	ck_assert(st.st_size == 100 && !st.st_nlink && (st.st_mode & 07777) == 0600);
	close(fd);
	ck_sys(mkdir("m/d", 0755));
	dir = open_in("m/d", O_RDONLY | O_DIRECTORY);
	ck_sys(rmdir("m/d"));
	ck_fails(openat(dir, "x", O_CREAT | O_WRONLY, 0644), ENOENT);
	close(dir);
	mount_again();
	ck_assert_uint_eq(free_of_mount(), before);
	unmount_image();
}
END_TEST

START_TEST(test_sizes_and_holes)
{
	char bytes[5000], zeros[5000] = "";
	struct stat st;
	int fd;

	need_mounts();
	mount_new("--large 1M");
	fd = open_in("m/f", O_CREAT | O_RDWR);
	test_fill(bytes, sizeof(bytes), 2);
	ck_sys(pwrite(fd, bytes, sizeof(bytes), 1 << 20));
	ck_sys(fstat(fd, &st));
	ck_assert(st.st_size == (1 << 20) + 5000 && st.st_blocks <= 8 * 4);
	/* What was cut off does not come back. */
	ck_sys(ftruncate(fd, (1 << 20) + 10));
	ck_sys(ftruncate(fd, (1 << 20) + 5000));
	ck_assert_int_eq(ck_sys(pread(fd, bytes, sizeof(bytes), (1 << 20) + 10)), 4990);
	ck_assert(!memcmp(bytes, zeros, 4990));
	ck_sys(fallocate(fd, 0, 0, 20000));
	ck_sys(fstat(fd, &st));
	ck_assert_int_ge(st.st_blocks, 8 * 7); /* 5 from the start, 2 before the end */
	test_fill(bytes, sizeof(bytes), 3);
	ck_sys(pwrite(fd, bytes, sizeof(bytes), 4000));
	ck_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4100, 12288));
	ck_assert_int_eq(ck_sys(pread(fd, zeros, 5000, 4000)), 5000);
	ck_assert(!memcmp(zeros, bytes, 100) && !zeros[100] && !memcmp(zeros + 100, zeros + 101, 4899));
	ck_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE, 4000, 100));
	ck_assert_int_eq(ck_sys(pread(fd, zeros, 100, 4000)), 100);
	ck_assert(!zeros[0] && !memcmp(zeros, zeros + 1, 99));
	/* What leads to blocks goes with the last of them. */
	ck_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 << 20));
	ck_sys(fstat(fd, &st));
	ck_assert_int_eq(st.st_blocks, 0);
	/* Behind the end, and not from the beginning of a block. */
	ck_sys(ftruncate(fd, 5000));
	test_fill(bytes, sizeof(bytes), 4);
	ck_sys(pwrite(fd, bytes, 5000, 0));
	ck_sys(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10000, 1000));
	ck_assert_int_eq(ck_sys(pread(fd, zeros, 5000, 0)), 5000);
	ck_assert(!memcmp(zeros, bytes, 5000));
	ck_sys(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, 11000);
	ck_fails(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
	close(fd);
	unmount_image();
}
END_TEST

START_TEST(test_limits)
{
	static char bytes[1 << 20];
	struct stat st;
	ssize_t n = 0;
	int fd;

	need_mounts();
	mount_new("");
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_fails(pwrite(fd, "x", 1, 4144 << 10), EFBIG);
	ck_fails(ftruncate(fd, (4144 << 10) + 1), EFBIG);
	ck_sys(ftruncate(fd, 4144 << 10));
	ck_sys(ftruncate(fd, 0));
	/* A write that does not fit fails, or is short, and what was said to be there is. */
	ck_fails(fallocate(fd, 0, 0, 1 << 20), ENOSPC);
	ck_sys(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, 0);
	while (n >= 0)
		n = write(fd, bytes, 8192);
	ck_assert_int_eq(errno, ENOSPC);
	ck_sys(fsync(fd));
	ck_fails(mkdir("m/d", 0755), ENOSPC);
	ck_sys(ftruncate(fd, 0));
	ck_sys(mkdir("m/d", 0755));
	for (int i = 0; n < 0 && i < 100; i++) {
		char name[20];

		snprintf(name, sizeof(name), "m/%d", i);
		n = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		if (n >= 0)
			close((int)n);
		n = n < 0 ? 0 : -1;
	}
	ck_assert_int_eq(n, 0); /* 80 inodes */
	close(fd);
	unmount_image();
}
END_TEST

START_TEST(test_append_and_shared_mapping)
{
	char *map;
	int fd;

	need_mounts();
	mount_new("1M");
	ck_run(0, "for i in 1 2 3 4; do (for k in 1 2 3 4 5 6 7 8 9; do echo 1234567 >>m/a; done) & done; wait; "
		  "sort -u m/a; stat -c %%s m/a");
	ck_assert_str_eq(out, "1234567\n288\n");
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_sys(ftruncate(fd, 10000));
	map = (char *)mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	strcpy(map + 5000, "stored");
	ck_sys(msync(map, 10000, MS_SYNC));
	ck_sys(munmap(map, 10000));
	close(fd);
	mount_again();
	ck_run(0, "tail -c +5001 m/f | head -c 6; stat -c ' %%s' m/f");
	ck_assert_str_eq(out, "stored 10000\n");
	unmount_image();
}
END_TEST

START_TEST(test_copies_share_blocks)
{
	unsigned long before;

	need_mounts();
	mount_new("16M");
	ck_run(0, "head -c 5000001 /dev/urandom >m/a");
	before = free_of_mount();
	ck_run(0, "cp --reflink=auto m/a m/b && cmp m/a m/b");
	ck_assert_uint_lt(before - free_of_mount(), 20); /* blocks of pointers, and of counts */
	/* A store separates one block. */
	ck_run(0, "printf x | dd of=m/b bs=1 seek=100000 conv=notrunc status=none; ! cmp -s m/a m/b");
	mount_again();
	ck_run(1, "cmp m/a m/b | grep -v 'byte 100001'");
	unmount_image();
}
END_TEST

START_TEST(test_copies_at_any_offset)
{
	static char bytes[60000], wanted[60000], found[60000];
	uint64_t random = test_seed();
	int fd;

	need_mounts();
	mount_new("4M");
	test_fill(bytes, sizeof(bytes), 5);
	test_fill(wanted, sizeof(wanted), 6);
	test_write_file("m/a", bytes, sizeof(bytes));
	test_write_file("m/b", wanted, sizeof(wanted));
	fd = open_in("m/b", O_RDWR);
	for (int i = 0; i < 200; i++) {
		off_t from = (off_t)(test_random(&random) % 30000), to = (off_t)(test_random(&random) % 30000);
		size_t n = test_random(&random) % 25000; /* never behind the end */
		int source = open_in("m/a", O_RDONLY);

		if (i % 2)
			to = to / 4096 * 4096 + from % 4096;
		ck_assert_int_eq(ck_sys(copy_file_range(source, &from, fd, &to, n, 0)), (long long)n);
		close(source);
		memcpy(wanted + to - (off_t)n, bytes + from - (off_t)n, n);
	}
	ck_assert_int_eq(ck_sys(pread(fd, found, sizeof(found), 0)), sizeof(found));
	close(fd);
	ck_assert(!memcmp(found, wanted, sizeof(found)));
	mount_again();
	ck_assert(test_file_is("m/b", wanted, sizeof(wanted)));
	ck_assert(test_file_is("m/a", bytes, sizeof(bytes)));
	unmount_image();
}
END_TEST

START_TEST(test_attributes)
{
	char value[16] = "";
	struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 7}, {.tv_sec = -5, .tv_nsec = 9}};
	struct stat st;

	need_mounts();
	mount_new("1M");
	write_text("m/f", "x");
	ck_sys(setxattr("m/f", "user.a", "value", 5, XATTR_CREATE));
	ck_fails(setxattr("m/f", "user.a", "value", 5, XATTR_CREATE), EEXIST);
	ck_fails(getxattr("m/f", "user.b", value, sizeof(value)), ENODATA);
	ck_fails(getxattr("m/f", "user.a", value, 2), ERANGE);
	ck_sys(utimensat(AT_FDCWD, "m/f", times, 0));
	ck_sys(chmod("m/f", 06755));
	mount_again();
	ck_assert_int_eq(ck_sys(getxattr("m/f", "user.a", value, sizeof(value))), 5);
	ck_assert_str_eq(value, "value");
	ck_assert_int_eq(ck_sys(listxattr("m/f", value, sizeof(value))), 7);
	ck_sys(removexattr("m/f", "user.a"));
	ck_sys(stat("m/f", &st));
	ck_assert(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == -5 && st.st_mtim.tv_nsec == 9);
	ck_assert_uint_eq(st.st_mode & 07777, 06755);
	/* Another user's write takes these bits away. */
	ck_run(0, "chmod 6777 m/f; setpriv --reuid=65534 --clear-groups sh -c 'echo y >>m/f'; stat -c %%a m/f");
	ck_assert_str_eq(out, "777\n");
	ck_run(0, "chmod 700 m/f; setpriv --reuid=65534 --clear-groups cat m/f; true");
	ck_assert(strstr(err, "Permission denied") != NULL);
	unmount_image();
}
END_TEST

START_TEST(test_many_names)
{
	need_mounts();
	mount_new("16M -i 4000");
	ck_run(0, "mkdir m/d && cd m/d && seq 1 3000 | xargs touch && ls | wc -l && ls -l | wc -l && seq 1 2 2999 | "
		  "xargs rm && "
		  "ls | wc -l");
	ck_assert_str_eq(out, "3000\n3001\n1500\n");
	mount_again();
	ck_run(0, "ls m/d | sort -n | tail -1; rm -r m/d; ls m");
	ck_assert_str_eq(out, "3000\n");
	unmount_image();
}
END_TEST

START_TEST(test_reading_only)
{
	need_mounts();
	mount_new("1M");
	ck_run(0, "echo x >m/f");
	unmount_image();
	mount_image("-o ro");
	ck_run(0, "cat m/f");
	ck_assert_str_eq(out, "x\n");
	ck_fails(open("m/f", O_WRONLY), EROFS);
	ck_fails(mkdir("m/d", 0755), EROFS);
	/* It is a snapshot: somebody else may write. */
	ck_run(0, "mkdir -p n && mount.minifs i n && echo y >n/f && umount.minifs n && cat m/f");
	ck_assert_str_eq(out, "x\n");
	unmount_image();
}
END_TEST

static bool is_sentence(const char *beginning)
{
	const char *end = strchr(err, '\n');

	return !strncmp(err, beginning, strlen(beginning)) && end && !end[1];
}

START_TEST(test_errors_at_the_start)
{
	need_mounts();
	write_text("no-image", "something else");
	ck_run(1, "mkdir m; mount.minifs no-image m");
	ck_assert_msg(is_sentence("mount.minifs: cannot open"), "%s", err);
	ck_run(1, "mount.minifs none m");
	ck_assert_msg(is_sentence("mount.minifs: "), "%s", err);
	ck_run(0, "mkfs.minifs -q i");
	ck_run(1, "mount.minifs i none");
	ck_assert_msg(is_sentence("mount.minifs: cannot mount on 'none'"), "%s", err);
	ck_run(1, "mount.minifs i m -o commit=soon");
	ck_assert_msg(is_sentence("mount.minifs: commit=soon"), "%s", err);
	ck_run(1, "mount.minifs i");
	ck_run(1, "umount.minifs m");
	ck_assert_msg(is_sentence("umount.minifs: no image"), "%s", err);
	ck_run(0, "mount.minifs --help && umount.minifs --help");
	ck_assert(!is_mounted());
}
END_TEST

START_TEST(test_second_writer_is_refused)
{
	need_mounts();
	mount_new("1M");
	ck_run(0, "mkdir n");
	ck_run(1, "mount.minifs i n");
	ck_assert_msg(is_sentence("mount.minifs: cannot lock"), "%s", err);
	/* A commit may give the image another inode: still. */
	ck_run(0, "echo x >m/f && sync m/f");
	ck_run(1, "mount.minifs i n");
	ck_run(8, "fsck.minifs -y i");
	ck_run(0, "fsck.minifs -n i");
	unmount_image();
	ck_run(0, "mount.minifs i n && cat n/f && umount.minifs n");
	ck_assert_str_eq(out, "x\n");
}
END_TEST

START_TEST(test_what_was_flushed_survives_the_server)
{
	struct stat st;
	pid_t server;
	int fd, deleted;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m");
	server = mount_in_foreground("commit=0");
	ck_run(0, "mkdir m/d && echo old >m/d/f");
	deleted = open_in("m/deleted", O_CREAT | O_RDWR);
	ck_sys(unlink("m/deleted"));
	fd = open_in("m/d", O_RDONLY | O_DIRECTORY);
	ck_sys(fsync(fd));
	close(fd);
	ck_run(0, "echo new >m/d/f; echo new >m/lost");
	kill_server(server);
	ck_fails(fstat(deleted, &st), ENOTCONN);
	close(deleted);
	mount_image("");
	ck_assert(file_says("m/d/f", "old\n"));
	ck_fails(stat("m/lost", &st), ENOENT);
	unmount_image();
}
END_TEST

START_TEST(test_commits_by_itself)
{
	pid_t server;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m");
	server = mount_in_foreground("commit=1");
	ck_run(0, "echo x >m/f");
	/* However long it takes; the test's own time limit is the end of it. */
	while (run("snapmap fs cat i f") || strcmp(out, "x\n") != 0)
		usleep(10000);
	kill_server(server);
	mount_image("");
	ck_assert(file_says("m/f", "x\n"));
	unmount_image();
}
END_TEST

/* Many at once, each of whom was told that its file is durable. */
START_TEST(test_shared_commits)
{
	pid_t server;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 4M && mkdir m");
	server = mount_in_foreground("commit=0");
	ck_run(0, "for i in 1 2 3 4 5 6 7 8; do (for k in 1 2 3 4 5; do echo $i >m/$i.$k && sync m/$i.$k; done) & "
		  "done; wait");
	kill_server(server);
	mount_image("");
	ck_run(0, "cat m/*.* | sort | uniq -c | awk '{ print $1 $2 }' | tr '\\n' ' '");
	ck_assert_str_eq(out, "51 52 53 54 55 56 57 58 ");
	unmount_image();
}
END_TEST

START_TEST(test_signal_commits)
{
	pid_t server;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m");
	server = mount_in_foreground("commit=0");
	ck_run(0, "echo x >m/f");
	ck_sys(kill(server, SIGTERM));
	ck_assert_int_eq(wait_for(server), 0);
	mount_image("-o writeback");
	ck_assert(file_says("m/f", "x\n"));
	ck_run(0, "for i in 1 2 3 4 5 6 7 8 9; do echo $i; done >m/g");
	mount_again();
	ck_run(0, "wc -l <m/g");
	ck_assert_str_eq(out, "9\n");
	unmount_image();
}
END_TEST

/* As it may come at the end: many, also in the last commit, which is a long one here. */
START_TEST(test_signals_in_the_last_commit)
{
	pid_t server;
	int status;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i --large 64M && mkdir m");
	server = mount_in_foreground("commit=0");
	ck_run(0, "head -c 40000000 /dev/urandom >m/f && cp m/f .");
	while (!waitpid(server, &status, WNOHANG)) {
		ck_sys(kill(server, SIGTERM));
		ck_sys(kill(server, SIGHUP));
		usleep(500);
	}
	ck_assert_int_eq(status_of(status), 0);
	mount_image("");
	ck_run(0, "cmp f m/f");
	unmount_image();
}
END_TEST

/* What is stored into a mapping the kernel keeps for itself. */
#define STORED ((size_t)20 << 20)

START_TEST(test_signal_commits_mappings)
{
	static char bytes[STORED];
	pid_t server;
	char *map;
	int fd;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i --large 30M && mkdir m");
	server = mount_in_foreground("commit=0");
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_sys(ftruncate(fd, STORED));
	map = (char *)mmap(NULL, STORED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	test_fill(map, STORED, 7);
	ck_sys(kill(server, SIGTERM));
	ck_assert_int_eq(wait_for(server), 0);
	memcpy(bytes, map, STORED);
	munmap(map, STORED);
	close(fd);
	mount_image("");
	ck_assert(test_file_is("m/f", bytes, STORED));
	unmount_image();
}
END_TEST

/* Who would skip a hole must not skip data that has not arrived yet. */
static void look_for_unwritten_data(const char *options)
{
	char *map;
	int fd;

	mount_image(options);
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_sys(ftruncate(fd, 3 << 20));
	map = (char *)mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	map[1 << 20] = 1;
	ck_assert_int_le(ck_sys(lseek(fd, 0, SEEK_DATA)), 1 << 20);
	ck_assert_int_gt(ck_sys(lseek(fd, 1 << 20, SEEK_HOLE)), 1 << 20);
	ck_sys(pwrite(fd, "x", 1, 2 << 20));
	ck_assert_int_le(ck_sys(lseek(fd, (1 << 20) + 4096, SEEK_DATA)), 2 << 20);
	munmap(map, 3 << 20);
	close(fd);
	unmount_image();
}

START_TEST(test_holes_are_not_guessed)
{
	need_mounts();
	ck_run(0, "mkfs.minifs -q i --large 1M && mkdir m");
	look_for_unwritten_data("");
	look_for_unwritten_data("-o writeback");
	/* Where nobody writes they are known. */
	mount_image("-o ro");
	int fd = open_in("m/f", O_RDONLY);

	ck_assert_int_eq(ck_sys(lseek(fd, 0, SEEK_HOLE)), 0);
	ck_assert_int_eq(ck_sys(lseek(fd, 0, SEEK_DATA)), 1 << 20);
	close(fd);
	unmount_image();
}
END_TEST

START_TEST(test_changes_in_memory_have_a_bound)
{
	pid_t server;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i --large 64M && mkdir m");
	server = mount_in_foreground("commit=0,dirty=4M");
	ck_run(0, "head -c 40000000 /dev/urandom >f && cat f >m/f");
	kill_server(server);
	mount_image("");
	/* All but what may be in memory was committed before it was asked for. */
	ck_run(0, "test $(stat -c %%s m/f) -ge 30000000 && cmp -n $(stat -c %%s m/f) f m/f");
	unmount_image();
	ck_run(1, "mount.minifs i m -o dirty=10");
	ck_assert_msg(strstr(err, "dirty=10"), "%s", err);
}
END_TEST

START_TEST(test_fallocate_does_all_or_nothing)
{
	unsigned long before;
	struct stat st;
	int fd;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i --large 400M && mkdir m");
	mount_image("-o dirty=16M");
	before = free_of_mount();
	fd = open_in("m/f", O_CREAT | O_RDWR);
	ck_fails(fallocate(fd, 0, 0, 500 << 20), ENOSPC);
	ck_sys(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, 0);
	ck_assert_uint_eq(free_of_mount(), before);
	ck_sys(fallocate(fd, 0, 100, 150 << 20));
	ck_sys(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, (150 << 20) + 100);
	ck_assert_int_ge(st.st_blocks, 150 << 11);
	close(fd);
	unmount_image();
}
END_TEST

START_TEST(test_image_that_cannot_be_written)
{
	need_mounts();
	ck_run(0, "mkdir d m && mkfs.minifs -q d/i 1M && mount --bind d d && mount -o remount,bind,ro d");
	ck_run(1, "mount.minifs d/i m");
	ck_assert_msg(is_sentence("mount.minifs: cannot write to 'd/i'"), "%s", err);
	ck_assert(!is_mounted());
	ck_run(0, "mount.minifs d/i m -o ro && ls m && umount.minifs m");
	ck_run(0, "umount d");
}
END_TEST

/* Somebody else's lock on the image is none of who unmounts another mount of it. */
START_TEST(test_unmount_waits_for_its_own_server_only)
{
	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m n && mount.minifs i n && mount.minifs i m -o ro");
	ck_run(0, "timeout 60 umount.minifs m && echo x >n/f && umount.minifs n && fsck.minifs i >&2 && "
		  "snapmap fs cat i f");
	ck_assert_str_eq(out, "x\n");
}
END_TEST

START_TEST(test_unmount_after_a_crash)
{
	pid_t server;

	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m");
	server = mount_in_foreground("commit=0");
	ck_sys(kill(server, SIGKILL));
	ck_assert_int_eq(wait_for(server), 128 + SIGKILL);
	ck_run(0, "timeout 60 umount.minifs m && fsck.minifs i");
	ck_assert(!is_mounted());
}
END_TEST

/* root may not look into what a user has mounted, but end it. */
START_TEST(test_root_unmounts_what_a_user_mounted)
{
	need_mounts();
	let_user_mount();
	ck_run(0, "chmod 755 . && mkdir u && chown %d u", NOBODY);
	ck_run(0, "cd u && " AS_USER "sh -c 'mkfs.minifs -q i 1M && mkdir m && mount.minifs i m && echo x >m/f'");
	ck_run(0, "cd u && timeout 60 umount.minifs m && snapmap fs cat i f");
	ck_assert_str_eq(out, "x\n");
}
END_TEST

START_TEST(test_mount_that_would_hide_the_image)
{
	need_mounts();
	ck_run(0, "mkdir -p d/e && mkfs.minifs -q d/e/i 1M");
	ck_run(1, "mount.minifs d/e/i d");
	ck_assert_msg(is_sentence("mount.minifs: cannot mount 'd/e/i'"), "%s", err);
	ck_run(0, "ls d/e/i");
}
END_TEST

/* No file that is opened then must get their numbers: messages would go into it. */
START_TEST(test_standard_files_may_be_closed)
{
	need_mounts();
	ck_run(0, "mkfs.minifs -q i 1M && mkdir m");
	ck_run(0, "mount.minifs i m <&- >&- 2>&-; ls m && echo x >m/f && umount.minifs m <&- >&- 2>&- && "
		  "fsck.minifs i >&2 && snapmap fs cat i f");
	ck_assert_str_eq(out, "x\n");
	ck_run(1, "mount.minifs i none <&- >&- 2>&-");
	ck_run(0, "fsck.minifs i");
}
END_TEST

/* As a file server has them: they hold nothing, and outlive what the kernel knows. */
START_TEST(test_handles)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} f = {.handle.handle_bytes = MAX_HANDLE_SZ}, gone = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int mount_id, root, fd;
	char text[8] = "";

	need_mounts();
	mount_new("1M");
	ck_run(0, "mkdir m/d && echo text >m/d/f && echo x >m/d/gone");
	ck_sys(name_to_handle_at(AT_FDCWD, "m/d/f", &f.handle, &mount_id, 0));
	ck_sys(name_to_handle_at(AT_FDCWD, "m/d/gone", &gone.handle, &mount_id, 0));
	ck_sys(unlink("m/d/gone"));
	mount_again();
	root = open_in("m", O_RDONLY | O_DIRECTORY);
	fd = (int)ck_sys(open_by_handle_at(root, &f.handle, O_RDONLY | O_CLOEXEC));
	ck_assert_int_eq(ck_sys(read(fd, text, sizeof(text))), 5);
	ck_assert_str_eq(text, "text\n");
	close(fd);
	ck_fails(open_by_handle_at(root, &gone.handle, O_RDONLY | O_CLOEXEC), ESTALE);
	/* Another file with the same number is another file. */
	ck_run(0, "for i in 1 2 3 4 5 6 7 8; do echo $i >m/d/$i; done");
	ck_fails(open_by_handle_at(root, &gone.handle, O_RDONLY | O_CLOEXEC), ESTALE);
	close(root);
	unmount_image();
}
END_TEST

static void add_mount(TCase *tc)
{
	tcase_add_test(tc, test_unmount_commits);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_rename);
	tcase_add_test(tc, test_deleted_while_open);
	tcase_add_test(tc, test_sizes_and_holes);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_append_and_shared_mapping);
	tcase_add_test(tc, test_copies_share_blocks);
	tcase_add_test(tc, test_copies_at_any_offset);
	tcase_add_test(tc, test_attributes);
	tcase_add_test(tc, test_many_names);
	tcase_add_test(tc, test_reading_only);
	tcase_add_test(tc, test_errors_at_the_start);
	tcase_add_test(tc, test_second_writer_is_refused);
	tcase_add_test(tc, test_what_was_flushed_survives_the_server);
	tcase_add_test(tc, test_commits_by_itself);
	tcase_add_test(tc, test_shared_commits);
	tcase_add_test(tc, test_signal_commits);
	tcase_add_test(tc, test_signals_in_the_last_commit);
	tcase_add_test(tc, test_signal_commits_mappings);
	tcase_add_test(tc, test_holes_are_not_guessed);
	tcase_add_test(tc, test_changes_in_memory_have_a_bound);
	tcase_add_test(tc, test_fallocate_does_all_or_nothing);
	tcase_add_test(tc, test_image_that_cannot_be_written);
	tcase_add_test(tc, test_unmount_waits_for_its_own_server_only);
	tcase_add_test(tc, test_unmount_after_a_crash);
	tcase_add_test(tc, test_root_unmounts_what_a_user_mounted);
	tcase_add_test(tc, test_mount_that_would_hide_the_image);
	tcase_add_test(tc, test_standard_files_may_be_closed);
	tcase_add_test(tc, test_handles);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs mount");

	test_each_fs(s, "mount", add_mount);
	return s;
}
