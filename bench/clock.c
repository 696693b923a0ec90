/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/clock.h"

#include <time.h>

double clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
