/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An image and the file system that it lies on. Opening costs nothing by the size, a sync
 * what was changed, counted in bytes that were read and written, never by time. One
 * writer at a time. Whatever ends a sync, the image is the one of the last sync or of
 * this one, and the next open sees to it.
 */
#include "config.h"

/* Of what both have the one of the second is meant: names in an image, and calls that return counts. */
#define exists exists_on_the_host
#include "journaling.h"
#undef exists
#undef ck_ok
#include "minifs_testing.h"

#define MIB (UINT64_C(1) << 20)
#define TERABYTE (UINT64_C(1) << 40)

static bool source_works(const struct snapmap_probe *p, uint32_t id)
{
	for (uint32_t i = 0; i < p->nsources; i++)
		if (p->sources[i].id == id)
			return !p->sources[i].error;
	return false;
}

/* Whether images are held, and committed to, as they are. */
static bool row_in_place(void)
{
	struct snapmap_probe p;

	ck_ok(snapmap_probe(".", &p));
	return source_works(&p, SNAPMAP_SOURCE_EXCLUSIVE) && (test_fs()->exchange || row_journals());
}

#define need_in_place()                                                        \
	do {                                                                   \
		if (!row_in_place())                                           \
			test_skip("images are not held in place on this row"); \
	} while (0)

/* ---- costs ---- */

/* Bytes that this process has read and written so far, by system calls. */
struct traffic {
	unsigned long long read, written;
};

static struct traffic traffic_now(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	struct traffic t;

	ck_assert(f && fscanf(f, "rchar: %llu wchar: %llu", &t.read, &t.written) == 2);
	fclose(f);
	return t;
}

static void expect_traffic(const char *what, const struct traffic *since, uint64_t read, uint64_t written)
{
	struct traffic now = traffic_now();

	ck_assert_msg(now.read - since->read <= read && now.written - since->written <= written,
		      "%s: %llu bytes read, %llu written", what, now.read - since->read, now.written - since->written);
}

static uint64_t room_of(const char *path)
{
	struct stat st;

	ck_assert(!stat(path, &st));
	return (uint64_t)st.st_blocks * 512;
}

/* Some blocks, three times: what changed, the journal, its head; and what reading /proc takes. */
#define LITTLE (256 << 10)

START_TEST(test_costs_of_a_full_image)
{
	struct traffic before;
	struct minifs *fs;
	char byte = 1;
	uint64_t room;

	need_in_place();
	fs = new_image("i", 128 * MIB, 0);
	ck_ok(minifs_create(fs, "f", 0644));
	char *bytes = malloc(MIB);

	test_fill(bytes, MIB, 1);
	for (uint64_t i = 0; i < 100; i++)
		ck_ok(minifs_pwrite(fs, "f", bytes, MIB, i * MIB));
	before = traffic_now();
	ck_ok(minifs_sync(fs));
	/* The measure is one: all of it was written, and not much more than twice. */
	ck_assert_uint_ge(traffic_now().written - before.written, 100 * MIB);
	expect_traffic("a sync of 100 MiB", &before, LITTLE, 220 * MIB);
	minifs_close(fs);
	room = room_of("i");
	for (int i = 0; i < 5; i++) {
		before = traffic_now();
		fs = open_image("i");
		expect_traffic("an open", &before, LITTLE, LITTLE);
		before = traffic_now();
		ck_is(minifs_pwrite(fs, "f", &byte, 1, (uint64_t)i * 20 * MIB + 5), 1);
		ck_ok(minifs_sync(fs));
		expect_traffic("a sync of a byte", &before, LITTLE, LITTLE);
		minifs_close(fs);
	}
	ck_assert_uint_le(room_of("i"), room + MIB);
	ck_assert_uint_eq(count_names("."), 1);
	ck_clean("i");
	free(bytes);
}
END_TEST

