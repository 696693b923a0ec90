/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SNAPMAP_GUARD with storage that really answers EIO: a FUSE file system (odd_fs.c)
 * whose marked blocks fail once that is switched on. Handles lie on it directly, or
 * on a file system that is loop-mounted from an image on it.
 */
#include "config.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "failing.h"
#include "serving.h"

#define MARKER "snapmap-bad-page"
#define MIB ((size_t)1 << 20)
#define SIZE (8 * MIB)
#define THREADS 8

/* Bad ones, and good ones too far away to be read, or to fail, together with them. */
static const size_t bad[] = {MIB, MIB + 3 * PAGE, 5 * MIB + PAGE};
static const size_t good[] = {0, 3 * MIB, 7 * MIB + 2 * PAGE};
#define N (sizeof(bad) / sizeof(bad[0]))

static const struct storage {
	const char *name;
	const char *make; /* makes a file system in the file "fuse/disk"; NULL: use FUSE itself */
	off_t size;
} storages[] = {
	{"fuse", NULL, 0},
	{"ext4", "mkfs.ext4 -q -F -b 4096 fuse/disk", 64 << 20},
	{"xfs", "mkfs.xfs -q -f -m reflink=1 fuse/disk", 320 << 20},
	{"btrfs", "mkfs.btrfs -q fuse/disk", 160 << 20},
};
#define STORAGES ((int)(sizeof(storages) / sizeof(storages[0])))

static char file[64];
static bool mounted;
static char *bytes;

static void make_bytes(void)
{
	bytes = (char *)malloc(SIZE);
	test_fill(bytes, SIZE, 1);
	for (size_t i = 0; i < N; i++)
		memcpy(bytes + bad[i], MARKER, sizeof(MARKER) - 1);
}

static void make_disk(const struct storage *s)
{
	serving_make_disk(s->size);
	ck_assert_msg(!run_quietly(s->make), "%s", s->make);
	ck_assert_msg(!run_quietly("mount -o loop fuse/disk disk"), "%s: mount", s->name);
	mounted = true;
}

/* NULL, or why it cannot be had. */
static const char *set_up(const struct storage *s)
{
	const char *why_not = serving_start();

	if (why_not)
		return why_not;
	if (s->make)
		make_disk(s);
	snprintf(file, sizeof(file), "%s/file", s->make ? "disk" : "fuse");
	make_bytes();
	test_write_file(file, bytes, SIZE);
	return NULL;
}

static void switch_eio(bool on)
{
	serving_switch(".eio", on);
}

static void tear_down(void)
{
	if (mounted)
		ck_assert_sys(umount("disk"));
	serving_stop();
	free(bytes);
}

/* Sets it up, or ends the test. */
#define need_storage(s) serving_need(set_up(s), (s)->name, tear_down)

/* The path by which the kernel gives out what is mapped at @address. */
static void mapped_file(const void *address, char path[64])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t wanted = (uintptr_t)address;
	unsigned long start, end;
	char line[8192];

	path[0] = 0;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= wanted && wanted < end)
			snprintf(path, 64, "/proc/self/map_files/%lx-%lx", start, end);
	fclose(maps);
}

/* So that whoever touches the memory next asks the storage. */
static void drop_cache(const void *address)
{
	char path[64];
	int fd;

	mapped_file(address, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_sys(fd);
	ck_assert_sys(fsync(fd));
	ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

/* The file on its disk, once that works again. */
static void check_file(void)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	ck_assert_sys(fd);
	ck_assert_sys(fsync(fd));
	ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	ck_assert(test_file_is(file, bytes, SIZE));
}

static void open_bad(int way, uint32_t flags, struct view *ret)
{
	view_open(way, file, flags, ret);
	switch_eio(true);
	drop_cache(ret->data);
}

/* --- what the tests do, on each storage with both kinds of handle */

static void check_good(const struct view *v)
{
	for (size_t i = 0; i < N; i++)
		ck_assert(page_is(v->data + good[i], bytes + good[i]));
}

struct reader {
	pthread_t thread;
	const unsigned char *data;
	pthread_barrier_t *barrier;
	bool zeros;
};

static void *read_bad(void *arg)
{
	struct reader *r = (struct reader *)arg;

	r->zeros = true;
	for (size_t i = 0; i < N; i++) {
		pthread_barrier_wait(r->barrier);
		if (!is_zero(r->data + bad[i], PAGE))
			r->zeros = false;
	}
	return NULL;
}

static void read_by_threads(const struct view *v)
{
	struct reader readers[THREADS];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){.data = v->data, .barrier = &barrier};
		ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_bad, &readers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		ck_assert(readers[i].zeros);
	}
	pthread_barrier_destroy(&barrier);
}

