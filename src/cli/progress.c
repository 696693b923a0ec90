/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Progress of slow opens: a line on the terminal, drawn over and over, and gone
 * at the end. The same function tells the library to stop once a signal came, so
 * it is installed also where nothing is shown.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

#define FIRST_MS 500
#define STEP_MS 100

static const char erase[] = "\r\033[K";

static long long elapsed_ms(const struct timespec *since, const struct timespec *now)
{
	return (long long)(now->tv_sec - since->tv_sec) * 1000 + (now->tv_nsec - since->tv_nsec) / 1000000;
}

static void print_bytes(char *buffer, size_t n, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, n, "%.*f %s", unit ? 1 : 0, value, units[unit]);
}

/* Room for characters in a line of the terminal; the last column stays free, for writing to it may wrap. */
static size_t columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2)
		return 79;
	return size.ws_col - 1u;
}

void progress_line(struct progress *p, const char *text)
{
	char line[256];
	size_t n, limit = columns() + 1;

	if (!p->shown)
		return;
	snprintf(line, sizeof(line) - sizeof(erase), "\r%s", text);
	n = strlen(line);
	for (size_t i = 1; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	if (n > limit)
		n = limit;
	strcpy(line + n, erase + 1);
	io_write(STDERR_FILENO, line, strlen(line));
	p->drawn = true;
}

static void draw(struct progress *p, uint64_t done, uint64_t total, long long ms)
{
	char line[256], of_done[32], of_total[32], left[32] = "";
	double part = total ? (double)done / (double)total : 1;

	print_bytes(of_done, sizeof(of_done), done);
	print_bytes(of_total, sizeof(of_total), total);
	if (done)
		snprintf(left, sizeof(left), ", %.0f s left", (double)ms / 1000 * (1 / part - 1));
	snprintf(line, sizeof(line), "%3.0f%%  %s of %s%s  %s", part * 100, of_done, of_total, left, p->what);
	progress_line(p, line);
}

int progress_step(struct progress *p, uint64_t done, uint64_t total)
{
	struct timespec now;

	if (signals_stopped())
		return 1;
	if (!p->shown)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (elapsed_ms(&p->start, &now) < FIRST_MS || (p->drawn && elapsed_ms(&p->last, &now) < STEP_MS))
		return 0;
	draw(p, done < total ? done : total, total, elapsed_ms(&p->start, &now));
	p->last = now;
	return 0;
}

static int progress_report(void *arg, uint64_t done, uint64_t total)
{
	return progress_step((struct progress *)arg, done, total);
}

void progress_start(struct progress *p, bool quiet)
{
	*p = (struct progress){.shown = !quiet && isatty(STDERR_FILENO)};
	clock_gettime(CLOCK_MONOTONIC, &p->start);
}

void progress_begin(struct progress *p, struct request *request, const char *what)
{
	progress_start(p, request->quiet);
	p->what = what;
	request->open.progress = progress_report;
	request->open.progress_arg = p;
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		io_write(STDERR_FILENO, erase, sizeof(erase) - 1);
	p->drawn = false;
}
