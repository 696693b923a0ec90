/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Colors that stand for classes between the script that gnuplot gets and the SVG that it writes: red says
 * which kind of thing it is, blue which series.
 */
#ifndef SNAPMAP_BENCH_CHART_MARKS_H
#define SNAPMAP_BENCH_CHART_MARKS_H

enum chart_mark {
	MARKED_SERIES = 1,
	MARKED_BAR = 2,
	MARKED_GRID = 3,
	MARKED_AXIS = 4,
	MARKED_RING = 5,
	MARKED_HOVER = 6,
};

#define MARK_SERIES "#0100%02x"
#define MARK_BAR "#0200%02x"
#define MARK_GRID "#030000"
#define MARK_AXIS "#040000"
#define MARK_RING "#050000"
#define MARK_HOVER "#060000"

#endif
