/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source "immutable": files that nobody can change are mapped as they are, and
 * no other file is. Images of squashfs and erofs and a file system for fs-verity
 * come from tests/with-fs.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "committing.h"

#ifndef F_SEAL_EXEC /* Linux 6.3 */
#define F_SEAL_EXEC 0x0020
#endif
#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif

#define LARGE ((size_t)8 << 20)

static size_t page;

/* A call of the test itself. */
#define ck_sys(call) ck_assert_msg((call) >= 0, "%s: %s", #call, strerror(errno))

/* Sizes at which something could go wrong. */
#define SIZES 6
static size_t size_at(int i)
{
	const size_t sizes[SIZES] = {0, 1, page - 1, page, page + 1, LARGE};

	return sizes[i];
}

static const struct snapmap_options only = {.size = sizeof(only), .source = SNAPMAP_SOURCE_IMMUTABLE};

static struct snapmap_info info_of(const struct snapmap *map)
{
	struct snapmap_info info;

	ck_ok(snapmap_get_info(map, &info));
	return info;
}

/* The bytes, and zeros up to the end of the last page. */
static bool map_is(const struct snapmap *map, const void *bytes, size_t n)
{
	const char *data = snapmap_data(map);

	if (snapmap_size(map) != n || (uintptr_t)data % page || memcmp(data, bytes, n))
		return false;
	for (size_t i = n; i % page; i++)
		if (data[i])
			return false;
	return true;
}

/* What /proc/self/maps says is mapped there. */
static const char *mapped_file(const void *address)
{
	static char line[PATH_MAX + 100];
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	int at;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		ck_assert_int_eq(sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &start, &end, &at), 2);
		if ((uintptr_t)address < start || (uintptr_t)address >= end)
			continue;
		fclose(f);
		line[strcspn(line, "\n")] = 0;
		return line + at;
	}
	fclose(f);
	return "";
}

static void expect_immutable(struct snapmap *map, const void *bytes, size_t n)
{
	struct snapmap_info info = info_of(map);

	ck_assert_msg(info.source == SNAPMAP_SOURCE_IMMUTABLE, "%zu bytes: %s", n, snapmap_source_name(info.source));
	ck_assert_uint_eq(info.consistency, SNAPMAP_CONSISTENCY_POINT_IN_TIME);
	ck_assert_uint_eq(info.bytes_copied, 0);
	ck_assert_uint_eq(info.size, n);
	ck_assert_uint_eq(info.lease, SNAPMAP_LEASE_NONE);
	ck_assert_int_eq(info.error, 0);
	ck_assert_str_eq(info.tried, "");
	ck_assert_msg(map_is(map, bytes, n), "%zu bytes: other bytes", n);
	ck_ok(snapmap_prefault(map, 0, n));
	/* The word of the library is not all there is: what is mapped is no copy. */
	ck_assert_ptr_null(strstr(mapped_file(snapmap_data(map)), "snapmap-copy"));
}

static void expect_other(struct snapmap *map, const void *bytes, size_t n)
{
	ck_assert_uint_ne(info_of(map).source, SNAPMAP_SOURCE_IMMUTABLE);
	ck_assert_msg(map_is(map, bytes, n), "other bytes");
}

/* Refused by name, with a reason and a way out. */
static void expect_refusal(int fd)
{
	struct snapmap *map = NULL;

	ck_fails(snapmap_open_fd(fd, &only, &map), -EOPNOTSUPP);
	ck_says("immutable: ");
	ck_says("ask for another source");
	ck_assert_ptr_null(map);
}

/* A child with nothing of the handle but what fork gave it. */
static void expect_in_child(struct snapmap **map, const void *bytes, size_t n)
{
	int go[2], status;
	char c;

	ck_sys(pipe2(go, O_CLOEXEC));
	pid_t pid = fork();

	ck_sys(pid);
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0 || !map_is(*map, bytes, n));
	}
	snapmap_close(*map);
	*map = NULL;
	close(go[0]);
	close(go[1]);
	ck_sys(waitpid(pid, &status, 0));
	ck_assert_msg(status == 0, "the child saw other bytes (status %x)", (unsigned)status);
}

