/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same random operations on an image and in a directory of the kernel's: the same
 * results, errnos and contents. The image is used through the library, or mounted and
 * used by system calls; and so is a directory behind snapfs. SNAPMAP_MINIFS_STEPS: how many, if not some thousand.
 */
#include "config.h"

#include "minifs_testing.h"
#include "wrapping.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#define STEPS 4000
#define COMPARE_EVERY 250
#define LARGEST 60000
#define OPEN_FILES 4

/* Files that stay open, whatever happens to their names. */
struct pair {
	int ours, theirs; /* -1: none */
};

/* @fs: NULL if the image is mounted. @wrapped: it is no image, but a directory that snapfs serves. */
struct both {
	struct minifs *fs;
	bool wrapped;
	uint64_t random;
	struct pair open[OPEN_FILES];
};

static size_t below(struct both *b, size_t n)
{
	return (size_t)(test_random(&b->random) % n);
}

/* Few names, so that they meet. */
static void some_path(struct both *b, char path[64])
{
	static const char *const names[] = {"a", "b", "c", "dd", "ee"};
	size_t depth = 1 + below(b, 3), n = 0;

	for (size_t i = 0; i < depth; i++)
		n += (size_t)snprintf(path + n, 64 - n, "%s%s", i ? "/" : "", names[below(b, 5)]);
}

/* In the directory @root. */
static const char *in(const char *root, const char *path)
{
	static char buffers[4][80];
	static int next;
	char *buffer = buffers[next = (next + 1) % 4];

	snprintf(buffer, sizeof(buffers[0]), "%s/%s", root, path);
	return buffer;
}

static const char *real(const char *path)
{
	return in("real", path);
}

static long result(long rc)
{
	return rc < 0 ? -errno : rc;
}

static long dir_write(const char *root, const char *path, const char *bytes, size_t n, size_t at)
{
	int fd = open(in(root, path), O_WRONLY | O_CLOEXEC);
	long rc = fd < 0 ? -errno : result(pwrite(fd, bytes, n, (off_t)at));

	if (fd >= 0)
		close(fd);
	return rc;
}

static long dir_read(const char *root, const char *path, char *bytes, size_t n, size_t at)
{
	int fd = open(in(root, path), O_RDONLY | O_CLOEXEC);
	long rc = fd < 0 ? -errno : result(pread(fd, bytes, n, (off_t)at));

	if (fd >= 0)
		close(fd);
	return rc;
}

