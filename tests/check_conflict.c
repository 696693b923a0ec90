/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pitfalls 16, 17, 20 and 21: a file that somebody else changed is not overwritten unawares. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "committing.h"

#define PAGE ((size_t)4096)
#define SIZE (4 * PAGE + 77)

/* ---- what somebody else may do to the file "f" ---- */

static char *shared; /* somebody's mapping of the file */

static void write_at(const char *path, off_t offset, const char *bytes, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flags & O_APPEND ? write(fd, bytes, strlen(bytes)) : pwrite(fd, bytes, strlen(bytes), offset),
			 (ssize_t)strlen(bytes));
	close(fd);
}

static void overwrite(void)
{
	write_at("f", 5, "foreign", 0);
}

static void append(void)
{
	write_at("f", 0, "foreign", O_APPEND);
}

static void cut(void)
{
	ck_assert(!truncate("f", 100));
}

static void touch(void)
{
	ck_assert(!utimensat(AT_FDCWD, "f", NULL, 0));
}

static void change_mode(void)
{
	ck_assert(!chmod("f", 0600));
}

static void rename_over(void)
{
	test_write_file("g", "somebody else's", 15);
	ck_assert(!chmod("g", 0604) && !rename("g", "f"));
}

static void remove_it(void)
{
	ck_assert(!unlink("f"));
}

static void recreate(void)
{
	char *bytes = test_read_file("f", NULL);

	ck_assert(!unlink("f"));
	test_write_file("f", bytes, SIZE);
	free(bytes);
}

static void map_it(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert(shared != MAP_FAILED);
	shared[2 * PAGE] ^= 1; /* from here on the page is dirty */
}

static void store_again(void)
{
	shared[2 * PAGE + 1] ^= 1;
	munmap(shared, SIZE);
}

/* The size and mtime are as before; only ctime cannot be set. */
static void change_and_cover_up(void)
{
	struct stat st;

	ck_assert(!stat("f", &st));
	overwrite();
	const struct timespec times[2] = {st.st_atim, st.st_mtim};

	ck_assert(!utimensat(AT_FDCWD, "f", times, 0));
	ck_assert(!truncate("f", (off_t)SIZE + 1) && !truncate("f", (off_t)SIZE));
	ck_assert(!utimensat(AT_FDCWD, "f", times, 0));
}

static void put_directory(void)
{
	ck_assert(!unlink("f") && !mkdir("f", 0755));
}

static void put_fifo(void)
{
	ck_assert(!unlink("f") && !mkfifo("f", 0644));
}

static const struct change {
	const char *name;
	void (*before_open)(void);
	void (*make)(void);
	bool same_inode; /* clone can still write into it */
	bool not_a_file;
	mode_t mode; /* of the file after FORCE */
} changes[] = {
	{"overwritten", NULL, overwrite, true, false, 0640},
	{"appended to", NULL, append, true, false, 0640},
	{"cut", NULL, cut, true, false, 0640},
	{"touched", NULL, touch, true, false, 0640},
	{"chmod", NULL, change_mode, true, false, 0600},
	{"renamed over", NULL, rename_over, true, false, 0604},
	{"removed", NULL, remove_it, false, false, 0640},
	{"removed and made again", NULL, recreate, true, false, 0644},
	{"stored into through a mapping", map_it, store_again, true, false, 0640},
	{"covered up", NULL, change_and_cover_up, true, false, 0640},
	{"replaced by a directory", NULL, put_directory, false, true, 0},
	{"replaced by a FIFO", NULL, put_fifo, false, true, 0},
};
#define CHANGES (int)(sizeof(changes) / sizeof(changes[0]))

/* Where changes leave no trace, or one of a whole second only, the library promises less. */
static bool leaves_a_trace(const struct change *c)
{
	bool fuse = !strcmp(test_fs()->name, "fuse"), tmpfs = !strncmp(test_fs()->name, "tmpfs", 5);

	if (c->make == store_again)
		return !fuse && !tmpfs;
	if (fuse)
		return c->make == append || c->make == cut || c->not_a_file || c->make == remove_it;
	return true;
}

struct state {
	struct stat st;
	bool there;
	uint64_t hash;
};

static struct state look(void)
{
	struct state s = {.there = !lstat("f", &s.st)};

	if (s.there && S_ISREG(s.st.st_mode))
		s.hash = test_hash_file("f");
	return s;
}

