/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether results are coherent. */
#ifndef SNAPMAP_BENCH_REPORT_CHECK_H
#define SNAPMAP_BENCH_REPORT_CHECK_H

#include "bench/results.h"
#include "bench/why.h"

/*
 * 0, or -EINVAL with @why if a text that is needed is missing, or a cell names a place or workload
 * that there is not.
 */
int report_check(const struct results *results, struct why *why);

#endif
