/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gnuplot's SVG, made fit for a page. Kept are the shapes and texts, with the attributes that place
 * them; everything else goes: prolog, definitions, scripts, names, fonts, handlers of events. Colors that
 * stand for classes become these, black becomes the color of the text around, and tips become
 * titles. Elements are closed in the order in which they were opened, or it is an error.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chart.h"
#include "bench/chart_marks.h"
#include "bench/report_text.h"

#define ATTRIBUTES_MAX 24
#define DEPTH_MAX 64

/* A stretch of the input */
struct piece {
	const char *s;
	size_t n;
};

struct attribute {
	struct piece name, value;
};

struct tag {
	struct piece name;
	struct attribute attributes[ATTRIBUTES_MAX];
	size_t nattributes;
	bool closing, empty;
};

/**
 * struct rewriting - how far it is
 * @at: what comes next
 * @skipped: name of the element whose end is waited for, or empty
 * @open: elements that were written and wait for their end; those left out are empty
 * @pending: of them, so many from the end were not written yet, for they may turn out to be empty
 */
struct rewriting {
	const struct chart *chart;
	unsigned number;
	const char *at, *end;
	struct piece skipped;
	struct tag *open;
	size_t depth, pending;
	FILE *out;
};

static bool is(struct piece piece, const char *text)
{
	return piece.n == strlen(text) && !memcmp(piece.s, text, piece.n);
}

static bool one_of(struct piece piece, const char *const *list)
{
	for (; *list; list++)
		if (is(piece, *list))
			return true;
	return false;
}

/* --- reading */

static const char *skip_blanks(const char *s, const char *end)
{
	while (s < end && strchr(" \t\r\n", *s))
		s++;
	return s;
}

static struct piece take_name(const char **at, const char *end)
{
	struct piece piece = {*at, 0};

	while (*at < end && !strchr(" \t\r\n=/>", **at))
		(*at)++;
	piece.n = (size_t)(*at - piece.s);
	return piece;
}

/* name="value" or name='value'; false if it is neither */
static bool take_attribute(const char **at, const char *end, struct attribute *ret)
{
	char quote;
	const char *close;

	ret->name = take_name(at, end);
	if (!ret->name.n || *at == end || **at != '=')
		return false;
	(*at)++;
	if (*at == end || (**at != '"' && **at != '\''))
		return false;
	quote = *(*at)++;
	close = memchr(*at, quote, (size_t)(end - *at));
	if (!close)
		return false;
	ret->value = (struct piece){*at, (size_t)(close - *at)};
	*at = close + 1;
	return true;
}

/* @at: behind "<" */
static int take_tag(const char **at, const char *end, struct tag *ret)
{
	struct tag tag = {0};

	tag.closing = *at < end && **at == '/';
	if (tag.closing)
		(*at)++;
	tag.name = take_name(at, end);
	for (*at = skip_blanks(*at, end); *at < end && **at != '>'; *at = skip_blanks(*at, end)) {
		if (**at == '/') {
			tag.empty = true;
			(*at)++;
		} else if (tag.nattributes == ATTRIBUTES_MAX ||
			   !take_attribute(at, end, &tag.attributes[tag.nattributes++])) {
			return -EIO;
		}
	}
	if (*at == end)
		return -EIO;
	(*at)++;
	*ret = tag;
	return 0;
}

static struct piece value_of(const struct tag *tag, const char *name)
{
	for (size_t i = 0; i < tag->nattributes; i++)
		if (is(tag->attributes[i].name, name))
			return tag->attributes[i].value;
	return (struct piece){"", 0};
}

/* --- colors */

/* The mark that a color is, and in @ret_series its series; 0 if it is none. */
static unsigned mark_of(struct piece value, unsigned *ret_series)
{
	unsigned red, green, blue;
	char text[32] = "";

	if (value.n < sizeof(text))
		memcpy(text, value.s, value.n);
	if (sscanf(text, "rgb(%u,%u,%u)", &red, &green, &blue) != 3 || green || red > MARKED_HOVER)
		return 0;
	*ret_series = blue;
	return red;
}

