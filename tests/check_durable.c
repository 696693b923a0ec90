/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pitfall 15: a commit that succeeded survives a power cut.
 *
 * A power cut is a copy of the device's bytes, made while the file system is
 * mounted: what was not sent to the device is not in it. Mounting the copy
 * recovers as after a cut. Another is the kernel's own shutdown of the file
 * system, which throws away what has not been written.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "committing.h"

#define SIZE ((size_t)100000)

/* ---- on a device that loses its power ---- */

/* Shell commands, because making file systems is the business of programs. */
static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int shell(const char *format, ...)
{
	char command[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command);
}

static const char *type_of_row(void)
{
	static const char *const types[] = {"xfs-exchange", "xfs", "btrfs", "ext4"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(test_fs()->name, types[i]))
			return types[i];
	return NULL;
}

/* The image lies in memory, for speed. */
static char image[4200], copy[4300];

static bool make_mounted(const char *type)
{
	const struct test_fs *memory = test_fs_named("tmpfs");

	snprintf(image, sizeof(image), "%s/image.%d", memory ? memory->dir : test_dir(), (int)getpid());
	snprintf(copy, sizeof(copy), "%s.copy", image);
	ck_assert(!mkdir("mnt", 0755));
	return !shell("truncate -s %dM %s && bash \"$SNAPMAP_TEST_VOLUME\" make %s %s >/dev/null 2>&1 && "
		      "mount -o loop %s mnt",
		      strncmp(type, "xfs", 3) ? 128 : 300, image, type, image, image);
}

static void unmount(void)
{
	for (int i = 0; umount("mnt") && i < 100; i++)
		usleep(10000);
	unlink(image);
	unlink(copy);
}

/* Puts a copy of the device in its place. */
static void cut_power(void)
{
	ck_assert(!shell("cp --sparse=always %s %s", image, copy));
	ck_assert(!umount("mnt"));
	ck_assert(!rename(copy, image));
	ck_assert(!shell("mount -o loop %s mnt", image));
}

/* As linux/fs.h and fs/xfs/libxfs/xfs_fs.h have them: neither can be relied on to be installed. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG_FLUSH 2

static void shut_down(void)
{
	uint32_t flags = WITHOUT_LOG_FLUSH;
	int fd = open("mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_msg(!ioctl(fd, SHUTDOWN, &flags), "%s", strerror(errno));
	close(fd);
}

static void mount_again(void)
{
	ck_assert(!umount("mnt"));
	ck_assert(!shell("mount -o loop %s mnt", image));
}

static void shut_down_for_a_while(void)
{
	shut_down();
	mount_again();
}

static void one_cut(const struct way *w, void (*cut)(void), uint32_t flags)
{
	unsigned char *old = malloc(SIZE), *new = malloc(SIZE);
	struct snapmap_mut *map;

	/* The old file, and all that making it did, is on the device. */
	test_make_file("mnt/f", SIZE, 1);
	test_fill(old, SIZE, 1);
	memcpy(new, old, SIZE);
	ck_assert(!shell("sync -f mnt"));
	map = way_open(w, "mnt/f");
	memset((char *)snapmap_mut_data(map) + 5000, 'n', 60000);
	memset(new + 5000, 'n', 60000);
	ck_ok(way_commit(w, &map, flags));
	snapmap_mut_close(map);
	cut();
	if (flags)
		ck_assert_msg(test_file_is("mnt/f", old, SIZE) || test_file_is("mnt/f", new, SIZE), "a mix");
	else
		ck_assert_msg(test_file_is("mnt/f", new, SIZE), "%s after a power cut",
			      test_file_is("mnt/f", old, SIZE) ? "old" : "damaged");
	free(old);
	free(new);
}

START_TEST(test_commit_survives_a_power_cut)
{
	const struct way *w = way_at(_i);
	const char *type = type_of_row();

	if (!w || !type)
		return;
	if (!test_is_root())
		skip_all_ways("only root can mount");
	if (!make_mounted(type))
		skip_all_ways("no file system of one's own");
	one_cut(w, cut_power, 0);
	one_cut(w, cut_power, way_is_atomic(w) ? SNAPMAP_COMMIT_NOSYNC : 0);
	unmount();
}
END_TEST

START_TEST(test_commit_survives_a_shutdown_of_the_file_system)
{
	const struct way *w = way_at(_i);
	const char *type = type_of_row();

	if (!w || !type || !strcmp(type, "btrfs"))
		return;
	if (!test_is_root())
		skip_all_ways("only root can mount");
	if (!make_mounted(type))
		skip_all_ways("no file system of one's own");
	one_cut(w, shut_down_for_a_while, 0);
	one_cut(w, shut_down_for_a_while, way_is_atomic(w) ? SNAPMAP_COMMIT_NOSYNC : 0);
	unmount();
}
END_TEST

/* ---- a file system that is shut down while a commit waits for its flush ---- */

struct committed {
	const struct way *way;
	struct snapmap_mut *map;
};

static int commit_it(void *arg)
{
	struct committed *f = arg;
	int rc;

	watch_on();
	rc = way_commit(f->way, &f->map, 0);
	watch_off();
	return rc;
}

