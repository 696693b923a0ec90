/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results that were made up, for tests of the reports. */
#ifndef SNAPMAP_REPORT_SAMPLES_H
#define SNAPMAP_REPORT_SAMPLES_H

#include <stdint.h>

#include "bench/results.h"

struct sample {
	const char *name;
	struct results *(*make)(uint64_t seed);
};

/* All kinds of runs; the last has no name. */
extern const struct sample report_samples[];

/* One of them by its name, NULL if there is none. */
struct results *report_sample(const char *name, uint64_t seed);
/* Frees what these functions made. */
void report_sample_drop(struct results *results);

/* What the sample "hostile" has as names, in several languages of injection. */
extern const char *const report_hostile[];

#endif