static long dir_create(const char *root, const char *path)
{
	int fd = open(in(root, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* All bytes of one file to another, which is made if it is not there. */
static long real_copy(const char *from, const char *to)
{
	static char bytes[LARGEST * 2];
	long n = dir_read("real", from, bytes, sizeof(bytes), 0), rc;

	if (n < 0)
		return n;
	rc = dir_create("real", to);
	return rc ? rc : (n ? (dir_write("real", to, bytes, (size_t)n, 0) < 0 ? -EIO : 0) : 0);
}

static long mounted_copy(const char *from, const char *to)
{
	int source = open(in("m", from), O_RDONLY | O_CLOEXEC), target;
	long rc;

	if (source < 0)
		return -errno;
	target = open(in("m", to), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	rc = target < 0 ? -errno : 1;
	while (rc > 0)
		rc = result(copy_file_range(source, NULL, target, NULL, LARGEST * 2, 0));
	close(source);
	if (target >= 0)
		close(target);
	return rc;
}

/* ---- the image, by the library or mounted */

static long our_create(struct both *b, const char *path)
{
	return b->fs ? minifs_create(b->fs, path, 0644) : dir_create("m", path);
}

static long our_mkdir(struct both *b, const char *path)
{
	return b->fs ? minifs_mkdir(b->fs, path, 0755) : result(mkdir(in("m", path), 0755));
}

static long our_unlink(struct both *b, const char *path)
{
	return b->fs ? minifs_unlink(b->fs, path) : result(unlink(in("m", path)));
}

static long our_rmdir(struct both *b, const char *path)
{
	return b->fs ? minifs_rmdir(b->fs, path) : result(rmdir(in("m", path)));
}

static long our_rename(struct both *b, const char *path, const char *other)
{
	return b->fs ? minifs_rename(b->fs, path, other) : result(rename(in("m", path), in("m", other)));
}

static long our_link(struct both *b, const char *path, const char *other)
{
	return b->fs ? minifs_link(b->fs, path, other) : result(link(in("m", path), in("m", other)));
}

static long our_copy(struct both *b, const char *path, const char *other)
{
	return b->fs ? minifs_clone(b->fs, path, other) : mounted_copy(path, other);
}

static long our_write(struct both *b, const char *path, const char *bytes, size_t n, size_t at)
{
	return b->fs ? minifs_pwrite(b->fs, path, bytes, n, at) : dir_write("m", path, bytes, n, at);
}

static long our_read(struct both *b, const char *path, char *bytes, size_t n, size_t at)
{
	return b->fs ? minifs_pread(b->fs, path, bytes, n, at) : dir_read("m", path, bytes, n, at);
}

static long our_truncate(struct both *b, const char *path, size_t size)
{
	return b->fs ? minifs_truncate(b->fs, path, size) : result(truncate(in("m", path), (off_t)size));
}

static long our_stat(struct both *b, const char *path, struct stat *ret)
{
	return b->fs ? minifs_stat(b->fs, path, MINIFS_NOFOLLOW, ret) : result(lstat(in("m", path), ret));
}

/* ---- steps */

static void agree(const char *what, const char *path, const char *other, long ours, long kernels)
{
	ck_assert_msg(ours == kernels, "%s %s %s: %ld, and the kernel %ld", what, path, other, ours, kernels);
}

static bool is_file(const char *path)
{
	struct stat st;

	return !lstat(real(path), &st) && S_ISREG(st.st_mode);
}

static void step_bytes(struct both *b, const char *path)
{
	static char bytes[LARGEST], ours[LARGEST], theirs[LARGEST];
	size_t n = below(b, 4) ? below(b, 5000) : below(b, LARGEST), at = below(b, LARGEST);

	/* What a directory says to a writer depends on how it was opened. */
	if (!is_file(path))
		return;
	switch (below(b, 3)) {
	case 0:
		test_fill(bytes, n, b->random);
		agree("write", path, "", our_write(b, path, bytes, n, at), dir_write("real", path, bytes, n, at));
		break;
	case 1:
		agree("truncate", path, "", our_truncate(b, path, at), result(truncate(real(path), (off_t)at)));
		break;
	default:
		memset(ours, 0, n);
		memset(theirs, 0, n);
		agree("read", path, "", our_read(b, path, ours, n, at), dir_read("real", path, theirs, n, at));
		ck_assert(!memcmp(ours, theirs, n));
	}
}

/* What only the mounted image has a way for. */
static void step_ranges(struct both *b, const char *path)
{
	int ours = is_file(path) ? open(in("m", path), O_RDWR | O_CLOEXEC) : -1;
	int theirs = ours < 0 ? -1 : open(real(path), O_RDWR | O_CLOEXEC);
	off_t at = (off_t)below(b, LARGEST), to = (off_t)below(b, LARGEST), n = (off_t)below(b, 20000) + 1;
	int whence = below(b, 2) ? SEEK_DATA : SEEK_HOLE;

	if (theirs < 0)
		return;
	switch (below(b, 4)) {
	case 0:
		agree("punch", path, "", result(fallocate(ours, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n)),
		      result(fallocate(theirs, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n)));
		break;
	case 1:
		agree("allocate", path, "", result(fallocate(ours, 0, at, n)), result(fallocate(theirs, 0, at, n)));
		break;
	case 2:
		/* Where the holes are is each file system's own matter; beyond the end is not. */
		agree("seek", path, "", result(lseek(ours, at, whence)) == -ENXIO && whence == SEEK_HOLE,
		      result(lseek(theirs, at, whence)) == -ENXIO && whence == SEEK_HOLE);
		break;
	default: {
		off_t from[2] = {at, at}, target[2] = {to, to};

		agree("copy range", path, "", result(copy_file_range(ours, &from[0], ours, &target[0], (size_t)n, 0)),
		      result(copy_file_range(theirs, &from[1], theirs, &target[1], (size_t)n, 0)));
	}
	}
	close(ours);
	close(theirs);
}

/* Files that stay open: their bytes too, after their names have gone. */
static void step_open(struct both *b, const char *path)
{
	static char bytes[5000], ours[5000], theirs[5000];
	struct pair *pair = &b->open[below(b, OPEN_FILES)];
	off_t at = (off_t)below(b, LARGEST);
	size_t n = below(b, sizeof(bytes));

	if (pair->ours < 0) {
		if (!is_file(path))
			return;
		pair->ours = open_in(in("m", path), O_RDWR | O_APPEND);
		pair->theirs = open_in(real(path), O_RDWR | O_APPEND);
		return;
	}
	switch (below(b, 4)) {
	case 0:
		test_fill(bytes, n, b->random);
		if (lseek(pair->theirs, 0, SEEK_END) < LARGEST)
			agree("append", "", "", result(write(pair->ours, bytes, n)),
			      result(write(pair->theirs, bytes, n)));
		break;
	case 1:
		agree("cut", "", "", result(ftruncate(pair->ours, at)), result(ftruncate(pair->theirs, at)));
		break;
	case 2:
		agree("read open", "", "", result(pread(pair->ours, ours, n, at)),
		      result(pread(pair->theirs, theirs, n, at)));
		ck_assert(!memcmp(ours, theirs, n));
		break;
	default:
		close(pair->ours);
		close(pair->theirs);
		*pair = (struct pair){-1, -1};
	}
}

static void step_mounted(struct both *b, const char *path, const char *other)
{
	unsigned flags = below(b, 2) ? RENAME_EXCHANGE : RENAME_NOREPLACE;

	switch (below(b, 4)) {
	case 0:
		agree("rename with flags", path, other,
		      result(renameat2(AT_FDCWD, in("m", path), AT_FDCWD, in("m", other), flags)),
		      result(renameat2(AT_FDCWD, real(path), AT_FDCWD, real(other), flags)));
		break;
	case 1:
		step_ranges(b, path);
		break;
	default:
		step_open(b, path);
	}
}

static void step(struct both *b)
{
	char path[64], other[64];

	some_path(b, path);
	some_path(b, other);
	if (!b->fs && !below(b, 4)) {
		step_mounted(b, path, other);
		return;
	}
	switch (below(b, 12)) {
	case 0:
	case 1:
		agree("create", path, "", our_create(b, path), dir_create("real", path));
		break;
	case 2:
		agree("mkdir", path, "", our_mkdir(b, path), result(mkdir(real(path), 0755)));
		break;
	case 3:
		agree("unlink", path, "", our_unlink(b, path), result(unlink(real(path))));
		break;
	case 4:
		agree("rmdir", path, "", our_rmdir(b, path), result(rmdir(real(path))));
		break;
	case 5:
		agree("rename", path, other, our_rename(b, path, other), result(rename(real(path), real(other))));
		break;
	case 6:
		agree("link", path, other, our_link(b, path, other), result(link(real(path), real(other))));
		break;
	case 7:
		if (is_file(path))
			agree("clone", path, other, our_copy(b, path, other), real_copy(path, other));
		break;
	default:
		step_bytes(b, path);
	}
}

static void compare_file(struct both *b, const char *path, const struct stat *kernels)
{
	static char ours[LARGEST * 2], theirs[LARGEST * 2];
	long n = dir_read("real", path, theirs, sizeof(theirs), 0);

	ck_assert_int_eq(our_read(b, path, ours, sizeof(ours), 0), n);
	ck_assert_int_eq(n, kernels->st_size);
	ck_assert_msg(!memcmp(ours, theirs, (size_t)n), "%s has other bytes", path);
}

/* Every path that can be. Names count too: both have the same ones or none. */
static void compare(struct both *b, const char *path, int depth)
{
	static const char *const names[] = {"a", "b", "c", "dd", "ee"};

	for (size_t i = 0; i < 5 && depth < 4; i++) {
		struct stat ours, kernels;
		char below_it[64];
		long rc, kernels_rc;

		snprintf(below_it, sizeof(below_it), "%s%s%s", path, *path ? "/" : "", names[i]);
		rc = our_stat(b, below_it, &ours);
		kernels_rc = result(lstat(real(below_it), &kernels));
		agree("stat", below_it, "", rc, kernels_rc);
		if (rc)
			continue;
		ck_assert_uint_eq(ours.st_mode, kernels.st_mode);
		ck_assert_msg(ours.st_nlink == kernels.st_nlink, "%s: %lu links, and %lu", below_it,
			      (unsigned long)ours.st_nlink, (unsigned long)kernels.st_nlink);
		if (S_ISDIR(ours.st_mode))
			compare(b, below_it, depth + 1);
		else
			compare_file(b, below_it, &kernels);
	}
}

static void close_all(struct both *b)
{
	for (size_t i = 0; i < OPEN_FILES; i++)
		if (b->open[i].ours >= 0) {
			close(b->open[i].ours);
			close(b->open[i].theirs);
			b->open[i] = (struct pair){-1, -1};
		}
}

static void open_again(struct both *b)
{
	if (b->fs) {
		finish_image(b->fs, "i");
		b->fs = open_image("i");
		return;
	}
	close_all(b);
	if (b->wrapped) {
		unmount_wrapper();
		mount_wrapper("");
	} else {
		mount_again();
	}
}

static bool is_half_full(struct both *b)
{
	struct minifs_space space;
	struct statvfs st;

	if (b->fs) {
		ck_ok(minifs_statfs(b->fs, &space));
		return space.free_blocks < space.blocks / 2 || space.free_inodes < space.inodes / 2;
	}
	ck_sys(statvfs("m", &st));
	return st.f_bfree < st.f_blocks / 2 || st.f_ffree < st.f_files / 2;
}

static void remove_all(struct minifs *fs, const char *path)
{
	struct minifs_dirent entry;
	uint64_t cursor = 0;

	while (minifs_readdir(fs, path, &cursor, &entry, 1) > 0) {
		char below_it[4096];

		if (!strcmp(entry.name, ".") || !strcmp(entry.name, ".."))
			continue;
		ck_assert(snprintf(below_it, sizeof(below_it), "%s/%s", path, entry.name) < 4096);
		if (S_ISDIR(entry.mode)) {
			remove_all(fs, below_it);
			ck_ok(minifs_rmdir(fs, below_it));
		} else {
			ck_ok(minifs_unlink(fs, below_it));
		}
	}
}

/*
 * Directories that are renamed take their files where no short path leads any more, so
 * there can be any number of them.
 */
static void begin_anew(struct both *b)
{
	if (b->fs)
		remove_all(b->fs, "/");
	else
		ck_run(0, "rm -rf m/*");
	ck_run(0, "rm -rf real/*");
}

static void run_steps(struct both *b)
{
	const char *wanted = getenv("SNAPMAP_MINIFS_STEPS");
	unsigned long steps = wanted ? strtoul(wanted, NULL, 10) : STEPS;

	ck_assert(!mkdir("real", 0755));
	for (unsigned long i = 1; i <= steps; i++) {
		step(b);
		if (i % COMPARE_EVERY)
			continue;
		compare(b, "", 1);
		if (i % (4 * COMPARE_EVERY) == 0)
			open_again(b);
		if (is_half_full(b)) {
			close_all(b);
			begin_anew(b);
		}
	}
	compare(b, "", 1);
}

#define IMAGE "64M"
#define IMAGE_BYTES ((uint64_t)64 << 20)

/* Other file systems count the links of directories in their own way. */
#define need_tmpfs()                                       \
	do {                                               \
		if (strcmp(test_fs()->name, "tmpfs") != 0) \
			test_skip("compared with tmpfs");  \
	} while (0)

START_TEST(test_random_operations)
{
	struct both b = {.random = test_seed(), .open = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}};

	need_tmpfs();
	umask(022);
	b.fs = new_image("i", IMAGE_BYTES, 0);
	run_steps(&b);
	finish_image(b.fs, "i");
}
END_TEST

START_TEST(test_random_operations_on_a_mounted_image)
{
	struct both b = {.random = test_seed() + 1, .open = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}};

	need_tmpfs();
	need_mounts();
	if (run("command -v mount.minifs"))
		test_skip("without libfuse there is no mount.minifs");
	umask(022);
	mount_new(IMAGE);
	run_steps(&b);
	close_all(&b);
	unmount_image();
}
END_TEST

/* Beside a directory of the same file system. */
START_TEST(test_random_operations_in_a_wrapped_directory)
{
	struct both b = {.random = test_seed() + 2, .open = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}, .wrapped = true};
	struct snapfs_snapshot s;
	int fd;

	if (!strncmp(test_fs()->name, "overlay", 7) || !strcmp(test_fs()->name, "fuse") || test_fs()->served)
		test_skip("FUSE and overlays have ways of their own");
	need_mounts();
	if (run("command -v snapfs"))
		test_skip("without libfuse there is no snapfs");
	umask(022);
	mount_wrapper("");
	/* With snapshots around. */
	fd = open_in("m/kept", O_CREAT | O_RDWR);
	ck_sys(ask_for(fd, 0, SNAPFS_ALL, &s));
	close(fd);
	run_steps(&b);
	close_all(&b);
	unmount_wrapper();
}
END_TEST

static void add_random(TCase *tc)
{
	tcase_set_timeout(tc, 36000);
	tcase_add_test(tc, test_random_operations);
	tcase_add_test(tc, test_random_operations_on_a_mounted_image);
	tcase_add_test(tc, test_random_operations_in_a_wrapped_directory);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs random");

	test_each_fs(s, "random", add_random);
	return s;
}