static int error_of(struct view *v)
{
	view_look(v);
	return v->info.error;
}

static int prefault(const struct view *v, size_t offset)
{
	return v->map ? snapmap_prefault(v->map, offset, PAGE) : snapmap_mut_prefault(v->mut, offset, PAGE);
}

static void check_calls(struct view *v)
{
	int fd = open("below/out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_sys(fd);
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_eq(prefault(v, bad[i]), -EIO);
		ck_assert(write(fd, v->data + bad[i], PAGE) < 0 && errno == EFAULT);
	}
	ck_assert_int_eq(prefault(v, good[1]), 0);
	ck_assert_int_eq(error_of(v), 0);
	close(fd);
}

static void check_no_commit(struct view *v)
{
	struct snapmap_commit_options force = {.size = sizeof(force), .flags = SNAPMAP_COMMIT_FORCE};

	memset((char *)snapmap_mut_data(v->mut) + 3 * MIB, 'x', PAGE);
	ck_assert_int_eq(snapmap_mut_commit(v->mut, NULL), -EIO);
	ck_assert_int_eq(snapmap_mut_commit_and_close(v->mut, &force), -EIO);
	ck_assert_int_eq(snapmap_mut_link(v->mut, "other", NULL), -EIO);
	ck_assert_int_eq(snapmap_mut_rollback(v->mut), 0);
	check_good(v);
	ck_assert_int_eq(snapmap_mut_commit(v->mut, NULL), -EIO);
}

/* The file itself under a lease where there is one, an editable image, a copy to read. */
static const int ways[] = {0, 1, 4};

START_TEST(test_eio)
{
	const struct storage *s = &storages[_i / 3];
	struct view v;

	need_storage(s);
	open_bad(ways[_i % 3], SNAPMAP_GUARD, &v);
	check_calls(&v);
	read_by_threads(&v);
	ck_assert_int_eq(error_of(&v), -EIO);
	check_good(&v);
	if (v.mut)
		check_no_commit(&v);
	/* What was shown once stays, also if the disk recovers. */
	switch_eio(false);
	drop_cache(v.data);
	read_by_threads(&v);
	check_good(&v);
	if (v.mut) {
		ck_assert_ok(snapmap_mut_resize(v.mut, SIZE + 1));
		ck_assert_ok(snapmap_mut_rollback(v.mut));
		view_look(&v);
		read_by_threads(&v);
	}
	ck_assert_int_eq(error_of(&v), -EIO);
	view_close(&v);
	check_file();
	tear_down();
}
END_TEST

static void touch_bad(void *arg)
{
	(void)*(const volatile unsigned char *)arg;
}

START_TEST(test_eio_without_guard)
{
	const struct storage *s = &storages[_i / 2];
	struct view v, guarded;

	need_storage(s);
	/* A child keeps only what it may inherit. */
	open_bad(_i % 2, SNAPMAP_INHERIT, &v);
	ck_assert_int_eq(death_of(touch_bad, (void *)(uintptr_t)(v.data + bad[0])), SIGBUS);
	switch_eio(false);
	/* A guard elsewhere changes nothing for it, and a child of the guarded one is guarded. */
	view_open(_i % 2, file, SNAPMAP_GUARD | SNAPMAP_INHERIT, &guarded);
	switch_eio(true);
	drop_cache(guarded.data);
	drop_cache(v.data);
	ck_assert_int_eq(death_of(touch_bad, (void *)(uintptr_t)(v.data + bad[1])), SIGBUS);
	ck_assert_int_eq(death_of(touch_bad, (void *)(uintptr_t)(guarded.data + bad[1])), 0);
	ck_assert_int_eq(error_of(&guarded), 0);
	view_close(&v);
	view_close(&guarded);
	switch_eio(false);
	tear_down();
}
END_TEST

