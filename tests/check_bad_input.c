/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bad input: each a negative errno with a sentence, and nothing left behind or
 * touched. Also PITFALLS 9: what is no regular file, is empty, or is too large.
 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "opening.h"

#define N 10000

/* Opens what must not be opened: outputs stay, nothing leaks, and the sentence names it. */
static int refused(int way, const char *path, const struct snapmap_options *o)
{
	struct snapmap *map = (struct snapmap *)0x1;
	struct snapmap_mut *mut = (struct snapmap_mut *)0x1;
	size_t fds = test_count_fds(), maps = count_file_maps();
	int rc;

	alarm(20); /* whatever blocks ends the test by a signal */
	rc = way_edits(way) ? snapmap_mut_open(path, o, &mut) : snapmap_open(path, o, &map);
	alarm(0);
	ck_assert_msg(rc < 0, "%s was opened", path);
	ck_assert_ptr_eq(map, (void *)0x1);
	ck_assert_ptr_eq(mut, (void *)0x1);
	ck_assert_msg(path == NULL || strstr(snapmap_last_error(), path), "not named: %s", snapmap_last_error());
	ck_assert_uint_gt(strlen(snapmap_last_error()), 20);
	ck_assert_uint_eq(test_count_fds(), fds);
	ck_assert_uint_eq(count_file_maps(), maps);
	return rc;
}

static int refused_fd(int way, int fd)
{
	struct view v = {.size = 77};
	size_t fds = test_count_fds(), maps = count_file_maps();
	char number[32];
	int rc;

	alarm(20);
	rc = view_try_fd(way, fd, 0, &v);
	alarm(0);
	ck_assert_msg(rc < 0, "descriptor %d was opened", fd);
	ck_assert_uint_eq(v.size, 77);
	snprintf(number, sizeof(number), "descriptor %d", fd);
	ck_assert_msg(strstr(snapmap_last_error(), number), "not named: %s", snapmap_last_error());
	ck_assert_uint_eq(test_count_fds(), fds);
	ck_assert_uint_eq(count_file_maps(), maps);
	return rc;
}

/* Both by path and by descriptor, and by a link. */
static void expect_refused(int way, const char *path, int error)
{
	struct snapmap_options o = way_options(way, 0);

	ck_assert_int_eq(refused(way, path, &o), error);
	ck_assert_sys(symlink(path, "link"));
	ck_assert_int_eq(refused(way, "link", &o), error);
	ck_assert_sys(unlink("link"));
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd >= 0)
		ck_assert_int_eq(refused_fd(way, fd), error);
	close(fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		ck_assert_int_eq(refused_fd(way, fd), error);
	close(fd);
}

/* --- paths */

START_TEST(test_bad_paths)
{
	struct snapmap_options o = way_options(_i, 0);
	char deep[5000], name[300];
	struct view v = {0};
	int rc;

	test_make_file("f", N, 1);
	ck_assert_sys(symlink("loop", "loop"));
	ck_assert_int_eq(refused(_i, "", &o), -ENOENT);
	ck_assert_int_eq(refused(_i, "missing", &o), -ENOENT);
	ck_assert_int_eq(refused(_i, "missing/f", &o), -ENOENT);
	ck_assert_int_eq(refused(_i, "missing/", &o), -ENOENT);
	ck_assert_int_eq(refused(_i, "f/", &o), -ENOTDIR);
	ck_assert_int_eq(refused(_i, "f/g", &o), -ENOTDIR);
	ck_assert_int_eq(refused(_i, "f/.", &o), -ENOTDIR);
	ck_assert_int_eq(refused(_i, "loop", &o), -ELOOP);
	memset(name, 'n', 256);
	name[256] = 0;
	/* Some FUSE file systems say ENOENT: the library says what the kernel says. */
	ck_assert_int_eq(open(name, O_RDONLY | O_CLOEXEC), -1);
	rc = -errno;
	ck_assert_int_eq(refused(_i, name, &o), rc);
	memset(deep, '/', sizeof(deep));
	strcpy(deep + 4500, "f");
	ck_assert_int_eq(view_try(_i, deep, 0, &v), -ENAMETOOLONG);
	ck_assert_int_eq(refused(_i, NULL, &o), -EINVAL);
}
END_TEST

