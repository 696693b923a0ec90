/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Crashes on a mounted file system: the workload is killed, or the file system is shut
 * down by its ioctl and mounted anew. The workload then goes on where that left it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "job.h"
#include "random.h"
#include "volume.h"

/* As fs/xfs/libxfs/xfs_fs.h and fs/ext4/ext4.h have them: the same number, the same flags. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
static const struct {
	uint32_t flag;
	const char *name;
} shutdowns[] = {{0, "default"}, {1, "log flush"}, {2, "no log flush"}};

struct live {
	const struct job *job;
	char image[256], mnt[256];
	uint64_t versions[FILES];
	uint64_t random;
	bool power; /* only what is durable counts */
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Takes marks until @end. False if there will be no more: the workload has ended. */
static bool follow(int socket, int64_t end, struct expect *e, bool power)
{
	struct pollfd wait = {.fd = socket, .events = POLLIN};
	struct mark m;

	for (;;) {
		int64_t left = end - now_us();
		struct timespec t = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
		int rc;

		if (left <= 0 || ppoll(&wait, 1, &t, NULL) <= 0)
			return true;
		rc = mark_take(socket, &m);
		if (rc < 0)
			return false;
		if (rc) {
			expect_mark(e, &m, power);
			mark_answer(socket);
		}
	}
}

/* What was sent but not taken yet. */
static void drain(int socket, struct expect *e, bool power)
{
	struct mark m;

	while (mark_take(socket, &m) > 0)
		expect_mark(e, &m, power);
}

static int shut_down(const char *mnt, uint32_t flag)
{
	int fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 ? -1 : ioctl(fd, SHUTDOWN, &flag);

	close(fd);
	return rc;
}

/*
 * Runs the workload for @us, does @act to its file system, and kills it. 0 if it did not
 * end before that.
 */
static int interrupt(struct live *l, int64_t us, int (*act)(const struct live *l), struct expect *e)
{
	int sockets[2], status, rc = 0;
	bool alive = true;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -1;
	for (int i = 0; i < FILES; i++)
		e->floor[i] = e->newest[i] = l->versions[i];
	pid = job_start_workload(l->job, l->mnt, sockets[1], 0, l->versions);
	close(sockets[1]);
	/* First the files have to be there. */
	while (alive && !e->floor[FILE_F])
		alive = follow(sockets[0], now_us() + 1000, e, l->power);
	alive = alive && follow(sockets[0], now_us() + us, e, l->power);
	if (alive && act)
		rc = act(l);
	kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	drain(sockets[0], e, l->power);
	close(sockets[0]);
	if (!alive)
		job_judge_exit(l->job, status);
	return alive ? rc : -1;
}

static int begin(struct live *l)
{
	job_path(l->job, "image", l->image, sizeof(l->image));
	job_path(l->job, "mnt", l->mnt, sizeof(l->mnt));
	mkdir(l->mnt, 0755);
	l->random = l->job->seed;
	if (volume_make(l->job->fs, l->image))
		return -1;
	return volume_mount(l->job->fs, l->image, l->mnt);
}

static void judge_live(struct live *l, const struct expect *e, struct verdict *ret)
{
	struct judge j = {
		.dir = l->mnt,
		.seed = l->job->seed,
		.shape = l->job->row->shape,
		.strategy = l->job->strategy,
		.expect = *e,
	};

	judge_run(&j, ret);
	memcpy(l->versions, ret->versions, sizeof(l->versions));
}

static void count(const struct live *l, enum kind kind, const struct verdict *v)
{
	char name[64], again[200];

	row_name(l->job->row, name, sizeof(name));
	snprintf(again, sizeof(again), "make crash CRASH='--row %s --kind %s --seed %#llx' (moments differ each time)",
		 name, kind == KIND_KILL ? "kill" : "shutdown", (unsigned long long)l->job->seed);
	job_count(l->job, kind, v, again);
}

/* Mostly soon, for the next process begins at another place each time. */
static int64_t some_moment(uint64_t *random)
{
	return (int64_t)random_below(random, random_percent(random, 70) ? 15000 : 60000);
}

int job_kill(const struct job *job)
{
	struct live l = {.job = job};
	int rc = begin(&l);

	for (unsigned long i = 0; !rc && i < job->count && !job_enough(job); i++) {
		struct expect e;
		struct verdict v;

		rc = interrupt(&l, some_moment(&l.random), NULL, &e);
		if (rc || job_enough(job))
			break;
		judge_live(&l, &e, &v);
		count(&l, KIND_KILL, &v);
		if (v.fault)
			break;
	}
	if (job_enough(job))
		rc = 0;
	if (volume_unmount(l.mnt))
		rc = -1;
	unlink(l.image);
	return rc;
}

static int shut_down_somehow(const struct live *l)
{
	uint64_t random = l->random;

	return shut_down(l->mnt, shutdowns[random_below(&random, 3)].flag);
}

/* Unmounts, mounts: the log is replayed. Judges, and checks. */
static int judge_shutdown(struct live *l, const struct expect *e, struct verdict *ret)
{
	char output[400];

	*ret = (struct verdict){0};
	if (volume_unmount(l->mnt))
		return -1;
	if (volume_mount(l->job->fs, l->image, l->mnt)) {
		verdict_say(ret, FAULT_FSCK, "it cannot be mounted: %s", strerror(errno));
		return -1;
	}
	judge_live(l, e, ret);
	if (volume_unmount(l->mnt))
		return -1;
	if (volume_check(l->job->fs, l->image, output, sizeof(output)))
		verdict_say(ret, FAULT_FSCK, "the file system is damaged: %s", output);
	return volume_mount(l->job->fs, l->image, l->mnt);
}

int job_shutdown(const struct job *job)
{
	struct live l = {.job = job, .power = true};
	int rc;

	if (!job->fs->shutdown)
		return 0;
	rc = begin(&l);
	for (unsigned long i = 0; !rc && i < job->count && !job_enough(job); i++) {
		struct expect e;
		struct verdict v;

		rc = interrupt(&l, some_moment(&l.random), shut_down_somehow, &e);
		random_next(&l.random);
		if (rc || job_enough(job))
			break;
		rc = judge_shutdown(&l, &e, &v);
		count(&l, KIND_SHUTDOWN, &v);
		if (v.fault)
			break;
	}
	if (job_enough(job))
		rc = 0;
	if (volume_unmount(l.mnt))
		rc = -1;
	unlink(l.image);
	return rc;
}
