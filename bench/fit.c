/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a cost grows.
 *
 * Two models with two parameters each are laid through the medians, weighted by how sure
 * these are: a power of x (a straight line in logarithms), and a constant plus a multiple
 * of x. Power is the answer unless it misses the points by more than their noise and the
 * other one does not. The slope's margin is the larger of what the rounds' spread
 * allows and what the distance of the medians from the line does. Where the margin is too
 * large to tell constant, square root and linear from each other, the answer is that
 * it is unclear.
 */
#include "config.h"

#include "bench/fit.h"

#include <math.h>
#include <stdbool.h>

#define MAX_POINTS 256

/* Even the quietest median differs by that from one run to the next. */
#define FLOOR 0.03
/* Slopes this close together are the same. */
#define SAME_SLOPE 0.1
/* A slope less sure than this is none. */
#define MARGIN_MAX 0.15
/* A constant changes by no more than that from one end to the other. */
#define CONSTANT_RISE 2.0
/* A range below that says nothing of growth. */
#define RANGE_MIN 4.0
/* Points that are off by that, root mean square, do not follow the line. */
#define MISFIT_MAX 1.5
/* A model is better than another if its weighted squares are that many times smaller. */
#define BETTER 3.0

/* In logarithms */
struct sample {
	double x, y, sigma;
};

struct line {
	double slope, offset;
	double error; /* of the slope, from the noise of the points */
	double chi2;  /* weighted squares of the distances */
	double rms;   /* of the distances */
};

/* Standard error of a median of normal values, by the distance of their quartiles. */
static double sigma_of(const struct fit_point *p)
{
	double width = p->low > 0 && p->high >= p->low ? log(p->high / p->low) : 1;
	double noise = 1.2533 * width / 1.349 / sqrt(p->rounds ? (double)p->rounds : 1);

	return sqrt(noise * noise + FLOOR * FLOOR);
}

static size_t take_samples(const struct fit_point *points, size_t n, struct sample *samples)
{
	size_t count = 0;

	for (size_t i = 0; i < n && count < MAX_POINTS; i++) {
		const struct fit_point *p = &points[i];

		if (p->x > 0 && p->median > 0 && isfinite(p->x) && isfinite(p->median) && isfinite(p->high))
			samples[count++] = (struct sample){log(p->x), log(p->median), sigma_of(p)};
	}
	return count;
}

static double range_of(const struct sample *s, size_t n)
{
	double low = s[0].x, high = s[0].x;

	for (size_t i = 1; i < n; i++) {
		low = fmin(low, s[i].x);
		high = fmax(high, s[i].x);
	}
	return high - low;
}

/* Distances of the samples from a curve; @value gives it at x. */
static void judge(const struct sample *s, size_t n, double (*value)(const double *, double), const double *model,
		  double *ret_chi2, double *ret_rms)
{
	double chi2 = 0, squares = 0;

	for (size_t i = 0; i < n; i++) {
		double off = s[i].y - value(model, s[i].x);

		chi2 += off * off / (s[i].sigma * s[i].sigma);
		squares += off * off;
	}
	*ret_chi2 = chi2;
	*ret_rms = sqrt(squares / (double)n);
}

static double on_line(const double *model, double x)
{
	return model[0] + model[1] * x;
}

static struct line lay_line(const struct sample *s, size_t n)
{
	double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0, spread;
	struct line line = {0};

	for (size_t i = 0; i < n; i++) {
		double weight = 1 / (s[i].sigma * s[i].sigma);

		w += weight;
		wx += weight * s[i].x;
		wy += weight * s[i].y;
	}
	for (size_t i = 0; i < n; i++) {
		double weight = 1 / (s[i].sigma * s[i].sigma), dx = s[i].x - wx / w;

		wxx += weight * dx * dx;
		wxy += weight * dx * (s[i].y - wy / w);
	}
	spread = wxx > 0 ? wxx : 1;
	line.slope = wxy / spread;
	line.offset = wy / w - line.slope * wx / w;
	line.error = 1 / sqrt(spread);
	judge(s, n, on_line, (const double[]){line.offset, line.slope}, &line.chi2, &line.rms);
	return line;
}

