/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source "immutable": files that nobody can change are mapped as they are, and
 * no other file is. Images of squashfs and erofs and a file system for fs-verity
 * come from tests/with-fs.
 */
#include "config.h"

#include <linux/fs.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "unchanging.h"

/* --- squashfs and erofs */

static const char *const images[] = {"squashfs", "erofs", "erofs-lz4"};
#define IMAGES ((int)(sizeof(images) / sizeof(images[0])))

/* The directory of an image, from a list "name=directory ...". */
static bool find_image(const char *name, char *ret, size_t size)
{
	const char *at = getenv("SNAPMAP_TEST_IMAGES");
	size_t n = strlen(name);

	for (at = at ? at : ""; *at; at += strcspn(at, " "), at += strspn(at, " "))
		if (!strncmp(at, name, n) && at[n] == '=') {
			snprintf(ret, size, "%.*s", (int)strcspn(at + n + 1, " "), at + n + 1);
			return true;
		}
	return false;
}

START_TEST(test_files_of_images)
{
	const char *files = getenv("SNAPMAP_TEST_IMAGE_FILES"), *name = images[_i];
	char dir[PATH_MAX / 2], path[PATH_MAX], original[PATH_MAX];

	if (!files || !find_image(name, dir, sizeof(dir)))
		test_skip("no %s: no program to make it with, or this kernel does not mount it", name);
	expect_probe(dir, true);
	for (int i = 0; i < SIZES; i++) {
		size_t n;

		snprintf(path, sizeof(path), "%s/%zu", dir, size_at(i));
		snprintf(original, sizeof(original), "%s/%zu", files, size_at(i));
		void *bytes = test_read_file(original, &n);
		int fd = open(path, O_RDONLY | O_CLOEXEC), pathfd = open(path, O_PATH | O_CLOEXEC);
		struct snapmap *map;

		ck_assert_uint_eq(n, size_at(i));
		ck_sys(fd);
		ck_sys(pathfd);
		expect_all_ways(path, fd, bytes, n);
		ck_ok(snapmap_open_fd(pathfd, NULL, &map));
		expect_immutable(map, bytes, n);
		if (n)
			ck_assert_str_eq(mapped_file(snapmap_data(map)), path);
		ck_assert_msg(!strncmp(name, info_of(map).file_system, strlen(info_of(map).file_system)), "%s: %s",
			      name, info_of(map).file_system);
		snapmap_close(map);
		expect_editable(path, bytes, n);
		expect_probe(path, true);
		close(fd);
		close(pathfd);
		free(bytes);
	}
}
END_TEST

/* A copy is still to be had, for those who do not trust whoever has the image. */
START_TEST(test_copy_of_a_file_of_an_image)
{
	const struct snapmap_options o = {.size = sizeof(o), .source = SNAPMAP_SOURCE_COPY};
	char dir[PATH_MAX / 2], path[PATH_MAX];
	struct snapmap *map;
	size_t n;

	if (!find_image(images[_i], dir, sizeof(dir)))
		test_skip("no %s", images[_i]);
	snprintf(path, sizeof(path), "%s/%zu", dir, page + 1);
	void *bytes = test_read_file(path, &n);

	ck_ok(snapmap_open(path, &o, &map));
	ck_assert_uint_eq(info_of(map).source, SNAPMAP_SOURCE_COPY);
	ck_assert(map_is(map, bytes, n));
	snapmap_close(map);
	free(bytes);
}
END_TEST

/* --- fs-verity */

/* False where kernel or file system cannot. */
static bool enable_verity(const char *path)
{
	struct fsverity_enable_arg arg = {.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256};
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	ck_sys(fd);
	arg.block_size = (uint32_t)page;
	rc = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
	if (rc && errno == EINVAL && page > 4096) {
		arg.block_size = 4096;
		rc = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
	}
	ck_assert_msg(!rc || errno == EOPNOTSUPP || errno == ENOTTY, "fs-verity of %s: %s", path, strerror(errno));
	close(fd);
	return !rc;
}