/* Opens in each way there is, by path and by @fd. */
static void expect_all_ways(const char *path, int fd, const void *bytes, size_t n)
{
	static const uint32_t flags[] = {0, SNAPMAP_STRICT, SNAPMAP_POPULATE, SNAPMAP_INHERIT};
	struct snapmap *map;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		const struct snapmap_options o = {.size = sizeof(o), .flags = flags[i]};

		ck_ok(snapmap_open(path, &o, &map));
		expect_immutable(map, bytes, n);
		snapmap_close(map);
	}
	ck_ok(snapmap_open(path, &only, &map));
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	ck_sys(lseek(fd, 1, SEEK_SET));
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 1);
	expect_immutable(map, bytes, n);
	expect_in_child(&map, bytes, n);
}

/* An editable handle takes another source; edits stay with it. */
static void expect_editable(const char *path, const void *bytes, size_t n)
{
	struct snapmap_mut *map = NULL;

	ck_fails(snapmap_mut_open(path, &only, &map), -EOPNOTSUPP);
	ck_says("source");
	ck_ok(snapmap_mut_open(path, NULL, &map));
	ck_assert(handle_is(map, bytes, n));
	if (n)
		*(char *)snapmap_mut_data(map) ^= 1;
	ck_assert(!n || !handle_is(map, bytes, n));
	ck_ok(snapmap_mut_rollback(map));
	ck_assert(handle_is(map, bytes, n));
	snapmap_mut_close(map);
}

static void expect_probe(const char *path, bool immutable)
{
	struct snapmap_probe probe;

	ck_ok(snapmap_probe(path, &probe));
	ck_assert_uint_eq(probe.sources[0].id, SNAPMAP_SOURCE_IMMUTABLE);
	ck_assert_msg(!probe.sources[0].error == immutable, "%s: %s", path, probe.sources[0].reason);
	ck_assert_int_eq(probe.source == SNAPMAP_SOURCE_IMMUTABLE, immutable);
	ck_assert_uint_ne(probe.source_mut, SNAPMAP_SOURCE_IMMUTABLE);
}

/* --- squashfs and erofs */

static const char *const images[] = {"squashfs", "erofs", "erofs-lz4"};
#define IMAGES ((int)(sizeof(images) / sizeof(images[0])))

/* The directory of an image, from a list "name=directory ...". */
static bool find_image(const char *name, char *ret, size_t size)
{
	const char *at = getenv("SNAPMAP_TEST_IMAGES");
	size_t n = strlen(name);

	for (at = at ? at : ""; *at; at += strcspn(at, " "), at += strspn(at, " "))
		if (!strncmp(at, name, n) && at[n] == '=') {
			snprintf(ret, size, "%.*s", (int)strcspn(at + n + 1, " "), at + n + 1);
			return true;
		}
	return false;
}

START_TEST(test_files_of_images)
{
	const char *files = getenv("SNAPMAP_TEST_IMAGE_FILES"), *name = images[_i];
	char dir[PATH_MAX / 2], path[PATH_MAX], original[PATH_MAX];

	if (!files || !find_image(name, dir, sizeof(dir)))
		test_skip("no %s: no program to make it with, or this kernel does not mount it", name);
	expect_probe(dir, true);
	for (int i = 0; i < SIZES; i++) {
		size_t n;

		snprintf(path, sizeof(path), "%s/%zu", dir, size_at(i));
		snprintf(original, sizeof(original), "%s/%zu", files, size_at(i));
		void *bytes = test_read_file(original, &n);
		int fd = open(path, O_RDONLY | O_CLOEXEC), pathfd = open(path, O_PATH | O_CLOEXEC);
		struct snapmap *map;

		ck_assert_uint_eq(n, size_at(i));
		ck_sys(fd);
		ck_sys(pathfd);
		expect_all_ways(path, fd, bytes, n);
		ck_ok(snapmap_open_fd(pathfd, NULL, &map));
		expect_immutable(map, bytes, n);
		if (n)
			ck_assert_str_eq(mapped_file(snapmap_data(map)), path);
		ck_assert_msg(!strncmp(name, info_of(map).file_system, strlen(info_of(map).file_system)), "%s: %s",
			      name, info_of(map).file_system);
		snapmap_close(map);
		expect_editable(path, bytes, n);
		expect_probe(path, true);
		close(fd);
		close(pathfd);
		free(bytes);
	}
}
END_TEST

