/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How charts look. Series differ by color, by the shape of points and by the line: the
 * library's are solid and filled, baselines dashed and hollow, and those that
 * do not do the same job dotted. Colors keep apart for color-blind people too, and have
 * a contrast of at least 3 to 1 to the paper.
 */
#include "config.h"

#include "bench/chart.h"

#define COLORS 6u

/* The library's, then the baselines' */
static const char *const palettes[2][2 * COLORS] = {
	{
		"#0067b1",
		"#c8500a",
		"#00795a",
		"#9a3f86",
		"#7a6200",
		"#3d3d9e",
		"#6b7280",
		"#a06a00",
		"#2a86b8",
		"#b04a5a",
		"#4f7f3f",
		"#7d68b0",
	},
	{
		"#5db2f2",
		"#f39255",
		"#3cc79f",
		"#e391cb",
		"#d9be4a",
		"#a3a3f5",
		"#a4acb8",
		"#dda94a",
		"#7cc4e8",
		"#ee96a4",
		"#9acb86",
		"#c3b2ee",
	},
};

static const struct {
	const char *name, *light, *dark;
} papers[] = {
	{"ink", "#1c232b", "#e4e8ec"},	{"quiet", "#56616d", "#a3adb8"}, {"grid", "#e3e7eb", "#2c343d"},
	{"axis", "#9aa4af", "#66717d"}, {"warn", "#b3261e", "#ff8a80"},	 {"paper", "#ffffff", "#171c22"},
};

/* By gnuplot's numbers: circle, square, triangle, triangle on its head, diamond, pentagon; hollow are one less */
static const unsigned filled[] = {7, 5, 9, 11, 13, 15};
#define SHAPES (sizeof(filled) / sizeof(filled[0]))

struct chart_style chart_style(bool library, const char *lacks, size_t index)
{
	/* Once colors begin again, shapes have moved on. */
	unsigned shape = filled[(index + index / COLORS) % SHAPES];

	return (struct chart_style){
		.color = (unsigned)(index % COLORS) + (library ? 1 : 1 + COLORS),
		.shape = library ? shape : shape - 1,
		/* Where curves lie upon each other, the upper ones leave something of the lower ones to be seen. */
		.size = 0.55 + 0.1 * (double)(index % COLORS),
		.dash = library ? NULL
			: lacks ? "1.5,3.5"
				: "6,3.5",
	};
}

bool chart_can_show(double value)
{
	return value > 1e-200 && value < 1e200;
}

void chart_write_palette(FILE *out, bool dark)
{
	for (unsigned i = 0; i < 2 * COLORS; i++)
		fprintf(out, "--s%u:%s;", i + 1, palettes[dark][i]);
	for (size_t i = 0; i < sizeof(papers) / sizeof(papers[0]); i++)
		fprintf(out, "--%s:%s;", papers[i].name, dark ? papers[i].dark : papers[i].light);
}

void chart_write_rules(FILE *out)
{
	for (unsigned i = 1; i <= 2 * COLORS; i++)
		fprintf(out, ".s%u{color:var(--s%u)}", i, i);
	fputs(".grid{color:var(--grid)}.axis{color:var(--axis)}.ring{color:var(--warn)}.bar{opacity:.45}"
	      ".hover{opacity:0}.hollow{fill:var(--paper)}.chart text{font-family:system-ui,sans-serif}\n",
	      out);
}

void chart_write_symbols(FILE *out)
{
	static const char *const shapes[] = {
		"<rect x='-.9' y='-.9' width='1.8' height='1.8'",
		"<circle r='1'",
		"<path d='M0,-1.3L-1.2,.8H1.2z'",
		"<path d='M0,1.3L-1.2,-.8H1.2z'",
		"<path d='M0,-1.35L-1.2,0L0,1.35L1.2,0z'",
		"<path d='M0,1.25L1.2,.4L.75,-1.05H-.75L-1.2,.4z'",
	};

	fputs("<defs>", out);
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		fprintf(out, "%s id='p%u' class='hollow' stroke='currentColor' stroke-width='.5'/>", shapes[i],
			2 * i + 4);
		fprintf(out, "%s id='p%u' fill='currentColor' stroke='currentColor' stroke-width='.3'/>", shapes[i],
			2 * i + 5);
	}
	fputs("<circle id='ring' r='1' fill='none' stroke='currentColor' stroke-width='.2'/></defs>\n", out);
}
