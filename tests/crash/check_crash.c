/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Proves by exploring that no crash tears a commit.
 *
 * A workload (workload.c) commits versions of a few files on a file system whose disk is
 * a process (disk.c) that records each write and each flush (record.h). What a version
 * is follows from a seed (model.h), so that whoever has the seed can tell every block's
 * version. The workload says before and after each commit what it does, and these marks
 * stand in the record between the writes. From the record any state is made that a power
 * cut may leave (state.h): what a flush has made durable, and any part of what came after
 * it. Each is served from memory by such a process again, mounted, judged (judge.h) and
 * checked by the file system's own checker:
 *
 *  - each file is one version, in all its blocks, by plain read and by the library;
 *  - not older than the last commit that promised durability, nor newer than the one
 *    that was under way;
 *  - its attributes and its hard link are right;
 *  - the next commit works, and leaves no temporary names;
 *  - or if it is an image of a mini file system (image.h), it opens, is undamaged, and all
 *    that is in it is of one such version.
 *
 * Further the workload is killed, the file system is shut down (live.c), and it is full
 * (full.c). The rows are in rows.c. Two of them have to be found torn: they are the
 * tests of this harness.
 *
 * Run by tests/run, and by "make crash"; needs root and tests/with-fs. The record of what
 * failed is kept; the line "again:" shows the same state once more.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "job.h"
#include "random.h"

#define SESSION 100ul /* states of one record */
/* One of 20 to 50 states is torn where one has to be, and the first that is found is enough: this is no bad luck. */
#define TORN_STATES 1000ul
#define TORN_SESSION 25ul
#define MAX_WORKERS 64

static const char *const kind_names[KINDS] = {"power cut", "subset", "kill", "shutdown", "full"};

struct options {
	unsigned long states;
	const char *row, *kind, *replay;
	uint64_t seed, state;
	bool seeded;
};

static struct options options = {.states = 200};
static struct job *jobs;
static size_t job_count_all;
static unsigned long planned;

static struct shared {
	atomic_size_t next;
	atomic_ulong broken; /* jobs that could not be done */
	struct tally tallies[];
} * shared;

static char bin[256];

/* --- the plan */

static void add_job(size_t row, enum kind kind, unsigned long count)
{
	const struct row *r = &rows[row];
	char name[64];
	struct job job = {
		.row = r,
		.fs = file_system_named(r->file_system),
		.strategy = strategy_named(r->strategy),
		.kind = kind,
		.seed = options.seed,
		.count = count,
		.tally = &shared->tallies[row],
		.keep = getenv("SNAPMAP_TEST_LOG"),
		.bin = bin,
	};

	row_name(r, name, sizeof(name));
	if ((options.row && strcmp(options.row, name)) || (options.kind && strcmp(options.kind, kind_names[kind])))
		return;
	/* With a seed given it is that of each first job. */
	if (!options.seeded || job_count_all)
		job.seed = random_mix(options.seed, job_count_all);
	jobs = realloc(jobs, (job_count_all + 1) * sizeof(job));
	if (!jobs)
		abort();
	jobs[job_count_all++] = job;
	planned += count;
}

/* Never none, and in parts, so that workers end at about the same time. */
static void add_jobs(size_t row, enum kind kind, unsigned long count, unsigned long part)
{
	for (unsigned long n; count; count -= n) {
		n = count < part ? count : part;
		add_job(row, kind, n);
	}
}