/* A copy is still to be had, for those who do not trust whoever has the image. */
START_TEST(test_copy_of_a_file_of_an_image)
{
	const struct snapmap_options o = {.size = sizeof(o), .source = SNAPMAP_SOURCE_COPY};
	char dir[PATH_MAX / 2], path[PATH_MAX];
	struct snapmap *map;
	size_t n;

	if (!find_image(images[_i], dir, sizeof(dir)))
		test_skip("no %s", images[_i]);
	snprintf(path, sizeof(path), "%s/%zu", dir, page + 1);
	void *bytes = test_read_file(path, &n);

	ck_ok(snapmap_open(path, &o, &map));
	ck_assert_uint_eq(info_of(map).source, SNAPMAP_SOURCE_COPY);
	ck_assert(map_is(map, bytes, n));
	snapmap_close(map);
	free(bytes);
}
END_TEST

/* --- fs-verity */

/* False where kernel or file system cannot. */
static bool enable_verity(const char *path)
{
	struct fsverity_enable_arg arg = {.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256};
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	ck_sys(fd);
	arg.block_size = (uint32_t)page;
	rc = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
	if (rc && errno == EINVAL && page > 4096) {
		arg.block_size = 4096;
		rc = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
	}
	ck_assert_msg(!rc || errno == EOPNOTSUPP || errno == ENOTTY, "fs-verity of %s: %s", path, strerror(errno));
	close(fd);
	return !rc;
}

static void expect_verity(const char *path, size_t n)
{
	void *bytes = malloc(n + 1);
	int fd;

	test_make_file(path, n, test_seed());
	test_fill(bytes, n, test_seed());
	expect_probe(path, false);
	ck_assert(enable_verity(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_sys(fd);
	expect_all_ways(path, fd, bytes, n);
	expect_editable(path, bytes, n);
	expect_probe(path, true);
	ck_assert(open(path, O_WRONLY | O_CLOEXEC) < 0);
	ck_assert(truncate(path, 0) < 0);
	/* A new file takes the place of this one. */
	struct snapmap *map;

	ck_ok(snapmap_open(path, NULL, &map));
	ck_sys(unlink(path));
	test_make_file(path, 100, 1);
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	ck_ok(snapmap_open_fd(fd, &only, &map));
	expect_immutable(map, bytes, n);
	snapmap_close(map);
	close(fd);
	ck_sys(unlink(path));
	free(bytes);
}

/* Whether files in the directory can have it. */
static bool verity_works(const char *dir)
{
	char path[PATH_MAX];
	bool works;

	snprintf(path, sizeof(path), "%s/try.%d", dir, (int)getpid());
	test_make_file(path, page, 1);
	works = enable_verity(path);
	ck_sys(unlink(path));
	return works;
}

START_TEST(test_files_with_verity)
{
	const char *dir = getenv("SNAPMAP_TEST_VERITY");
	char path[PATH_MAX];

	if (!dir || !verity_works(dir))
		test_skip("no fs-verity on ext4 in this kernel");
	snprintf(path, sizeof(path), "%s/verity.%d", dir, (int)getpid());
	for (int i = 0; i < SIZES; i++)
		expect_verity(path, size_at(i));
}
END_TEST

/* On btrfs fs-verity does not hinder truncation, or did not for long. */
START_TEST(test_verity_that_can_be_cut)
{
	const struct test_fs *btrfs = test_fs_named("btrfs");
	struct snapmap *map;
	char path[PATH_MAX];
	size_t n;

	if (!btrfs || !verity_works(btrfs->dir))
		test_skip("no fs-verity on btrfs in this kernel");
	snprintf(path, sizeof(path), "%s/verity.%d", btrfs->dir, (int)getpid());
	test_make_file(path, 3 * page, test_seed());
	ck_assert(enable_verity(path));
	void *bytes = test_read_file(path, &n);

	expect_probe(path, false);
	ck_fails(snapmap_open(path, &only, &map), -EOPNOTSUPP);
	ck_ok(snapmap_open(path, NULL, &map));
	if (!truncate(path, (off_t)page))
		close(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC));
	expect_other(map, bytes, n);
	snapmap_close(map);
	ck_sys(unlink(path));
	free(bytes);
}
END_TEST

/* --- memory files */

static int memory_file(const void *bytes, size_t n)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_sys(fd);
	for (size_t at = 0; at < n;) {
		ssize_t done = write(fd, (const char *)bytes + at, n - at);

		ck_sys(done);
		at += (size_t)done;
	}
	return fd;
}

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK)

static void seal(int fd, int seals)
{
	ck_sys(fcntl(fd, F_ADD_SEALS, seals));
}

