/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees that are one instant: snapshots of subvolumes, and what is left of them. */
#include "config.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "segmenting.h"

#define NOBODY 65534

static const struct snapmap_options whole = {.size = sizeof(whole), .source = SNAPMAP_SOURCE_SUBVOLUME};

/* Only the two: others, as overlays of it, have it below them at most. */
static bool is_btrfs(void)
{
	return !strcmp(test_fs()->name, "btrfs");
}

#define need_snapshots()                                                                     \
	do {                                                                                 \
		if (!is_btrfs() || !test_is_root())                                          \
			test_skip("no snapshots of subvolumes, or no right to delete them"); \
	} while (0)

static struct snapmap_tree_info info_of(const struct snapmap_tree *t)
{
	struct snapmap_tree_info info;

	ck_ok(snapmap_tree_get_info(t, &info));
	return info;
}

static const struct snapmap_file *look_up(const struct snapmap_tree *t, const char *path)
{
	const struct snapmap_file *f = snapmap_file_lookup(snapmap_tree_root(t), path);

	ck_assert_msg(f != NULL, "%s is not there", path);
	return f;
}

static void run(const char *format, const char *arg)
{
	char command[PATH_MAX + 100];

	snprintf(command, sizeof(command), format, arg);
	ck_assert_msg(!system(command), "%s", command);
}

/* A subvolume of the test's own, so that nobody else's snapshots are there. */
static void make_subvolume(const char *name)
{
	run("btrfs -q subvolume create %s", name);
}

static void delete_subvolume(const char *name)
{
	run("btrfs -q subvolume delete %s", name);
}

