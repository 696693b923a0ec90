/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that cannot be made before the kernel takes the leases away: the disk does
 * not answer. The handles are lost, and say so; until then their bytes are right. More
 * of them than the library has threads.
 */
#include "config.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "opening.h"
#include "slow_disk.h"
#include "stress.h"

#define FILES 14
#define SIZE ((size_t)2 << 20)
#define SETTING "/proc/sys/fs/lease-break-time"

static unsigned char want[SIZE];

/* --- the kernel's limit, for all of the system; whoever dies meanwhile, it is put back */

struct setting {
	int pipe; /* closed by us or by our end */
	pid_t keeper;
};

static bool set_break_time(const char *text)
{
	int fd = open(SETTING, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return good;
}

static void keep_setting(int fd, const char *before)
{
	char c;

	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
	_exit(!set_break_time(before));
}

/* False where it may not be changed. */
static bool setting_change(const char *text, struct setting *ret)
{
	char before[32] = "";
	int fds[2], fd = open(SETTING, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, before, sizeof(before) - 1);

	close(fd);
	if (n <= 0 || pipe2(fds, O_CLOEXEC))
		return false;
	ret->pipe = fds[1];
	ret->keeper = fork();
	if (!ret->keeper) {
		close(fds[1]);
		setsid();
		keep_setting(fds[0], before);
	}
	close(fds[0]);
	return ret->keeper > 0 && set_break_time(text);
}

static void setting_restore(struct setting *s)
{
	close(s->pipe);
	waitpid(s->keeper, NULL, 0);
}

/* --- reading until it is a fault */

static sigjmp_buf fault;

static void on_fault(int signal_number)
{
	(void)signal_number;
	siglongjmp(fault, 1);
}

/* 1 if the page is right, 0 if it is wrong, -1 if it is out of reach. */
static int look(const struct snapmap *map)
{
	if (sigsetjmp(fault, 1))
		return -1;
	return !memcmp(snapmap_data(map), want, 4096);
}

static void name_file(int i, char name[24])
{
	snprintf(name, 24, "slow/f%d", i);
}

/* A kernel that reads ahead would have all of the files in memory before the disk stops. */
static void read_no_more_than_asked(void)
{
	char path[80];
	struct stat st;
	int fd;

	ck_assert_sys(stat("slow", &st));
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(write(fd, "0", 1), 1);
	close(fd);
}

static size_t count_resident(int fd)
{
	static unsigned char resident[SIZE / 4096];
	void *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	size_t n = 0;

	ck_assert(p != MAP_FAILED && !mincore(p, SIZE, resident));
	for (size_t i = 0; i < sizeof(resident); i++)
		n += resident[i] & 1;
	munmap(p, SIZE);
	return n;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	(void)!write(fd, "1", 1);
	close(fd);
}

/* The kernel may keep pages that it is still busy with. */
static void make_cold(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	ck_assert_sys(fsync(fd));
	for (int i = 0; i < 100 && count_resident(fd); i++) {
		if (i)
			usleep(20000);
		ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
		if (i)
			drop_caches();
	}
	ck_assert_uint_eq(count_resident(fd), 0);
	close(fd);
}

/* On the disk, and not in memory but for what comes with the first page. */
static struct snapmap *open_cold(int i)
{
	const struct snapmap_options o = {
		.size = sizeof(o), .source = SNAPMAP_SOURCE_LEASE, .lease_limit = (uint64_t)1 << 40};
	struct snapmap *map;
	char name[24];

	name_file(i, name);
	test_write_file(name, want, SIZE);
	make_cold(name);
	ck_assert_ok(snapmap_open(name, &o, &map));
	ck_assert_int_eq(look(map), 1);
	return map;
}

static void write_junk(const char *name)
{
	static char junk[4096];
	int fd = open(name, O_WRONLY | O_CLOEXEC);

	memset(junk, 0xee, sizeof(junk));
	_exit(fd < 0 || pwrite(fd, junk, sizeof(junk), 0) != sizeof(junk));
}

static void check_lost(const struct snapmap *map)
{
	struct snapmap_info info;

	ck_assert_ok(snapmap_get_info(map, &info));
	ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_LOST);
	ck_assert_int_eq(info.error, -ETIMEDOUT);
	ck_assert_int_eq(snapmap_prefault(map, 0, 1), -ETIMEDOUT);
	ck_assert_int_eq(look(map), -1);
}

static void break_and_wait(struct snapmap **maps, const struct slow_disk *disk)
{
	bool gone[FILES] = {false};
	pid_t pids[FILES];
	char name[24];
	int left = FILES, status;

	atomic_store(disk->hold, true);
	for (int i = 0; i < FILES; i++) {
		name_file(i, name);
		pids[i] = fork();
		ck_assert_sys(pids[i]);
		if (!pids[i])
			write_junk(name);
	}
	while (left)
		for (int i = 0; i < FILES; i++) {
			int seen = gone[i] ? -1 : look(maps[i]);

			ck_assert_msg(seen != 0, "handle %d shows what was written", i);
			left -= seen < 0 && !gone[i];
			gone[i] = seen < 0;
		}
	for (int i = 0; i < FILES; i++) {
		ck_assert_sys(waitpid(pids[i], &status, 0));
		ck_assert_int_eq(status, 0);
		check_lost(maps[i]);
	}
	atomic_store(disk->hold, false);
}

START_TEST(test_image_comes_too_late)
{
	struct snapmap *maps[FILES];
	size_t fds = test_count_fds();
	struct slow_disk disk;
	struct setting setting;

	if (strcmp(test_fs()->name, "tmpfs"))
		return;
	if (!test_is_root() || slow_disk_start(&disk))
		test_skip("no FUSE or loop device of our own");
	read_no_more_than_asked();
	signal(SIGSEGV, on_fault);
	test_fill(want, SIZE, test_seed());
	for (int i = 0; i < FILES; i++)
		maps[i] = open_cold(i);
	/* Other tests that run now have half of it for their images. */
	if (setting_change(stress_is_long() ? "1" : "3", &setting)) {
		break_and_wait(maps, &disk);
		setting_restore(&setting);
	} else {
		test_note_skip("the kernel's limit may not be changed");
	}
	for (int i = 0; i < FILES; i++)
		snapmap_close(maps[i]);
	test_settle_fds(fds);
	slow_disk_stop(&disk);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_image_comes_too_late);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("lease_overdue");

	test_each_fs(s, "lease_overdue", add_tests);
	return s;
}