/* Whatever may be tried on a file that one has open for writing; what works works. */
static void try_to_change(int fd, char *older_mapping)
{
	char byte = 'x';
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bool done = pwrite(fd, &byte, 1, 0) == 1;

	if (older_mapping)
		memset(older_mapping, 'x', page);
	if (p != MAP_FAILED) {
		memset(p, 'x', page);
		madvise(p, page, MADV_REMOVE);
		munmap(p, page);
	}
	done |= !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)page);
	done |= !fallocate(fd, 0, 0, (off_t)(4 * page));
	done |= !ftruncate(fd, (off_t)(3 * page));
	done |= !ftruncate(fd, 1);
	done |= !ftruncate(fd, 0);
	(void)done;
}

/* Each combination of seals there is. */
START_TEST(test_seals)
{
	static const int bits[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE};
	size_t n = page + 1;
	char *bytes = malloc(n), *older = NULL;
	int fd, seals = 0;
	struct snapmap *map;

	test_fill(bytes, n, test_seed());
	fd = memory_file(bytes, n);
	for (int i = 0; i < 5; i++)
		seals |= _i & 1 << i ? bits[i] : 0;
	if (!(seals & F_SEAL_WRITE)) {
		older = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ck_assert_ptr_ne(older, MAP_FAILED);
	}
	seal(fd, seals);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	if ((seals & SEALS) == SEALS) {
		expect_immutable(map, bytes, n);
	} else {
		expect_other(map, bytes, n);
		expect_refusal(fd);
		ck_says("F_SEAL_WRITE");
	}
	try_to_change(fd, older);
	ck_assert_msg(map_is(map, bytes, n), "seals %#x: the bytes changed", (unsigned)seals);
	snapmap_close(map);
	if (older)
		munmap(older, page);
	close(fd);
	free(bytes);
}
END_TEST

/* The seals come one after the other; it is the last that counts. */
START_TEST(test_half_sealed)
{
	struct snapmap *map;
	int fd = memory_file("abc", 3);

	expect_refusal(fd);
	seal(fd, F_SEAL_WRITE);
	expect_refusal(fd);
	seal(fd, F_SEAL_SHRINK);
	ck_ok(snapmap_open_fd(fd, &only, &map));
	expect_immutable(map, "abc", 3);
	snapmap_close(map);
	close(fd);
	/* One that cannot be sealed at all. */
	fd = memfd_create("never", MFD_CLOEXEC);
	ck_sys(fd);
	ck_assert_int_eq(write(fd, "abc", 3), 3);
	expect_refusal(fd);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	expect_other(map, "abc", 3);
	snapmap_close(map);
	close(fd);
}
END_TEST

START_TEST(test_sealed_memory_files)
{
	size_t n = size_at(_i);
	char *bytes = malloc(n + 1), path[64];
	int fd, reader;

	test_fill(bytes, n, test_seed());
	fd = memory_file(bytes, n);
	seal(fd, SEALS);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	ck_sys(reader);
	expect_all_ways(path, fd, bytes, n);
	expect_all_ways(path, reader, bytes, n);
	expect_editable(path, bytes, n);
	expect_probe(path, true);
	/* The edits of an editable handle stayed where they were made. */
	char *now = malloc(n + 1);

	ck_assert_int_eq(pread(fd, now, n + 1, 0), (ssize_t)n);
	ck_assert_mem_eq(now, bytes, n);
	free(now);
	close(reader);
	close(fd);
	free(bytes);
}
END_TEST

/* One that came from somebody else, who does not allow to open it again. */
static int open_what_is_not_to_be_opened(void *arg)
{
	int fd = *(int *)arg, rc;
	struct snapmap *map;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (open(path, O_RDONLY | O_CLOEXEC) >= 0)
		return 1;
	rc = snapmap_open_fd(fd, &only, &map);
	if (rc)
		return rc;
	rc = map_is(map, "abc", 3) && lseek(fd, 0, SEEK_CUR) == 2 ? 0 : 2;
	snapmap_close(map);
	return rc;
}

START_TEST(test_descriptor_that_cannot_be_opened_again)
{
	int fd = memory_file("abc", 3);

	ck_sys(fchmod(fd, 0));
	seal(fd, SEALS);
	ck_sys(lseek(fd, 2, SEEK_SET));
	ck_assert_int_eq(test_as_user(test_is_root() ? 65534 : getuid(), open_what_is_not_to_be_opened, &fd), 0);
	close(fd);
}
END_TEST

