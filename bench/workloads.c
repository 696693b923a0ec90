/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/workloads.h"

#define WORKLOAD(name) &name,
static const struct workload *const table[] = {WORKLOADS};
#undef WORKLOAD

const struct workload *workload_at(size_t i)
{
	return i < sizeof(table) / sizeof(table[0]) ? table[i] : NULL;
}

bool workload_has_bar(const struct workload *w)
{
	for (size_t i = 0; i < w->npoints; i++)
		if (w->points[i].bar != 0)
			return true;
	return false;
}
