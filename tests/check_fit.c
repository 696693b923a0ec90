/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Growth found by fitting: laws that are known come out, also through noise; where the data do not say, nothing does. */
#include "config.h"

#include "testing.h"

#include <math.h>
#include <stdlib.h>

#include "bench/fit.h"

#define ROUNDS 7u
#define TRIALS 300

/* From -1 to 1 */
static double noise(uint64_t *state)
{
	return (double)(test_random(state) >> 11) * 0x1p-52 - 1;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What rounds with that noise give; their distances have no upper bound, as on a machine. */
static struct fit_point measure(double x, double cost, double width, uint64_t *state)
{
	double values[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++)
		values[i] = cost * exp(width * (noise(state) + noise(state) + noise(state)));
	qsort(values, ROUNDS, sizeof(values[0]), by_value);
	return (struct fit_point){x, values[1], values[3], values[5], ROUNDS};
}

/* A cost of @fixed + @factor * x to the power of @exponent */
struct law {
	double fixed, factor, exponent;
	double x, step;
	size_t n;
};

static struct fit fit_law(const struct law *law, double width, uint64_t *state)
{
	struct fit_point points[64];
	double x = law->x;

	for (size_t i = 0; i < law->n; i++, x *= law->step)
		points[i] = measure(x, law->fixed + law->factor * pow(x, law->exponent), width, state);
	return fit_growth(points, law->n);
}

static const struct {
	struct law law;
	enum fit_law found;
} laws[] = {
	{{0, 4e-6, 0, 4096, 8, 7}, FIT_CONSTANT}, {{0, 4e-6, 0, 1, 10, 6}, FIT_CONSTANT},
	{{0, 2e-9, 1, 4096, 16, 6}, FIT_LINEAR},  {{0, 3e-5, 1, 1, 10, 4}, FIT_LINEAR},
	{{0, 3e-5, 0.5, 1, 10, 6}, FIT_POWER},	  {{0, 3e-5, 2, 1, 10, 4}, FIT_POWER},
	{{0, 1, -1, 1, 10, 5}, FIT_POWER},	  {{1e-3, 1e-5, 1, 1, 10, 6}, FIT_BEND},
	{{5e-6, 1e-10, 1, 4096, 8, 7}, FIT_BEND},
};
#define LAWS ((int)(sizeof(laws) / sizeof(laws[0])))

START_TEST(test_exact_laws_are_found)
{
	uint64_t state = test_seed();
	struct fit fit = fit_law(&laws[_i].law, 0, &state);

	ck_assert_int_eq(fit.law, laws[_i].found);
	if (laws[_i].found != FIT_BEND) {
		ck_assert_double_eq_tol(fit.slope, laws[_i].law.exponent, 1e-9);
		ck_assert(fit.margin > 0 && fit.margin < 0.05);
	} else {
		ck_assert_double_eq_tol(log(fit.bend), log(laws[_i].law.fixed / laws[_i].law.factor), 0.01);
	}
}
END_TEST

/* Noise may hide a law, but does not make another one of it. */
START_TEST(test_laws_are_found_through_noise)
{
	uint64_t state = test_seed();
	int right = 0, wrong = 0;

	for (int i = 0; i < TRIALS; i++) {
		struct fit fit = fit_law(&laws[_i].law, 0.1, &state);

		right += fit.law == laws[_i].found;
		wrong += fit.law != laws[_i].found && fit.law != FIT_UNCLEAR;
	}
	ck_assert_msg(right >= TRIALS * 9 / 10 && wrong <= TRIALS / 20, "seed %llu: %d of %d right, %d wrong",
		      (unsigned long long)test_seed(), right, TRIALS, wrong);
}
END_TEST

/* The margin holds in 90 of 100 cases: here in 80 at least. */
START_TEST(test_margin_is_as_wide_as_it_says)
{
	const struct law law = {0, 3e-5, 0.5, 1, 4, 6};
	uint64_t state = test_seed();
	int within = 0;

	for (int i = 0; i < TRIALS; i++) {
		struct fit fit = fit_law(&law, 0.15, &state);

		within += fabs(fit.slope - 0.5) <= fit.margin;
	}
	ck_assert_msg(within >= TRIALS * 8 / 10, "seed %llu: %d of %d within", (unsigned long long)test_seed(), within,
		      TRIALS);
}
END_TEST

START_TEST(test_wild_noise_is_unclear)
{
	const struct law law = {0, 1e-3, 0.3, 1, 2, 5};
	uint64_t state = test_seed();
	int unclear = 0;

	for (int i = 0; i < TRIALS; i++)
		unclear += fit_law(&law, 1, &state).law == FIT_UNCLEAR;
	ck_assert_msg(unclear >= TRIALS * 8 / 10, "seed %llu: %d of %d unclear", (unsigned long long)test_seed(),
		      unclear, TRIALS);
}
END_TEST

static void expect_unclear(const struct fit_point *points, size_t n, const char *why)
{
	struct fit fit = fit_growth(points, n);

	ck_assert_int_eq(fit.law, FIT_UNCLEAR);
	ck_assert_str_eq(fit.why, why);
}

START_TEST(test_too_little_is_unclear)
{
	struct fit_point points[] = {{1, 1, 1, 1, 7}, {1000, 1, 1, 1, 7}, {2000, 1, 1, 1, 7}, {3000, 1, 1, 1, 7}};

	for (size_t n = 0; n < 3; n++)
		expect_unclear(points, n, "fewer than three points");
	ck_assert_int_eq(fit_growth(points, 3).law, FIT_CONSTANT);
	expect_unclear(points + 1, 3, "the range is too small");
}
END_TEST

START_TEST(test_what_follows_no_law_is_unclear)
{
	struct fit_point points[12];

	/* Up and down again */
	for (size_t i = 0; i < 12; i++) {
		double y = i < 6 ? pow(10, (double)i) : pow(10, 11 - (double)i);

		points[i] = (struct fit_point){pow(10, (double)i), y, y, y, 7};
	}
	ck_assert_int_eq(fit_growth(points, 12).law, FIT_UNCLEAR);
}
END_TEST

/* No logarithm: zero, less, no number, endless. Quartiles may be any of it. */
START_TEST(test_points_without_a_logarithm_are_passed_over)
{
	struct fit_point points[] = {
		{1, 2, 2, 2, 7},
		{0, 1, 1, 1, 7},
		{10, 20, 20, 20, 7},
		{20, 0, 0, 0, 7},
		{30, -1, -1, -1, 7},
		{40, NAN, NAN, NAN, 7},
		{50, 1, INFINITY, INFINITY, 7},
		{100, 200, 200, 200, 7},
		{1000, 2000, 2000, 2000, 0},
	};
	struct fit fit = fit_growth(points, sizeof(points) / sizeof(points[0]));

	ck_assert_int_eq(fit.law, FIT_LINEAR);
	ck_assert_double_eq_tol(fit.slope, 1, 1e-9);
	points[2].low = 0;
	points[0].high = NAN;
	fit = fit_growth(points, sizeof(points) / sizeof(points[0]));
	ck_assert(isfinite(fit.slope) && isfinite(fit.margin));
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("fit");
	TCase *tc = tcase_create("fit");

	tcase_add_loop_test(tc, test_exact_laws_are_found, 0, LAWS);
	tcase_add_loop_test(tc, test_laws_are_found_through_noise, 0, LAWS);
	tcase_add_test(tc, test_margin_is_as_wide_as_it_says);
	tcase_add_test(tc, test_wild_noise_is_unclear);
	tcase_add_test(tc, test_too_little_is_unclear);
	tcase_add_test(tc, test_what_follows_no_law_is_unclear);
	tcase_add_test(tc, test_points_without_a_logarithm_are_passed_over);
	suite_add_tcase(s, tc);
	return s;
}
