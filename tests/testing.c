/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The harness of the test programs: see testing.h. */
#include "config.h"

#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_fs rows[24];
static size_t row_count;
static const struct test_fs *row; /* of the running test */
static uint64_t seed;
static int *skipped; /* shared with the test processes */
static char own_dir[4096];
static size_t fds_before;

/* --- rows */

static void try_features(struct test_fs *fs)
{
	char name[4096];

	snprintf(name, sizeof(name), "%s/.try.%d", fs->dir, (int)getpid());
	int from = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int to = open(fs->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	unlink(name);
	fs->tmpfile = to >= 0;
	if (to < 0) {
		to = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		unlink(name);
	}
	fs->reflink = from >= 0 && write(from, "x", 1) == 1 && !ioctl(to, FICLONE, from);
	fs->exchange = !strncmp(fs->name, "xfs-exchange", 12);
	close(from);
	close(to);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

static void remove_tree(const char *dir)
{
	nftw(dir, open_up, 16, FTW_PHYS | FTW_MOUNT);
	nftw(dir, remove_one, 16, FTW_PHYS | FTW_DEPTH | FTW_MOUNT);
}

/* Each program works in a directory of its own on each row, so that what a failed test leaves behind goes too. */
static void read_rows(const char *list, bool small, const char *program)
{
	char *copy = strdup(list ? list : "");

	for (char *save, *word = strtok_r(copy, " \n\t", &save); word; word = strtok_r(NULL, " \n\t", &save)) {
		char *equals = strchr(word, '='), *dir;

		if (!equals || row_count == sizeof(rows) / sizeof(rows[0])) {
			fprintf(stderr, "%s: bad list of file systems at \"%s\"\n", program, word);
			exit(2);
		}
		*equals = '\0';
		if (asprintf(&dir, "%s/%s.XXXXXX", equals + 1, program) < 0 || !mkdtemp(dir) || chmod(dir, 0755)) {
			fprintf(stderr, "%s: row %s: %s: %s\n", program, word, dir, strerror(errno));
			exit(2);
		}
		struct test_fs *fs = &rows[row_count++];

		*fs = (struct test_fs){
			.name = strdup(word), .dir = dir, .small = small, .served = !strncmp(word, "snapfs", 6)};
		try_features(fs);
	}
	free(copy);
}

static void drop_rows(void)
{
	for (size_t i = 0; i < row_count; i++)
		remove_tree(rows[i].dir);
}

const struct test_fs *test_fs_named(const char *name)
{
	for (size_t i = 0; i < row_count; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

const struct test_fs *test_fs(void)
{
	ck_assert_msg(row != NULL, "test_fs() outside of test_each_fs()");
	return row;
}

const char *test_dir(void)
{
	return own_dir;
}

static void enter(const struct test_fs *fs)
{
	row = fs;
	snprintf(own_dir, sizeof(own_dir), "%s/t.XXXXXX", fs->dir);
	ck_assert_msg(mkdtemp(own_dir) && !chmod(own_dir, 0755) && !chdir(own_dir), "%s: %s", own_dir, strerror(errno));
	fds_before = test_count_fds();
}

static void leave(void)
{
	size_t fds = test_count_fds();

	ck_assert_msg(!chdir("/"), "chdir: %s", strerror(errno));
	remove_tree(own_dir);
	ck_assert_msg(fds == fds_before, "%zu descriptors before the test, %zu after it", fds_before, fds);
}

/* Check's fixtures take no argument, so there is one for each row. */
/* clang-format off */
#define FOR_EACH_ROW(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) \
	X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
/* clang-format on */
#define DEFINE_ENTER(i)             \
	static void enter_##i(void) \
	{                           \
		enter(&rows[i]);    \
	}
#define NAME_ENTER(i) enter_##i,

FOR_EACH_ROW(DEFINE_ENTER)
static const SFun enter_row[] = {FOR_EACH_ROW(NAME_ENTER)};
_Static_assert(sizeof(enter_row) / sizeof(enter_row[0]) == sizeof(rows) / sizeof(rows[0]), "one for each row");

/* Check keeps the pointers to names. */
static struct case_name {
	struct case_name *next;
	char text[];
} * case_names;

static void each(bool small, Suite *s, const char *name, void (*add)(TCase *tc))
{
	for (size_t i = 0; i < row_count; i++) {
		struct case_name *full;

		if (rows[i].small != small)
			continue;
		full = malloc(sizeof(*full) + strlen(name) + strlen(rows[i].name) + 2);
		sprintf(full->text, "%s/%s", name, rows[i].name);
		full->next = case_names;
		case_names = full;
		TCase *tc = tcase_create(full->text);

		tcase_add_checked_fixture(tc, enter_row[i], leave);
		add(tc);
		suite_add_tcase(s, tc);
	}
}

void test_each_fs(Suite *s, const char *name, void (*add)(TCase *tc))
{
	each(false, s, name, add);
}

void test_each_small_fs(Suite *s, const char *name, void (*add)(TCase *tc))
{
	each(true, s, name, add);
}

void test_note_skip(const char *format, ...)
{
	va_list args;
	char reason[256];

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	printf("skipped: %s, %s: %s\n", tcase_name(), row ? row->name : "-", reason);
	fflush(stdout);
	__atomic_add_fetch(skipped, 1, __ATOMIC_RELAXED);
}

/* --- bytes */

uint64_t test_seed(void)
{
	return seed;
}

uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void test_fill(void *buf, size_t n, uint64_t state)
{
	for (size_t at = 0; at < n; at += 8) {
		uint64_t word = test_random(&state);

		memcpy((char *)buf + at, &word, n - at < 8 ? n - at : 8);
	}
}

uint64_t test_hash(const void *buf, size_t n)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ ((const unsigned char *)buf)[i]) * 0x100000001b3u;
	return hash;
}

/* --- files */

void test_write_file(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	for (size_t at = 0; at < n;) {
		ssize_t done = write(fd, (const char *)bytes + at, n - at);

		ck_assert_msg(done > 0, "%s: %s", path, strerror(errno));
		at += (size_t)done;
	}
	close(fd);
}

void test_make_file(const char *path, size_t n, uint64_t state)
{
	void *bytes = malloc(n + 1);

	test_fill(bytes, n, state);
	test_write_file(path, bytes, n);
	free(bytes);
}

void *test_read_file(const char *path, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	ck_assert_msg(fd >= 0 && !fstat(fd, &st), "%s: %s", path, strerror(errno));
	size_t n = 0, size = (size_t)st.st_size;
	char *bytes = malloc(size + 1);

	for (ssize_t done = 1; done && n < size; n += (size_t)done) {
		done = read(fd, bytes + n, size - n);
		ck_assert_msg(done >= 0, "%s: %s", path, strerror(errno));
	}
	bytes[n] = '\0';
	close(fd);
	if (ret_n)
		*ret_n = n;
	return bytes;
}

uint64_t test_hash_file(const char *path)
{
	size_t n;
	void *bytes = test_read_file(path, &n);
	uint64_t hash = test_hash(bytes, n);

	free(bytes);
	return hash;
}

bool test_file_is(const char *path, const void *bytes, size_t n)
{
	size_t have;
	void *read = test_read_file(path, &have);
	bool same = have == n && !memcmp(read, bytes, n);

	free(read);
	return same;
}

size_t test_count_names(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	ck_assert_msg(dir != NULL, "%s: %s", path, strerror(errno));
	for (struct dirent *d; (d = readdir(dir));)
		count += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	closedir(dir);
	return count;
}

static uint64_t write_until(const char *path, uint64_t limit)
{
	static char piece[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	uint64_t size = 0;

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	test_fill(piece, sizeof(piece), 1);
	for (size_t n = sizeof(piece); n >= 4096; n /= 16) {
		for (ssize_t done; size + n <= limit && (done = write(fd, piece, n)) > 0;)
			size += (uint64_t)done;
		fsync(fd);
	}
	close(fd);
	return size;
}

/*
 * Writes, since some file systems promise space with fallocate() that they do not
 * have. What is to stay free is kept in a second file and given back at the end:
 * a full btrfs can remove a file, but not always shorten one.
 */
void test_fill_disk(uint64_t leave_free)
{
	ck_assert_msg(!unlink("ballast") || errno == ENOENT, "ballast: %s", strerror(errno));
	write_until("spare", leave_free);
	write_until("ballast", UINT64_MAX);
	ck_assert_msg(!unlink("spare"), "spare: %s", strerror(errno));
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	syncfs(fd);
	close(fd);
}

/* --- the process */

size_t test_count_fds(void)
{
	return test_count_names("/proc/self/fd") - 1; /* one is the listing's own */
}

void test_settle_fds(size_t fds)
{
	for (int i = 0; i < 20000 && test_count_fds() != fds; i++)
		usleep(1000);
}

void test_settle_maps(size_t maps)
{
	for (int i = 0; i < 2000 && test_count_maps() > maps; i++)
		usleep(1000);
}

int test_started_program_fds(char *buf, size_t size)
{
	char *argv[] = {(char *)(uintptr_t) "ls", (char *)(uintptr_t) "-l", (char *)(uintptr_t) "/proc/self/fd", NULL};
	int fds[2], status;
	size_t n = 0;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	pid_t pid = fork();

	if (!pid) {
		dup2(fds[1], 1);
		execvp("ls", argv);
		_exit(127);
	}
	close(fds[1]);
	for (ssize_t got; (got = read(fds[0], buf + n, size - 1 - n)) > 0;)
		n += (size_t)got;
	buf[n] = 0;
	close(fds[0]);
	return waitpid(pid, &status, 0) != pid || status ? -1 : 0;
}

size_t test_count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[8192];
	size_t count = 0;

	ck_assert_msg(f != NULL, "/proc/self/maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		count += !TEST_SANITIZED || strchr(line, '/') != NULL;
	fclose(f);
	return count;
}

bool test_is_root(void)
{
	return geteuid() == 0;
}

int test_as_user(uid_t uid, int (*fn)(void *arg), void *arg)
{
	int *result = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, value;

	ck_assert(result != MAP_FAILED);
	pid_t pid = fork();

	ck_assert_msg(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		if (uid != geteuid() && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)))
			_exit(1);
		*result = fn(arg);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		ck_assert_msg(errno == EINTR, "waitpid: %s", strerror(errno));
	ck_assert_msg(!WIFSIGNALED(status), "the child died by signal %d", WTERMSIG(status));
	ck_assert_msg(!WEXITSTATUS(status), "the child cannot become user %u", (unsigned)uid);
	value = *result;
	munmap(result, sizeof(int));
	return value;
}

/* The last line is read by tests/run. */
int main(int argc, char **argv)
{
	const char *list = getenv("SNAPMAP_TEST_FS"), *wanted = getenv("SNAPMAP_TEST_SEED");
	const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	skipped = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skipped == MAP_FAILED)
		return 2;
	if (wanted)
		seed = strtoull(wanted, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) < 0)
		return 2;
	printf("SNAPMAP_TEST_SEED=%" PRIu64 "\n", seed);
	read_rows(list ? list : "tmp=/tmp shm=/dev/shm", false, program);
	read_rows(getenv("SNAPMAP_TEST_SMALL_FS"), true, program);

	SRunner *sr = srunner_create(test_suite());

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr), run = srunner_ntests_run(sr);

	srunner_free(sr);
	drop_rows();
	printf("%d passed, %d failed, %d skipped\n", run - failed - *skipped, failed, *skipped);
	return failed ? 1 : 0;
}
