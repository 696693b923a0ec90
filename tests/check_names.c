/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfalls 17 and 18: the name that a commit goes to, and the temporary name on the way there. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "committing.h"

#define SIZE ((size_t)20000)

static void edit(struct snapmap_mut *map)
{
	((unsigned char *)snapmap_mut_data(map))[100] ^= 1;
}

/* ---- where the file is ---- */

START_TEST(test_relative_path_means_the_directory_at_open)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;

	if (!w)
		return;
	ck_assert(!mkdir("a", 0755) && !mkdir("b", 0755));
	test_make_file("a/f", SIZE, 1);
	test_make_file("b/f", SIZE, 2);
	ck_assert(!chdir("a"));
	map = way_open(w, "f");
	edit(map);
	ck_assert(!chdir("../b"));
	ck_ok(way_finish(w, map, 0));
	test_fill(bytes, SIZE, 2);
	ck_assert(test_file_is("f", bytes, SIZE));
	test_fill(bytes, SIZE, 1);
	bytes[100] ^= 1;
	ck_assert(test_file_is("../a/f", bytes, SIZE));
	ck_assert(!chdir(".."));
}
END_TEST

START_TEST(test_directory_may_be_renamed_meanwhile)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;
	char path[4200];

	if (!w)
		return;
	ck_assert(!mkdir("a", 0755) && !mkdir("a/b", 0755));
	test_make_file("a/b/f", SIZE, 1);
	snprintf(path, sizeof(path), "%s/a/b/f", test_dir());
	map = way_open(w, path);
	edit(map);
	ck_assert(!rename("a/b", "b") && !rename("a", "c"));
	/* And somebody else's file is where ours was. */
	ck_assert(!mkdir("a", 0755) && !mkdir("a/b", 0755));
	test_write_file("a/b/f", "innocent", 8);
	ck_ok(way_finish(w, map, 0));
	ck_assert(test_file_is("a/b/f", "innocent", 8));
	test_fill(bytes, SIZE, 1);
	bytes[100] ^= 1;
	ck_assert(test_file_is("b/f", bytes, SIZE));
}
END_TEST

START_TEST(test_directory_that_is_gone_is_a_clean_error)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;
	int rc;

	if (!w)
		return;
	ck_assert(!mkdir("d", 0755));
	test_make_file("d/f", SIZE, 1);
	map = way_open(w, "d/f");
	edit(map);
	ck_assert(!unlink("d/f"));
	ck_assert(!rmdir("d") || errno == ENOTEMPTY); /* FUSE keeps a hidden name */
	ck_fails(way_commit(w, &map, 0), -EBUSY);
	rc = exists("d") ? -1 : way_commit(w, &map, SNAPMAP_COMMIT_FORCE);
	ck_assert_int_lt(rc, 0);
	ck_ok(snapmap_mut_link(map, "saved", NULL));
	snapmap_mut_close(map);
}
END_TEST

START_TEST(test_longest_name)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct snapmap_mut *map;
	char name[256];

	if (!w)
		return;
	memset(name, 'n', sizeof(name) - 1);
	name[255] = 0;
	test_make_file(name, SIZE, 1);
	test_fill(bytes, SIZE, 1);
	map = way_open(w, name);
	edit(map);
	ck_ok(way_finish(w, map, 0));
	bytes[100] ^= 1;
	ck_assert(test_file_is(name, bytes, SIZE));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- the temporary name ---- */

/* Learns the temporary name of "f" by looking into the directory at the rename. */
struct spy {
	const struct way *way;
	struct snapmap_mut *map;
	char slot[256];
};

static int commit_watched(void *arg)
{
	struct spy *s = arg;
	int rc;

	watch_on();
	rc = way_commit(s->way, &s->map, 0);
	watch_off();
	return rc;
}

static int spy_at_rename(void *arg, const struct seccomp_data *call)
{
	struct spy *s = arg;

	if (is_publication(call)) {
		DIR *dir = opendir(".");

		for (struct dirent *d; dir && (d = readdir(dir));)
			if (!strncmp(d->d_name, ".snapmap-", 9))
				snprintf(s->slot, sizeof(s->slot), "%s", d->d_name);
		closedir(dir);
	}
	return 0;
}

static void learn_slot(const struct way *w, char *ret)
{
	struct spy s = {.way = w};

	test_make_file("f", SIZE, 1);
	s.map = way_open(w, "f");
	edit(s.map);
	ck_assert_int_eq(watch(commit_watched, &s, spy_at_rename, &s), 0);
	snapmap_mut_close(s.map);
	ck_assert_msg(s.slot[0], "no temporary name");
	strcpy(ret, s.slot);
}

static void plant_directory(const char *name)
{
	ck_assert(!mkdir(name, 0755));
}

static void plant_fifo(const char *name)
{
	ck_assert(!mkfifo(name, 0644));
}

static void plant_symlink(const char *name)
{
	ck_assert(!symlink("victim", name));
}

static void plant_dangling_symlink(const char *name)
{
	ck_assert(!symlink("no such file", name));
}

