/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commit by exchange, and what others do, or the power, between two of its system calls. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exchanging.h"

#define PAGES 64

#define need_watched_exchange()                                      \
	do {                                                         \
		need_exchange();                                     \
		if (!watch_works())                                  \
			test_skip("system calls cannot be watched"); \
	} while (0)

/**
 * struct moment - a commit that is watched
 * @wanted: the call before which something happens
 * @reached: it has come
 * @failed: a call was made to fail
 * @published: the blocks have been exchanged
 * @flushed: and flushed
 */
struct moment {
	struct snapmap_mut *map;
	int wanted, count;
	bool reached, failed, published, flushed;
};

static int commit_by_exchange(void *arg)
{
	struct moment *m = arg;
	int rc;

	watch_on();
	rc = commit_by(m->map, SNAPMAP_STRATEGY_EXCHANGE);
	watch_off();
	return rc;
}

static struct moment open_and_edit(int wanted)
{
	struct moment m = {.wanted = wanted};

	test_make_file("f", PAGES * PAGE, 1);
	ck_ok(snapmap_mut_open("f", NULL, &m.map));
	((char *)snapmap_mut_data(m.map))[PAGE] ^= 1;
	return m;
}

/* ---- the blocks that go must not be anybody's alone before the exchange is on disk ---- */

static bool is_shared(const char *path, uint64_t offset)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = {.map = {.fm_start = offset, .fm_length = PAGE, .fm_extent_count = 1}};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert(fd >= 0 && !ioctl(fd, FS_IOC_FIEMAP, &u.map));
	close(fd);
	ck_assert_uint_eq(u.map.fm_mapped_extents, 1);
	return u.map.fm_extents[0].fe_flags & FIEMAP_EXTENT_SHARED;
}

/* What the kernel frees in the background it has freed then. */
static void wait_for_the_kernel(void)
{
	struct statfs s;

	for (int i = 0; i < 5; i++) {
		ck_assert(!statfs(".", &s));
		usleep(20000);
	}
}

static int look_at_clone(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	if (m->published && !m->flushed && call->nr == SYS_fsync) {
		wait_for_the_kernel();
		ck_assert_msg(is_shared("clone", PAGE), "a write to the clone would go into what a crash brings back");
		m->flushed = true;
	}
	m->published |= is_publication(call);
	return 0;
}

START_TEST(test_exchange_is_flushed_before_old_blocks_are_let_go)
{
	struct moment m;
	int from, to;

	need_watched_exchange();
	m = open_and_edit(0);
	/* From now on the handle's image has a block of its own there. */
	ck_assert_int_eq(commit_by_exchange(&m), 0);
	((char *)snapmap_mut_data(m.map))[PAGE] ^= 1;
	from = open("f", O_RDONLY | O_CLOEXEC);
	to = open("clone", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(from >= 0 && to >= 0 && !ioctl(to, FICLONE, from));
	close(from);
	close(to);
	ck_assert_int_eq(watch(commit_by_exchange, &m, look_at_clone, &m), 0);
	ck_assert_msg(m.flushed, "it was not flushed");
	snapmap_mut_close(m.map);
}
END_TEST

/* ---- a file that is cut ---- */

static int cut_before(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	if (m->count++ == m->wanted && !m->published) {
		ck_assert(!truncate("f", 5 * PAGE));
		m->reached = true;
	}
	m->published |= is_publication(call);
	return 0;
}

START_TEST(test_file_that_is_cut_in_the_middle_of_a_commit_is_a_conflict)
{
	bool reached = true;

	need_watched_exchange();
	for (int n = 0; reached; n++) {
		struct moment m = open_and_edit(n);
		int rc = watch(commit_by_exchange, &m, cut_before, &m);

		reached = m.reached;
		ck_assert_msg(rc == (reached ? -EBUSY : 0), "cut before call %d: %d: %s", n, rc, snapmap_last_error());
		snapmap_mut_close(m.map);
	}
}
END_TEST

/* ---- a file whose extents have to be cut first ---- */

/* So many that what its edits can need is more than the kernel sets aside. */
#define EXTENTS 2500
/* Making such a file takes long: so each run looks at some of the calls only. */
#define EACH 5

static int some_call(void)
{
	uint64_t random = test_seed();

	return (int)(test_random(&random) % EACH);
}

static struct moment open_full_tree(int wanted, unsigned char **ret_old)
{
	struct moment m = {.wanted = wanted};

	*ret_old = write_stripes(EXTENTS, 1);
	m.map = open_mut("f");
	edit_each_leaf(m.map, NULL, 1, 1, 1, 2);
	return m;
}

static int write_before(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	if (m->count++ == m->wanted && !m->published) {
		int fd = open("f", O_WRONLY | O_CLOEXEC);

		/* Into what is edited, and what is copied so that the kernel can compare it. */
		ck_assert_int_eq(pwrite(fd, "foreign", 7, (off_t)PAGE), 7);
		close(fd);
		m->reached = true;
	}
	m->published |= is_publication(call);
	return 0;
}

START_TEST(test_write_in_the_middle_of_cutting_is_a_conflict)
{
	bool reached = true;

	need_watched_exchange();
	for (int n = some_call(); reached; n += EACH) {
		unsigned char *old;
		struct moment m = open_full_tree(n, &old);
		int rc = watch(commit_by_exchange, &m, write_before, &m);

		reached = m.reached;
		memcpy(old + PAGE, "foreign", 7);
		ck_assert_msg(rc == (reached ? -EBUSY : 0), "written before call %d: %d: %s", n, rc,
			      snapmap_last_error());
		ck_assert_msg(!reached || test_file_is("f", old, 2 * EXTENTS * PAGE), "before call %d: a write is lost",
			      n);
		snapmap_mut_close(m.map);
		free(old);
	}
}
END_TEST

static int fail_here(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;
	bool here = m->count++ == m->wanted;

	m->reached |= here;
	if (here && call_can_fail(call) && !m->published) {
		m->failed = true;
		return -EIO;
	}
	m->published |= is_publication(call);
	return 0;
}

START_TEST(test_cutting_that_fails_leaves_all_as_it_was)
{
	bool reached = true;

	need_watched_exchange();
	for (int n = some_call(); reached; n += EACH) {
		unsigned char *old;
		struct moment m = open_full_tree(n, &old);
		size_t fds = test_count_fds(), names = count_names(".");
		int rc = watch(commit_by_exchange, &m, fail_here, &m);

		reached = m.reached;
		ck_assert_msg(m.failed || !rc, "call %d: %d: %s", n, rc, snapmap_last_error());
		ck_assert_msg(!rc || test_file_is("f", old, 2 * EXTENTS * PAGE), "call %d: the file changed", n);
		ck_assert_msg(test_count_fds() == fds, "call %d: a descriptor is left", n);
		ck_assert_msg(count_names(".") == names, "call %d: a name is left", n);
		ck_ok(snapmap_mut_commit(m.map, NULL));
		edit_each_leaf(m.map, old, 1, 1, 1, 2);
		ck_assert(test_file_is("f", old, 2 * EXTENTS * PAGE));
		snapmap_mut_close(m.map);
		free(old);
	}
}
END_TEST

static void add_moments(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_exchange_is_flushed_before_old_blocks_are_let_go);
	tcase_add_test(tc, test_file_that_is_cut_in_the_middle_of_a_commit_is_a_conflict);
	tcase_add_test(tc, test_write_in_the_middle_of_cutting_is_a_conflict);
	tcase_add_test(tc, test_cutting_that_fails_leaves_all_as_it_was);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("exchange_moments");

	test_each_fs(s, "exchange_moments", add_moments);
	return s;
}