static bool same_state(const struct state *a, const struct state *b)
{
	return a->there == b->there && a->hash == b->hash &&
	       (!a->there || (a->st.st_ino == b->st.st_ino && a->st.st_mode == b->st.st_mode));
}

static void one_change(const struct way *w, const struct change *c)
{
	unsigned char *edited = malloc(SIZE);
	unsigned char *original = malloc(SIZE);
	struct state foreign, now;
	struct snapmap_mut *map;
	size_t names;
	int rc;

	test_make_file("f", SIZE, 1);
	ck_assert(!chmod("f", 0640));
	if (c->before_open)
		c->before_open();
	map = way_open(w, "f");
	memcpy(original, snapmap_mut_data(map), SIZE);
	((char *)snapmap_mut_data(map))[PAGE] ^= 1;
	memcpy(edited, snapmap_mut_data(map), SIZE);
	c->make();
	foreign = look();
	names = count_names(".");

	rc = way_commit(w, &map, 0);
	ck_assert_msg(rc == -EBUSY, "%s: %d: %s", c->name, rc, snapmap_last_error());
	ck_says("SNAPMAP_COMMIT_FORCE");
	now = look();
	ck_assert_msg(same_state(&foreign, &now), "%s: not as it was left", c->name);
	ck_assert_msg(handle_is(map, edited, SIZE), "%s", c->name);
	ck_assert_int_eq(snapmap_mut_dirty(map, NULL, 0), 1);
	ck_assert_uint_eq(count_names("."), names);
	/* The edits can be saved elsewhere, undone, and made again. */
	ck_ok(snapmap_mut_link(map, "saved", NULL));
	ck_assert(test_file_is("saved", edited, SIZE));
	ck_assert(!unlink("saved"));
	ck_ok(snapmap_mut_rollback(map));
	ck_assert_msg(handle_is(map, original, SIZE), "%s", c->name);
	memcpy(snapmap_mut_data(map), edited, SIZE);
	rc = way_commit(w, &map, 0);
	ck_assert_msg(rc == -EBUSY, "%s, again: %d", c->name, rc);

	rc = way_commit(w, &map, SNAPMAP_COMMIT_FORCE);
	if (c->not_a_file || (w->strategy == SNAPMAP_STRATEGY_CLONE && !c->same_inode)) {
		ck_assert_msg(rc < 0, "%s", c->name);
		now = look();
		ck_assert_msg(same_state(&foreign, &now), "%s: not as it was left", c->name);
		ck_assert_msg(handle_is(map, edited, SIZE), "%s", c->name);
	} else {
		ck_assert_msg(!rc, "%s: FORCE: %d: %s", c->name, rc, snapmap_last_error());
		ck_assert_msg(test_file_is("f", edited, SIZE), "%s", c->name);
		ck_assert(!stat("f", &now.st));
		ck_assert_msg((now.st.st_mode & 07777) == c->mode, "%s: mode %o", c->name, now.st.st_mode);
		if (map) {
			/* And goes on as usual. */
			((char *)snapmap_mut_data(map))[0] ^= 1;
			ck_ok(way_commit(w, &map, 0));
			edited[0] ^= 1;
			ck_assert(test_file_is("f", edited, SIZE));
		}
	}
	snapmap_mut_close(map);
	ck_assert(!(c->make == put_directory ? rmdir("f") : !exists("f") ? 0 : unlink("f")));
	free(edited);
	free(original);
}

START_TEST(test_changed_file_is_not_overwritten)
{
	const struct way *w = way_at(_i);

	for (int i = 0; w && i < CHANGES; i++)
		if (leaves_a_trace(&changes[i]))
			one_change(w, &changes[i]);
}
END_TEST

/* ---- symbolic links ---- */

START_TEST(test_link_that_leads_elsewhere_is_a_change)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;
	unsigned char *bytes;

	if (!w)
		return;
	test_make_file("one", SIZE, 1);
	test_make_file("two", SIZE, 2);
	ck_assert(!chmod("two", 0600));
	ck_assert(!symlink("one", "link"));
	map = way_open(w, "link");
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_assert(!unlink("link") && !symlink("two", "link"));
	ck_fails(way_commit(w, &map, 0), -EBUSY);
	/* FORCE overwrites what the path leads to now. */
	bytes = malloc(SIZE);
	memcpy(bytes, snapmap_mut_data(map), SIZE);
	ck_ok(way_finish(w, map, SNAPMAP_COMMIT_FORCE));
	ck_assert(test_file_is("two", bytes, SIZE));
	test_fill(bytes, SIZE, 1);
	ck_assert(test_file_is("one", bytes, SIZE));
	free(bytes);
}
END_TEST

