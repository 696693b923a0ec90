/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that breaks (odd_fs.c) while a commit waits for its flush. The kernel's flush may
 * succeed nevertheless, as late as when all of it is thrown away: the commit must not.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "committing.h"
#include "serving.h"

#define SIZE ((size_t)100000)

static const struct storage {
	const char *name;
	const char *make; /* and mount it on "disk" */
} storages[] = {
	{"ext4", "mkfs.ext4 -q -F fuse/disk && mount -o loop fuse/disk disk"},
	{"xfs", "mkfs.xfs -q -f -m reflink=1 fuse/disk && mount -o loop fuse/disk disk"},
	{"overlay over ext4",
	 "mkfs.ext4 -q -F fuse/disk && mount -o loop fuse/disk fs && mkdir fs/low fs/up fs/work && "
	 "mount -t overlay -o lowerdir=fs/low,upperdir=fs/up,workdir=fs/work overlay disk"},
};
#define STORAGES ((int)(sizeof(storages) / sizeof(storages[0])))

static const uint32_t strategies[] = {SNAPMAP_STRATEGY_AUTO, SNAPMAP_STRATEGY_REPLACE, SNAPMAP_STRATEGY_JOURNAL};
#define STRATEGIES ((int)(sizeof(strategies) / sizeof(strategies[0])))

#define need_storage(s) serving_need(set_up(s), (s)->name, serving_stop)

/* NULL, or why it cannot be had. */
static const char *set_up(const struct storage *s)
{
	const char *why_not = watch_works() ? serving_start() : "system calls cannot be watched";

	if (why_not)
		return why_not;
	serving_make_disk(320 << 20);
	ck_assert_sys(mkdir("fs", 0755));
	ck_assert_msg(!run_quietly(s->make), "%s", s->make);
	return NULL;
}

/* What is broken may be busy for a while. */
static void tear_down(void)
{
	serving_switch(".broken", false);
	for (int i = 0; run_quietly("umount disk") && i < 500; i++)
		usleep(10000);
	run_quietly("umount fs");
	serving_stop();
}

struct committed {
	struct snapmap_commit_options options;
	struct snapmap_mut *map;
	bool closing;
};

static int commit_it(void *arg)
{
	struct committed *f = arg;
	int rc;

	watch_on();
	if (f->closing)
		rc = snapmap_mut_commit_and_close(f->map, &f->options);
	else
		rc = snapmap_mut_commit(f->map, &f->options);
	watch_off();
	return rc;
}

/* Somebody else's flush of what is in the journal only shows it to the file system. */
static void break_disk(void)
{
	int fd;

	serving_switch(".broken", true);
	ck_assert(!mkdir("disk/other", 0755));
	fd = open("disk/other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_sys(fd);
	ck_assert_int_lt(fsync(fd), 0);
	close(fd);
}

/* Breaks the disk after so many flushes. */
static int commit_until(int i, int wanted, int *ret_seen)
{
	struct committed f = {
		.options = {.size = sizeof(f.options), .strategy = strategies[i / 2 % STRATEGIES]},
		.closing = i % 2,
	};
	struct after_flush after = {.wanted = wanted, .act = break_disk};
	int rc;

	test_make_file("disk/f", SIZE, 1);
	ck_assert(!run_quietly("sync -f disk"));
	ck_ok(snapmap_mut_open("disk/f", NULL, &f.map));
	((char *)snapmap_mut_data(f.map))[5000] ^= 1;
	rc = watch(commit_it, &f, after_flush, &after);
	if (rc || !f.closing)
		snapmap_mut_close(f.map);
	ck_assert(after.acted == (after.seen >= wanted));
	*ret_seen = after.seen;
	return rc;
}

START_TEST(test_disk_that_breaks_in_the_last_flush)
{
	const struct storage *s = &storages[_i / 2 / STRATEGIES];
	int last, seen;

	need_storage(s);
	ck_ok(commit_until(_i, 1000, &last));
	ck_assert_int_gt(last, 0);
	ck_assert_msg(commit_until(_i, last, &seen) < 0, "%s: success of flush %d", s->name, last);
	tear_down();
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("broken disk");
	TCase *tc = tcase_create("flush");

	tcase_add_loop_test(tc, test_disk_that_breaks_in_the_last_flush, 0, 2 * STRATEGIES * STORAGES);
	suite_add_tcase(s, tc);
	return s;
}