START_TEST(test_an_image_of_a_terabyte)
{
	struct minifs *fs, *other;
	struct traffic before;

	need_in_place();
	make_image("i", TERABYTE, 0);
	ino_t ino = inode_of("i");
	for (uint64_t i = 0; i < 3; i++) {
		before = traffic_now();
		fs = open_image("i");
		expect_traffic("an open", &before, LITTLE, LITTLE);
		for (uint64_t k = 0; k < i; k++)
			ck_assert(file_is_filled(fs, k ? "f1" : "f0", 100000, k));
		before = traffic_now();
		put_file(fs, i == 2 ? "f2" : i ? "f1" : "f0", 100000, i);
		ck_ok(minifs_sync(fs));
		expect_traffic("a sync", &before, 2 * LITTLE, 2 * LITTLE);
		ck_is(minifs_open("i", 0, &other), -EBUSY);
		/* Readers have a snapshot. */
		ck_ok(minifs_open("i", MINIFS_RDONLY, &other));
		ck_assert(file_is_filled(other, "f0", 100000, 0));
		put_file(fs, "f0", 100000, 0);
		minifs_close(other);
		minifs_close(fs);
	}
	ck_assert(inode_of("i") == ino);
	ck_assert_uint_le(room_of("i"), 4 * MIB);
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- the lock ---- */

START_TEST(test_the_lock_is_that_of_the_file)
{
	struct snapmap_options exclusive = {.size = sizeof(exclusive), .source = SNAPMAP_SOURCE_EXCLUSIVE};
	struct minifs_format_options force = {.size = sizeof(force), .flags = MINIFS_FORMAT_FORCE};
	struct minifs *fs = new_image("i", 0, 0), *other;
	struct snapmap_mut *map;

	/* On FUSE two names can be two files. */
	ck_assert(!link("i", "j"));
	if (row_in_place())
		ck_is(minifs_open("j", 0, &other), -EBUSY);
	ck_is(minifs_format("i", &force), -EBUSY);
	ck_is(minifs_check("i", MINIFS_CHECK_REPAIR, NULL, NULL, NULL), -EBUSY);
	if (row_in_place())
		ck_is(snapmap_mut_open("i", &exclusive, &map), -EBUSY);
	ck_assert(!unlink("j"));
	minifs_close(fs);
	ck_ok(minifs_format("i", &force));
	ck_clean("i");
}
END_TEST

/* The image is made anew, of another size, where it lies. */
START_TEST(test_format_again)
{
	struct minifs_format_options o = {.size = sizeof(o), .flags = MINIFS_FORMAT_FORCE, .bytes = MIB};
	struct minifs *fs = new_image("i", 4 * MIB, 0);

	put_file(fs, "f", 100000, 1);
	finish_image(fs, "i");
	for (; o.bytes <= 16 * MIB; o.bytes *= 4) {
		ck_ok(minifs_format("i", &o));
		ck_clean("i");
		fs = open_image("i");
		ck_assert(!exists(fs, "f"));
		put_file(fs, "f", 50000, 2);
		finish_image(fs, "i");
	}
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- a sync that is cut off, or fails ---- */

/* How many bytes of the journal's edits get into the file before the end. */
static int sync_watched(void *arg)
{
	int rc;

	watch_on();
	rc = minifs_sync((struct minifs *)arg);
	watch_off();
	return rc;
}

struct end {
	int writes; /* to the file, before it comes */
	bool kill;
};

static int end_at(void *arg, const struct seccomp_data *call)
{
	struct end *e = arg;

	if (call->nr != SYS_pwrite64 || !is_applying("i") || e->writes-- > 0)
		return 0;
	if (e->kill)
		kill(getpid(), SIGKILL);
	return -ENOSPC;
}

/* An image with one version synced, and changes to make it the next. */
static struct minifs *image_with_changes(void)
{
	struct minifs *fs = new_image("i", 4 * MIB, 0);

	put_file(fs, "f", 100000, 1);
	ck_ok(minifs_sync(fs));
	put_file(fs, "f", 100000, 2);
	ck_ok(minifs_rename(fs, "f", "g"));
	ck_ok(minifs_mkdir(fs, "d", 0755));
	return fs;
}

static void expect_next_version(struct minifs *fs)
{
	ck_assert(file_is_filled(fs, "g", 100000, 2));
	ck_assert(exists(fs, "d") && !exists(fs, "f"));
}

static bool row_syncs_by_journal(void)
{
	return row_in_place() && !test_fs()->exchange && watch_works();
}

#define only_by_journal()                                                   \
	do {                                                                \
		if (!row_syncs_by_journal())                                \
			test_skip("images are not synced by journal here"); \
	} while (0)

static int look_as_reader(void *arg)
{
	struct minifs *fs;
	int rc = minifs_open("i", MINIFS_RDONLY, &fs);

	(void)arg;
	if (rc)
		return -rc;
	expect_next_version(fs);
	minifs_close(fs);
	return 0;
}

START_TEST(test_a_sync_that_is_killed)
{
	only_by_journal();
	for (int writes = 0; writes < 3; writes++) {
		struct end e = {.writes = writes, .kill = true};
		int status;
		pid_t pid = fork();

		ck_assert(pid >= 0);
		if (!pid)
			_exit(watch(sync_watched, image_with_changes(), end_at, &e) != 0);
		ck_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		ck_assert(is_applying("i"));
		/* Who may only read sees all of it. */
		if (test_is_root()) {
			ck_assert(!chmod(".", 01777));
			ck_assert_int_eq(test_as_user(65534, look_as_reader, NULL), 0);
			ck_assert(is_applying("i"));
		}
		/* Who may write has it finished. */
		struct minifs *fs = open_image("i");

		ck_assert(!is_applying("i"));
		expect_next_version(fs);
		minifs_close(fs);
		ck_clean("i");
		ck_assert_uint_eq(count_names("."), 1);
		ck_assert(!unlink("i"));
	}
}
END_TEST

START_TEST(test_a_sync_that_fails_late)
{
	struct end e = {.writes = 1};
	struct minifs *fs;

	only_by_journal();
	fs = image_with_changes();
	ck_is(watch(sync_watched, fs, end_at, &e), -ENOSPC);
	ck_assert(is_applying("i"));
	expect_next_version(fs);
	put_file(fs, "g", 100000, 3);
	ck_ok(minifs_sync(fs));
	ck_assert(!is_applying("i"));
	minifs_close(fs);
	fs = open_image("i");
	ck_assert(file_is_filled(fs, "g", 100000, 3));
	minifs_close(fs);
	ck_clean("i");
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* ---- no room on the host ---- */

/*
 * In memory what is stored needs room at once, on a disk the sync does. Both are errors,
 * and with room again all goes on.
 */
START_TEST(test_a_host_that_is_full)
{
	struct minifs *fs;
	char *bytes;
	int rc = 0;

	need_in_place();
	fs = new_image("i", 64 * MIB, 0);
	put_file(fs, "f", 50000, 1);
	ck_ok(minifs_sync(fs));
	bytes = malloc(4 * MIB);
	test_fill(bytes, 4 * MIB, 2);
	ck_ok(minifs_create(fs, "g", 0644));
	test_fill_disk(64 << 10);
	rc = (int)minifs_pwrite(fs, "g", bytes, 4 * MIB, 0);
	if (rc == (int)(4 * MIB))
		rc = minifs_sync(fs);
	ck_assert_msg(rc == -ENOSPC, "%d: %s", rc, snapmap_last_error());
	ck_assert(file_is_filled(fs, "f", 50000, 1));
	ck_assert(!unlink("ballast"));
	ck_is(minifs_pwrite(fs, "g", bytes, 4 * MIB, 0), (long long)(4 * MIB));
	ck_ok(minifs_sync(fs));
	minifs_close(fs);
	ck_clean("i");
	fs = open_image("i");
	ck_assert(file_is(fs, "g", bytes, 4 * MIB) && file_is_filled(fs, "f", 50000, 1));
	minifs_close(fs);
	ck_assert_uint_eq(count_names("."), 1);
	free(bytes);
}
END_TEST

/* Until no more can be made: each block of the inode table is a hole of the host at first. */
START_TEST(test_files_on_a_host_that_is_full)
{
	struct minifs *fs;
	char name[32];
	int rc = 0, n;

	need_in_place();
	fs = new_image("i", 16 * MIB, 0);
	ck_ok(minifs_sync(fs));
	test_fill_disk(0);
	for (n = 0; !rc && n < 500; n++) {
		snprintf(name, sizeof(name), "%d", n);
		rc = minifs_create(fs, name, 0644);
	}
	ck_assert_msg(!rc || rc == -ENOSPC, "%d: %s", rc, snapmap_last_error());
	ck_assert(!unlink("ballast"));
	ck_ok(minifs_create(fs, "again", 0644));
	finish_image(fs, "i");
}
END_TEST

/*
 * A large bitmap is mostly a hole of the host, and blocks of pointers are looked for far
 * from the others: in a part of it that is looked at for the first time when there is no
 * room any more.
 */
START_TEST(test_free_blocks_on_a_host_that_is_full)
{
	struct minifs *fs;
	ssize_t rc;

	need_in_place();
	fs = new_image("i", 2048 * MIB, 0);
	put_file(fs, "f", 12 * BLOCK, 1);
	ck_ok(minifs_sync(fs));
	test_fill_disk(0);
	rc = minifs_pwrite(fs, "f", "x", 1, 12 * BLOCK);
	ck_assert_msg(rc == 1 || rc == -ENOSPC, "%zd: %s", rc, snapmap_last_error());
	ck_assert(!unlink("ballast"));
	ck_is(minifs_pwrite(fs, "f", "x", 1, 12 * BLOCK), 1);
	finish_image(fs, "i");
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_costs_of_a_full_image);
	tcase_add_test(tc, test_an_image_of_a_terabyte);
	tcase_add_test(tc, test_the_lock_is_that_of_the_file);
	tcase_add_test(tc, test_format_again);
	tcase_add_test(tc, test_a_sync_that_is_killed);
	tcase_add_test(tc, test_a_sync_that_fails_late);
}

static void add_small(TCase *tc)
{
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_a_host_that_is_full);
	tcase_add_test(tc, test_files_on_a_host_that_is_full);
	tcase_add_test(tc, test_free_blocks_on_a_host_that_is_full);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("minifs host");

	test_each_fs(s, "minifs_host", add);
	test_each_small_fs(s, "minifs_host_small", add_small);
	return s;
}