static void plant_hard_link(const char *name)
{
	ck_assert(!link("victim", name));
}

static void plant_unreadable(const char *name)
{
	test_write_file(name, "x", 1);
	ck_assert(!chmod(name, 0));
}

static void plant_leftover(const char *name)
{
	test_write_file(name, "x", 1);
}

START_TEST(test_whatever_has_the_temporary_name_does_no_harm)
{
	static void (*const plant[])(const char *name) = {
		plant_directory, plant_fifo,	   plant_symlink,  plant_dangling_symlink,
		plant_hard_link, plant_unreadable, plant_leftover,
	};
	const struct way *w = way_at(_i);
	char slot[256];

	if (!w || way_keeps_inode(w))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	learn_slot(w, slot);
	test_write_file("victim", "victim", 6);
	for (size_t i = 0; i < sizeof(plant) / sizeof(plant[0]); i++) {
		unsigned char bytes[SIZE];
		struct snapmap_mut *map;

		test_make_file("f", SIZE, 1);
		test_fill(bytes, SIZE, 1);
		bytes[100] ^= 1;
		/* Before the open, and again between open and commit. */
		plant[i](slot);
		map = way_open(w, "f");
		edit(map);
		if (!exists(slot))
			plant[i](slot);
		ck_ok(way_finish(w, map, 0));
		ck_assert_msg(test_file_is("f", bytes, SIZE), "plant %zu", i);
		ck_assert_msg(test_file_is("victim", "victim", 6), "plant %zu", i);
		ck_assert(!exists("no such file"));
		if (exists(slot))
			ck_assert(!(plant[i] == plant_directory ? rmdir(slot) : unlink(slot)));
		ck_assert_msg(count_names(".") == 2, "plant %zu: names left", i);
	}
}
END_TEST

struct stranger {
	const struct way *way;
	const char *slot;
};

static int plant_as_stranger(void *arg)
{
	const struct stranger *s = arg;
	int fd = open(s->slot, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : close(fd);
}

static int commit_as_somebody(void *arg)
{
	const struct stranger *s = arg;
	struct snapmap_commit_options c = {.size = sizeof(c), .strategy = s->way->strategy};
	struct snapmap_options o = {.size = sizeof(o), .source = s->way->source};
	struct snapmap_mut *map;
	int rc = snapmap_mut_open("f", &o, &map);

	if (rc)
		return rc;
	((unsigned char *)snapmap_mut_data(map))[100] ^= 1;
	rc = snapmap_mut_commit(map, &c);
	snapmap_mut_close(map);
	return rc;
}

START_TEST(test_stranger_in_a_sticky_directory_cannot_block)
{
	const struct way *w = way_at(_i);
	struct stranger s = {.way = w};
	char slot[256];

	if (!w || way_keeps_inode(w))
		return;
	if (!test_is_root())
		skip_all_ways("only root can be two users");
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	learn_slot(w, slot);
	s.slot = slot;
	ck_assert(!chmod(".", 01777) && !chown("f", 65534, 65534));
	ck_assert_int_eq(test_as_user(12345, plant_as_stranger, &s), 0);
	ck_assert_int_eq(test_as_user(65534, commit_as_somebody, &s), 0);
	ck_assert(exists(slot));
	ck_assert_uint_eq(count_names("."), 2);
}
END_TEST

/* ---- a file that is replaced while it is opened ---- */

struct replacing {
	const struct way *way;
	int wanted, again, count; /* system calls before which it is replaced */
	bool done;
};

static int open_watched(void *arg)
{
	struct replacing *r = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = r->way->source};
	struct snapmap_mut *map;
	int rc;

	watch_on();
	rc = snapmap_mut_open("f", &o, &map);
	watch_off();
	if (rc)
		return rc;
	edit(map);
	return way_finish(r->way, map, 0);
}

static int replace_at(void *arg, const struct seccomp_data *call)
{
	struct replacing *r = arg;

	(void)call;
	if (r->count == r->wanted || r->count == r->again) {
		test_write_file("g", "replaced meanwhile, and long enough for the edit: ", 50);
		ck_assert(!truncate("g", (off_t)SIZE) && !rename("g", "f"));
		r->done = true;
	}
	r->count++;
	return 0;
}

/* Twice, for the library looks again after the first time. Either version may be the one that is opened, but it never is a file without a name. */
START_TEST(test_file_that_is_replaced_while_it_is_opened_keeps_its_name)
{
	const struct way *w = way_at(_i);
	bool done = true;

	if (!w || _i)
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	for (int n = 0; done; n++) {
		for (int gap = 1; gap < 9; gap++) {
			struct replacing r = {.way = w, .wanted = n, .again = n + gap};
			int rc;

			test_make_file("f", SIZE, 1);
			rc = watch(open_watched, &r, replace_at, &r);
			done = r.done;
			ck_assert_msg(!rc || rc == -EBUSY, "replaced before calls %d and %d: %d", n, n + gap, rc);
			ck_assert_uint_eq(count_names("."), 1);
		}
	}
}
END_TEST