static void expect_verity(const char *path, size_t n)
{
	void *bytes = malloc(n + 1);
	int fd;

	test_make_file(path, n, test_seed());
	test_fill(bytes, n, test_seed());
	expect_probe(path, false);
	ck_assert(enable_verity(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_sys(fd);
	expect_all_ways(path, fd, bytes, n);
	expect_editable(path, bytes, n);
	expect_probe(path, true);
	ck_assert(open(path, O_WRONLY | O_CLOEXEC) < 0);
	ck_assert(truncate(path, 0) < 0);
	/* A new file takes the place of this one. */
	struct snapmap *map;

	ck_ok(snapmap_open(path, NULL, &map));
	ck_sys(unlink(path));
	test_make_file(path, 100, 1);
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	ck_ok(snapmap_open_fd(fd, &only, &map));
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	close(fd);
	ck_sys(unlink(path));
	free(bytes);
}

/* Whether files in the directory can have it. */
static bool verity_works(const char *dir)
{
	char path[PATH_MAX];
	bool works;

	snprintf(path, sizeof(path), "%s/try.%d", dir, (int)getpid());
	test_make_file(path, page, 1);
	works = enable_verity(path);
	ck_sys(unlink(path));
	return works;
}

START_TEST(test_files_with_verity)
{
	const char *dir = getenv("SNAPMAP_TEST_VERITY");
	char path[PATH_MAX];

	if (!dir || !verity_works(dir))
		test_skip("no fs-verity on ext4 in this kernel");
	snprintf(path, sizeof(path), "%s/verity.%d", dir, (int)getpid());
	for (int i = 0; i < SIZES; i++)
		expect_verity(path, size_at(i));
}
END_TEST

/* On btrfs fs-verity does not hinder truncation, or did not for long. */
START_TEST(test_verity_that_can_be_cut)
{
	const struct test_fs *btrfs = test_fs_named("btrfs");
	struct snapmap *map;
	char path[PATH_MAX];
	size_t n;

	if (!btrfs || !verity_works(btrfs->dir))
		test_skip("no fs-verity on btrfs in this kernel");
	snprintf(path, sizeof(path), "%s/verity.%d", btrfs->dir, (int)getpid());
	test_make_file(path, 3 * page, test_seed());
	ck_assert(enable_verity(path));
	void *bytes = test_read_file(path, &n);

	expect_probe(path, false);
	ck_fails(snapmap_open(path, &only, &map), -EOPNOTSUPP);
	ck_ok(snapmap_open(path, NULL, &map));
	if (!truncate(path, (off_t)page))
		close(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC));
	expect_other(map, bytes, n);
	snapmap_close(map);
	ck_sys(unlink(path));
	free(bytes);
}
END_TEST

/* --- all other files */

START_TEST(test_ordinary_files)
{
	struct snapmap_info info;
	struct snapmap *map = NULL;
	int fd;

	test_make_file("f", page + 1, 1);
	void *bytes = test_read_file("f", NULL);

	ck_fails(snapmap_open("f", &only, &map), -EOPNOTSUPP);
	ck_says("immutable: ");
	ck_says("fs-verity");
	ck_says("ask for another source");
	ck_assert_ptr_null(map);
	ck_ok(snapmap_open("f", NULL, &map));
	expect_other(map, bytes, page + 1);
	/* It is not worth telling of an ordinary file that it can be changed. */
	info = info_of(map);
	ck_assert_ptr_null(strstr(info.tried, "immutable"));
	snapmap_close(map);
	expect_probe("f", false);
	expect_probe(".", false);
	/* Neither permissions nor a lost name make it immutable. */
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_sys(fd);
	ck_sys(fchmod(fd, 0400));
	expect_refusal(fd);
	ck_sys(unlink("f"));
	expect_refusal(fd);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	expect_other(map, bytes, page + 1);
	snapmap_close(map);
	close(fd);
	free(bytes);
}
END_TEST

struct counting {
	int seals, looks;
};

static int open_counted(void *arg)
{
	struct snapmap *map;
	int rc;

	(void)arg;
	watch_on();
	rc = snapmap_open("f", NULL, &map);
	watch_off();
	if (!rc)
		snapmap_close(map);
	return rc;
}

static int count_call(void *arg, const struct seccomp_data *call)
{
	struct counting *c = arg;

	c->seals += call->nr == SYS_fcntl && call->args[1] == F_GET_SEALS;
	c->looks += call->nr == SYS_ioctl && (uint32_t)call->args[1] == FS_IOC_GETFLAGS;
	c->looks += call->nr == SYS_ioctl && (uint32_t)call->args[1] == FS_IOC_MEASURE_VERITY;
	return 0;
}

START_TEST(test_ordinary_files_are_not_asked)
{
	struct counting c = {0};

	if (!watch_works())
		test_skip("system calls cannot be watched");
	test_make_file("f", page + 1, 1);
	ck_assert_int_eq(watch(open_counted, NULL, count_call, &c), 0);
	ck_assert_int_eq(c.seals, 0);
	ck_assert_int_eq(c.looks, 0);
}
END_TEST

static void add_ordinary(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_page, NULL);
	tcase_add_test(tc, test_ordinary_files);
	tcase_add_test(tc, test_ordinary_files_are_not_asked);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("immutable");
	TCase *tc = tcase_create("kinds");

	tcase_add_checked_fixture(tc, before, after);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_files_of_images, 0, IMAGES);
	tcase_add_loop_test(tc, test_copy_of_a_file_of_an_image, 0, IMAGES);
	tcase_add_test(tc, test_files_with_verity);
	tcase_add_test(tc, test_verity_that_can_be_cut);
	suite_add_tcase(s, tc);
	test_each_fs(s, "ordinary", add_ordinary);
	return s;
}
