/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes along with a negative errno: the sentence that the user reads. */
#ifndef SNAPMAP_BENCH_WHY_H
#define SNAPMAP_BENCH_WHY_H

struct why {
	char text[512];
};

/* Writes the sentence and returns @rc. */
int why_set(struct why *why, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
