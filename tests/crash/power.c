/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Power cuts: the workload runs on a recorded disk, and then states of that disk are
 * made, mounted, judged and checked, one after the other. A state's file system has the
 * UUID of its record, and is never mounted twice at a time.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "job.h"
#include "random.h"
#include "volume.h"

#define COMMITS 40

struct paths {
	char image[256], disk[256], mnt[256], record[256];
};

static int make_paths(const struct job *job, struct paths *ret)
{
	int fd;

	job_path(job, "image", ret->image, sizeof(ret->image));
	job_path(job, "disk", ret->disk, sizeof(ret->disk));
	job_path(job, "mnt", ret->mnt, sizeof(ret->mnt));
	job_path(job, "record", ret->record, sizeof(ret->record));
	mkdir(ret->mnt, 0755);
	fd = open(ret->disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	return close(fd);
}

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return -1;
}

/* The record of a fresh file system, and a table with its bytes. */
static int begin_record(const struct job *job, const struct paths *paths, struct pages *ret, int *ret_fd)
{
	struct record_head head = {.seed = job->seed, .shape = job->row->shape};
	struct record r;
	struct stat st;
	int fd;

	if (volume_make(job->fs, paths->image) || stat(paths->image, &st))
		return -1;
	row_name(job->row, head.row, sizeof(head.row));
	head.size = (uint64_t)st.st_size;
	if (record_create(paths->record, &head, &fd))
		return fail(paths->record);
	if (record_image(fd, paths->image) || record_open(paths->record, &r) || pages_new(head.size, ret))
		return fail(paths->record);
	unlink(paths->image);
	for (size_t i = 0; i < r.count; i++)
		pages_write(ret, r.events[i].offset, r.events[i].length, r.events[i].data);
	record_close(&r);
	*ret_fd = fd;
	return 0;
}

static int run_workload(const struct job *job, const struct paths *paths, int marks)
{
	const uint64_t none[FILES] = {0};
	const struct mark end = {.kind = MARK_END};
	pid_t pid = job_start_workload(job, paths->mnt, marks, COMMITS, none);
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return fail("workload");
	if (!job_judge_exit(job, status) && !atomic_load(&job->tally->unsupported))
		return -1;
	return mark_send(marks, &end);
}

static int record_workload(const struct job *job, const struct paths *paths)
{
	struct pages pages = {0};
	struct disk disk;
	int fd, rc;

	if (begin_record(job, paths, &pages, &fd))
		return -1;
	rc = disk_start(paths->disk, &pages, fd, &disk);
	close(fd);
	pages_free(&pages);
	if (rc)
		return fail("disk");
	rc = volume_mount(job->fs, paths->disk, paths->mnt);
	if (rc) {
		fail("mount");
	} else {
		rc = run_workload(job, paths, disk.marks);
		if (volume_unmount(paths->mnt))
			rc = fail("unmount");
	}
	if (disk_stop(paths->disk, &disk))
		rc = fail("disk");
	return rc;
}

/*
 * The harness is worth nothing if flushes do not get to the disk: each commit that
 * promised to be durable has to have one between its marks.
 */
static int check_flushes(const struct record *r)
{
	bool flushed[FILES] = {false};

	for (size_t i = r->start; i < r->end; i++) {
		const struct event *e = &r->events[i];
		const struct mark *m = e->data;

		if (e->kind == EVENT_FLUSH)
			memset(flushed, true, sizeof(flushed));
		if (e->kind != EVENT_MARK)
			continue;
		if (m->kind == MARK_BEGIN)
			flushed[m->name] = false;
		if (m->kind == MARK_DONE && m->durable && !flushed[m->name]) {
			fprintf(stderr, "a durable commit of %s, version %llu, without a flush of the disk\n",
				files[m->name].name, (unsigned long long)m->version);
			return -1;
		}
	}
	return 0;
}

static void judge_state(const struct file_system *fs, const struct paths *paths, const struct judge *j,
			struct verdict *ret)
{
	char output[400];

	*ret = (struct verdict){0};
	if (volume_mount(fs, paths->disk, paths->mnt)) {
		verdict_say(ret, FAULT_FSCK, "it cannot be mounted: %s", strerror(errno));
		return;
	}
	judge_run(j, ret);
	if (volume_unmount(paths->mnt))
		verdict_say(ret, FAULT_USE, "it cannot be unmounted: %s", strerror(errno));
	else if (!j->brief && volume_check(fs, paths->disk, output, sizeof(output)))
		verdict_say(ret, FAULT_FSCK, "the file system is damaged: %s", output);
}

