/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Readers through the library while others commit by journal: no mix, ever. */
#include "config.h"

#include <sys/mman.h>

#include "journaling.h"

static struct versions v;

/* Every page of the file starts with the number of its version; the size changes with it. */
struct shared {
	_Atomic int commits;
	_Atomic int failed;
};

static size_t pages_of(uint64_t version)
{
	return 8 + version % 3;
}

static void put_version(struct snapmap_mut *map, uint64_t version)
{
	char *data = snapmap_mut_data(map);

	for (size_t at = 0; at < snapmap_mut_size(map); at += PAGE)
		memcpy(data + at, &version, sizeof(version));
}

/* -1 if it is a mix. */
static int64_t version_of(const char *data, size_t size)
{
	uint64_t version, other;

	if (size < PAGE)
		return -1;
	memcpy(&version, data, sizeof(version));
	if (size != pages_of(version) * PAGE)
		return -1;
	for (size_t at = 0; at < size; at += PAGE) {
		memcpy(&other, data + at, sizeof(other));
		if (other != version)
			return -1;
	}
	return (int64_t)version;
}

static pid_t start_writer(struct shared *s)
{
	pid_t pid = fork();

	ck_assert(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t version = 1;; version++) {
		struct snapmap_mut *map;
		int rc = snapmap_mut_open("f", NULL, &map);

		if (!rc)
			rc = snapmap_mut_resize(map, pages_of(version) * PAGE);
		if (!rc)
			put_version(map, version);
		if (!rc)
			rc = commit_by_journal(map, 0);
		if (rc) {
			fprintf(stderr, "writer: %s\n", snapmap_last_error());
			s->failed = 1;
			_exit(1);
		}
		snapmap_mut_close(map);
		s->commits++;
	}
}

struct reading {
	uint32_t source;
	bool edit;
	struct shared *shared;
};

#define READS 60

/* 0, or what went wrong. */
static int read_on(void *arg)
{
	const struct reading *r = arg;
	struct snapmap_options o = {.size = sizeof(o), .source = r->source};
	int64_t last = 0;
	int lasts = 0, start = r->shared->commits;

	/* Until something was committed meanwhile. */
	for (int i = 0; (i < READS || r->shared->commits < start + 3) && !r->shared->failed; i++) {
		struct snapmap_mut *mut = NULL;
		struct snapmap *map = NULL;
		int64_t version;
		int rc = r->edit ? snapmap_mut_open("f", &o, &mut) : snapmap_open("f", &o, &map);

		/* The file is open for writing most of the time. */
		if (rc && r->source == SNAPMAP_SOURCE_LEASE && lasts++ < 1000000)
			continue;
		if (rc) {
			fprintf(stderr, "%s\n", snapmap_last_error());
			return 2;
		}
		version = map ? version_of(snapmap_data(map), snapmap_size(map))
			      : version_of(snapmap_mut_data(mut), snapmap_mut_size(mut));
		snapmap_close(map);
		snapmap_mut_close(mut);
		if (version < last) {
			fprintf(stderr, "read %d: version %lld after %lld\n", i, (long long)version, (long long)last);
			return 1;
		}
		last = version;
	}
	return r->shared->failed ? 3 : 0;
}

START_TEST(test_readers_never_see_a_mix)
{
	static const uint32_t sources[] = {SNAPMAP_SOURCE_AUTO, SNAPMAP_SOURCE_COPY, SNAPMAP_SOURCE_REFLINK,
					   SNAPMAP_SOURCE_LEASE};
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct reading r = {sources[_i / 2], _i % 2, s};
	static char zeros[8 * 4096];
	pid_t writer;
	int own, other;

	if (!row_journals())
		test_skip("no commits by journal on this row");
	if (r.source == SNAPMAP_SOURCE_REFLINK && !test_fs()->reflink)
		return;
	if (r.source == SNAPMAP_SOURCE_LEASE && (r.edit || !strncmp(test_fs()->name, "overlay", 7)))
		return;
	ck_assert(s != MAP_FAILED);
	memset(zeros, 0, sizeof(zeros));
	/* Clones need a place on the same file system. */
	ck_assert(!chmod(".", 01777));
	/* Version 0 has 8 pages. */
	test_write_file("f", zeros, sizeof(zeros));
	writer = start_writer(s);
	own = read_on(&r);
	/* Files of others cannot be leased. */
	other = test_is_root() && r.source != SNAPMAP_SOURCE_LEASE ? test_as_user(65534, read_on, &r) : 0;
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	ck_assert_msg(!own && !other, "%d and %d, after %d commits", own, other, s->commits);
	munmap(s, sizeof(*s));
}
END_TEST

