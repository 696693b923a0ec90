/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit by exchange of blocks: what it keeps, what it must not bring back, and where something else takes over. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "exchanging.h"

#define SIZE ((size_t)300000)
#define MIB ((size_t)1 << 20)

/* ---- what stays ---- */

START_TEST(test_everything_about_the_inode_stays)
{
	const size_t size = 64 * MIB;
	struct snapmap_mut *map;
	struct stat before, after;
	char value[8];
	int fd, old;

	need_exchange();
	fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	ck_assert(pwrite(fd, "start", 5, 0) == 5 && pwrite(fd, "Middle", 6, (off_t)(size / 2)) == 6);
	ck_assert(!ftruncate(fd, (off_t)size) && !fsetxattr(fd, "user.mine", "yes", 3, 0) && !link("f", "g"));
	close(fd);
	old = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert(!fstat(old, &before));
	map = open_mut("g");
	memcpy((char *)snapmap_mut_data(map) + size / 2, "middle", 6);
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_eq(strategy_of(map), SNAPMAP_STRATEGY_EXCHANGE);
	ck_assert(!stat("f", &after));
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_uint_eq(before.st_mode, after.st_mode);
	ck_assert_uint_eq(after.st_nlink, 2);
	ck_assert_int_eq(getxattr("f", "user.mine", value, sizeof(value)), 3);
	/* Holes stay holes. */
	ck_assert_int_lt(after.st_blocks * 512, (off_t)(128 << 10));
	/* Who has the file open sees the new bytes: it is the same file. */
	ck_assert_int_eq(pread(old, value, 6, (off_t)(size / 2)), 6);
	ck_assert(!memcmp(value, "middle", 6));
	close(old);
	snapmap_mut_close(map);
}
END_TEST

/* ---- sizes ---- */

/*
 * The kernel offers to exchange sizes as well, but a crash can tear that (tests/crash):
 * by name it is refused, and AUTO replaces the file.
 */
START_TEST(test_another_size_is_for_replace)
{
	const size_t sizes[] = {0, 1, 100, PAGE, 3 * PAGE + 5, SIZE - 1, SIZE + 1, SIZE + 5 * PAGE};

	need_exchange();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *want = calloc(SIZE + 5 * PAGE, 1);
		struct snapmap_mut *map;

		test_make_file("f", SIZE, 1);
		test_fill(want, sizes[i] < SIZE ? sizes[i] : SIZE, 1);
		map = open_mut("f");
		ck_ok(snapmap_mut_resize(map, sizes[i]));
		ck_fails(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE), -EOPNOTSUPP);
		ck_says("size");
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert_uint_eq(strategy_of(map), SNAPMAP_STRATEGY_REPLACE);
		ck_assert_msg(test_file_is("f", want, sizes[i]), "%zu", sizes[i]);
		snapmap_mut_close(map);
		free(want);
	}
}
END_TEST

/* Of the old bytes nothing must come back. */
START_TEST(test_file_that_was_cut_and_grown_again_has_zeros)
{
	const size_t cuts[] = {0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5, SIZE / 2, SIZE - 1};

	need_exchange();
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		unsigned char *want = calloc(SIZE, 1);
		struct snapmap_mut *map;

		test_make_file("f", SIZE, 1);
		test_fill(want, cuts[i], 1);
		map = open_mut("f");
		ck_ok(snapmap_mut_resize(map, cuts[i]));
		ck_ok(snapmap_mut_resize(map, SIZE));
		((unsigned char *)snapmap_mut_data(map))[SIZE - PAGE] = want[SIZE - PAGE] = 'e';
		ck_fails(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE), -EOPNOTSUPP);
		ck_ok(snapmap_mut_commit(map, NULL));
		ck_assert_msg(test_file_is("f", want, SIZE), "cut to %zu", cuts[i]);
		ck_assert(handle_is(map, want, SIZE));
		snapmap_mut_close(map);
		free(want);
	}
}
END_TEST

