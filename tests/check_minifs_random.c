/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same random operations on an image and in a directory of the kernel's: the same
 * results, errnos and contents. SNAPMAP_MINIFS_STEPS: how many, if not some thousand.
 */
#include "config.h"

#include "minifs_testing.h"

#include <sys/stat.h>

#define STEPS 4000
#define COMPARE_EVERY 250
#define LARGEST 60000

struct both {
	struct minifs *fs;
	uint64_t random;
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

static const char *real(const char *path)
{
	static char buffers[2][80];
	static int next;
	char *buffer = buffers[next ^= 1];

	snprintf(buffer, sizeof(buffers[0]), "real/%s", path);
	return buffer;
}

static long result(long rc)
{
	return rc < 0 ? -errno : rc;
}

static long real_write(const char *path, const char *bytes, size_t n, size_t at)
{
	int fd = open(real(path), O_WRONLY | O_CLOEXEC);
	long rc = fd < 0 ? -errno : result(pwrite(fd, bytes, n, (off_t)at));

	if (fd >= 0)
		close(fd);
	return rc;
}

static long real_read(const char *path, char *bytes, size_t n, size_t at)
{
	int fd = open(real(path), O_RDONLY | O_CLOEXEC);
	long rc = fd < 0 ? -errno : result(pread(fd, bytes, n, (off_t)at));

	if (fd >= 0)
		close(fd);
	return rc;
}

static long real_create(const char *path)
{
	int fd = open(real(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* All bytes of one file to another, which is made if it is not there. */
static long real_copy(const char *from, const char *to)
{
	static char bytes[LARGEST * 2];
	long n = real_read(from, bytes, sizeof(bytes), 0), rc;

	if (n < 0)
		return n;
	rc = real_create(to);
	return rc ? rc : (n ? (real_write(to, bytes, (size_t)n, 0) < 0 ? -EIO : 0) : 0);
}

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
		agree("write", path, "", minifs_pwrite(b->fs, path, bytes, n, at), real_write(path, bytes, n, at));
		break;
	case 1:
		agree("truncate", path, "", minifs_truncate(b->fs, path, at), result(truncate(real(path), (off_t)at)));
		break;
	default:
		memset(ours, 0, n);
		memset(theirs, 0, n);
		agree("read", path, "", minifs_pread(b->fs, path, ours, n, at), real_read(path, theirs, n, at));
		ck_assert(!memcmp(ours, theirs, n));
	}
}

static void step(struct both *b)
{
	char path[64], other[64];

	some_path(b, path);
	some_path(b, other);
	switch (below(b, 12)) {
	case 0:
	case 1:
		agree("create", path, "", minifs_create(b->fs, path, 0644), real_create(path));
		break;
	case 2:
		agree("mkdir", path, "", minifs_mkdir(b->fs, path, 0755), result(mkdir(real(path), 0755)));
		break;
	case 3:
		agree("unlink", path, "", minifs_unlink(b->fs, path), result(unlink(real(path))));
		break;
	case 4:
		agree("rmdir", path, "", minifs_rmdir(b->fs, path), result(rmdir(real(path))));
		break;
	case 5:
		agree("rename", path, other, minifs_rename(b->fs, path, other),
		      result(rename(real(path), real(other))));
		break;
	case 6:
		agree("link", path, other, minifs_link(b->fs, path, other), result(link(real(path), real(other))));
		break;
	case 7:
		if (is_file(path))
			agree("clone", path, other, minifs_clone(b->fs, path, other), real_copy(path, other));
		break;
	default:
		step_bytes(b, path);
	}
}

static void compare_file(struct both *b, const char *path, const struct stat *kernels)
{
	static char ours[LARGEST * 2], theirs[LARGEST * 2];
	long n = real_read(path, theirs, sizeof(theirs), 0);

	ck_assert_int_eq(minifs_pread(b->fs, path, ours, sizeof(ours), 0), n);
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
		rc = minifs_stat(b->fs, below_it, MINIFS_NOFOLLOW, &ours);
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

static void sync_and_open_again(struct both *b)
{
	finish_image(b->fs, "i");
	b->fs = open_image("i");
}

static void run(uint32_t flags)
{
	const char *wanted = getenv("SNAPMAP_MINIFS_STEPS");
	unsigned long steps = wanted ? strtoul(wanted, NULL, 10) : STEPS;
	struct both b = {.random = test_seed() + flags};

	b.fs = new_image("i", (uint64_t)16 << 20, flags);
	ck_assert(!mkdir("real", 0755));
	for (unsigned long i = 1; i <= steps; i++) {
		step(&b);
		if (i % COMPARE_EVERY)
			continue;
		compare(&b, "", 1);
		if (i % (4 * COMPARE_EVERY) == 0)
			sync_and_open_again(&b);
	}
	finish_image(b.fs, "i");
}

/* Other file systems count the links of directories in their own way. */
#define need_tmpfs()                                       \
	do {                                               \
		if (strcmp(test_fs()->name, "tmpfs") != 0) \
			test_skip("compared with tmpfs");  \
	} while (0)

START_TEST(test_random_operations)
{
	need_tmpfs();
	umask(022);
	run(0);
}
END_TEST

START_TEST(test_random_operations_with_the_large_format)
{
	need_tmpfs();
	umask(022);
	run(MINIFS_FORMAT_LARGE);
}
END_TEST

static void add_random(TCase *tc)
{
	tcase_set_timeout(tc, 36000);
	tcase_add_test(tc, test_random_operations);
	tcase_add_test(tc, test_random_operations_with_the_large_format);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs random");

	test_each_fs(s, "random", add_random);
	return s;
}