/* ---- a commit that begins, and is cut off, between two steps of an open ---- */

struct meanwhile {
	struct crash crash;
	uint32_t source;
	bool edit;
	int at, count;
	bool crashed;
};

static int look_watched(void *arg)
{
	const struct meanwhile *m = arg;
	int rc;

	watch_on();
	rc = look_with("f", m->source, m->edit, &v);
	watch_off();
	return rc;
}

/* Not while memory is being asked for: fork() wants that lock. */
static int crash_meanwhile(void *arg, const struct seccomp_data *call)
{
	struct meanwhile *m = arg;

	switch (call->nr) {
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_madvise:
	case SYS_brk:
		return 0;
	default:
		break;
	}
	if (m->count++ == m->at) {
		m->crashed = true;
		ck_assert(crash(&m->crash));
	}
	return 0;
}

START_TEST(test_commit_between_any_two_steps_of_an_open)
{
	static const uint32_t sources[] = {SNAPMAP_SOURCE_COPY, SNAPMAP_SOURCE_REFLINK};
	struct meanwhile m = {.source = sources[_i / 2], .edit = _i % 2, .crashed = true};
	int seen[2] = {0, 0};

	need_journals();
	if (m.source == SNAPMAP_SOURCE_REFLINK && !test_fs()->reflink)
		return;
	make_versions(&v, EDIT_CUT_AND_GROW);
	for (; m.crashed; m.at++) {
		int rc, fd;

		test_write_file("f", v.old, v.old_size);
		/* No leases, which would keep the committer waiting. */
		fd = open("f", O_RDWR | O_CLOEXEC);
		m.crash = (struct crash){.path = "f", .run = run_commit, .versions = &v, .at = 3, .applied = true};
		m.count = 0;
		m.crashed = false;
		rc = watch(look_watched, &m, crash_meanwhile, &m);
		ck_assert_msg(rc == 0 || rc == 1, "at call %d: %d: %s", m.at, rc, snapmap_last_error());
		seen[rc]++;
		close(fd);
		ck_assert(!m.crashed || look_with("f", SNAPMAP_SOURCE_AUTO, true, &v) == 1);
		ck_assert(!unlink("f"));
	}
	/* How late a commit can begin and still be seen depends on what else the machine does. */
	ck_assert_msg(seen[0] && seen[1] > 1, "%d old, %d new", seen[0], seen[1]);
}
END_TEST

/* ---- a committer that is stopped in its middle ---- */

struct stop {
	struct crash crash;
	pid_t pid;
};

static int stop_at(void *arg, const struct seccomp_data *call)
{
	struct stop *s = arg;

	if (call->nr == SYS_pwrite64 && is_applying("f") && s->crash.count++ == 2)
		kill(getpid(), SIGSTOP);
	return 0;
}

START_TEST(test_committer_that_does_not_go_on)
{
	struct stop s = {.crash = {.path = "f", .run = run_commit, .versions = &v}};
	struct snapmap_options o = {.size = sizeof(o), .source = SNAPMAP_SOURCE_COPY};
	int status, rc;
	pid_t pid;

	need_journals();
	make_versions(&v, EDIT_GROW);
	test_write_file("f", v.old, v.old_size);
	pid = fork();
	ck_assert(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(watch(s.crash.run, &s.crash, stop_at, &s) != 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
	/* Waited for, and then made up for: with and without the right to write. */
	ck_assert_int_eq(look_with("f", o.source, false, &v), 1);
	ck_assert_int_eq(look_with("f", SNAPMAP_SOURCE_AUTO, true, &v), 1);
	rc = look_without_rights("f", &v);
	ck_assert_int_eq(rc, 1);
	ck_assert(is_applying("f"));
	kill(pid, SIGCONT);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	/* For one that is not root, the mode was changed by look_without_rights(), which is no change of bytes. */
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	ck_assert(test_file_is("f", v.new, v.new_size));
	ck_assert(!is_applying("f"));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

static void add_readers(TCase *tc)
{
	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, test_readers_never_see_a_mix, 0, 8);
	tcase_add_loop_test(tc, test_commit_between_any_two_steps_of_an_open, 0, 4);
	tcase_add_test(tc, test_committer_that_does_not_go_on);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("journal readers");

	test_each_fs(s, "readers", add_readers);
	return s;
}
