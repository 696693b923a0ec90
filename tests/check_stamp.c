/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What telling changes by stamps depends on in the kernel: a write(2) moves ctime before
 * its bytes, so whoever takes a stamp has to wait until it has ended.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base.h"
#include "testing.h"

#define PAGE ((size_t)4096)
#define SIZE (16 * PAGE)

/* A writer that is held up in the middle of write(2), because its bytes are not there yet. */
struct writer {
	int uffd;
	char *bytes;
	pthread_t thread, releaser;
	atomic_bool released;
};

static void *write_a_page(void *arg)
{
	struct writer *w = (struct writer *)arg;
	int fd = open("f", O_WRONLY | O_CLOEXEC);
	ssize_t n = pwrite(fd, w->bytes, PAGE, (off_t)(3 * PAGE));

	close(fd);
	return n == (ssize_t)PAGE ? w : NULL;
}

static void *release_later(void *arg)
{
	struct writer *w = (struct writer *)arg;
	struct uffdio_zeropage zero = {.range = {(uintptr_t)w->bytes, PAGE}};

	usleep(100000);
	w->released = true;
	ioctl(w->uffd, UFFDIO_ZEROPAGE, &zero);
	return NULL;
}

/* False without the right to hold up the kernel. */
static bool prepare(struct writer *w)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register area = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	w->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (w->uffd < 0)
		return false;
	w->bytes = (char *)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(w->bytes != MAP_FAILED);
	ck_assert(!ioctl(w->uffd, UFFDIO_API, &api));
	area.range.start = (uintptr_t)w->bytes;
	area.range.len = PAGE;
	ck_assert(!ioctl(w->uffd, UFFDIO_REGISTER, &area));
	return true;
}

static void wait_for_ctime(int fd, const struct stat *before)
{
	struct stat now;

	for (int i = 0; i < 5000; i++) {
		ck_assert(!fstat(fd, &now));
		if (now.st_ctim.tv_nsec != before->st_ctim.tv_nsec || now.st_ctim.tv_sec != before->st_ctim.tv_sec)
			return;
		usleep(1000);
	}
	ck_abort_msg("the write does not begin");
}

START_TEST(test_writers_under_way_are_waited_for)
{
	struct writer w = {0};
	struct stat before;
	struct stamp stamp;
	void *done;
	int fd;

	if (!strcmp(test_fs()->name, "fuse") || test_fs()->served)
		test_skip("what is taken there is never called a point in time");
	test_make_file("f", SIZE, 1);
	if (!prepare(&w))
		test_skip("no right to hold up the kernel by userfaultfd");
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fsync(fd), 0);
	/* So that the next change moves ctime also where it goes in ticks. */
	usleep(20000);
	ck_assert(!fstat(fd, &before));
	ck_assert_int_eq(pthread_create(&w.thread, NULL, write_a_page, &w), 0);
	wait_for_ctime(fd, &before);
	ck_assert_int_eq(pthread_create(&w.releaser, NULL, release_later, &w), 0);
	ck_assert_int_eq(stamp_take(fd, fs_traits_of(fd), true, &stamp), 0);
	ck_assert_msg(w.released, "a stamp was taken in the middle of a write");
	ck_assert_int_eq(pthread_join(w.thread, &done), 0);
	ck_assert(done != NULL);
	ck_assert_int_eq(pthread_join(w.releaser, NULL), 0);
	munmap(w.bytes, PAGE);
	close(w.uffd);
	close(fd);
}
END_TEST

START_TEST(test_looking_for_changes_is_no_access)
{
	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct stamp stamp;
	struct stat st;
	int fd;

	if (!strncmp(test_fs()->name, "overlay", strlen("overlay")))
		test_skip("only a read waits for the writers of whatever lies below");
	test_make_file("f", SIZE, 1);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(futimens(fd, times), 0);
	ck_assert_int_eq(stamp_take(fd, fs_traits_of(fd), true, &stamp), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_atime, 1000);
	close(fd);
}
END_TEST

static void add_stamp(TCase *tc)
{
	tcase_add_test(tc, test_looking_for_changes_is_no_access);
	tcase_add_test(tc, test_writers_under_way_are_waited_for);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("stamp");

	test_each_fs(s, "stamp", add_stamp);
	return s;
}