static bool shut_down_at(const struct way *w, int wanted)
{
	struct after_flush after = {.wanted = wanted, .act = shut_down};
	struct committed f = {.way = w};
	int rc;

	test_make_file("mnt/f", SIZE, 1);
	ck_assert(!shell("sync -f mnt"));
	f.map = way_open(w, "mnt/f");
	((char *)snapmap_mut_data(f.map))[5000] ^= 1;
	rc = watch(commit_it, &f, after_flush, &after);
	snapmap_mut_close(f.map);
	if (after.seen < wanted) {
		ck_ok(rc);
		return false;
	}
	ck_assert_msg(after.acted && rc, "flush %d of %d, and success", wanted, after.seen);
	mount_again();
	return true;
}

START_TEST(test_shutdown_during_a_flush_is_told)
{
	const struct way *w = way_at(_i);
	const char *type = type_of_row();
	int n = 1;

	if (!w || !type || !strcmp(type, "btrfs"))
		return;
	if (!test_is_root() || !watch_works())
		skip_all_ways("only root can mount, and watch");
	if (!make_mounted(type))
		skip_all_ways("no file system of one's own");
	while (shut_down_at(w, n))
		n++;
	ck_assert_int_gt(n, 1);
	unmount();
}
END_TEST

/* Pitfall 17: a file that appears for the first time must not get lost either. */
START_TEST(test_new_file_survives_a_power_cut)
{
	const char *type = type_of_row();
	struct snapmap_mut *map;

	if (!type)
		return;
	if (!test_is_root())
		test_skip("only root can mount");
	if (!make_mounted(type))
		test_skip("no file system of one's own");
	ck_ok(snapmap_mut_create("mnt/new", 0644, NULL, &map));
	ck_ok(snapmap_mut_resize(map, 5));
	memcpy(snapmap_mut_data(map), "hello", 5);
	ck_ok(snapmap_mut_commit(map, NULL));
	ck_ok(snapmap_mut_link(map, "mnt/link", NULL));
	snapmap_mut_close(map);
	cut_power();
	ck_assert(test_file_is("mnt/new", "hello", 5));
	ck_assert(test_file_is("mnt/link", "hello", 5));
	unmount();
}
END_TEST

START_TEST(test_commit_without_edits_makes_an_earlier_one_durable)
{
	const struct way *w = way_at(_i);
	const char *type = type_of_row();
	struct snapmap_mut *map;
	unsigned char *new;

	if (!w || !type || w->closing)
		return;
	if (!test_is_root())
		skip_all_ways("only root can mount");
	if (!make_mounted(type))
		skip_all_ways("no file system of one's own");
	new = malloc(SIZE);
	test_fill(new, SIZE, 1);
	test_make_file("mnt/f", SIZE, 1);
	ck_assert(!shell("sync -f mnt"));
	map = way_open(w, "mnt/f");
	((unsigned char *)snapmap_mut_data(map))[0] = new[0] ^= 1;
	ck_ok(way_commit(w, &map, SNAPMAP_COMMIT_NOSYNC));
	ck_ok(way_commit(w, &map, 0));
	snapmap_mut_close(map);
	cut_power();
	ck_assert(test_file_is("mnt/f", new, SIZE));
	unmount();
	free(new);
}
END_TEST

/* ---- by its system calls: on every row, for every user ---- */

struct order {
	const struct way *way;
	struct snapmap_mut *map;
	uint32_t flags;
	bool renamed;
	int files_before, directories_after, files_after;
};

static int commit_watched(void *arg)
{
	struct order *o = arg;
	int rc;

	watch_on();
	rc = way_commit(o->way, &o->map, o->flags);
	watch_off();
	return rc;
}

static int note(void *arg, const struct seccomp_data *call)
{
	struct order *o = arg;
	struct stat st;

	o->renamed |= is_publication(call);
	if ((call->nr == SYS_fsync || call->nr == SYS_fdatasync || call->nr == SYS_syncfs) &&
	    !fstat((int)call->args[0], &st)) {
		o->files_before += S_ISREG(st.st_mode) && !o->renamed;
		o->directories_after += S_ISDIR(st.st_mode) && o->renamed;
		o->files_after += S_ISREG(st.st_mode);
	}
	return 0;
}

START_TEST(test_file_is_flushed_before_its_name_and_the_directory_after)
{
	const struct way *w = way_at(_i);

	if (!w)
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	for (int nosync = 0; nosync < 2; nosync++) {
		struct order o = {.way = w, .flags = nosync ? SNAPMAP_COMMIT_NOSYNC : 0};

		test_make_file("f", SIZE, 1);
		o.map = way_open(w, "f");
		((char *)snapmap_mut_data(o.map))[0] ^= 1;
		ck_assert_int_eq(watch(commit_watched, &o, note, &o), 0);
		snapmap_mut_close(o.map);
		if (way_keeps_inode(w)) {
			/* Taking a stamp may flush as well. */
			ck_assert(nosync || way_is_atomic(w) || o.files_after > 0);
		} else {
			ck_assert(o.renamed);
			/* Always: else a crash could leave the name with less than all bytes. */
			ck_assert_msg(o.files_before > 0, "the file was not flushed");
			ck_assert_msg((o.directories_after > 0) == !nosync, "%d directories flushed",
				      o.directories_after);
		}
	}
}
END_TEST

static void add_durable(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_commit_survives_a_power_cut, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_commit_survives_a_shutdown_of_the_file_system, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_shutdown_during_a_flush_is_told, 0, WAYS_TOO);
	tcase_add_test(tc, test_new_file_survives_a_power_cut);
	tcase_add_loop_test(tc, test_commit_without_edits_makes_an_earlier_one_durable, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_file_is_flushed_before_its_name_and_the_directory_after, 0, WAYS_TOO);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("durable");

	test_each_fs(s, "durable", add_durable);
	return s;
}
