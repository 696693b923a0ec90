/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program "snapmap" when it is asked to stop: nothing changed, nothing left behind, and the right exit status. */
#include "config.h"

#include "check_cli.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

#define LARGE ((size_t)40 << 20) /* copied in several pieces */

static const char two_lines[] = "one\ntwo\n";

/* A program started with a pipe to its standard input and one from its standard output. */
struct running {
	pid_t pid;
	int in, out;
};

/* In a process group of its own, as a shell does it. */
static struct running start(const char *line)
{
	struct running r;
	int in[2], from[2];

	ck_assert(!pipe2(in, O_CLOEXEC) && !pipe2(from, O_CLOEXEC));
	r.pid = fork();
	ck_assert_int_ge(r.pid, 0);
	if (!r.pid) {
		char script[1024];

		setpgid(0, 0);
		snprintf(script, sizeof(script), "exec %s 2>/dev/null", line);
		dup2(in[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(99);
	}
	setpgid(r.pid, r.pid);
	close(in[0]);
	close(from[1]);
	r.in = in[1];
	r.out = from[0];
	return r;
}

static int finish(struct running *r)
{
	int status = wait_for(r->pid);

	if (r->in >= 0)
		close(r->in);
	close(r->out);
	return status;
}

static void wait_until_ready(const struct running *r)
{
	char byte;

	ck_assert_int_eq(read(r->out, &byte, 1), 1);
}

static void check_nothing_changed(void)
{
	ck_assert(file_says("f", two_lines));
	ck_assert_uint_eq(count_names("."), 1);
}

/* ---- edit */

static const struct {
	int signal;
	bool group; /* as the terminal sends it, or to the program alone */
} stops[] = {
	{SIGINT, true}, {SIGTERM, true}, {SIGTERM, false}, {SIGHUP, true}, {SIGHUP, false},
};

START_TEST(test_edit_stopped_while_the_command_runs)
{
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		struct running r;

		write_text("f", two_lines);
		r = start("snapmap edit f -- sh -c 'echo x >>\"$1\"; echo ready; exec sleep 1000' sh");
		wait_until_ready(&r);
		ck_assert_int_eq(kill(stops[i].group ? -r.pid : r.pid, stops[i].signal), 0);
		ck_assert_int_eq(finish(&r), 128 + stops[i].signal);
		check_nothing_changed();
	}
}
END_TEST

/* What asks to stop wins over a command that succeeds nevertheless. */
START_TEST(test_edit_stopped_by_SIGTERM_that_the_command_survives)
{
	struct running r;

	write_text("f", two_lines);
	r = start("snapmap edit f -- sh -c 'trap \"exit 0\" TERM; echo x >>\"$1\"; echo ready; while :; do sleep 0.01; "
		  "done' sh");
	wait_until_ready(&r);
	ck_assert_int_eq(kill(r.pid, SIGTERM), 0);
	ck_assert_int_eq(finish(&r), 128 + SIGTERM);
	check_nothing_changed();
}
END_TEST

/* As with system(3): ^C is for the command, and an editor may well go on. A signal may interrupt the shell's read. */
START_TEST(test_edit_leaves_SIGINT_to_the_command)
{
	struct running r;

	write_text("f", two_lines);
	r = start(
		"snapmap edit f -- sh -c 'trap : INT QUIT; echo ready; until read x; do :; done; echo 3 >>\"$1\"' sh");
	wait_until_ready(&r);
	ck_assert_int_eq(kill(-r.pid, SIGINT), 0);
	ck_assert_int_eq(kill(-r.pid, SIGQUIT), 0);
	ck_assert_int_eq(write(r.in, "\n", 1), 1);
	ck_assert_int_eq(finish(&r), 0);
	ck_assert(file_says("f", "one\ntwo\n3\n"));
	ck_assert_uint_eq(count_names("."), 1);
}
END_TEST

/* nohup(1) has its way: the command gets it ignored, and so do we. */
START_TEST(test_edit_keeps_ignoring_what_was_ignored)
{
	struct running r;

	write_text("f", two_lines);
	r = start("env --ignore-signal=HUP snapmap edit f -- sh -c 'echo ready; read x; echo 3 >>\"$1\"' sh");
	wait_until_ready(&r);
	ck_assert_int_eq(kill(-r.pid, SIGHUP), 0);
	ck_assert_int_eq(write(r.in, "\n", 1), 1);
	ck_assert_int_eq(finish(&r), 0);
	ck_assert(file_says("f", "one\ntwo\n3\n"));
}
END_TEST

/* The command finds the signals as the program found them; but for 32 and 33, which the C library keeps to itself. */
START_TEST(test_edit_gives_the_command_its_signals_back)
{
	write_text("f", two_lines);
	write_text("list", "grep '^Sig[BI]' /proc/self/status | while read -r set mask; do\n"
			   "	echo $set $((0x$mask & 0x7fffffff))\n"
			   "done\n");
	ck_run(0, "sh list >want; snapmap edit f -- sh list >got; cmp want got >&2");
}
END_TEST

/* ---- sponge and patch: a pipe holds less than what was written, so the program is reading */

static void feed(struct running *r)
{
	static char bytes[1 << 20];

	ck_assert_int_eq(write(r->in, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
}

static void stop_while_reading(const char *line)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGKILL};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct running r = start(line);

		feed(&r);
		ck_assert_int_eq(kill(r.pid, signals[i]), 0);
		ck_assert_int_eq(finish(&r), 128 + signals[i]);
		check_nothing_changed();
	}
}