/* ---- two publishers ---- */

/*
 * One commit stands still right before its rename, while another to the same file
 * begins. The other has to wait: as soon as it sleeps, the first goes on.
 */
struct duel {
	const struct way *way;
	struct snapmap_mut *first, *second;
	pthread_t thread;
	int second_result;
	bool started;
};

static int commit_first(void *arg)
{
	struct duel *d = arg;
	int rc;

	watch_on();
	rc = way_commit(d->way, &d->first, 0);
	watch_off();
	return rc;
}

static void *commit_second(void *arg)
{
	struct duel *d = arg;

	d->second_result = way_commit(d->way, &d->second, 0);
	return NULL;
}

static int start_second(void *arg, const struct seccomp_data *call)
{
	struct duel *d = arg;

	if (is_publication(call) && !d->started) {
		d->started = true;
		ck_assert(!pthread_create(&d->thread, NULL, commit_second, d));
		/* It cannot end before this one goes on; that it got as far as to wait is likely, not needed. */
		usleep(20000);
	}
	return 0;
}

START_TEST(test_second_publisher_waits_and_loses)
{
	const struct way *w = way_at(_i);
	unsigned char bytes[SIZE];
	struct duel d = {.way = w};

	if (!w || way_keeps_inode(w))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	test_make_file("f", SIZE, 1);
	test_fill(bytes, SIZE, 1);
	d.first = way_open(w, "f");
	d.second = way_open(w, "f");
	((unsigned char *)snapmap_mut_data(d.first))[100] = bytes[100] ^= 1;
	((unsigned char *)snapmap_mut_data(d.second))[5000] ^= 1;
	ck_assert_int_eq(watch(commit_first, &d, start_second, &d), 0);
	ck_assert(d.started);
	pthread_join(d.thread, NULL);
	ck_assert_int_eq(d.second_result, -EBUSY);
	ck_assert(test_file_is("f", bytes, SIZE));
	snapmap_mut_close(d.first);
	snapmap_mut_close(d.second);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* Each success counts one up; a lost update would make the sum too small. */
static int count_up(const struct way *w, int rounds)
{
	struct snapmap_options o = {.size = sizeof(o), .source = w->source};
	struct snapmap_commit_options c = {.size = sizeof(c), .flags = SNAPMAP_COMMIT_NOSYNC, .strategy = w->strategy};
	int successes = 0;

	for (int i = 0; i < rounds; i++) {
		struct snapmap_mut *map;
		int rc = snapmap_mut_open("f", &o, &map);

		if (rc)
			return rc;
		++*(int *)snapmap_mut_data(map);
		rc = snapmap_mut_commit(map, &c);
		snapmap_mut_close(map);
		if (!rc)
			successes++;
		else if (rc != -EBUSY)
			return rc;
	}
	return successes;
}

START_TEST(test_no_update_is_lost_between_two_processes)
{
	const struct way *w = way_at(_i);
	int successes[2], status, pipes[2];
	pid_t child;

	if (!w || w->closing || !strcmp(test_fs()->name, "fuse"))
		return;
	test_write_file("f", "\0\0\0\0 and more", 13);
	ck_assert(!pipe2(pipes, O_CLOEXEC));
	child = fork();
	if (!child) {
		int n = count_up(w, 200);

		_exit(write(pipes[1], &n, sizeof(n)) != sizeof(n));
	}
	successes[0] = count_up(w, 200);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	ck_assert_int_eq(read(pipes[0], &successes[1], sizeof(int)), sizeof(int));
	close(pipes[0]);
	close(pipes[1]);
	ck_assert_msg(successes[0] >= 0 && successes[1] >= 0, "%d %d: %s", successes[0], successes[1],
		      snapmap_last_error());
	char *bytes = test_read_file("f", NULL);

	ck_assert_msg(*(int *)bytes == successes[0] + successes[1], "%d commits counted of %d + %d", *(int *)bytes,
		      successes[0], successes[1]);
	ck_assert_int_gt(*(int *)bytes, 0);
	free(bytes);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

static void add_names(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_relative_path_means_the_directory_at_open, 0, WAYS);
	tcase_add_loop_test(tc, test_directory_may_be_renamed_meanwhile, 0, WAYS);
	tcase_add_loop_test(tc, test_directory_that_is_gone_is_a_clean_error, 0, WAYS);
	tcase_add_loop_test(tc, test_longest_name, 0, WAYS);
	tcase_add_loop_test(tc, test_whatever_has_the_temporary_name_does_no_harm, 0, WAYS);
	tcase_add_loop_test(tc, test_stranger_in_a_sticky_directory_cannot_block, 0, WAYS);
	tcase_add_loop_test(tc, test_file_that_is_replaced_while_it_is_opened_keeps_its_name, 0, WAYS);
	tcase_add_loop_test(tc, test_second_publisher_waits_and_loses, 0, WAYS);
	tcase_add_loop_test(tc, test_no_update_is_lost_between_two_processes, 0, WAYS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("names");

	test_each_fs(s, "names", add_names);
	return s;
}
