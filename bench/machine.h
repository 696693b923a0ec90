/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SNAPMAP_BENCH_MACHINE_H
#define SNAPMAP_BENCH_MACHINE_H

#include "bench/results.h"

/* Fills in the machine, the kernel and the date. 0 or -ENOMEM. */
int machine_describe(struct results *results);

#endif