START_TEST(test_null_arguments)
{
	struct snapmap_probe probe;
	struct snapmap_info info;
	struct view v = {0};

	test_make_file("f", N, 1);
	ck_assert_int_eq(snapmap_open("f", NULL, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_mut_open("f", NULL, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_open_fd(0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_mut_open_fd(0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_mut_create("g", 0644, NULL, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_mut_create(NULL, 0644, NULL, &v.mut), -EINVAL);
	ck_assert_int_eq(snapmap_probe(NULL, &probe), -EINVAL);
	ck_assert_int_eq(snapmap_probe("f", NULL), -EINVAL);
	ck_assert_int_eq(snapmap_get_info(NULL, &info), -EINVAL);
	ck_assert_int_eq(snapmap_mut_get_info(NULL, &info), -EINVAL);
	ck_assert_int_eq(snapmap_prefault(NULL, 0, 0), -EINVAL);
	ck_assert_int_eq(snapmap_mut_prefault(NULL, 0, 0), -EINVAL);
	ck_assert_int_eq(snapmap_mut_resize(NULL, 0), -EINVAL);
	ck_assert_int_eq(snapmap_mut_dirty(NULL, NULL, 0), -EINVAL);
	ck_assert_int_eq(snapmap_mut_rollback(NULL), -EINVAL);
	ck_assert_str_ne(snapmap_last_error(), "");
	snapmap_close(NULL);
	snapmap_mut_close(NULL);
	view_open(1, "f", 0, &v);
	ck_assert_int_eq(snapmap_mut_get_info(v.mut, NULL), -EINVAL);
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 1), -EINVAL);
	ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 0);
	view_close(&v);
	view_open(0, "f", 0, &v);
	ck_assert_int_eq(snapmap_get_info(v.map, NULL), -EINVAL);
	view_close(&v);
}
END_TEST

/* --- options */

START_TEST(test_bad_options)
{
	static const uint32_t not_here[] = {SNAPMAP_SOURCE_SUBVOLUME, SNAPMAP_SOURCE_MINIFS};
	struct snapmap_options good = way_options(_i, 0), o;

	test_make_file("f", N, 1);
	for (uint32_t size = 0; size < 2 * sizeof(o); size++) {
		o = good;
		o.size = size;
		if (size != sizeof(o))
			ck_assert_int_eq(refused(_i, "f", &o), -EINVAL);
	}
	for (int bit = 0; bit < 32; bit++) {
		o = good;
		o.flags = 1u << bit;
		if (bit > 5)
			ck_assert_int_eq(refused(_i, "f", &o), -EINVAL);
		o = good;
		o.source = 1u << bit;
		if (bit > 7)
			ck_assert_int_eq(refused(_i, "f", &o), -EINVAL);
		o.source = SNAPMAP_SOURCE_COPY | 1u << bit;
		if (o.source != SNAPMAP_SOURCE_COPY)
			ck_assert_int_eq(refused(_i, "f", &o), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(not_here) / sizeof(not_here[0]); i++) {
		o = good;
		o.source = not_here[i];
		ck_assert_int_eq(refused(_i, "f", &o), -EOPNOTSUPP);
		ck_assert(strstr(snapmap_last_error(), "source"));
	}
	o = good;
	o.flags = SNAPMAP_SPILL | (way_edits(_i) ? SNAPMAP_INHERIT : 0);
	ck_assert_int_eq(refused(_i, "f", &o), -EINVAL);
}
END_TEST

START_TEST(test_source_that_cannot_serve)
{
	struct snapmap_options o = {.size = sizeof(o), .source = SNAPMAP_SOURCE_REFLINK};

	if (test_fs()->reflink)
		return;
	test_make_file("f", N, 1);
	ck_assert_int_eq(refused(_i, "f", &o), -EOPNOTSUPP);
	ck_assert(strstr(snapmap_last_error(), "reflink"));
	ck_assert_uint_eq(test_count_names("."), 1);
}
END_TEST

/* --- PITFALLS 9 */

START_TEST(test_directories_are_refused)
{
	ck_assert_sys(mkdir("d", 0755));
	expect_refused(_i, "d", -EISDIR);
	expect_refused(_i, ".", -EISDIR);
	expect_refused(_i, "d/", -EISDIR);
	expect_refused(_i, "d/..", -EISDIR);
	expect_refused(_i, "/", -EISDIR);
}
END_TEST

START_TEST(test_a_fifo_does_not_hang)
{
	ck_assert_sys(mkfifo("fifo", 0600));
	expect_refused(_i, "fifo", -EOPNOTSUPP);
	int fds[2];

	ck_assert_sys(pipe2(fds, O_CLOEXEC));
	ck_assert_int_eq(refused_fd(_i, fds[0]), -EOPNOTSUPP);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_devices_and_sockets_are_refused)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	expect_refused(_i, "/dev/null", -EOPNOTSUPP);
	expect_refused(_i, "/dev/zero", -EOPNOTSUPP);
	expect_refused(_i, "/dev/tty", -EOPNOTSUPP);
	ck_assert_sys(bind(fd, (struct sockaddr *)&name, sizeof(name)));
	expect_refused(_i, "socket", -EOPNOTSUPP);
	ck_assert_int_eq(refused_fd(_i, fd), -EOPNOTSUPP);
	close(fd);
}
END_TEST

START_TEST(test_made_up_files_are_refused)
{
	static const char *const paths[] = {"/proc/self/status",
					    "/proc/self/maps",
					    "/proc/version",
					    "/proc/self/mem",
					    "/sys/kernel/mm/transparent_hugepage/enabled",
					    "/proc/cpuinfo"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!access(paths[i], R_OK)) {
			expect_refused(_i, paths[i], -EOPNOTSUPP);
			ck_assert(strstr(snapmap_last_error(), "read it instead"));
		}
}
END_TEST

START_TEST(test_empty_file)
{
	struct view v = {0};

	if (!way_exists(_i))
		return;
	test_write_file("f", "", 0);
	view_open(_i, "f", 0, &v);
	ck_assert_uint_eq(v.size, 0);
	ck_assert_ptr_nonnull(v.data);
	ck_assert_uint_eq((uintptr_t)v.data % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
	ck_assert_uint_eq(v.info.size, 0);
	ck_assert_uint_eq(v.info.bytes_copied, 0);
	if (v.mut) {
		ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 0);
		ck_assert_ok(snapmap_mut_rollback(v.mut));
		ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
		ck_assert_ok(snapmap_mut_resize(v.mut, 0));
		ck_assert_ptr_nonnull(snapmap_mut_data(v.mut));
	}
	view_close(&v);
	/* A file that only grew later was empty. */
	view_open(_i, "f", 0, &v);
	test_make_file("f", N, 1);
	ck_assert_uint_eq(v.size, 0);
	view_close(&v);
}
END_TEST

/* Not even the address space of the machine holds these, or it does, and they cost nothing. */
START_TEST(test_file_larger_than_the_address_space)
{
	static const int64_t sizes[] = {INT64_MAX, INT64_MAX - 4096, (int64_t)1 << 62, (int64_t)1 << 48,
					(int64_t)1 << 47};
	bool tried = false;
	struct stat st;

	if (!way_exists(_i))
		return;
	test_write_file("f", "x", 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct snapmap_options o = way_options(_i, 0);

		if (truncate("f", sizes[i]) || stat("f", &st) || st.st_size != sizes[i])
			continue;
		tried = true;
		ck_assert_int_eq(refused(_i, "f", &o), -EFBIG);
		ck_assert(strstr(snapmap_last_error(), "address space"));
	}
	if (!tried && _i == 0)
		printf("%s: no file can be that large\n", test_fs()->name);
	ck_assert_uint_eq(test_count_names("."), 1);
}
END_TEST

/* As large as the file system lets it be, but with nothing in it. */
START_TEST(test_huge_sparse_file)
{
	const size_t large = (size_t)1 << 40;
	struct view v = {0};

	/* fuse2fs does not tell where the holes are, and reading all of them takes too long. */
	if (!way_exists(_i) || !strcmp(test_fs()->name, "fuse"))
		return;
	test_write_file("f", "first", 5);
	if (truncate("f", (off_t)large))
		return;
	view_open(_i, "f", 0, &v);
	ck_assert_uint_eq(v.size, large);
	ck_assert_uint_lt(v.info.bytes_copied, 1 << 20);
	ck_assert(!memcmp(v.data, "first", 5));
	ck_assert_uint_eq(v.data[large / 2], 0);
	ck_assert_uint_eq(v.data[large - 1], 0);
	if (v.mut) {
		((unsigned char *)snapmap_mut_data(v.mut))[large - 1] = 1;
		ck_assert_int_eq(snapmap_mut_dirty(v.mut, NULL, 0), 1);
		ck_assert_ok(snapmap_mut_rollback(v.mut));
	}
	view_close(&v);
}
END_TEST

/* --- the sentence */

static void *fail_in_thread(void *arg)
{
	struct snapmap *map;

	if (strcmp(snapmap_last_error(), ""))
		return (void *)"not empty before the first failure";
	if (snapmap_open(arg, NULL, &map) != -ENOENT)
		return (void *)"no -ENOENT";
	return strstr(snapmap_last_error(), arg) ? NULL : (void *)"another's sentence";
}

START_TEST(test_last_error_belongs_to_its_thread)
{
	struct snapmap *map;
	char before[2000];
	pthread_t thread;
	void *complaint;

	ck_assert_str_eq(snapmap_last_error(), "");
	ck_assert_int_eq(snapmap_open("one", NULL, &map), -ENOENT);
	ck_assert(strstr(snapmap_last_error(), "'one'"));
	strcpy(before, snapmap_last_error());
	ck_assert_int_eq(pthread_create(&thread, NULL, fail_in_thread, (void *)(uintptr_t) "two"), 0);
	ck_assert_int_eq(pthread_join(thread, &complaint), 0);
	ck_assert_msg(complaint == NULL, "%s", (char *)complaint);
	ck_assert_str_eq(snapmap_last_error(), before);
	/* Success does not take it away. */
	test_make_file("f", N, 1);
	ck_assert_ok(snapmap_open("f", NULL, &map));
	ck_assert_str_eq(snapmap_last_error(), before);
	snapmap_close(map);
}
END_TEST

START_TEST(test_sentences_fit_and_end)
{
	char path[4000];
	struct snapmap *map;

	memset(path, 'd', sizeof(path));
	for (size_t i = 100; i < sizeof(path); i += 100)
		path[i] = '/';
	strcpy(path + sizeof(path) - 20, "/the-end-of-it");
	ck_assert_int_eq(snapmap_open(path, NULL, &map), -ENOENT);
	ck_assert_msg(strstr(snapmap_last_error(), "/the-end-of-it'"), "%s", snapmap_last_error());
	ck_assert_uint_lt(strlen(snapmap_last_error()), 1600);
}
END_TEST

/* A name may hold anything: formats must not be taken for such. */
START_TEST(test_names_are_not_formats)
{
	struct snapmap *map;

	ck_assert_int_eq(snapmap_open("%s%n%s%d", NULL, &map), -ENOENT);
	ck_assert(strstr(snapmap_last_error(), "%s%n%s%d"));
}
END_TEST

START_TEST(test_names_of_constants)
{
	ck_assert_str_eq(snapmap_source_name(SNAPMAP_SOURCE_COPY), "copy");
	ck_assert_str_eq(snapmap_source_name(SNAPMAP_SOURCE_REFLINK), "reflink");
	ck_assert_str_eq(snapmap_source_name(12345), "unknown");
	ck_assert_str_eq(snapmap_consistency_name(SNAPMAP_CONSISTENCY_FUZZY), "fuzzy");
	ck_assert_str_eq(snapmap_consistency_name(77), "unknown");
	ck_assert_str_eq(snapmap_strategy_name(99), "unknown");
	ck_assert_str_ne(snapmap_version(), "");
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_bad_paths, 0, 2);
	tcase_add_test(tc, test_null_arguments);
	tcase_add_loop_test(tc, test_bad_options, 0, 2);
	tcase_add_loop_test(tc, test_source_that_cannot_serve, 0, 2);
	tcase_add_loop_test(tc, test_directories_are_refused, 0, 2);
	tcase_add_loop_test(tc, test_a_fifo_does_not_hang, 0, 2);
	tcase_add_loop_test(tc, test_devices_and_sockets_are_refused, 0, 2);
	tcase_add_loop_test(tc, test_made_up_files_are_refused, 0, 2);
	tcase_add_loop_test(tc, test_empty_file, 0, WAYS);
	tcase_add_loop_test(tc, test_file_larger_than_the_address_space, 0, WAYS);
	tcase_add_loop_test(tc, test_huge_sparse_file, 0, WAYS);
	tcase_add_test(tc, test_last_error_belongs_to_its_thread);
	tcase_add_test(tc, test_sentences_fit_and_end);
	tcase_add_test(tc, test_names_are_not_formats);
	tcase_add_test(tc, test_names_of_constants);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("bad_input");

	test_each_fs(s, "bad_input", add_tests);
	return s;
}