static void write_class(FILE *out, unsigned mark, unsigned series)
{
	static const char *const names[] = {
		[MARKED_GRID] = "grid", [MARKED_AXIS] = "axis", [MARKED_RING] = "ring", [MARKED_HOVER] = "hover"};

	if (mark == MARKED_SERIES || mark == MARKED_BAR)
		fprintf(out, " class='%ss%u'", mark == MARKED_BAR ? "bar " : "", series);
	else if (mark)
		fprintf(out, " class='%s'", names[mark]);
}

/* stroke, fill and color; a class sets the color that "currentColor" means. */
static unsigned write_color(FILE *out, const struct attribute *a, unsigned *series)
{
	unsigned mark = mark_of(a->value, series);

	if (is(a->name, "color"))
		return mark;
	if (is(a->value, "none"))
		fprintf(out, " %.*s='none'", (int)a->name.n, a->name.s);
	else
		fprintf(out, " %.*s='currentColor'", (int)a->name.n, a->name.s);
	return mark;
}

/* --- writing */

/* A value of the input stands between quotes there, and is escaped for that. */
static void write_value(FILE *out, struct piece name, struct piece value)
{
	fprintf(out, " %.*s=\"", (int)name.n, name.s);
	for (size_t i = 0; i < value.n; i++) {
		if (value.s[i] == '"')
			fputs("&quot;", out);
		else if (value.s[i] == '<')
			fputs("&lt;", out);
		else if (!strchr("\t\r\n", value.s[i]))
			fputc(value.s[i], out);
		else if (i + 1 < value.n && !strchr(" \t\r\n", value.s[i + 1]))
			fputc(' ', out);
	}
	fputc('"', out);
}

static void write_attributes(FILE *out, const struct tag *tag)
{
	static const char *const colors[] = {"stroke", "fill", "color", NULL};
	static const char *const kept[] = {"d",
					   "x",
					   "y",
					   "cx",
					   "cy",
					   "r",
					   "width",
					   "height",
					   "transform",
					   "points",
					   "stroke-width",
					   "stroke-dasharray",
					   "stroke-linecap",
					   "stroke-linejoin",
					   "font-size",
					   "text-anchor",
					   NULL};
	unsigned mark = 0, series = 0, type = 0;

	for (size_t i = 0; i < tag->nattributes; i++) {
		const struct attribute *a = &tag->attributes[i];

		if (one_of(a->name, colors)) {
			unsigned found = write_color(out, a, &series);

			mark = found ? found : mark;
		} else if (one_of(a->name, kept)) {
			write_value(out, a->name, a->value);
		} else if (is(a->name, "xlink:href") || is(a->name, "href")) {
			/* "#gpPt6" is point type 7. */
			if (sscanf(a->value.s, "#gpPt%u", &type) == 1)
				type++;
		}
	}
	if (mark == MARKED_RING)
		fputs(" href='#ring'", out);
	else if (type)
		fprintf(out, " href='#p%u'", type);
	write_class(out, mark, series);
}

/* Points are numbered through the series. */
static const char *tip_of(const struct chart *chart, size_t number)
{
	for (size_t i = 0; i < chart->nseries; i++) {
		if (number < chart->series[i].npoints)
			return chart->series[i].points[number].tip;
		number -= chart->series[i].npoints;
	}
	return "";
}

/* gnuplot's element for a tip calls showHypertext(evt,'NUMBER'). */
static void write_tip(const struct rewriting *r, const struct tag *tag)
{
	struct piece handler = value_of(tag, "onmousemove");
	const char *quote = handler.n ? memchr(handler.s, '\'', handler.n) : NULL;

	if (!quote)
		return;
	fputs("<title>", r->out);
	text_escape(r->out, tip_of(r->chart, strtoul(quote + 1, NULL, 10)));
	fputs("</title>", r->out);
}

static void write_root(const struct rewriting *r)
{
	fprintf(r->out,
		"<svg class='chart' viewBox='0 0 %d %d' role='img' aria-labelledby='c%u-title c%u-desc' "
		"stroke-linecap='round' stroke-linejoin='round' fill='none'><title id='c%u-title'>",
		CHART_WIDTH, CHART_HEIGHT, r->number, r->number, r->number);
	text_escape(r->out, r->chart->title);
	fprintf(r->out,
		"</title><desc id='c%u-desc'>%s against %s for %zu series. The numbers are in a table.</desc>\n",
		r->number, r->chart->unit == UNIT_BYTES ? "Bytes" : "Time", text_axis(r->chart->axis),
		r->chart->nseries);
}