START_TEST(test_sponge_stopped_while_reading)
{
	write_text("f", two_lines);
	stop_while_reading("snapmap sponge f");
	stop_while_reading("snapmap sponge new");
}
END_TEST

START_TEST(test_patch_stopped_while_reading)
{
	write_text("f", two_lines);
	stop_while_reading("snapmap patch f 1M");
}
END_TEST

/* ---- progress on a terminal */

/* It does not work in a program that is traced. */
static void disable_leak_check(void)
{
	const char *options = getenv("ASAN_OPTIONS");
	char changed[1024];

	snprintf(changed, sizeof(changed), "%s:detect_leaks=0", options ? options : "");
	setenv("ASAN_OPTIONS", changed, 1);
}

/* A child on a terminal of its own, traced. @ret_master is the other side of the terminal. */
static pid_t start_on_terminal(const char *option, int *ret_master)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	const char *slave;
	pid_t pid;

	ck_assert(master >= 0 && !grantpt(master) && !unlockpt(master));
	slave = ptsname(master);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		int fd;

		setsid();
		fd = open(slave, O_RDWR);
		if (fd < 0 || ioctl(fd, TIOCSCTTY, 0) || ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		dup2(fd, STDERR_FILENO);
		fd = open("/dev/null", O_RDONLY);
		dup2(fd, STDIN_FILENO);
		disable_leak_check();
		execlp("snapmap", "snapmap", "sponge", "--source=copy", option, "f", NULL);
		_exit(77);
	}
	*ret_master = master;
	return pid;
}

/* Lets the child run to the next system call that copies; false if it ended before, with *ret_status. */
static bool run_to_copy(pid_t pid, int *ret_status)
{
	struct __ptrace_syscall_info info;
	int status, signal = 0;

	for (;;) {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, signal), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status)) {
			*ret_status = status_of(status);
			return false;
		}
		signal = 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signal = WSTOPSIG(status);
			continue;
		}
		ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), 0);
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if (info.entry.nr == SYS_copy_file_range || info.entry.nr == SYS_pwrite64)
			return true;
	}
}

static bool has_pending(pid_t pid, int signal)
{
	char path[64], line[256];
	unsigned long long mask = 0, one;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	ck_assert(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "SigPnd: %llx", &one) == 1 || sscanf(line, "ShdPnd: %llx", &one) == 1)
			mask |= one;
	fclose(f);
	return mask & (1ull << (signal - 1));
}

/* What came from the terminal, until @end appears in it or, if that is NULL, until it is shut. */
static void read_terminal(int master, const char *end, char *buffer, size_t size)
{
	size_t n = strlen(buffer);

	while (!end || !strstr(buffer, end)) {
		ssize_t got = read(master, buffer + n, size - n - 1);

		if (got <= 0) /* EIO: the last process has closed it */
			return;
		n += (size_t)got;
		buffer[n] = 0;
	}
}

/*
 * The copy is held at a system call for as long as it takes to count as slow,
 * and again until ^C has arrived: so it does not matter how fast it is.
 */
static void stop_a_copy(const char *option, bool progress)
{
	const struct timespec slow = {.tv_nsec = 700000000};
	char text[4096] = "";
	int master, status;
	pid_t pid;

	test_make_file("f", LARGE, 1);
	uint64_t want = test_hash_file("f");

	pid = start_on_terminal(option, &master);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSTOPPED(status), "the program cannot be traced");
	ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
	ck_assert(run_to_copy(pid, &status));
	nanosleep(&slow, NULL);
	ck_assert(run_to_copy(pid, &status));
	if (progress)
		read_terminal(master, "f\033[K", text, sizeof(text));
	ck_assert_int_eq(write(master, "\003", 1), 1);
	while (!has_pending(pid, SIGINT))
		sched_yield();
	/* A call that the signal interrupts may be made again once; then the copying ends. */
	if (run_to_copy(pid, &status))
		ck_assert(!run_to_copy(pid, &status));
	ck_assert_int_eq(status, 128 + SIGINT);
	read_terminal(master, NULL, text, sizeof(text));
	close(master);
	ck_assert_msg((strchr(text, '%') != NULL) == progress, "%s", text);
	if (progress)
		ck_assert_msg(strstr(text, " of 40.0 MiB") && strstr(text, "\r\033[K"), "%s", text);
	ck_assert_msg(strstr(text, "snapmap: stopped by signal 2") != NULL, "%s", text);
	ck_assert_uint_eq(test_hash_file("f"), want);
	ck_assert_uint_eq(count_names("."), 1);
}

START_TEST(test_progress_shows_and_interrupt_stops)
{
	stop_a_copy("--no-sync", true);
}
END_TEST

START_TEST(test_quiet_shows_no_progress_and_interrupt_stops)
{
	stop_a_copy("--quiet", false);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, test_edit_stopped_while_the_command_runs);
	tcase_add_test(tc, test_edit_stopped_by_SIGTERM_that_the_command_survives);
	tcase_add_test(tc, test_edit_leaves_SIGINT_to_the_command);
	tcase_add_test(tc, test_edit_keeps_ignoring_what_was_ignored);
	tcase_add_test(tc, test_edit_gives_the_command_its_signals_back);
	tcase_add_test(tc, test_sponge_stopped_while_reading);
	tcase_add_test(tc, test_patch_stopped_while_reading);
	tcase_add_test(tc, test_progress_shows_and_interrupt_stops);
	tcase_add_test(tc, test_quiet_shows_no_progress_and_interrupt_stops);
}

Suite *test_suite(void)
{
	Suite *s = suite_create("cli_stop");

	test_each_fs(s, "cli_stop", add_tests);
	return s;
}
