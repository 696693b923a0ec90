/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all kinds of jobs share. See job.h. */
#include "config.h"

#include "job.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void job_path(const struct job *job, const char *name, char *ret, size_t capacity)
{
	snprintf(ret, capacity, "%s/%s", job->dir, name);
}

bool job_enough(const struct job *job)
{
	return atomic_load(&job->tally->unsupported) || atomic_load(&job->tally->enough);
}

/* A strategy that has worked is supported: what fails later has another cause. */
static void note_unsupported(const struct job *job)
{
	for (int k = 0; k < KINDS; k++)
		if (atomic_load(&job->tally->counts[k].explored))
			return;
	atomic_store(&job->tally->unsupported, true);
}

void job_count(const struct job *job, enum kind kind, const struct verdict *v, const char *again)
{
	struct counts *c = &job->tally->counts[kind];
	char name[64];

	if (v->unsupported) {
		note_unsupported(job);
		return;
	}
	atomic_fetch_add(&c->explored, 1);
	if (!v->fault)
		return;
	atomic_fetch_add(&c->faults[v->fault], 1);
	row_name(job->row, name, sizeof(name));
	if (!job->row->torn)
		printf("%s: %s\n  again: %s\n", name, v->text, again);
	else if (v->fault == FAULT_TORN && !atomic_exchange(&job->tally->enough, true))
		printf("%s is torn, as it has to be: %s\n", name, v->text);
	fflush(stdout);
}

pid_t job_start_workload(const struct job *job, const char *dir, int marks, unsigned long commits,
			 const uint64_t *versions)
{
	char program[300], seed[32], socket[16], number[32], version[FILES][24];
	char *arguments[7 + FILES] = {program, (char *)(uintptr_t)job->strategy->name, seed, NULL, socket, number};
	char shape[16], program_errors[256];
	int errors;
	pid_t pid;

	snprintf(program, sizeof(program), "%s/%s", job->bin, job->row->workload);
	snprintf(seed, sizeof(seed), "%#llx", (unsigned long long)job->seed);
	snprintf(socket, sizeof(socket), "%d", marks);
	snprintf(number, sizeof(number), "%lu", commits);
	snprintf(shape, sizeof(shape), "%d", (int)job->row->shape);
	arguments[3] = shape;
	for (int i = 0; i < FILES; i++) {
		snprintf(version[i], sizeof(version[i]), "%llu", (unsigned long long)versions[i]);
		arguments[6 + i] = version[i];
	}
	job_path(job, "errors", program_errors, sizeof(program_errors));
	errors = open(program_errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* A group of its own: it is killed together with its child. */
		setpgid(0, 0);
		fcntl(marks, F_SETFD, 0);
		dup2(errors, 2);
		if (!chdir(dir))
			execv(program, arguments);
		perror(program);
		_exit(127);
	}
	if (pid > 0)
		setpgid(pid, pid);
	close(errors);
	return pid;
}

static void tell_errors(const struct job *job)
{
	char path[256], line[500];
	FILE *f;

	job_path(job, "errors", path, sizeof(path));
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		printf("  %s", line);
	if (f)
		fclose(f);
}

bool job_judge_exit(const struct job *job, int status)
{
	char name[64];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 4) {
		note_unsupported(job);
		if (job_enough(job))
			return false;
	}
	if (status) {
		row_name(job->row, name, sizeof(name));
		printf("%s: the workload ended with status %#x, seed %#llx\n", name, (unsigned)status,
		       (unsigned long long)job->seed);
		tell_errors(job);
	}
	return !status;
}
