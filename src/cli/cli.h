/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the commands of the program "snapmap" share. Each command is one file,
 * cmd_NAME.c, with one function, and one row in the table of main.c. Everything
 * here uses the public interface of the library only.
 */
#ifndef SNAPMAP_CLI_H
#define SNAPMAP_CLI_H

#include <signal.h>
#include <snapmap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "size.h"

/* Exit statuses. A signal adds its number to the last one. */
enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_CONFLICT = 3,
	STATUS_CANNOT_RUN = 126,
	STATUS_NOT_FOUND = 127,
	STATUS_SIGNAL = 128,
};

/* ---- commands: argv[0] is the command's name, the return value the exit status */

int cmd_info(int argc, char **argv);
int cmd_cat(int argc, char **argv);
int cmd_edit(int argc, char **argv);
int cmd_sponge(int argc, char **argv);
int cmd_patch(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_fs(int argc, char **argv);
int cmd_tree(int argc, char **argv);

/* ---- command line (options.c) */

/* Which options a command takes, besides --help and --version. */
enum option_group {
	OPTIONS_OPEN = 1 << 0,	 /* --source, --strict */
	OPTIONS_COMMIT = 1 << 1, /* --strategy, --no-sync, --break-links */
	OPTIONS_FORCE = 1 << 2,	 /* --force */
	OPTIONS_CREATE = 1 << 3, /* --create */
	OPTIONS_QUIET = 1 << 4,	 /* --quiet */
};

/* An option of one command only. @value: what is shown for its value, NULL if it takes none. */
struct own_option {
	const char *name;
	const char *value;
	const char *help;
};

/*
 * @help: what the command does, in full lines.
 * @own: options that no other command has; one without a name ends the list. May be NULL.
 * @take: called for each of them, with its index and value. Returns -1 to go on, else
 *	the exit status.
 */
struct syntax {
	const char *name;
	const char *arguments;
	unsigned int groups;
	int min_operands, max_operands; /* a maximum of 0: any number */
	const char *help;
	const struct own_option *own;
	int (*take)(size_t which, const char *value);
};

/* @operands: @count of them, and a NULL behind them. */
struct request {
	struct snapmap_options open;
	struct snapmap_commit_options commit;
	bool quiet;
	bool create;
	char **operands;
	int count;
};

/* Returns -1 to go on, else the exit status. */
int options_parse(const struct syntax *syntax, int argc, char **argv, struct request *ret);

/* ---- messages (report.c): one line each, to standard error */

void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* These return the exit status that goes with them. */
int report_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int report_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int report_open(int rc);
int report_commit(int rc);
int report_stopped(const char *file);
/* Writes out standard output; returns @status, or a failure. */
int report_output(int status);

/* ---- signals (signals.c) */

/* Catches what asks the program to stop. */
void signals_catch(void);
/* Has these signals end the program again. */
void signals_release(void);
/* Number of the signal that asked to stop, or 0. */
int signals_stopped(void);
void signals_note(int signal);
/* Those that a program started from here must find as they were. */
const sigset_t *signals_changed(void);
/* Waits for @fd to be ready. 0, or -ECANCELED once the program is asked to stop. */
int signals_wait(int fd, short events);

/* ---- progress (progress.c) */

struct progress {
	const char *what;
	bool shown, drawn;
	struct timespec start, last;
};

/* Has @request's open report to @progress. */
void progress_begin(struct progress *progress, struct request *request, const char *what);
void progress_end(struct progress *progress);
/* For other work: has @text be the line, without asking whether it is time for it. */
void progress_start(struct progress *progress, bool quiet);
void progress_line(struct progress *progress, const char *text);
/* Or bytes, of @progress->what. Not 0 once the program is asked to stop. */
int progress_step(struct progress *progress, uint64_t done, uint64_t total);

/* ---- bytes (io.c) */

/* Keeps files that are opened later away from the numbers 0 to 2. */
void io_claim_standard(void);
/* Bytes read, 0 at the end, a negative errno; -ECANCELED once the program is asked to stop. */
ssize_t io_read(int fd, void *buffer, size_t n);
int io_write(int fd, const void *bytes, size_t n);
/*
 * Makes @n bytes of the handle from @offset equal to @bytes. Stores into those
 * pages only that differ, so that a commit writes no others; @changed is set if
 * there are any.
 */
int io_store(struct snapmap_mut *map, size_t offset, const void *bytes, size_t n, bool *changed);

/* ---- a private directory with a copy of a file (workdir.c) */

struct workdir {
	char directory[4096];
	char file[4096];
};

/* 0, or an exit status after a message. Nothing is left behind then. */
int workdir_create(struct workdir *work, const char *file);
void workdir_remove(const struct workdir *work);

/* ---- another program (run.c) */

/* Runs it as system(3) does, but passes on what asks to stop. 0, or the errno of starting it. */
int run_program(char *const argv[], int *ret_wait_status);

#endif
