/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A commit on a file system with hardly any room: it succeeds, or fails with the file
 * whole and old and the handle as it was; with room again the same handle commits.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"
#include "random.h"
#include "volume.h"

#define BALLAST "ballast"

static void sync_here(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	syncfs(fd);
	close(fd);
}

/* Takes room until there is none, in ever smaller steps. */
static void take_room(void)
{
	int fd = open(BALLAST, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	off_t at = 0;

	for (off_t step = 64 << 20; step >= 4096;)
		if (!fallocate(fd, 0, at, step))
			at += step;
		else
			step /= 2;
	close(fd);
}

static void leave_room(size_t n)
{
	int fd = open("spare", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (n)
		(void)!fallocate(fd, 0, 0, (off_t)n);
	close(fd);
	take_room();
	unlink("spare");
	sync_here();
}

static bool file_is(const char *path, const struct model *m)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data = malloc(MODEL_BLOCKS * BLOCK + 1);
	ssize_t n = data && fd >= 0 ? read(fd, data, MODEL_BLOCKS * BLOCK + 1) : -1;
	bool same = n >= 0 && model_is(m, data, (size_t)n);

	free(data);
	close(fd);
	return same;
}

/*
 * A commit by journal that failed after it was decided: what a full disk does to the blocks
 * of the file is mended from the journal, by the next commit.
 */
static bool is_decided(const struct snapmap_commit_options *options)
{
	const char *error = snapmap_last_error();

	return options->strategy == SNAPMAP_STRATEGY_JOURNAL &&
	       (strstr(error, "the commit counts") ||
		strstr(error, "the journal is still there until the next commit"));
}

/* What exchange refuses is done as AUTO does it. */
static int commit(struct snapmap_mut *map, struct snapmap_commit_options *options, bool supported)
{
	int rc = snapmap_mut_commit(map, options);

	if (rc != -EOPNOTSUPP || options->strategy != SNAPMAP_STRATEGY_EXCHANGE || !supported)
		return rc;
	options->strategy = SNAPMAP_STRATEGY_AUTO;
	return snapmap_mut_commit(map, options);
}

/* A commit of file f with little room, and if that failed once more with enough of it. */
static void commit_with_little(const struct job *job, const struct model *old, const struct model *new, size_t room,
			       struct verdict *v)
{
	struct snapmap_commit_options options = {.size = sizeof(options), .strategy = job->strategy->id};
	const char *path = files[FILE_F].name;
	struct snapmap_mut *map;
	bool counts, supported = act_is_supported(options.strategy);
	int rc;

	rc = snapmap_mut_open(path, NULL, &map);
	if (!rc)
		rc = snapmap_mut_resize(map, new->size);
	if (rc) {
		verdict_say(v, FAULT_USE, "%s", snapmap_last_error());
		return;
	}
	model_store(new, snapmap_mut_data(map));
	leave_room(room);
	rc = commit(map, &options, supported);
	v->unsupported = rc == -EOPNOTSUPP && !supported;
	counts = rc && is_decided(&options);
	if (rc == -ENOSPC || rc == -EDQUOT || counts)
		atomic_fetch_add(&job->tally->refused, 1);
	else if (rc)
		verdict_say(v, FAULT_USE, "commit with %zu bytes of room: %s", room, snapmap_last_error());
	if (!counts && !file_is(path, rc ? old : new))
		verdict_say(v, FAULT_TORN, "the file is not %s after a commit that returned %d, with %zu bytes of room",
			    rc ? "old" : "new", rc, room);
	if (!model_is(new, snapmap_mut_data(map), snapmap_mut_size(map)))
		verdict_say(v, FAULT_USE, "the handle's bytes are lost after a commit that returned %d", rc);
	unlink(BALLAST);
	sync_here();
	/* Its journal stays until it is applied. */
	if (!counts)
		judge_names(v);
	if (rc && commit(map, &options, supported))
		verdict_say(v, FAULT_USE, "with room again: %s", snapmap_last_error());
	else if (rc && !file_is(path, new))
		verdict_say(v, FAULT_TORN, "the file is not new after a second commit, with room again");
	judge_names(v);
	snapmap_mut_close(map);
}

/* In a process of its own, which has the mount as its working directory. */
static void one_round(const struct job *job, uint64_t version, size_t room, struct verdict *v)
{
	struct model old, new;

	model_begin(&old, job->seed, FILE_F, false);
	model_go(&old, version);
	new = old;
	model_step(&new);
	commit_with_little(job, &old, &new, room, v);
}

static void set_up(const struct job *job, struct verdict *v)
{
	const uint64_t none[FILES] = {0};
	struct act a = {.seed = job->seed, .strategy = job->strategy, .marks = -1};

	act_begin(&a, none);
	if (act_set_up(&a))
		verdict_say(v, FAULT_USE, "the files cannot be made: %s", strerror(errno));
}

/* The first round, version 0, makes the files. */
static void round_apart(const struct job *job, const char *mnt, uint64_t version, size_t room, struct verdict *ret)
{
	struct verdict *v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (chdir(mnt))
			verdict_say(v, FAULT_USE, "%s: %s", mnt, strerror(errno));
		else if (version)
			one_round(job, version, room, v);
		else
			set_up(job, v);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		verdict_say(v, FAULT_USE, "died with status %#x", (unsigned)status);
	*ret = *v;
	munmap(v, sizeof(*v));
}

static void count(const struct job *job, const struct verdict *v)
{
	char name[64], again[200];

	row_name(job->row, name, sizeof(name));
	snprintf(again, sizeof(again), "make crash CRASH='--row %s --kind full --seed %#llx'", name,
		 (unsigned long long)job->seed);
	job_count(job, KIND_FULL, v, again);
}

static size_t some_room(uint64_t *random)
{
	return random_percent(random, 50) ? 0 : random_below(random, (size_t)1 << (12 + random_below(random, 11)));
}

static void explore(const struct job *job, const char *mnt)
{
	struct judge j = {.dir = mnt, .seed = job->seed, .strategy = job->strategy};
	uint64_t random = job->seed;
	struct verdict v;

	round_apart(job, mnt, 0, 0, &v);
	v.versions[FILE_F] = v.versions[FILE_G] = 1;
	for (unsigned long i = 0; !v.fault && i < job->count && !job_enough(job); i++) {
		uint64_t versions[FILES];
		size_t room = some_room(&random);

		memcpy(versions, v.versions, sizeof(versions));
		round_apart(job, mnt, versions[FILE_F], room, &v);
		if (v.unsupported) {
			count(job, &v);
			break;
		}
		versions[FILE_F]++;
		memcpy(j.expect.floor, versions, sizeof(versions));
		memcpy(j.expect.newest, versions, sizeof(versions));
		if (!v.fault)
			judge_run(&j, &v);
		count(job, &v);
	}
}

int job_full(const struct job *job)
{
	char image[256], mnt[256];
	int rc;

	job_path(job, "image", image, sizeof(image));
	job_path(job, "mnt", mnt, sizeof(mnt));
	mkdir(mnt, 0755);
	rc = volume_make(job->fs, image);
	if (!rc)
		rc = volume_mount(job->fs, image, mnt);
	if (!rc) {
		explore(job, mnt);
		rc = volume_unmount(mnt);
	}
	unlink(image);
	return rc;
}