/* Handle and mapping outlive every descriptor. */
START_TEST(test_handle_outlives_the_memory_file)
{
	size_t n = LARGE;
	char *bytes = malloc(n);
	struct snapmap *map;
	int fd;

	test_fill(bytes, n, test_seed());
	fd = memory_file(bytes, n);
	seal(fd, SEALS);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	close(fd);
	expect_immutable(map, bytes, n);
	expect_in_child(&map, bytes, n);
	free(bytes);
}
END_TEST

/* What was stored behind the end, through a mapping, must not show: a reader may rely on zeros there. */
START_TEST(test_bytes_behind_the_end)
{
	struct snapmap *map;

	for (size_t at = 3; at < page; at = at < page - 1 ? page - 1 : page) {
		int fd = memory_file("abc", 3);
		char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		ck_assert_ptr_ne(p, MAP_FAILED);
		p[at] = 'x';
		munmap(p, page);
		seal(fd, SEALS | F_SEAL_GROW | F_SEAL_SEAL);
		ck_ok(snapmap_open_fd(fd, NULL, &map));
		expect_other(map, "abc", 3);
		snapmap_close(map);
		expect_refusal(fd);
		close(fd);
	}
}
END_TEST

START_TEST(test_sparse_memory_file)
{
	size_t n = (size_t)1 << 30;
	int fd = memory_file("abc", 3);
	struct snapmap *map;

	ck_sys(ftruncate(fd, (off_t)n));
	seal(fd, SEALS);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	ck_assert_uint_eq(info_of(map).source, SNAPMAP_SOURCE_IMMUTABLE);
	ck_assert_uint_eq(snapmap_size(map), n);
	const char *data = snapmap_data(map);

	ck_assert_int_eq(data[2], 'c');
	ck_assert_int_eq(data[n / 2], 0);
	ck_assert_int_eq(data[n - 1], 0);
	snapmap_close(map);
	close(fd);
}
END_TEST

/* A page of it that is missing would have to come from a pool, which may be empty. */
START_TEST(test_memory_file_of_huge_pages)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	struct snapmap *map;
	struct stat st;

	if (fd < 0)
		test_skip("no memory files of huge pages: %s", strerror(errno));
	ck_sys(fstat(fd, &st));
	for (int i = 0; i < 2; i++) {
		size_t n = (size_t)i * (size_t)st.st_blksize;
		char *zeros = calloc(1, n + 1);

		ck_sys(ftruncate(fd, (off_t)n));
		if (i)
			seal(fd, SEALS);
		ck_ok(snapmap_open_fd(fd, NULL, &map));
		expect_other(map, zeros, n);
		snapmap_close(map);
		expect_refusal(fd);
		free(zeros);
	}
	close(fd);
}
END_TEST

/* --- while it is opened */

struct sealing {
	int fd, wanted, count;
	bool done, immutable;
};

static int open_watched(void *arg)
{
	struct sealing *s = arg;
	struct snapmap *map;
	struct snapmap_info info;
	bool good = true;
	int rc;

	watch_on();
	rc = snapmap_open_fd(s->fd, NULL, &map);
	watch_off();
	if (rc)
		return rc;
	rc = snapmap_get_info(map, &info);
	s->immutable = info.source == SNAPMAP_SOURCE_IMMUTABLE;
	/* As it is mapped, so it must be there: no signal, whatever the size. */
	if (snapmap_prefault(map, 0, snapmap_size(map)))
		rc = 1;
	for (size_t i = 0; i < snapmap_size(map) && !rc; i++)
		good = good && ((const char *)snapmap_data(map))[i] == 'a';
	if (!good || (s->immutable && snapmap_size(map) != page))
		rc = 2;
	snapmap_close(map);
	return rc;
}

static int seal_at(void *arg, const struct seccomp_data *call)
{
	struct sealing *s = arg;

	(void)call;
	if (s->count++ == s->wanted) {
		ck_sys(ftruncate(s->fd, (off_t)page));
		seal(s->fd, SEALS);
		s->done = true;
	}
	return 0;
}