static void explore_state(const struct row *row, const struct record *r, const struct state *s,
			  const struct paths *paths, struct pages *pages, struct verdict *ret)
{
	struct judge j = {
		.dir = paths->mnt,
		.seed = r->head.seed,
		.shape = (enum shape)r->head.shape,
		.brief = row->torn,
		.strategy = strategy_named(row->strategy),
	};
	struct disk disk;

	state_build(r, s, pages);
	state_expect(r, s, &j.expect);
	if (disk_start(paths->disk, pages, -1, &disk)) {
		verdict_say(ret, FAULT_USE, "no disk: %s", strerror(errno));
		return;
	}
	judge_state(file_system_named(row->file_system), paths, &j, ret);
	if (disk_stop(paths->disk, &disk))
		verdict_say(ret, FAULT_USE, "the disk is busy: %s", strerror(errno));
}

/* Keeps the record of a failure, once. */
static void keep_record(const struct job *job, const struct paths *paths, char *ret, size_t capacity)
{
	char name[64], command[1200];
	char *p;

	row_name(job->row, name, sizeof(name));
	while ((p = strchr(name, ':')))
		*p = '.';
	snprintf(ret, capacity, "%s/%s.%llx.record", job->keep ? job->keep : job->dir, name,
		 (unsigned long long)job->seed);
	if (!job->keep || job->row->torn || !access(ret, F_OK))
		return;
	snprintf(command, sizeof(command), "cp '%s' '%s'", paths->record, ret);
	if (system(command))
		fprintf(stderr, "%s cannot be kept\n", ret);
}

static void count_state(const struct job *job, const struct paths *paths, const struct state *s,
			const struct verdict *v)
{
	enum kind kind = s->mode == MODE_SUBSET || s->mode == MODE_TORN ? KIND_SUBSET : KIND_POWER;
	char record[400] = "", again[800];

	if (v->fault)
		keep_record(job, paths, record, sizeof(record));
	snprintf(again, sizeof(again), "make crash CRASH='--replay %s --state %#llx'", record,
		 (unsigned long long)s->seed);
	job_count(job, kind, v, again);
}

static int explore(const struct job *job, const struct paths *paths)
{
	struct pages pages;
	struct record r;
	int rc;

	if (record_open(paths->record, &r))
		return fail(paths->record);
	rc = check_flushes(&r);
	if (!rc && pages_new(r.head.size, &pages))
		rc = -1;
	for (unsigned long i = 0; !rc && i < job->count && !job_enough(job); i++) {
		struct verdict v = {0};
		struct state s;

		state_choose(&r, random_mix(job->seed, i), &s);
		explore_state(job->row, &r, &s, paths, &pages, &v);
		count_state(job, paths, &s, &v);
	}
	if (!rc)
		pages_free(&pages);
	record_close(&r);
	return rc;
}

int job_power(const struct job *job)
{
	struct paths paths;
	int rc;

	if (make_paths(job, &paths))
		return fail(job->dir);
	rc = record_workload(job, &paths);
	if (!rc && !job_enough(job))
		rc = explore(job, &paths);
	unlink(paths.record);
	return rc;
}

static void tell_state(const struct record *r, const struct state *s)
{
	struct expect e;

	state_expect(r, s, &e);
	printf("%s, seed of the workload %#llx: event %zu of %zu, last flush before it %zu, of the rest %s\n",
	       r->head.row, (unsigned long long)r->head.seed, s->cut, r->count, s->flush, mode_name(s->mode));
	for (int i = 0; i < FILES; i++)
		printf("  %-8s version %llu to %llu\n", files[i].name, (unsigned long long)e.floor[i],
		       (unsigned long long)e.newest[i]);
}

int power_replay(const char *record, uint64_t seed, const char *dir)
{
	struct job job = {0};
	struct verdict v = {0};
	struct paths paths;
	struct pages pages;
	struct record r;
	struct state s;

	if (record_open(record, &r))
		return fail(record);
	snprintf(job.dir, sizeof(job.dir), "%s", dir);
	job.row = row_named(r.head.row);
	if (!job.row || make_paths(&job, &paths) || pages_new(r.head.size, &pages))
		return fail(r.head.row);
	state_choose(&r, seed, &s);
	tell_state(&r, &s);
	explore_state(job.row, &r, &s, &paths, &pages, &v);
	printf("%s\n", v.fault ? v.text : "no fault");
	pages_free(&pages);
	record_close(&r);
	return v.fault ? -1 : 0;
}
