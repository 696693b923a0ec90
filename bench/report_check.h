/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether results are coherent. */
#ifndef SNAPMAP_BENCH_REPORT_CHECK_H
#define SNAPMAP_BENCH_REPORT_CHECK_H

#include "bench/results.h"

/* 0, or -EINVAL and a sentence for report_last_error() if a text that is needed is missing, or a cell
 * names a place or workload that there is not. */
int report_check(const struct results *results);

#endif