/* Student's t for 90 %: with few points their scatter says little of the true one. */
static double student(size_t freedom)
{
	static const double t[] = {6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81};

	return freedom - 1 < sizeof(t) / sizeof(t[0]) ? t[freedom - 1] : 1.7;
}

static double margin_by_noise(const struct line *line)
{
	return 1.645 * line->error;
}

static double margin_by_scatter(const struct line *line, size_t n)
{
	return student(n - 2) * line->error * sqrt(line->chi2 / (double)(n - 2));
}

/* Logarithm of a constant plus a multiple of x */
static double on_bend(const double *model, double x)
{
	return log(model[0] + model[1] * exp(x));
}

/* Whether both parts were seen: each is the larger one at two points at least, or nearly so. */
static bool shows_both(const struct sample *s, size_t n, double bend)
{
	size_t below = 0, above = 0;

	for (size_t i = 0; i < n; i++) {
		below += exp(s[i].x) < bend * 1.5;
		above += exp(s[i].x) > bend / 1.5;
	}
	return below > 1 && above > 1;
}

/* Least squares of the relative distances. True if both parts were seen; @ret_bend is where they are equal. */
static bool lay_bend(const struct sample *s, size_t n, double *ret_bend, double *ret_chi2)
{
	double aa = 0, ab = 0, bb = 0, a = 0, b = 0, det, model[2], rms;

	for (size_t i = 0; i < n; i++) {
		double c = 1 / (s[i].sigma * exp(s[i].y)), d = c * exp(s[i].x), y = 1 / s[i].sigma;

		aa += c * c;
		ab += c * d;
		bb += d * d;
		a += c * y;
		b += d * y;
	}
	det = aa * bb - ab * ab;
	if (!(det > 0) || !isfinite(det))
		return false;
	model[0] = (a * bb - b * ab) / det;
	model[1] = (b * aa - a * ab) / det;
	if (!(model[0] > 0 && model[1] > 0))
		return false;
	*ret_bend = model[0] / model[1];
	judge(s, n, on_bend, model, ret_chi2, &rms);
	return shows_both(s, n, *ret_bend);
}

static bool bends(const struct sample *s, size_t n, const struct line *line, double *ret_bend)
{
	double bend, chi2;

	if (line->chi2 < BETTER * (double)(n - 2) || !lay_bend(s, n, &bend, &chi2) || chi2 * BETTER > line->chi2)
		return false;
	*ret_bend = bend;
	return true;
}

static bool rises_little(const struct fit *fit, double range)
{
	return fabs(fit->slope) <= SAME_SLOPE && fabs(fit->slope) * range <= log(CONSTANT_RISE);
}

struct fit fit_growth(const struct fit_point *points, size_t n)
{
	struct sample samples[MAX_POINTS];
	struct fit fit = {.law = FIT_UNCLEAR};
	struct line line;
	double range;

	n = take_samples(points, n, samples);
	range = n ? range_of(samples, n) : 0;
	if (n < 2 || range <= 0) {
		fit.why = "fewer than three points";
		return fit;
	}
	line = lay_line(samples, n);
	fit.slope = line.slope;
	if (n < 3)
		fit.why = "fewer than three points";
	else if (range < log(RANGE_MIN))
		fit.why = "the range is too small";
	if (fit.why)
		return fit;
	fit.margin = fmax(margin_by_noise(&line), margin_by_scatter(&line, n));
	if (bends(samples, n, &line, &fit.bend))
		fit.law = FIT_BEND;
	else if (margin_by_noise(&line) > MARGIN_MAX)
		fit.why = "too much noise";
	else if (line.rms > log(MISFIT_MAX))
		fit.why = "no simple law fits";
	else if (fit.margin > MARGIN_MAX)
		fit.why = "too few points for their scatter";
	else if (rises_little(&fit, range))
		fit.law = FIT_CONSTANT;
	else if (fabs(fit.slope - 1) <= SAME_SLOPE)
		fit.law = FIT_LINEAR;
	else
		fit.law = FIT_POWER;
	return fit;
}
