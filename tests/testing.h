/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the test programs share. Each tests/check_*.c holds tests and one
 * function test_suite(); main() is in testing.c.
 *
 *	START_TEST(test_open_of_a_bare_name)
 *	{
 *		test_make_file("file.dat", 10000, 1);	// in this test's own directory
 *		...
 *		if (!test_fs()->reflink)
 *			test_skip("no reflink");
 *	}
 *	END_TEST
 *
 *	static void add_open(TCase *tc)
 *	{
 *		tcase_add_test(tc, test_open_of_a_bare_name);
 *	}
 *
 *	Suite *test_suite(void)
 *	{
 *		Suite *s = suite_create("open");
 *		test_each_fs(s, "open", add_open);
 *		return s;
 *	}
 *
 * Environment: SNAPMAP_TEST_FS and SNAPMAP_TEST_SMALL_FS (rows as "name=directory ..."),
 * SNAPMAP_TEST_SEED, and Check's own: CK_RUN_CASE=open/btrfs for one row, CK_FORK=no for a
 * debugger, CK_VERBOSITY=verbose to list every test.
 *
 * A check that fails ends the test process at once, so it may be made only in
 * that process itself: a child made with fork() reports to its parent instead.
 */
#ifndef SNAPMAP_TESTING_H
#define SNAPMAP_TESTING_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#else
#define TEST_SANITIZED 0
#endif
/* The thread sanitizer ends a child of a process with threads that starts threads. */
#ifdef __SANITIZE_THREAD__
#define TEST_CHILD_HAS_THREADS 0
#else
#define TEST_CHILD_HAS_THREADS 1
#endif

/* A row: one file system to run the tests on. */
struct test_fs {
	const char *name; /* such as "xfs", "overlay-xfs", "ext4-small" */
	const char *dir;  /* a directory there that this user may write */
	bool reflink;	  /* FICLONE works there */
	bool exchange;	  /* blocks of files can be exchanged there */
	bool tmpfile;	  /* O_TMPFILE works there */
	bool small;	  /* made to be filled up */
	bool served;	  /* by snapfs */
};

/* What a test program defines. */
Suite *test_suite(void);

/*
 * Adds a test case "name/row" for each file system, and lets @add put tests into
 * it. Each of these tests runs in a new directory of its own on that file system,
 * which is its working directory, and fails if it leaves a descriptor open.
 */
void test_each_fs(Suite *s, const char *name, void (*add)(TCase *tc));
/* The same for the small file systems, made to be filled up. */
void test_each_small_fs(Suite *s, const char *name, void (*add)(TCase *tc));

/* The row of the running test. */
const struct test_fs *test_fs(void);
/* Another row by its name, NULL if it is not there. For tests that need two file systems. */
const struct test_fs *test_fs_named(const char *name);
/* The running test's own directory, as an absolute path. */
const char *test_dir(void);

/* A system call of the test itself. */
#define ck_assert_sys(call) ck_assert_msg((call) >= 0, "%s: %s", #call, strerror(errno))

/* Ends the running test as skipped; the reason is printed and counted. Only in the test function itself. */
#define test_skip(...)                       \
	do {                                 \
		test_note_skip(__VA_ARGS__); \
		return;                      \
	} while (0)
void test_note_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The run's seed. It is printed; SNAPMAP_TEST_SEED sets it. */
uint64_t test_seed(void);
/* Next number of a sequence that starts at *@state. */
uint64_t test_random(uint64_t *state);
/* Fills @buf with bytes that depend on @seed and on their place counted from the start of @buf only. */
void test_fill(void *buf, size_t n, uint64_t seed);
/* Hash (64-bit FNV-1a) of @n bytes. */
uint64_t test_hash(const void *buf, size_t n);

/* Files. Paths are as for open(2); whatever goes wrong fails the test. */
void test_write_file(const char *path, const void *bytes, size_t n);
/* A file of @n bytes as test_fill() makes them. */
void test_make_file(const char *path, size_t n, uint64_t seed);
/* All of a file, to be freed, with one more byte 0 behind. @ret_n may be NULL. */
void *test_read_file(const char *path, size_t *ret_n);
/* Hash of all of a file. */
uint64_t test_hash_file(const char *path);
/* Whether the file holds exactly these bytes. */
bool test_file_is(const char *path, const void *bytes, size_t n);
/* Number of names in a directory, without "." and "..". */
size_t test_count_names(const char *dir);
/* Takes all space of the running test's file system but about @leave bytes, with a file "ballast". */
void test_fill_disk(uint64_t leave);

/* Open descriptors of this process. */
size_t test_count_fds(void);
/* Gives threads that end their time until there are as many as that. */
void test_settle_fds(size_t fds);
/*
 * What descriptors a program has that this process starts now, a line for each, in @buf.
 * 0 or -1. Makes no check, so children may call it.
 */
int test_started_program_fds(char *buf, size_t size);
/* Mappings of this process; in a sanitized build only those of files, since its own come and go. */
size_t test_count_maps(void);
/* Gives threads that end their time until there are no more than that. */
void test_settle_maps(size_t maps);

/* Whether this process is root. */
bool test_is_root(void);
/*
 * Runs @fn in a child process, as another user without groups or privileges if
 * @uid is not the present one (root only). Returns what @fn returned; a child that died by a
 * signal fails the test.
 */
int test_as_user(uid_t uid, int (*fn)(void *arg), void *arg);

#endif