static size_t count_all(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	ck_assert(d != NULL);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void write_number(const char *path, const char *fresh, unsigned n)
{
	char text[20];

	snprintf(text, sizeof(text), "%u\n", n);
	test_write_file(fresh, text, strlen(text));
	ck_assert(!rename(fresh, path));
}

static long number_in(const struct snapmap_file *f)
{
	char text[20] = "";

	ck_assert(f->size && f->size < sizeof(text));
	memcpy(text, f->contents, f->size);
	ck_assert_int_eq(f->error, 0);
	return strtol(text, NULL, 10);
}

/* Two files of which the second always has the number of the first, or is about to get it. */
START_TEST(test_two_files_are_never_seen_apart)
{
	pid_t writer;

	need_snapshots();
	make_subvolume("s");
	write_number("s/a", "s/a.new", 0);
	write_number("s/b", "s/b.new", 0);
	writer = fork();
	if (!writer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 1;; i++) {
			write_number("s/a", "s/a.new", i);
			write_number("s/b", "s/b.new", i);
		}
	}
	for (int i = 0; i < 60; i++) {
		struct snapmap_tree *t;
		long a, b;

		ck_ok(snapmap_tree_open("s", NULL, &t));
		ck_assert_uint_eq(info_of(t).consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
		ck_assert_uint_eq(info_of(t).source, SNAPMAP_SOURCE_SUBVOLUME);
		a = number_in(look_up(t, "a"));
		usleep(1000);
		b = number_in(look_up(t, "b"));
		ck_assert_msg(a - b == 0 || a - b == 1, "a %ld, b %ld", a, b);
		snapmap_tree_close(t);
	}
	kill(writer, SIGKILL);
	ck_assert(waitpid(writer, NULL, 0) == writer);
	ck_assert_uint_le(count_all("s"), 4);
	delete_subvolume("s");
}
END_TEST

/* Also directories, and what was deleted. */
START_TEST(test_it_is_the_tree_as_it_was)
{
	struct snapmap_tree *t;

	need_snapshots();
	make_subvolume("s");
	ck_assert(!mkdir("s/d", 0755) && !mkdir("s/d/e", 0755));
	test_make_file("s/d/e/f", 100000, 1);
	test_make_file("s/d/g", 100, 2);
	/* Not written out yet: that is the file's content nevertheless. */
	ck_ok(snapmap_tree_open("s/d", &whole, &t));
	run("rm -r s/%s", "d");
	test_make_file("s/d", 5, 1);
	ck_assert_uint_eq(look_up(t, "")->dir->nfiles, 2);
	ck_assert(look_up(t, "e/f")->size == 100000 && is_filled(look_up(t, "e/f")->contents, 100000, 1, 0));
	ck_assert(is_filled(look_up(t, "g")->contents, 100, 2, 0));
	ck_assert_int_eq(look_up(t, "g")->error, 0);
	snapmap_tree_close(t);
	ck_assert_uint_eq(count_all("s"), 1);
	delete_subvolume("s");
}
END_TEST

START_TEST(test_subvolumes_within)
{
	struct snapmap_tree *t;
	const struct snapmap_file *f;

	need_snapshots();
	make_subvolume("s");
	make_subvolume("s/inner");
	test_make_file("s/inner/f", 10, 1);
	ck_ok(snapmap_tree_open("s", &whole, &t));
	/* Its own name is not shown. */
	ck_assert_uint_eq(look_up(t, "")->dir->nfiles, 1);
	f = look_up(t, "inner");
	ck_assert(f->flags & SNAPMAP_FILE_MOUNT && f->dir->error == -EXDEV && !f->dir->nfiles);
	snapmap_tree_close(t);
	struct snapmap_options cross = {.size = sizeof(cross), .flags = SNAPMAP_CROSS_MOUNTS};
	ck_ok(snapmap_tree_open("s", &cross, &t));
	ck_assert_uint_eq(info_of(t).consistency, SNAPMAP_CONSISTENCY_EACH_FILE);
	ck_assert(is_filled(look_up(t, "inner/f")->contents, 10, 1, 0));
	snapmap_tree_close(t);
	cross.source = SNAPMAP_SOURCE_SUBVOLUME;
	ck_fails(snapmap_tree_open("s", &cross, &t), -EINVAL);
	delete_subvolume("s/inner");
	delete_subvolume("s");
}
END_TEST

static pid_t hold_open(const char *path)
{
	int fds[2];
	char ready;
	pid_t pid;

	ck_assert(!pipe2(fds, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		struct snapmap_tree *t;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (snapmap_tree_open(path, &whole, &t))
			_exit(1);
		if (write(fds[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	ck_assert(read(fds[0], &ready, 1) == 1);
	close(fds[0]);
	return pid;
}

START_TEST(test_owners_that_died)
{
	struct snapmap_tree *t;
	int status;
	pid_t pid;

	need_snapshots();
	make_subvolume("s");
	test_make_file("s/f", 100, 1);
	pid = hold_open("s");
	ck_assert_uint_eq(count_all("s"), 2);
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 1);
	/* One that lives keeps its own. */
	ck_ok(snapmap_tree_open("s", &whole, &t));
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 2);
	snapmap_tree_close(t);
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 1);
	ck_assert(!kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid);
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 1);
	ck_ok(snapmap_tree_open("s", &whole, &t));
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 1);
	snapmap_tree_close(t);
	ck_assert_uint_eq(count_all("s"), 1);
	delete_subvolume("s");
}
END_TEST

START_TEST(test_a_child_leaves_it_alone)
{
	struct snapmap_tree *t;
	int status;
	pid_t pid;

	need_snapshots();
	make_subvolume("s");
	test_make_file("s/f", 100, 1);
	ck_ok(snapmap_tree_open("s", &whole, &t));
	pid = fork();
	if (!pid) {
		snapmap_tree_close(t);
		_exit(0);
	}
	ck_assert(waitpid(pid, &status, 0) == pid && !status);
	ck_assert_uint_eq(count_all("s/.snapmap-tree-0"), 1);
	ck_assert(is_filled(look_up(t, "f")->contents, 100, 1, 0));
	snapmap_tree_close(t);
	ck_assert_uint_eq(count_all("s"), 1);
	delete_subvolume("s");
}
END_TEST

/* ---- users ---- */

static int open_whole(void *arg)
{
	struct snapmap_tree_info info;
	struct snapmap_tree *t;
	const struct snapmap_file *f;
	int rc = snapmap_tree_open("s", arg, &t);

	if (rc)
		return -rc;
	f = snapmap_file_lookup(snapmap_tree_root(t), "f");
	rc = snapmap_tree_get_info(t, &info) || !f || !is_filled(f->contents, 100, 1, 0);
	snapmap_tree_close(t);
	if (rc)
		return 255;
	return info.consistency == SNAPMAP_CONSISTENCY_POINT_IN_TIME ? 0 : info.tried[0] ? 254 : 253;
}

static int remount(const char *options)
{
	char *end, dir[PATH_MAX];

	/* The row's own directory is on it; its mount is above. */
	snprintf(dir, sizeof(dir), "%s", test_dir());
	while (mount(NULL, dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, options) && (end = strrchr(dir, '/')) &&
	       end != dir)
		*end = 0;
	return dir[1] ? 0 : -1;
}

START_TEST(test_users_without_rights)
{
	struct snapmap_options o = whole;

	need_snapshots();
	make_subvolume("s");
	test_make_file("s/f", 100, 1);
	ck_assert(!chmod("s/f", 0644) && !chown("s", NOBODY, NOBODY) && !chown("s/f", NOBODY, NOBODY));
	ck_assert(!chmod(".", 0755));
	/* It could make one, but not delete it. */
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, &o), EPERM);
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, NULL), 254);
	ck_assert_uint_eq(count_all("s"), 1);
	if (remount("user_subvol_rm_allowed"))
		test_skip("no remount");
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, &o), 0);
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, NULL), 0);
	ck_assert_uint_eq(count_all("s"), 1);
	/* Not its own. */
	ck_assert(!chown("s", 0, 0));
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, &o), EPERM);
	ck_assert_int_eq(test_as_user(NOBODY, open_whole, NULL), 254);
	ck_assert_uint_eq(count_all("s"), 1);
	delete_subvolume("s");
}
END_TEST

