/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SNAPMAP_BENCH_CLOCK_H
#define SNAPMAP_BENCH_CLOCK_H

/* Seconds of a clock that only goes forward. */
double clock_now(void);

#endif