/* The link still leads to the file of the snapshot, but that has changed places with another. */
START_TEST(test_file_that_took_the_old_name_is_not_overwritten)
{
	const struct way *w = way_at(_i);
	struct snapmap_mut *map;

	if (!w)
		return;
	test_make_file("one", SIZE, 1);
	ck_assert(!symlink("one", "link"));
	map = way_open(w, "link");
	((char *)snapmap_mut_data(map))[0] ^= 1;
	ck_assert(!syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "moved", 0));
	ck_assert(!unlink("link") && !symlink("moved", "link"));
	test_write_file("one", "innocent", 8);
	ck_fails(way_commit(w, &map, 0), -EBUSY);
	ck_assert(test_file_is("one", "innocent", 8));
	ck_ok(way_finish(w, map, SNAPMAP_COMMIT_FORCE));
	ck_assert(test_file_is("one", "innocent", 8));
}
END_TEST

/* ---- at the worst moment ---- */

struct moment {
	const struct way *way;
	struct snapmap_mut *map;
	void (*change)(void);
	int wanted, count;
	bool made, decided;
	bool sees_all; /* also a change between the last check and the publication */
};

static int commit_watched(void *arg)
{
	struct moment *m = arg;
	int rc;

	watch_on();
	rc = way_commit(m->way, &m->map, 0);
	watch_off();
	return rc;
}

/* Just before the system call number wanted somebody changes the file. */
static int change_before(void *arg, const struct seccomp_data *call)
{
	struct moment *m = arg;

	if (m->count++ == m->wanted && !m->decided && (m->sees_all || !is_publication(call))) {
		m->change();
		m->made = true;
	}
	m->decided |= is_publication(call);
	return 0;
}

static void write_foreign(void)
{
	write_at("f", 5, "foreign", 0);
}

static void rename_foreign_over(void)
{
	test_make_file("foreign", SIZE, 7);
	write_at("foreign", 5, "foreign", 0);
	ck_assert(!rename("foreign", "f"));
}

static int stranger = -1;

/* The same, of somebody who has locked his file: it must not be taken for one that is being published. */
static void rename_locked_over(void)
{
	test_make_file("foreign", SIZE, 7);
	write_at("foreign", 5, "foreign", 0);
	close(stranger);
	stranger = open("foreign", O_RDONLY | O_CLOEXEC);
	ck_assert(!flock(stranger, LOCK_EX) && !rename("foreign", "f"));
}

/* @may_be_first: the commit may have come right before the change. */
static void change_at_each_moment(const struct way *w, void (*change)(void), bool may_be_first)
{
	/* Under a lease whoever changes the file would wait for the commit, which is stopped. */
	bool made = w->source != SNAPMAP_SOURCE_LEASE;

	for (int n = 0; made; n++) {
		struct moment m = {
			.way = w,
			.wanted = n,
			.change = change,
			.sees_all = !strstr(test_fs()->name, "overlay"),
		};
		char *bytes;
		int rc;

		test_make_file("f", SIZE, 1);
		m.map = way_open(w, "f");
		((char *)snapmap_mut_data(m.map))[PAGE] ^= 1;
		rc = watch(commit_watched, &m, change_before, &m);
		made = m.made;
		if (made) {
			ck_assert_msg(rc == -EBUSY || (may_be_first && !rc), "change before call %d: %d", n, rc);
			bytes = test_read_file("f", NULL);
			ck_assert_msg(!memcmp(bytes + 5, "foreign", 7), "change before call %d is lost", n);
			free(bytes);
			ck_assert_uint_eq(count_names("."), 1);
		}
		snapmap_mut_close(m.map);
		ck_assert(!made || n < 1000);
	}
}

/* Pitfall 16: up to the publication no change is lost; on an overlay, up to the last check, right before it. */
START_TEST(test_change_in_the_middle_of_a_commit_is_seen)
{
	const struct way *w = way_at(_i);

	if (!w || !way_is_atomic(w) || !strcmp(test_fs()->name, "fuse"))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	change_at_each_moment(w, write_foreign, false);
}
END_TEST