/* The library reads the bad pages itself: to move edits, to save what lies beneath them. */
START_TEST(test_eio_within_the_library)
{
	const struct storage *s = &storages[_i / 2];
	struct view v;
	char *data;

	need_storage(s);
	view_open(1, file, _i % 2 ? SNAPMAP_GUARD : 0, &v);
	data = (char *)snapmap_mut_data(v.mut);
	memset(data + bad[0], 'x', PAGE);
	switch_eio(true);
	drop_cache(data);
	void *wall = mmap(data + SIZE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	int commit, resize = snapmap_mut_resize(v.mut, SIZE + PAGE);

	ck_assert_int_eq(resize, -EIO);
	ck_assert(snapmap_mut_data(v.mut) == data && data[bad[0]] == 'x');
	commit = snapmap_mut_commit(v.mut, NULL);
	ck_assert_int_eq(commit, -EIO);
	/* Nothing was lost by that. */
	ck_assert_int_eq(error_of(&v), 0);
	ck_assert(data[bad[0]] == 'x' && data[bad[0] + PAGE - 1] == 'x');
	if (wall != MAP_FAILED)
		munmap(wall, PAGE);
	switch_eio(false);
	ck_assert_ok(snapmap_mut_commit(v.mut, NULL));
	memset(bytes + bad[0], 'x', PAGE);
	view_close(&v);
	check_file();
	tear_down();
}
END_TEST

/* Breaks the lease of the handles, and has changed the file when it returns. */
static void change_file(void)
{
	char line[200];

	snprintf(line, sizeof(line), "dd if=/dev/zero of=%s bs=4096 count=1 conv=notrunc", file);
	ck_assert_int_eq(run_quietly(line), 0);
}

/* An image takes the place of the file: lost pages stay lost, the others what they were. */
START_TEST(test_lease_breaks_after_eio)
{
	const struct storage *s = &storages[1 + _i];
	struct view v;

	need_storage(s);
	open_bad(0, SNAPMAP_GUARD, &v);
	ck_assert_uint_eq(v.info.lease, SNAPMAP_LEASE_HELD);
	ck_assert(is_zero(v.data + bad[0], PAGE));
	ck_assert_int_eq(error_of(&v), -EIO);
	ck_assert_uint_eq(v.info.lease, SNAPMAP_LEASE_HELD);
	switch_eio(false);
	change_file();
	ck_assert_int_eq(error_of(&v), -EIO);
	ck_assert_uint_eq(v.info.lease, SNAPMAP_LEASE_IMAGED);
	ck_assert(is_zero(v.data + bad[0], PAGE));
	/* Nobody had looked at this one. */
	ck_assert(page_is(v.data + bad[2], bytes + bad[2]));
	check_good(&v);
	view_close(&v);
	tear_down();
}
END_TEST

/* Where an image can only be a copy, and the disk does not give the bytes, all of it is lost. */
START_TEST(test_lease_breaks_during_eio)
{
	const struct storage *s = &storages[1 + _i];
	struct view v;

	need_storage(s);
	open_bad(0, SNAPMAP_GUARD, &v);
	change_file();
	error_of(&v);
	if (!strcmp(s->name, "ext4")) {
		ck_assert_uint_eq(v.info.lease, SNAPMAP_LEASE_LOST);
		ck_assert_int_lt(v.info.error, 0);
		ck_assert(is_zero(v.data, v.size));
		ck_assert_int_eq(prefault(&v, 0), v.info.error);
	} else {
		ck_assert_uint_eq(v.info.lease, SNAPMAP_LEASE_IMAGED);
		ck_assert_int_eq(v.info.error, 0);
		check_good(&v);
		read_by_threads(&v);
		ck_assert_int_eq(error_of(&v), -EIO);
	}
	view_close(&v);
	switch_eio(false);
	tear_down();
}
END_TEST

/* ---- a segment ---- */

static sigjmp_buf after_signal;

static void come_back(int signal)
{
	siglongjmp(after_signal, signal);
}

/* The signal that touching it raises in this process, or 0. */
static int signal_of(const void *p)
{
	struct sigaction act = {.sa_handler = come_back}, before[2];
	int got;

	sigaction(SIGBUS, &act, &before[0]);
	sigaction(SIGSEGV, &act, &before[1]);
	got = sigsetjmp(after_signal, 1);
	if (!got)
		(void)*(const volatile char *)p;
	sigaction(SIGBUS, &before[0], NULL);
	sigaction(SIGSEGV, &before[1], NULL);
	return got;
}

/* All of the file is read, and then the disk goes bad, or the lease is lost. */
START_TEST(test_eio_in_a_segment)
{
	const struct storage *s = &storages[1 + _i / 2];
	struct snapmap_segment_stats st;
	struct snapmap_segment *segment;
	bool lost = _i % 2;
	char *base;
	int fd, out;

	need_storage(s);
	ck_assert_ok(snapmap_segment_create(SIZE, NULL, &segment));
	base = (char *)snapmap_segment_base(segment);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	out = open("below/out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(snapmap_segment_pread(segment, fd, base, SIZE, 0), SIZE);
	ck_assert_ok(snapmap_segment_get_stats(segment, &st));
	ck_assert(st.way == SNAPMAP_SEGMENT_PAGER && st.reads_deferred == 1);
	/* Far away from the bad ones, for the kernel drops only large pieces as a whole. */
	ck_assert(page_is(base + good[1], bytes + good[1]));
	switch_eio(true);
	ck_assert(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	if (lost)
		change_file();
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_eq(signal_of(base + bad[i]), SIGBUS);
		ck_assert(write(out, base + bad[i], PAGE) < 0 && errno == EFAULT);
		ck_assert(lost || page_is(base + good[i], bytes + good[i]));
	}
	ck_assert_ok(snapmap_segment_get_stats(segment, &st));
	ck_assert_int_lt(st.error, 0);
	ck_assert_int_eq(snapmap_segment_pwrite(segment, out, base + bad[0], PAGE, 0), -EIO);
	/* A page that was there stays, and reading again mends the others. */
	ck_assert(page_is(base + good[1], bytes + good[1]));
	switch_eio(false);
	if (lost)
		memset(bytes, 0, PAGE);
	ck_assert_int_eq(snapmap_segment_pread(segment, fd, base, SIZE, 0), SIZE);
	ck_assert(!memcmp(base, bytes, SIZE));
	close(fd);
	close(out);
	snapmap_segment_destroy(segment);
	tear_down();
}
END_TEST

static void *read_during_commit(void *arg)
{
	struct reader *r = (struct reader *)arg;

	pthread_barrier_wait(r->barrier);
	r->zeros = is_zero(r->data + bad[2], PAGE);
	return NULL;
}

/* A page may be lost at any moment of a commit: it fails, or was not touched by that. */
START_TEST(test_eio_during_commit)
{
	const struct storage *s = &storages[2 + _i];
	uint64_t random = test_seed();
	int commits = 0;

	need_storage(s);
	for (int round = 0; round < 40; round++) {
		pthread_barrier_t barrier;
		struct reader r = {.barrier = &barrier};
		struct view v;
		int rc;

		open_bad(1, SNAPMAP_GUARD, &v);
		memset((char *)snapmap_mut_data(v.mut) + 3 * MIB, round, PAGE);
		r.data = v.data;
		pthread_barrier_init(&barrier, NULL, 2);
		ck_assert_int_eq(pthread_create(&r.thread, NULL, read_during_commit, &r), 0);
		pthread_barrier_wait(&barrier);
		usleep((useconds_t)(test_random(&random) % 1000));
		rc = snapmap_mut_commit(v.mut, NULL);
		pthread_join(r.thread, NULL);
		pthread_barrier_destroy(&barrier);
		ck_assert(r.zeros && (!rc || rc == -EIO));
		ck_assert_int_eq(error_of(&v), -EIO);
		view_close(&v);
		switch_eio(false);
		commits += !rc;
		if (!rc)
			memset(bytes + 3 * MIB, round, PAGE);
		check_file();
	}
	printf("%s: %d of 40 commits came before the error\n", s->name, commits);
	tear_down();
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("guard_io");
	TCase *tc = tcase_create("eio");

	tcase_add_loop_test(tc, test_eio, 0, 3 * STORAGES);
	tcase_add_loop_test(tc, test_eio_without_guard, 0, 2 * STORAGES);
	tcase_add_loop_test(tc, test_eio_within_the_library, 0, 2 * STORAGES);
	tcase_add_loop_test(tc, test_eio_in_a_segment, 0, 2 * (STORAGES - 1));
	tcase_add_loop_test(tc, test_eio_during_commit, 0, 2);
	tcase_add_loop_test(tc, test_lease_breaks_after_eio, 0, 3);
	tcase_add_loop_test(tc, test_lease_breaks_during_eio, 0, 3);
	suite_add_tcase(s, tc);
	return s;
}
