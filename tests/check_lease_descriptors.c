/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application that closes all descriptors but the first three while it has leased
 * handles, and then opens files of its own: the numbers of the leases are others' then.
 * The handles are lost. Nothing that the application opened is closed, loses its lease
 * or is taken for a leased file.
 */
#include "config.h"

#include <sys/stat.h>

#include "opening.h"

#define N ((size_t)20000)
#define HANDLES 4
#define OWN 12

/* What the application opens, and how the handles end. */
enum opened {
	OTHER_FILE,
	SAME_FILES,
	OTHER_HANDLES,
	OPENED
};

enum ending {
	CLOSED,
	BROKEN,
	FORKED,
	ENDINGS
};

static unsigned char bytes[N];

static const char *name(int i)
{
	static const char *const names[] = {"f0", "f1", "f2", "f3", "g0", "g1", "g2", "g3"};

	return names[i];
}

static int write_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = fd < 0 || pwrite(fd, "other", 5, 0) != 5;

	close(fd);
	return rc;
}

/* By another process, which waits for the lease. */
static bool is_written(const char *path)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		alarm(20);
		_exit(write_to(path));
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

static bool has(struct snapmap *map, uint32_t lease)
{
	struct snapmap_info info;

	return !snapmap_get_info(map, &info) && info.lease == lease;
}

static bool is_right(struct snapmap *map)
{
	return snapmap_size(map) == N && !memcmp(snapmap_data(map), bytes, N);
}

struct own {
	int fds[OWN];
	struct stat st[OWN];
	struct snapmap *maps[HANDLES];
};

static int open_own(enum opened opened, struct own *own)
{
	for (int i = 0; i < (opened == OTHER_HANDLES ? HANDLES : 0); i++)
		if (snapmap_open(name(HANDLES + i), NULL, &own->maps[i]) || !has(own->maps[i], SNAPMAP_LEASE_HELD))
			return __LINE__;
	for (int i = 0; i < OWN; i++) {
		own->fds[i] = open(opened == SAME_FILES ? name(i % HANDLES) : "own", O_RDONLY | O_CLOEXEC);
		if (own->fds[i] < 0 || fstat(own->fds[i], &own->st[i]))
			return __LINE__;
	}
	return 0;
}

static int check_own(const struct own *own, bool in_child)
{
	struct stat st;

	for (int i = 0; i < OWN; i++)
		if (fstat(own->fds[i], &st) || st.st_ino != own->st[i].st_ino)
			return __LINE__;
	for (int i = 0; i < HANDLES && own->maps[i] && !in_child; i++)
		if (!has(own->maps[i], SNAPMAP_LEASE_HELD) || !is_written(name(HANDLES + i)) ||
		    !has(own->maps[i], SNAPMAP_LEASE_IMAGED) || !is_right(own->maps[i]))
			return __LINE__;
	return 0;
}

/* All leases are looked at when one of them breaks. */
static int break_one(struct snapmap **maps)
{
	struct snapmap *map;

	if (snapmap_open("last", NULL, &map) || !has(map, SNAPMAP_LEASE_HELD) || !is_written("last") || !is_right(map))
		return __LINE__;
	snapmap_close(map);
	for (int i = 0; i < HANDLES; i++) {
		for (int k = 0; k < 4000 && !has(maps[i], SNAPMAP_LEASE_LOST); k++)
			usleep(5000);
		if (!has(maps[i], SNAPMAP_LEASE_LOST) || snapmap_prefault(maps[i], 0, 1) != -EBADF)
			return __LINE__;
	}
	return 0;
}

static int fork_one(const struct own *own)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(check_own(own, true) & 0xff);
	return waitpid(pid, &status, 0) == pid && !status ? 0 : __LINE__;
}

static void close_all(void)
{
	for (int fd = 3; fd < 256; fd++)
		close(fd);
}

static int close_all_and_go_on(void *arg)
{
	enum opened opened = (enum opened)(*(int *)arg % OPENED);
	enum ending ending = (enum ending)(*(int *)arg / OPENED);
	struct snapmap *maps[HANDLES], *again;
	struct own own = {0};
	int line;

	/* Descriptors are given out from the lowest number on, so each file comes where its lease was. */
	close_all();
	for (int i = 0; i < HANDLES; i++)
		if (snapmap_open(name(i), NULL, &maps[i]) || !has(maps[i], SNAPMAP_LEASE_HELD))
			return __LINE__;
	close_all();
	line = open_own(opened, &own);
	/* The next open of a file is not served by what is in the place of its descriptor. */
	if (!line && (snapmap_open(name(0), NULL, &again) || !is_right(again)))
		line = __LINE__;
	if (line)
		return line;
	snapmap_close(again);
	if (ending == BROKEN)
		line = break_one(maps);
	else if (ending == FORKED)
		line = fork_one(&own);
	for (int i = 0; i < HANDLES; i++)
		snapmap_close(maps[i]);
	return line ? line : check_own(&own, false);
}

START_TEST(test_descriptors_of_others_are_left_alone)
{
	int line, way = _i;

	if (!row_leases())
		test_skip("no leases here");
	if (TEST_SANITIZED)
		test_skip("the sanitizers do not follow a child that starts threads");
	test_fill(bytes, N, test_seed());
	for (int i = 0; i < 2 * HANDLES; i++)
		test_write_file(name(i), bytes, N);
	test_write_file("last", bytes, N);
	test_write_file("own", "own", 3);
	/* In a child, for the test program has descriptors as well. */
	line = test_as_user(getuid(), close_all_and_go_on, &way);
	ck_assert_msg(!line, "line %d (mod 256)", line);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, test_descriptors_of_others_are_left_alone, 0, OPENED * ENDINGS);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_descriptors");

	test_each_fs(s, "lease_descriptors", add_tests);
	return s;
}
