/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image of a leased file: as the file was when it was leased, or none. */
#include "config.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "lease.h"
#include "opening.h"
#include "sys.h"

#define PAGE ((size_t)4096)
#define SIZE (5 * PAGE)

static unsigned char bytes[SIZE];

/* As the threads see it, outside of any table. One reference more than theirs: somebody still waits for it. */
static void lease_file(struct leased *ret)
{
	struct stat st;

	test_fill(bytes, SIZE, test_seed());
	test_write_file("f", bytes, SIZE);
	*ret = (struct leased){.fd = open("f", O_RDONLY | O_NONBLOCK | O_CLOEXEC), .size = SIZE, .refs = 2};
	ck_assert_sys(ret->fd);
	ck_assert_int_eq(sys_lease_take(ret->fd, sys_gettid()), 0);
	ck_assert_sys(fstat(ret->fd, &st));
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->fs = fs_traits_of(ret->fd);
}

/* Without descriptors it is made in memory. */
static void image(struct leased *l, bool without_descriptors, struct stand_in *ret)
{
	struct rlimit before, none;

	ck_assert_sys(getrlimit(RLIMIT_NOFILE, &before));
	none = (struct rlimit){(rlim_t)l->fd + 1, before.rlim_max};
	ck_assert_sys(without_descriptors ? setrlimit(RLIMIT_NOFILE, &none) : 0);
	lease_image(l, ret);
	ck_assert_sys(setrlimit(RLIMIT_NOFILE, &before));
}

static void expect_none(struct leased *l, int error)
{
	struct stand_in s;

	for (int without = 0; without < 2; without++) {
		image(l, without, &s);
		ck_assert_int_eq(s.error, error);
		ck_assert(s.image.fd == -1 && !s.memory);
	}
}

START_TEST(test_image_is_the_file)
{
	unsigned char got[SIZE + 1];
	struct leased l;
	struct stand_in s;

	if (!row_leases())
		test_skip("no leases here");
	lease_file(&l);
	image(&l, false, &s);
	ck_assert(!s.error && !s.memory);
	ck_assert_int_eq(pread(s.image.fd, got, sizeof(got), 0), (ssize_t)SIZE);
	ck_assert(!memcmp(got, bytes, SIZE));
	close(s.image.fd);
	image(&l, true, &s);
	ck_assert(!s.error && s.memory && s.image.fd == -1);
	ck_assert_uint_eq(s.span, SIZE);
	ck_assert(!memcmp(s.memory, bytes, SIZE));
	munmap(s.memory, s.span);
	close(l.fd);
}
END_TEST

/* truncate(2) through a mounted overlayfs looks for no leases, so a leased file can have another size. */
START_TEST(test_no_image_of_another_size)
{
	static const uint64_t sizes[] = {SIZE - PAGE, SIZE - 1, SIZE + 1, SIZE + PAGE, 3 * SIZE};
	struct leased l;

	if (!row_leases())
		test_skip("no leases here");
	lease_file(&l);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		l.size = sizes[i];
		expect_none(&l, -EIO);
	}
	close(l.fd);
}
END_TEST

START_TEST(test_no_image_of_another_file)
{
	struct leased l;

	if (!row_leases())
		test_skip("no leases here");
	lease_file(&l);
	l.ino++;
	expect_none(&l, -EBADF);
	close(l.fd);
	expect_none(&l, -EBADF);
}
END_TEST

/* Nobody waits for it any more. */
START_TEST(test_no_image_for_nobody)
{
	struct stand_in s;
	struct leased l;

	if (!row_leases())
		test_skip("no leases here");
	lease_file(&l);
	l.refs = 1;
	image(&l, false, &s);
	if (s.error)
		ck_assert(s.error == -ECANCELED && s.image.fd == -1 && !s.memory);
	else
		ck_assert(test_fs()->reflink);
	close_fd(&s.image.fd);
	close(l.fd);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_image_is_the_file);
	tcase_add_test(tc, test_no_image_of_another_size);
	tcase_add_test(tc, test_no_image_of_another_file);
	tcase_add_test(tc, test_no_image_for_nobody);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_image");

	test_each_fs(s, "lease_image", add_tests);
	return s;
}
