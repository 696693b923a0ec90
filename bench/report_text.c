/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers with their units, and text that goes into HTML. */
#include "config.h"

#include "bench/report_text.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

struct scale {
	double factor;
	const char *unit;
};

/* Three digits; for numbers that are whole, no more than these. */
static struct text with_unit(double value, const char *unit)
{
	struct text text;
	double size = fabs(value);
	int decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;

	if (fabs(value - round(value)) <= size * 1e-12)
		decimals = 0;
	if (size >= 1e6 || (size < 0.001 && size > 0))
		snprintf(text.s, sizeof(text.s), "%.3g %s", value, unit);
	else
		snprintf(text.s, sizeof(text.s), "%.*f %s", decimals, value, unit);
	return text;
}

/* @scales: from small to large */
static struct text scaled(double value, const struct scale *scales, size_t n, double step)
{
	size_t i = 0;

	/* What would round up to the next unit belongs there. */
	while (i + 1 < n && fabs(value) >= scales[i].factor * step * 0.9995)
		i++;
	return with_unit(value / scales[i].factor, scales[i].unit);
}

static struct text text_seconds(double value)
{
	static const struct scale scales[] = {{1e-9, "ns"}, {1e-6, "µs"}, {1e-3, "ms"}, {1, "s"}};

	return scaled(value, scales, sizeof(scales) / sizeof(scales[0]), 1000);
}

static struct text text_bytes(double value)
{
	static const struct scale scales[] = {
		{1, "B"},	 {0x1p10, "KiB"}, {0x1p20, "MiB"}, {0x1p30, "GiB"},
		{0x1p40, "TiB"}, {0x1p50, "PiB"}, {0x1p60, "EiB"},
	};

	return scaled(value, scales, sizeof(scales) / sizeof(scales[0]), 1024);
}

struct text text_value(double value, enum results_unit unit)
{
	if (!isfinite(value))
		return (struct text){"not a number"};
	if (value == 0)
		return (struct text){"0"};
	return unit == UNIT_BYTES ? text_bytes(value) : text_seconds(value);
}

/* With a comma at each thousand */
static struct text grouped(uint64_t number)
{
	struct text digits, text;
	size_t n, out = 0;

	n = (size_t)snprintf(digits.s, sizeof(digits.s), "%llu", (unsigned long long)number);
	for (size_t i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			text.s[out++] = ',';
		text.s[out++] = digits.s[i];
	}
	text.s[out] = 0;
	return text;
}

const char *text_counted(enum results_axis axis)
{
	switch (axis) {
	case AXIS_DIRTY:
		return " pages";
	case AXIS_EXTENTS:
		return " extents";
	case AXIS_THREADS:
		return " threads";
	case AXIS_NONE:
	case AXIS_SIZE:
		break;
	}
	return "";
}

struct text text_parameter(uint64_t parameter, enum results_axis axis)
{
	struct text text = {""}, number = grouped(parameter);

	if (axis == AXIS_SIZE)
		return text_value((double)parameter, UNIT_BYTES);
	if (axis != AXIS_NONE)
		snprintf(text.s, sizeof(text.s), "%.40s%s", number.s, text_counted(axis));
	/* One of them has no "s". */
	if (axis != AXIS_NONE && parameter == 1)
		text.s[strlen(text.s) - 1] = 0;
	return text;
}

struct text text_tick(uint64_t parameter, enum results_axis axis)
{
	static const struct scale scales[] = {{1, ""},	   {1e3, "k"},	{1e6, "M"}, {1e9, "G"},
					      {1e12, "T"}, {1e15, "P"}, {1e18, "E"}};
	struct text text;
	char *blank;

	if (axis == AXIS_SIZE)
		return text_value((double)parameter, UNIT_BYTES);
	if (parameter < 1000000 && parameter % 1000)
		return grouped(parameter);
	text = scaled((double)parameter, scales, sizeof(scales) / sizeof(scales[0]), 1000);
	blank = strchr(text.s, ' ');
	memmove(blank, blank + 1, strlen(blank));
	return text;
}

struct text text_ratio(double ratio)
{
	struct text text;
	int decimals = ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0;

	if (ratio > 0 && ratio < 0.0995)
		decimals = 1 - (int)floor(log10(ratio));
	if (!isfinite(ratio))
		snprintf(text.s, sizeof(text.s), "not a number");
	else if (ratio >= 1e6 || decimals > 8)
		snprintf(text.s, sizeof(text.s), "%.2g×", ratio);
	else
		snprintf(text.s, sizeof(text.s), "%.*f×", decimals, ratio);
	return text;
}

struct text text_law(const struct fit *fit, enum results_axis axis)
{
	struct text text = {""};

	switch (fit->law) {
	case FIT_CONSTANT:
		return (struct text){"constant"};
	case FIT_LINEAR:
		return (struct text){"linear"};
	case FIT_POWER:
		snprintf(text.s, sizeof(text.s), "~n^%.1f", fit->slope);
		break;
	case FIT_BEND: {
		/* One digit is all that the place of a bend is known by. */
		double unit = pow(10, floor(log10(fit->bend)));
		uint64_t about = (uint64_t)(fmax(round(fit->bend / unit), 1) * unit);

		if (axis == AXIS_SIZE)
			about = (uint64_t)exp2(round(log2(fit->bend)));
		snprintf(text.s, sizeof(text.s), "constant to about %.40s, then linear", text_parameter(about, axis).s);
		break;
	}
	case FIT_UNCLEAR:
		snprintf(text.s, sizeof(text.s), "unclear: %s", fit->why);
		break;
	}
	return text;
}

const char *text_axis(enum results_axis axis)
{
	switch (axis) {
	case AXIS_SIZE:
		return "size of the file";
	case AXIS_DIRTY:
		return "edited pages";
	case AXIS_EXTENTS:
		return "extents of the file";
	case AXIS_THREADS:
		return "threads";
	case AXIS_NONE:
		break;
	}
	return "";
}

const char *text_status(enum results_status status)
{
	switch (status) {
	case STATUS_MEASURED:
		return "measured";
	case STATUS_UNSUPPORTED:
		return "not supported";
	case STATUS_LEFT_OUT:
		return "left out";
	case STATUS_BROKEN:
		break;
	}
	return "error";
}

/*
 * Bytes of the character at @s, 0 if they are none that XML may hold. Reads no further than
 * the first byte that does not belong, so not beyond the end either.
 */
static size_t character(const unsigned char *s)
{
	uint32_t code;
	size_t n;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : s[0] == '\t' || s[0] == '\n';
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	code = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000) || code > 0x10ffff)
		return 0;
	/* C1 controls, halves of pairs, and what is no character */
	if (code < 0xa0 || (code >= 0xd800 && code < 0xe000) || (code & 0xfffe) == 0xfffe)
		return 0;
	return n;
}

void text_escape(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)(text ? text : "");

	while (*s) {
		size_t n = character(s);

		if (*s == '&')
			fputs("&amp;", out);
		else if (*s == '<')
			fputs("&lt;", out);
		else if (*s == '>')
			fputs("&gt;", out);
		else if (*s == '"')
			fputs("&quot;", out);
		else if (*s == '\'')
			fputs("&#39;", out);
		else if (n)
			fwrite(s, 1, n, out);
		else
			fputs("\xef\xbf\xbd", out);
		s += n ? n : 1;
	}
}