START_TEST(test_holes_get_data_and_stay_holes)
{
	struct snapmap_mut *map;
	struct stat st;
	char *p;
	int fd;

	need_exchange();
	fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert(pwrite(fd, "start", 5, 0) == 5 && pwrite(fd, "end", 3, (off_t)SIZE) == 3);
	close(fd);
	map = open_mut("f");
	p = snapmap_mut_data(map);
	p[0] = p[SIZE] = 'x';
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	p[1] = p[10 * PAGE] = 'y';
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	ck_assert(test_file_is("f", p, SIZE + 3));
	ck_assert(!stat("f", &st) && st.st_blocks * 512 < 64 << 10);
	snapmap_mut_close(map);
}
END_TEST

/* Others may store behind the end too, as far as the last page goes. */
START_TEST(test_what_others_put_behind_the_end_does_not_show)
{
	const size_t size = 5 * PAGE + 100, grown = 6 * PAGE;
	unsigned char want[6 * PAGE] = {0};
	struct snapmap_mut *map;
	char *p;
	int fd;

	need_exchange();
	test_make_file("f", size, 1);
	test_fill(want, size, 1);
	fd = open("f", O_RDWR | O_CLOEXEC);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(p != MAP_FAILED);
	memset(p + size, 'k', 6 * PAGE - size);
	map = open_mut("f");
	((unsigned char *)snapmap_mut_data(map))[size - 1] = want[size - 1] ^= 1;
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	ck_assert(!ftruncate(fd, (off_t)grown));
	ck_assert(test_file_is("f", want, grown));
	munmap(p, size);
	close(fd);
	snapmap_mut_close(map);
}
END_TEST

/* Memory behind the end of the handle is nobody's. */
START_TEST(test_what_is_stored_behind_the_end_is_not_committed)
{
	unsigned char want[2 * PAGE] = {0};
	struct snapmap_mut *map;

	need_exchange();
	test_make_file("f", 100, 1);
	test_fill(want, 100, 1);
	map = open_mut("f");
	memset(snapmap_mut_data(map), 'x', PAGE);
	test_fill(snapmap_mut_data(map), 100, 1);
	ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
	ck_assert(!truncate("f", sizeof(want)));
	ck_assert(test_file_is("f", want, sizeof(want)));
	snapmap_mut_close(map);
}
END_TEST

/* ---- files that share its blocks ---- */

static void clone_file(const char *from, const char *to)
{
	int source = open(from, O_RDONLY | O_CLOEXEC), target = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert(!ioctl(target, FICLONE, source));
	close(source);
	close(target);
}