/* Names that are there already, made by somebody who hopes for more. */
START_TEST(test_traps)
{
	struct snapmap_tree *t;

	need_snapshots();
	make_subvolume("s");
	ck_assert(!mkdir("elsewhere", 0777));
	test_make_file("s/f", 100, 1);
	for (int i = 0; i < 4; i++) {
		switch (i) {
		case 0:
			ck_assert(!symlink("../elsewhere", "s/.snapmap-tree-0"));
			break;
		case 1:
			ck_assert(!mkdir("s/.snapmap-tree-0", 0700) && !chown("s/.snapmap-tree-0", NOBODY, NOBODY));
			break;
		case 2:
			ck_assert(!mkdir("s/.snapmap-tree-0", 0700) && !chmod("s/.snapmap-tree-0", 0777));
			break;
		default:
			test_make_file("s/.snapmap-tree-0", 5, 1);
			break;
		}
		ck_assert_int_lt(snapmap_tree_open("s", &whole, &t), 0);
		ck_ok(snapmap_tree_open("s", NULL, &t));
		ck_assert_uint_eq(info_of(t).consistency, SNAPMAP_CONSISTENCY_EACH_FILE);
		ck_assert_uint_eq(look_up(t, "")->dir->nfiles, 1);
		snapmap_tree_close(t);
		ck_assert_uint_eq(count_all("elsewhere"), 0);
		ck_assert_uint_eq(count_all("s"),
				  i == 1 || i == 2 ? 1 + (size_t)!access("s/.snapmap-tree-0", F_OK) : 2);
		remove("s/.snapmap-tree-0");
	}
	/* What is in our own directory, and is no snapshot, stays. */
	ck_assert(!mkdir("s/.snapmap-tree-0", 0700) && !mkdir("s/.snapmap-tree-0/mine", 0700));
	test_make_file("s/.snapmap-tree-0/mine/f", 5, 1);
	ck_ok(snapmap_tree_open("s", &whole, &t));
	snapmap_tree_close(t);
	ck_assert(!access("s/.snapmap-tree-0/mine/f", F_OK));
	delete_subvolume("s");
}
END_TEST

START_TEST(test_strict)
{
	struct snapmap_options o = {.size = sizeof(o), .flags = SNAPMAP_STRICT};
	struct snapmap_tree *t;
	int rc;

	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", 100, 1);
	rc = snapmap_tree_open("d", &o, &t);
	if (rc) {
		ck_assert_int_eq(rc, -EBUSY);
	} else {
		ck_assert(is_btrfs());
		ck_assert_uint_eq(info_of(t).consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
		snapmap_tree_close(t);
	}
	if (!is_btrfs())
		ck_fails(snapmap_tree_open("d", &whole, &t), -EOPNOTSUPP);
	o.source = SNAPMAP_SOURCE_LEASE;
	ck_fails(snapmap_tree_open("d", &o, &t), -EBUSY);
	o.flags = 0;
	o.source = SNAPMAP_SOURCE_COPY;
	ck_ok(snapmap_tree_open("d", &o, &t));
	ck_assert(is_filled(look_up(t, "f")->contents, 100, 1, 0));
	snapmap_tree_close(t);
	ck_assert_uint_eq(test_count_names("."), 1);
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_two_files_are_never_seen_apart);
	tcase_add_test(tc, test_it_is_the_tree_as_it_was);
	tcase_add_test(tc, test_subvolumes_within);
	tcase_add_test(tc, test_owners_that_died);
	tcase_add_test(tc, test_a_child_leaves_it_alone);
	tcase_add_test(tc, test_users_without_rights);
	tcase_add_test(tc, test_traps);
	tcase_add_test(tc, test_strict);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("tree whole");

	test_each_fs(s, "tree whole", add);
	return s;
}
