/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparing the cost of several ways to do the same thing.
 *
 * The machine is never quiet: other processes run, disks write out. So the
 * contenders take turns, round by round, and each round of one is compared with the
 * round of the other beside it; what counts is the median of these ratios. Who goes
 * first changes with every round, and so does the direction, for the next may have to
 * pay for what the one before left behind in a journal. The first round is thrown
 * away; it also tells how many runs make a round, and how many rounds there is
 * time for.
 */
#include "config.h"

#include "bench/harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/results_build.h"
#include "bench/statistics.h"

/* A round of short runs takes about that long, seconds. */
#define BATCH_SECONDS 1e-3
#define BATCH_MAX 100u

struct side {
	const struct job *job;
	struct results_series *series;
	void *state;
	bool active;
	unsigned batch;
	double seconds; /* of one round, with its preparation */
};

static bool stopped(const struct side *s)
{
	return s->job->stopped && s->job->stopped();
}

/* The files of a run have names that tell nobody anything, and differ from cell to cell. */
static void unname(char *text, const char *path)
{
	size_t n = strlen(path);
	char *found;

	while ((found = strstr(text, path))) {
		memcpy(found, "FILE", 4);
		memmove(found + 4, found + n, strlen(found + n) + 1);
	}
}

/* Takes the contender out of the cell, and tells why. */
static void give_up(struct side *s, int rc)
{
	const struct job *job = s->job;
	const char *reason = job->why->text;

	s->active = false;
	s->series->nvalues = 0;
	s->series->status = rc == -EOPNOTSUPP ? STATUS_UNSUPPORTED : rc == -ENOSPC ? STATUS_LEFT_OUT : STATUS_BROKEN;
	if (!reason[0] && job->contender->library && snapmap_last_error()[0])
		reason = snapmap_last_error();
	results_set(&s->series->reason, reason[0] ? reason : strerror(-rc));
	if (s->series->reason)
		unname(s->series->reason, job->path);
}

static void start_side(struct side *s)
{
	const struct contender *c = s->job->contender;
	int rc = 0;

	s->job->why->text[0] = 0;
	s->state = (void *)s->job;
	if (c->start)
		rc = c->start(s->job, &s->state);
	s->active = !rc;
	if (rc && !stopped(s))
		give_up(s, rc);
}

static void stop_side(struct side *s)
{
	if (s->job->contender->stop)
		s->job->contender->stop(s->state);
}

static int run_once(struct side *s, double *ret)
{
	s->job->why->text[0] = 0;
	return s->job->contender->run(s->state, ret);
}

static int round_of(struct side *s, double *ret)
{
	double values[BATCH_MAX];

	for (unsigned i = 0; i < s->batch; i++) {
		int rc = run_once(s, &values[i]);

		if (rc)
			return rc;
	}
	*ret = quartiles_of(values, s->batch).median;
	return 0;
}

static void settle(const struct comparison *c)
{
	if (c->settle_fd >= 0)
		syncfs(c->settle_fd);
}

/* The first run of all may be slow; so it is the second that tells how long one takes, unless that is long. */
static void warm_up(const struct comparison *c, struct side *s)
{
	double begin = clock_now(), seconds, value = 0;
	int rc = run_once(s, &value);

	seconds = clock_now() - begin;
	s->batch = 1;
	if (!rc && seconds < 0.1) {
		begin = clock_now();
		rc = run_once(s, &value);
		seconds = clock_now() - begin;
	}
	settle(c);
	if (rc) {
		if (!stopped(s))
			give_up(s, rc);
		return;
	}
	if (c->batch > 1 && value < BATCH_SECONDS)
		s->batch = value * c->batch < BATCH_SECONDS ? c->batch : (unsigned)(BATCH_SECONDS / value) + 1;
	s->seconds = seconds * s->batch;
	if (s->seconds * HARNESS_ROUNDS_MIN > c->limit) {
		char reason[128];

		snprintf(reason, sizeof(reason), "%u rounds would take %.0f seconds", HARNESS_ROUNDS_MIN,
			 s->seconds * HARNESS_ROUNDS_MIN);
		give_up(s, -ENOSPC);
		results_set(&s->series->reason, reason);
	}
}

static unsigned affordable_rounds(const struct comparison *c, const struct side *sides, size_t n)
{
	double seconds = 0;

	for (size_t i = 0; i < n; i++)
		if (sides[i].active)
			seconds += sides[i].seconds;
	if (seconds * c->rounds <= c->budget)
		return c->rounds;
	return seconds * HARNESS_ROUNDS_MIN >= c->budget ? HARNESS_ROUNDS_MIN : (unsigned)(c->budget / seconds);
}

/* Whose turn it is: each one begins as often as the others, and follows each of the others. */
static size_t whose_turn(unsigned round, size_t turn, size_t n)
{
	size_t first = round % n;

	return round % 2 ? (first + n - turn) % n : (first + turn) % n;
}

static int run_round(const struct comparison *c, struct side *sides, size_t n, unsigned round)
{
	for (size_t turn = 0; turn < n; turn++) {
		struct side *s = &sides[whose_turn(round, turn, n)];
		double value;
		int rc;

		if (!s->active)
			continue;
		rc = stopped(s) ? -ECANCELED : round_of(s, &value);
		if (stopped(s))
			return -ECANCELED;
		if (rc)
			give_up(s, rc);
		else if (results_add_value(s->series, value))
			return -ENOMEM;
		settle(c);
	}
	return 0;
}

/* What a round that was cut off left behind is taken away: values with the same index ran side by side. */
static int cut(struct side *sides, size_t n, unsigned rounds)
{
	for (size_t i = 0; i < n; i++)
		if (sides[i].series->nvalues > rounds)
			sides[i].series->nvalues = rounds;
	return rounds < HARNESS_ROUNDS_MIN ? -ECANCELED : 0;
}

static int run_rounds(const struct comparison *c, struct side *sides, size_t n)
{
	unsigned rounds;

	for (size_t i = 0; i < n; i++) {
		if (sides[i].active && !stopped(&sides[i]))
			warm_up(c, &sides[i]);
		if (stopped(&sides[i]))
			return -ECANCELED;
	}
	rounds = affordable_rounds(c, sides, n);
	for (unsigned i = 0; i < rounds; i++) {
		int rc = run_round(c, sides, n, i);

		if (rc == -ECANCELED)
			return cut(sides, n, i);
		if (rc)
			return rc;
	}
	return 0;
}

int harness_measure(const struct comparison *c)
{
	struct side sides[CONTENDERS_MAX];
	bool started[CONTENDERS_MAX];
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < c->cell->nseries; i++) {
		struct side *s = &sides[n];

		if (c->cell->series[i].status != STATUS_MEASURED)
			continue;
		*s = (struct side){.job = &c->jobs[i], .series = &c->cell->series[i]};
		start_side(s);
		started[n++] = s->active;
	}
	rc = n ? run_rounds(c, sides, n) : 0;
	for (size_t i = 0; i < n; i++)
		if (started[i])
			stop_side(&sides[i]);
	return rc;
}
