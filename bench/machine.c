/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench/results_build.h"
#include "bench/workload.h"

static void find_processor(char *ret, size_t n)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(ret, n, "processor unknown");
	while (f && fgets(line, sizeof(line), f)) {
		const char *colon = strstr(line, ": ");

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		snprintf(ret, n, "%s", colon + 2);
		ret[strcspn(ret, "\n")] = 0;
		break;
	}
	if (f)
		fclose(f);
}

int machine_describe(struct results *r)
{
	char processor[200], text[300];
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
	time_t now = time(NULL);
	struct utsname names;
	struct tm utc;

	find_processor(processor, sizeof(processor));
	snprintf(text, sizeof(text), "%s, %ld processor%s, %.1f GiB of memory", processor, processors,
		 processors == 1 ? "" : "s", memory / (double)GIB);
	if (results_set(&r->machine, text))
		return -ENOMEM;
	if (results_set(&r->kernel, uname(&names) ? "unknown" : names.release))
		return -ENOMEM;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	return results_set(&r->date, text);
}
