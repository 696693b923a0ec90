/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparing the cost of two ways to do the same thing.
 *
 * The machine is never quiet: other processes run, disks write out. So the two
 * take turns, round by round, and each round of one is compared with the round of
 * the other beside it; what counts is the median of these ratios. Who goes first
 * changes with every pair, for the second may have to pay for what the first left
 * behind in a journal. One pair before the first is thrown away.
 */
#include "config.h"

#include "bench/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

double harness_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Between two values the one in proportion. */
static double at_quarter(const double *sorted, unsigned n, unsigned quarter)
{
	double position = (n - 1) * quarter / 4.0;
	unsigned below = (unsigned)position;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (sorted[below + 1] - sorted[below]) * (position - below);
}

struct quartiles harness_quartiles(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return (struct quartiles){at_quarter(values, n, 1), at_quarter(values, n, 2), at_quarter(values, n, 3)};
}

struct side {
	const struct contender *contender;
	void *state;
	double *values;
};

static int round_of(struct side *s, unsigned batch, double *ret)
{
	double values[HARNESS_ROUNDS_MAX];

	for (unsigned i = 0; i < batch; i++) {
		int rc = s->contender->run(s->state, &values[i]);

		if (rc)
			return rc;
	}
	*ret = harness_quartiles(values, batch).median;
	return 0;
}

/* The warm-up is round -1. */
static int run_rounds(const struct comparison *c, struct side *sides, unsigned nsides)
{
	for (unsigned i = 0; i < c->rounds + 1; i++) {
		for (unsigned turn = 0; turn < nsides; turn++) {
			struct side *s = &sides[nsides == 2 ? (turn + i) % 2 : 0];
			double value;
			int rc = round_of(s, c->batch, &value);

			if (rc)
				return rc;
			if (i)
				s->values[i - 1] = value;
		}
	}
	return 0;
}

static int start_sides(const struct comparison *c, struct side *sides, unsigned nsides)
{
	for (unsigned i = 0; i < nsides; i++) {
		const struct contender *contender = i ? c->baseline : c->subject;
		int rc = contender->start ? contender->start(i ? &c->baseline_job : &c->job, &sides[i].state) : 0;

		if (rc)
			return rc;
		sides[i].contender = contender;
	}
	return 0;
}

static void stop_sides(struct side *sides, unsigned nsides)
{
	for (unsigned i = 0; i < nsides; i++)
		if (sides[i].contender && sides[i].contender->stop)
			sides[i].contender->stop(sides[i].state);
}

/* 0, -EINVAL for a number out of range, or what a contender returned. */
int harness_compare(const struct comparison *c, struct result *ret)
{
	double subject[HARNESS_ROUNDS_MAX], baseline[HARNESS_ROUNDS_MAX], ratio[HARNESS_ROUNDS_MAX];
	struct side sides[2] = {{.values = subject}, {.values = baseline}};
	unsigned nsides = c->baseline ? 2 : 1;
	struct result result = {0};
	int rc;

	if (c->rounds < HARNESS_ROUNDS_MIN || c->rounds > HARNESS_ROUNDS_MAX || !c->batch ||
	    c->batch > HARNESS_ROUNDS_MAX)
		return -EINVAL;
	rc = start_sides(c, sides, nsides);
	if (!rc)
		rc = run_rounds(c, sides, nsides);
	stop_sides(sides, nsides);
	if (rc)
		return rc;
	for (unsigned i = 0; c->baseline && i < c->rounds; i++)
		ratio[i] = subject[i] / baseline[i];
	result.subject = harness_quartiles(subject, c->rounds);
	if (c->baseline) {
		result.baseline = harness_quartiles(baseline, c->rounds);
		result.ratio = harness_quartiles(ratio, c->rounds);
	}
	*ret = result;
	return 0;
}