/* Pitfall 17. What keeps the inode may have been done just before the rename, which makes no difference to anybody. */
START_TEST(test_file_that_takes_the_name_in_the_middle_of_a_commit_keeps_it)
{
	const struct way *w = way_at(_i);

	if (!w || !way_is_atomic(w) || !strcmp(test_fs()->name, "fuse"))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	change_at_each_moment(w, rename_foreign_over, way_keeps_inode(w));
}
END_TEST

START_TEST(test_locked_file_that_takes_the_name_in_the_middle_of_a_commit_keeps_it)
{
	const struct way *w = way_at(_i);

	if (!w || way_strategy(w) != SNAPMAP_STRATEGY_REPLACE || !strcmp(test_fs()->name, "fuse"))
		return;
	if (!watch_works())
		skip_all_ways("system calls cannot be watched");
	change_at_each_moment(w, rename_locked_over, false);
	close(stranger);
}
END_TEST

/* ---- locks of the program itself ---- */

static void set_flock(int fd)
{
	ck_assert(!flock(fd, LOCK_EX));
}

static void set_ofd_lock(int fd)
{
	struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	ck_assert(!fcntl(fd, F_OFD_SETLK, &whole));
}

/* Whoever guards the file by a lock of its own commits all the same, and nothing is left behind. */
START_TEST(test_locks_of_the_program_are_not_in_the_way)
{
	void (*const set[])(int fd) = {set_flock, set_ofd_lock};
	const struct way *w = way_at(_i);

	if (!w || w->strategy == SNAPMAP_STRATEGY_CLONE)
		return;
	for (int i = 0; i < 2; i++) {
		struct snapmap_mut *map;
		int fd;

		test_make_file("f", SIZE, 1);
		fd = open("f", O_RDWR | O_CLOEXEC);
		set[i](fd);
		for (int k = 0; k < 3; k++) {
			map = way_open(w, "f");
			((char *)snapmap_mut_data(map))[k] ^= 1;
			ck_ok(way_finish(w, map, 0));
			ck_assert_uint_eq(count_names("."), 1);
		}
		close(fd);
	}
}
END_TEST

/* ---- time ---- */

/* Pitfall 21: within one tick of the clock changes may look the same. */
START_TEST(test_no_change_is_too_quick_to_be_seen)
{
	struct snapmap_commit_options o = {.size = sizeof(o), .flags = SNAPMAP_COMMIT_NOSYNC};
	struct snapmap_mut *map;
	int rounds = 1000;

	if (!strcmp(test_fs()->name, "fuse"))
		test_skip("changes of one second look the same there");
	test_make_file("f", PAGE, 1);
	ck_ok(snapmap_mut_open("f", NULL, &map));
	for (int i = 0; i < rounds; i++) {
		int rc;

		*(int *)snapmap_mut_data(map) = i;
		rc = snapmap_mut_commit(map, &o);
		ck_assert_msg(!rc, "round %d: %s", i, snapmap_last_error());
		/* The same size, and at once. */
		write_at("f", 100, i % 2 ? "x" : "y", 0);
		*(int *)snapmap_mut_data(map) = i + 1;
		rc = snapmap_mut_commit(map, &o);
		ck_assert_msg(rc == -EBUSY, "round %d: %d", i, rc);
		o.flags |= SNAPMAP_COMMIT_FORCE;
		ck_ok(snapmap_mut_commit(map, &o));
		o.flags &= ~SNAPMAP_COMMIT_FORCE;
	}
	snapmap_mut_close(map);
}
END_TEST

static void add_conflict(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_changed_file_is_not_overwritten, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_link_that_leads_elsewhere_is_a_change, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_file_that_took_the_old_name_is_not_overwritten, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_change_in_the_middle_of_a_commit_is_seen, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_file_that_takes_the_name_in_the_middle_of_a_commit_keeps_it, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_locked_file_that_takes_the_name_in_the_middle_of_a_commit_keeps_it, 0, WAYS_TOO);
	tcase_add_loop_test(tc, test_locks_of_the_program_are_not_in_the_way, 0, WAYS_TOO);
	tcase_add_test(tc, test_no_change_is_too_quick_to_be_seen);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("conflict");

	test_each_fs(s, "conflict", add_conflict);
	return s;
}
