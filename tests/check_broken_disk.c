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
#include <sys/syscall.h>
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

#define need_storage(s)                                          \
	do {                                                     \
		const char *why_not = set_up(s);                 \
                                                                 \
		if (why_not) {                                   \
			serving_stop();                          \
			test_skip("%s: %s", (s)->name, why_not); \
		}                                                \
	} while (0)

/* NULL, or why it cannot be had. */
static const char *set_up(const struct storage *s)
{
	const char *why_not = watch_works() ? serving_start() : "system calls cannot be watched";
	int fd;

	if (why_not)
		return why_not;
	fd = open("fuse/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_sys(fd);
	ck_assert_sys(ftruncate(fd, 320 << 20));
	close(fd);
	ck_assert(!mkdir("disk", 0755) && !mkdir("fs", 0755));
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

struct flushes {
	struct snapmap_commit_options options;
	struct snapmap_mut *map;
	bool closing;
	int wanted, seen;
	bool broken;
};

static int commit_flushes(void *arg)
{
	struct flushes *f = arg;
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

/* A file that is open for reading only was not written to by the commit: that is for its times. */
static bool is_flush(const struct seccomp_data *call)
{
	int fd = (int)call->args[0];
	struct stat st;

	return (call->nr == SYS_fsync || call->nr == SYS_syncfs) && !fstat(fd, &st) &&
	       (S_ISDIR(st.st_mode) || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY);
}

/* By the next call the flush has succeeded. */
static int break_after(void *arg, const struct seccomp_data *call)
{
	struct flushes *f = arg;

	if (f->seen == f->wanted && !f->broken) {
		f->broken = true;
		break_disk();
	}
	f->seen += is_flush(call);
	return 0;
}

/* Breaks the disk after so many flushes. */
static int commit_until(int i, int wanted, int *ret_seen)
{
	struct flushes f = {
		.options = {.size = sizeof(f.options), .strategy = strategies[i / 2 % STRATEGIES]},
		.closing = i % 2,
		.wanted = wanted,
	};
	int rc;

	test_make_file("disk/f", SIZE, 1);
	ck_assert(!run_quietly("sync -f disk"));
	ck_ok(snapmap_mut_open("disk/f", NULL, &f.map));
	((char *)snapmap_mut_data(f.map))[5000] ^= 1;
	rc = watch(commit_flushes, &f, break_after, &f);
	if (rc || !f.closing)
		snapmap_mut_close(f.map);
	ck_assert(f.broken == (f.seen >= wanted));
	*ret_seen = f.seen;
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