static void write_start(const struct rewriting *r, const struct tag *tag)
{
	if (is(tag->name, "svg")) {
		write_root(r);
		return;
	}
	fprintf(r->out, "<%.*s", (int)tag->name.n, tag->name.s);
	write_attributes(r->out, tag);
	fputs(tag->empty ? "/>" : ">", r->out);
	if (!tag->empty)
		write_tip(r, tag);
}

/* Elements that wait, because they now turn out to have content. */
static void write_pending(struct rewriting *r)
{
	for (; r->pending; r->pending--)
		write_start(r, &r->open[r->depth - r->pending]);
}

static int start(struct rewriting *r, const struct tag *tag)
{
	static const char *const shapes[] = {"path", "use", "rect", "circle", "polygon", "polyline", "line", NULL};
	static const char *const holders[] = {"g", "text", "tspan", "svg", NULL};

	if (one_of(tag->name, holders) && !tag->empty) {
		if (r->depth == DEPTH_MAX)
			return -EIO;
		r->open[r->depth++] = *tag;
		r->pending++;
	} else if (one_of(tag->name, shapes) && tag->empty) {
		/* The canvas has neither stroke nor fill. */
		if (is(tag->name, "rect") && is(value_of(tag, "fill"), "none"))
			return 0;
		write_pending(r);
		write_start(r, tag);
	} else if (!tag->empty) {
		r->skipped = tag->name;
	}
	return 0;
}

static int finish(struct rewriting *r, const struct tag *tag)
{
	if (!r->depth || tag->name.n != r->open[r->depth - 1].name.n ||
	    memcmp(tag->name.s, r->open[r->depth - 1].name.s, tag->name.n) != 0)
		return -EIO;
	r->depth--;
	if (r->pending)
		r->pending--;
	else
		fprintf(r->out, "</%.*s>%s", (int)tag->name.n, tag->name.s, is(tag->name, "g") ? "\n" : "");
	return 0;
}

/* Text counts only where there is one to be shown; it is escaped already but for ">". */
static void text(struct rewriting *r, struct piece piece)
{
	static const char *const texts[] = {"text", "tspan", NULL};

	if (r->skipped.n || !r->depth || !one_of(r->open[r->depth - 1].name, texts))
		return;
	write_pending(r);
	for (size_t i = 0; i < piece.n; i++)
		if (piece.s[i] == '>')
			fputs("&gt;", r->out);
		else
			fputc(piece.s[i], r->out);
}

/* <?...> and <!...>; comments of gnuplot hold no ">" of their own. */
static int skip_declaration(struct rewriting *r)
{
	const char *close = memchr(r->at, '>', (size_t)(r->end - r->at));

	if (!close)
		return -EIO;
	r->at = close + 1;
	return 0;
}

static int markup(struct rewriting *r)
{
	struct tag tag;
	int rc;

	if (r->at < r->end && strchr("?!", *r->at))
		return skip_declaration(r);
	rc = take_tag(&r->at, r->end, &tag);
	if (rc)
		return rc;
	if (!r->skipped.n)
		return tag.closing ? finish(r, &tag) : start(r, &tag);
	if (tag.closing && tag.name.n == r->skipped.n && !memcmp(tag.name.s, r->skipped.s, tag.name.n))
		r->skipped.n = 0;
	return 0;
}

int chart_rewrite(const struct chart *chart, unsigned number, const char *svg, size_t n, FILE *out)
{
	struct rewriting r = {.chart = chart, .number = number, .at = svg, .end = svg + n, .out = out};
	int rc = 0;

	r.open = calloc(DEPTH_MAX, sizeof(*r.open));
	if (!r.open)
		return -ENOMEM;
	while (r.at < r.end && !rc) {
		const char *next = memchr(r.at, '<', (size_t)(r.end - r.at));

		if (!next)
			next = r.end;
		text(&r, (struct piece){r.at, (size_t)(next - r.at)});
		r.at = next < r.end ? next + 1 : r.end;
		if (next < r.end)
			rc = markup(&r);
	}
	if (!rc && (r.depth || r.skipped.n))
		rc = -EIO;
	free(r.open);
	return rc;
}