/* The kernel must not forget that the file shares blocks: who writes to it would write into its clones. */
START_TEST(test_clones_of_the_file_stay_what_they_are)
{
	const size_t size = 100 * PAGE;
	/* First and last page: what is exchanged then spans the whole file. */
	const size_t edits[][2] = {{0, 99}, {0, 50}, {3, 99}, {0, 0}};
	const size_t tails[] = {0, 1, PAGE - 1, 100};
	unsigned char *old = malloc(size), *other = malloc(size);

	if (!test_fs()->exchange) {
		free(old);
		free(other);
	}
	need_exchange();
	test_fill(old, size, 1);
	test_fill(other, size, 9);
	for (size_t i = 0; i < 16; i++) {
		size_t end = size - tails[i / 4];
		struct snapmap_mut *map;
		int fd;

		test_write_file("f", old, end);
		clone_file("f", "clone");
		map = open_mut("f");
		for (int k = 0; k < 2; k++)
			if (edits[i % 4][k] * PAGE < end)
				((unsigned char *)snapmap_mut_data(map))[edits[i % 4][k] * PAGE] ^= 1;
		ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
		fd = open("f", O_RDWR | O_CLOEXEC);
		ck_assert_int_eq(pwrite(fd, other, end, 0), (ssize_t)end);
		ck_assert(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		close(fd);
		fd = open("clone", O_RDWR | O_CLOEXEC);
		ck_assert(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		close(fd);
		ck_assert_msg(test_file_is("clone", old, end), "case %zu: the clone has changed", i);
		snapmap_mut_close(map);
	}
	free(old);
	free(other);
}
END_TEST

/* ---- where it cannot be had ---- */

START_TEST(test_running_program_is_replaced)
{
	const size_t offset = 60; /* section headers, which nobody needs to run it */
	struct snapmap_mut *map;
	size_t n;
	char *program;
	int go[2];
	pid_t child;
	ino_t inode;

	need_exchange();
	program = test_read_file("/bin/sleep", &n);
	test_write_file("f", program, n);
	ck_assert(!chmod("f", 0755) && !pipe2(go, O_CLOEXEC));
	inode = inode_of("f");
	child = fork();
	if (!child) {
		execl("./f", "f", "1000", NULL);
		_exit(1);
	}
	/* Closed by exec. */
	close(go[1]);
	ck_assert_int_eq(read(go[0], program, 1), 0);
	close(go[0]);
	map = open_mut("f");
	program[offset] ^= 1;
	((char *)snapmap_mut_data(map))[offset] ^= 1;
	free(program);
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE), -EOPNOTSUPP);
	ck_says("running");
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_eq(strategy_of(map), SNAPMAP_STRATEGY_REPLACE);
	ck_assert_uint_ne(inode_of("f"), inode);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_new_file_is_not_exchanged)
{
	struct snapmap_mut *map;

	need_exchange();
	ck_ok(snapmap_mut_create("f", 0644, NULL, &map));
	ck_ok(snapmap_mut_resize(map, 10));
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE), -EOPNOTSUPP);
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_eq(strategy_of(map), SNAPMAP_STRATEGY_REPLACE);
	memcpy(snapmap_mut_data(map), "0123456789", 10);
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_assert_uint_eq(strategy_of(map), SNAPMAP_STRATEGY_EXCHANGE);
	ck_assert(test_file_is("f", "0123456789", 10));
	snapmap_mut_close(map);
}
END_TEST

static int edit_in_foreign_directory(void *arg)
{
	struct snapmap_mut *map;
	int rc = snapmap_mut_open(arg, NULL, &map);

	if (rc)
		return rc;
	((char *)snapmap_mut_data(map))[0] ^= 1;
	rc = snapmap_mut_commit(map, NULL);
	snapmap_mut_close(map);
	return rc;
}

/* Replacing needs the directory. This needs only the file, and any place for a nameless one. */
START_TEST(test_directory_need_not_be_writable)
{
	unsigned char bytes[SIZE];

	need_exchange();
	if (!test_is_root())
		test_skip("only root can be two users");
	test_fill(bytes, SIZE, 1);
	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", SIZE, 1);
	ck_assert(!chown("d/f", 65534, 65534) && !chmod(".", 0777));
	ck_assert_int_eq(test_as_user(65534, edit_in_foreign_directory, "d/f"), 0);
	bytes[0] ^= 1;
	ck_assert(test_file_is("d/f", bytes, SIZE));
	ck_assert_uint_eq(count_names("."), 1);
	ck_assert_uint_eq(count_names("d"), 1);
}
END_TEST

START_TEST(test_nameless_file_needs_a_directory)
{
	struct snapmap_mut *map;
	int fd;

	need_exchange();
	test_make_file("f", SIZE, 1);
	fd = open("f", O_RDWR | O_CLOEXEC);
	ck_assert(fd >= 0 && !unlink("f"));
	/* None of the directories that temporary files may go to is on its file system then. */
	ck_assert(!setenv("TMPDIR", "/proc", 1) && !setenv("HOME", "/proc", 1) && !chdir("/proc"));
	ck_ok(snapmap_mut_open_fd(fd, NULL, &map));
	close(fd);
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE), -EOPNOTSUPP);
	ck_says("no directory of its file system is known");
	ck_fails(commit_by(map, SNAPMAP_STRATEGY_CLONE), -EOPNOTSUPP);
	snapmap_mut_close(map);
}
END_TEST

/* ---- leased snapshots of the file ---- */

struct reader {
	struct snapmap *map;
	unsigned char version;
	atomic_bool *stop;
};

