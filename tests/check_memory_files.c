/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source "immutable": memory files that are sealed. Only all seals together make
 * one that nobody can change.
 */
#include "config.h"

#include "unchanging.h"

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

Suite *test_suite(void)
{
	Suite *s = suite_create("memory_files");
	TCase *tc = tcase_create("kinds");

	tcase_add_checked_fixture(tc, before, after);
	tcase_set_timeout(tc, 60);
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
	return s;
}