/* Whether an environment variable, names between spaces, has this one. */
static bool is_listed(const char *variable, const char *name)
{
	const char *list = getenv(variable);
	size_t n = strlen(name);

	for (const char *p = list; p && (p = strstr(p, name)); p += n)
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

/* As tests/with-fs has it: rows that are asked for, and those that cannot be had. */
static bool is_wanted(const char *file_system)
{
	const char *rows_asked = getenv("SNAPMAP_TEST_ROWS");

	if (rows_asked && *rows_asked && !is_listed("SNAPMAP_TEST_ROWS", file_system))
		return false;
	if (!is_listed("SNAPMAP_TEST_MISSING", file_system))
		return true;
	printf("%s skipped: there is no such file system here\n", file_system);
	return false;
}

static void plan(void)
{
	for (size_t i = 0; i < row_count; i++) {
		bool image = strategy_named(rows[i].strategy)->image;
		unsigned long n = image ? options.states * 2 / 5 : options.states;

		if (!is_wanted(rows[i].file_system))
			continue;
		if (rows[i].torn) {
			add_jobs(i, KIND_POWER, TORN_STATES, TORN_SESSION);
			continue;
		}
		add_jobs(i, KIND_POWER, n, SESSION);
		add_jobs(i, KIND_KILL, n / 5 + 1, 50);
		if (file_system_named(rows[i].file_system)->shutdown)
			add_jobs(i, KIND_SHUTDOWN, n / 10 + 1, 50);
		/* Of a full host check_minifs_host sees to. */
		if (!image)
			add_jobs(i, KIND_FULL, n / 20 + 1, 50);
	}
}

/* --- workers */

static int do_job(struct job *job, const char *dir)
{
	static int (*const run[KINDS])(const struct job *job) = {
		[KIND_POWER] = job_power,
		[KIND_KILL] = job_kill,
		[KIND_SHUTDOWN] = job_shutdown,
		[KIND_FULL] = job_full,
	};
	char name[64];
	int rc;

	if (job_enough(job))
		return 0;
	snprintf(job->dir, sizeof(job->dir), "%s", dir);
	rc = run[job->kind](job);
	row_name(job->row, name, sizeof(name));
	if (rc) {
		printf("%s: %s: it could not be done, seed %#llx\n", name, kind_names[job->kind],
		       (unsigned long long)job->seed);
		fflush(stdout);
	}
	return rc;
}

/* What a worker mounts nobody else sees, so nobody else keeps it busy. */
static void work_in(const char *dir)
{
	if (mkdir(dir, 0755) || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		perror(dir);
		_exit(1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void make_dir(unsigned number, char *ret, size_t capacity)
{
	snprintf(ret, capacity, "%s/crash.%d.%u", getenv("SNAPMAP_TEST_SCRATCH"), (int)getpid(), number);
}

static pid_t start_worker(unsigned number)
{
	char dir[200];
	pid_t pid;
	size_t i;

	make_dir(number, dir, sizeof(dir));
	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	work_in(dir);
	while ((i = atomic_fetch_add(&shared->next, 1)) < job_count_all)
		if (do_job(&jobs[i], dir))
			atomic_fetch_add(&shared->broken, 1);
	fflush(NULL);
	_exit(0);
}

static unsigned long explored(void)
{
	unsigned long n = 0;

	for (size_t i = 0; i < row_count; i++)
		for (int k = 0; k < KINDS; k++)
			n += atomic_load(&shared->tallies[i].counts[k].explored);
	return n;
}

/* Waits for one of them, and tells a terminal how far they are. */
static pid_t wait_for_one(int *ret_status)
{
	pid_t pid;

	if (!isatty(2))
		return wait(ret_status);
	while (!(pid = waitpid(-1, ret_status, WNOHANG))) {
		fprintf(stderr, "\r%lu of at most %lu crashes \r", explored(), planned);
		usleep(200000);
	}
	return pid;
}

static int run_workers(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	int status, failed = 0;

	for (unsigned i = 0; i < (unsigned)count && i < MAX_WORKERS; i++)
		if (start_worker(i) < 0)
			failed++;
	while (wait_for_one(&status) > 0)
		failed += status != 0;
	if (failed)
		printf("%d workers failed\n", failed);
	return failed;
}

/* --- results */

static void print_counts(const char *name, enum kind kind, const struct tally *t)
{
	const struct counts *c = &t->counts[kind];
	unsigned long faults[FAULTS];

	for (int f = 0; f < FAULTS; f++)
		faults[f] = atomic_load(&c->faults[f]);
	printf("%-26s %-10s %8lu %6lu %5lu %10lu %6lu %5lu %8lu", name, kind_names[kind],
	       (unsigned long)atomic_load(&c->explored), faults[FAULT_TORN], faults[FAULT_OLD],
	       faults[FAULT_ATTRIBUTES], faults[FAULT_STRAY], faults[FAULT_FSCK], faults[FAULT_USE]);
	if (kind == KIND_FULL)
		printf("  (%lu refused)", (unsigned long)atomic_load(&t->refused));
	putchar('\n');
}

static unsigned long count_faults(const struct counts *c)
{
	unsigned long n = 0;

	for (int f = FAULT_NONE + 1; f < FAULTS; f++)
		n += atomic_load(&c->faults[f]);
	return n;
}

struct score {
	unsigned long passed, failed, skipped;
};

static bool was_planned(size_t row)
{
	for (size_t i = 0; i < job_count_all; i++)
		if (jobs[i].row == &rows[row])
			return true;
	return false;
}

static void score_row(size_t row, struct score *s)
{
	struct tally *t = &shared->tallies[row];
	char name[64];

	row_name(&rows[row], name, sizeof(name));
	if (!was_planned(row))
		return;
	if (atomic_load(&t->unsupported)) {
		printf("%-26s skipped: the strategy is not supported here\n", name);
		s->skipped++;
		return;
	}
	for (enum kind k = 0; k < KINDS; k++) {
		if (!atomic_load(&t->counts[k].explored))
			continue;
		print_counts(name, k, t);
		if (rows[row].torn)
			continue;
		if (count_faults(&t->counts[k]))
			s->failed++;
		else
			s->passed++;
	}
	if (atomic_load(&t->counts[KIND_FULL].explored) >= 10 && !atomic_load(&t->refused)) {
		printf("%s: no commit was refused for want of room\n", name);
		s->failed++;
	}
	if (rows[row].torn && atomic_load(&t->enough)) {
		s->passed++;
	} else if (rows[row].torn) {
		printf("%s: not found torn: this harness does not find what it is for\n", name);
		s->failed++;
	}
}

static int report(int failed_workers, double seconds)
{
	struct score s = {.failed = (unsigned long)failed_workers + atomic_load(&shared->broken)};
	unsigned long n = explored();

	printf("\n%-26s %-10s %8s %6s %5s %10s %6s %5s %8s\n", "row", "crash", "explored", "torn", "old", "attributes",
	       "stray", "fsck", "unusable");
	for (size_t i = 0; i < row_count; i++)
		score_row(i, &s);
	printf("%lu crashes in %.0f s, %.1f in a second; seed %#llx\n", n, seconds, (double)n / seconds,
	       (unsigned long long)options.seed);
	printf("%lu passed, %lu failed, %lu skipped\n", s.passed, s.failed, s.skipped);
	return s.failed ? 1 : 0;
}

/* --- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void find_programs(void)
{
	ssize_t n = readlink("/proc/self/exe", bin, sizeof(bin) - 1);

	if (n <= 0)
		abort();
	bin[n] = '\0';
	*strrchr(bin, '/') = '\0';
}

static int skip(const char *why)
{
	printf("skipped: %s\n0 passed, 0 failed, 1 skipped\n", why);
	return 0;
}

static int replay(void)
{
	char dir[200];

	make_dir(0, dir, sizeof(dir));
	work_in(dir);
	return power_replay(options.replay, options.state, dir) ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: check_crash [--states N] [--row FS:STRATEGY] [--kind KIND] [--seed N]\n"
			"       check_crash --replay RECORD --state SEED\n");
	return 2;
}

static int read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"states", required_argument, NULL, 'n'},
		{"row", required_argument, NULL, 'r'},
		{"kind", required_argument, NULL, 'k'},
		{"seed", required_argument, NULL, 's'},
		{"replay", required_argument, NULL, 'p'},
		{"state", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	int c;

	if (getrandom(&options.seed, sizeof(options.seed), 0) < 0)
		return -1;
	options.seed >>= 16;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'n':
			options.states = strtoul(optarg, NULL, 0);
			break;
		case 'r':
			options.row = optarg;
			break;
		case 'k':
			options.kind = optarg;
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			options.seeded = true;
			break;
		case 'p':
			options.replay = optarg;
			break;
		case 't':
			options.state = strtoull(optarg, NULL, 0);
			break;
		default:
			return -1;
		}
	}
	return optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	size_t size = sizeof(*shared) + row_count * sizeof(shared->tallies[0]);
	double start = now();
	int failed;

	if (read_options(argc, argv))
		return usage();
	if (geteuid())
		return skip("only root can mount");
	if (!getenv("SNAPMAP_TEST_SCRATCH") || !getenv("SNAPMAP_TEST_VOLUME"))
		return skip("not run by tests/with-fs");
	find_programs();
	if (options.replay)
		return replay();
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	plan();
	failed = run_workers();
	return report(failed, now() - start);
}