/* A file that is cut and then sealed is as long as it was when it was sealed. */
START_TEST(test_file_that_is_sealed_while_it_is_opened)
{
	bool done = true, seen = false, missed = false;
	char *bytes = malloc(3 * page);

	if (!watch_works())
		test_skip("system calls cannot be watched");
	memset(bytes, 'a', 3 * page);
	for (int n = 0; done; n++) {
		struct sealing s = {.fd = memory_file(bytes, 3 * page), .wanted = n};
		int rc = watch(open_watched, &s, seal_at, &s);

		ck_assert_msg(rc == 0, "sealed before system call %d: %d: %s", n, rc, snapmap_last_error());
		done = s.done;
		seen |= done && s.immutable;
		missed |= !s.immutable;
		close(s.fd);
	}
	ck_assert_msg(seen && missed, "not both before and after the look at the seals");
	free(bytes);
}
END_TEST

/* --- all other files */

START_TEST(test_ordinary_files)
{
	struct snapmap_info info;
	struct snapmap *map = NULL;
	int fd;

	test_make_file("f", page + 1, 1);
	void *bytes = test_read_file("f", NULL);

	ck_fails(snapmap_open("f", &only, &map), -EOPNOTSUPP);
	ck_says("immutable: ");
	ck_says("fs-verity");
	ck_says("ask for another source");
	ck_assert_ptr_null(map);
	ck_ok(snapmap_open("f", NULL, &map));
	expect_other(map, bytes, page + 1);
	/* It is not worth telling of an ordinary file that it can be changed. */
	info = info_of(map);
	ck_assert_ptr_null(strstr(info.tried, "immutable"));
	snapmap_close(map);
	expect_probe("f", false);
	expect_probe(".", false);
	/* Neither permissions nor a lost name make it immutable. */
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_sys(fd);
	ck_sys(fchmod(fd, 0400));
	expect_refusal(fd);
	ck_sys(unlink("f"));
	expect_refusal(fd);
	ck_ok(snapmap_open_fd(fd, NULL, &map));
	expect_other(map, bytes, page + 1);
	snapmap_close(map);
	close(fd);
	free(bytes);
}
END_TEST

struct counting {
	int seals, looks;
};

static int open_counted(void *arg)
{
	struct snapmap *map;
	int rc;

	(void)arg;
	watch_on();
	rc = snapmap_open("f", NULL, &map);
	watch_off();
	if (!rc)
		snapmap_close(map);
	return rc;
}

static int count_call(void *arg, const struct seccomp_data *call)
{
	struct counting *c = arg;

	c->seals += call->nr == SYS_fcntl && call->args[1] == F_GET_SEALS;
	c->looks += call->nr == SYS_ioctl && (uint32_t)call->args[1] == FS_IOC_GETFLAGS;
	c->looks += call->nr == SYS_ioctl && (uint32_t)call->args[1] == FS_IOC_MEASURE_VERITY;
	return 0;
}

START_TEST(test_ordinary_files_are_not_asked)
{
	struct counting c = {0};

	if (!watch_works())
		test_skip("system calls cannot be watched");
	test_make_file("f", page + 1, 1);
	ck_assert_int_eq(watch(open_counted, NULL, count_call, &c), 0);
	ck_assert_int_eq(c.seals, 0);
	ck_assert_int_eq(c.looks, 0);
}
END_TEST

/* --- */

static size_t fds;

static void before(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	fds = test_count_fds();
}

static void after(void)
{
	ck_assert_uint_eq(test_count_fds(), fds);
}

static void set_page(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
}

static void add_ordinary(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_page, NULL);
	tcase_add_test(tc, test_ordinary_files);
	tcase_add_test(tc, test_ordinary_files_are_not_asked);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("immutable");
	TCase *tc = tcase_create("kinds");

	tcase_add_checked_fixture(tc, before, after);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_files_of_images, 0, IMAGES);
	tcase_add_loop_test(tc, test_copy_of_a_file_of_an_image, 0, IMAGES);
	tcase_add_test(tc, test_files_with_verity);
	tcase_add_test(tc, test_verity_that_can_be_cut);
	tcase_add_loop_test(tc, test_seals, 0, 32);
	tcase_add_test(tc, test_half_sealed);
	tcase_add_loop_test(tc, test_sealed_memory_files, 0, SIZES);
	tcase_add_test(tc, test_descriptor_that_cannot_be_opened_again);
	tcase_add_test(tc, test_handle_outlives_the_memory_file);
	tcase_add_test(tc, test_bytes_behind_the_end);
	tcase_add_test(tc, test_sparse_memory_file);
	tcase_add_test(tc, test_memory_file_of_huge_pages);
	tcase_add_test(tc, test_file_that_is_sealed_while_it_is_opened);
	suite_add_tcase(s, tc);
	test_each_fs(s, "ordinary", add_ordinary);
	return s;
}