static bool all_bytes_are(const struct snapmap *map, unsigned char version)
{
	const unsigned char *p = snapmap_data(map);

	return snapmap_size(map) == SIZE && p[0] == version && !memcmp(p, p + 1, SIZE - 1);
}

static void *read_all_the_time(void *arg)
{
	struct reader *r = arg;

	while (!*r->stop)
		if (!all_bytes_are(r->map, r->version))
			return "another version shows";
	return NULL;
}

/* A child that holds a snapshot until told to look at it. */
static pid_t start_holder(unsigned char version, int *ret_tell)
{
	int tell[2], ready[2];
	char byte;
	pid_t child;

	ck_assert(!pipe2(tell, O_CLOEXEC) && !pipe2(ready, O_CLOEXEC));
	child = fork();
	if (!child) {
		struct snapmap *map;

		close(tell[1]);
		if (snapmap_open("f", NULL, &map) || write(ready[1], "r", 1) != 1)
			_exit(1);
		(void)!read(tell[0], &byte, 1);
		_exit(all_bytes_are(map, version) ? 0 : 2);
	}
	close(tell[0]);
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_tell = tell[1];
	return child;
}

#define VERSIONS 8

START_TEST(test_leased_snapshots_survive_an_exchange)
{
	struct reader readers[VERSIONS];
	pthread_t threads[VERSIONS];
	pid_t children[VERSIONS];
	int tell[VERSIONS];
	atomic_bool stop = false;
	struct snapmap_info info;
	struct snapmap_mut *map;
	unsigned char *bytes = calloc(SIZE, 1);

	if (!test_fs()->exchange || TEST_SANITIZED)
		free(bytes);
	need_exchange();
	if (TEST_SANITIZED)
		test_skip("a child starts threads");
	test_write_file("f", bytes, SIZE);
	map = open_mut("f");
	for (int i = 0; i < VERSIONS; i++) {
		readers[i] = (struct reader){.version = (unsigned char)i, .stop = &stop};
		children[i] = start_holder((unsigned char)i, &tell[i]);
		ck_ok(snapmap_open("f", NULL, &readers[i].map));
		ck_ok(snapmap_get_info(readers[i].map, &info));
		ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_HELD);
		ck_assert(!pthread_create(&threads[i], NULL, read_all_the_time, &readers[i]));
		memset(snapmap_mut_data(map), i + 1, SIZE);
		ck_ok(commit_by(map, SNAPMAP_STRATEGY_EXCHANGE));
		ck_ok(snapmap_get_info(readers[i].map, &info));
		ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_IMAGED);
	}
	stop = true;
	for (int i = 0; i < VERSIONS; i++) {
		void *wrong;
		int status;

		pthread_join(threads[i], &wrong);
		ck_assert_msg(!wrong, "snapshot %d: %s", i, (char *)wrong);
		snapmap_close(readers[i].map);
		ck_assert_int_eq(write(tell[i], "l", 1), 1);
		close(tell[i]);
		ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
		ck_assert_msg(status == 0, "snapshot %d of another process: status %x", i, (unsigned)status);
	}
	snapmap_mut_close(map);
	free(bytes);
}
END_TEST

static void add_exchange(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_everything_about_the_inode_stays);
	tcase_add_test(tc, test_another_size_is_for_replace);
	tcase_add_test(tc, test_file_that_was_cut_and_grown_again_has_zeros);
	tcase_add_test(tc, test_holes_get_data_and_stay_holes);
	tcase_add_test(tc, test_what_others_put_behind_the_end_does_not_show);
	tcase_add_test(tc, test_what_is_stored_behind_the_end_is_not_committed);
	tcase_add_test(tc, test_clones_of_the_file_stay_what_they_are);
	tcase_add_test(tc, test_running_program_is_replaced);
	tcase_add_test(tc, test_new_file_is_not_exchanged);
	tcase_add_test(tc, test_directory_need_not_be_writable);
	tcase_add_test(tc, test_nameless_file_needs_a_directory);
	tcase_add_test(tc, test_leased_snapshots_survive_an_exchange);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("exchange");

	test_each_fs(s, "exchange", add_exchange);
	return s;
}
