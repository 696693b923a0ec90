/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Results that were made up: costs follow laws that are known, with noise, so that reports of them look like
 * those of real runs.
 */
#include "config.h"

#include "report_samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 7

const char *const report_hostile[] = {
	"<script>alert(1)</script>",
	"\"quoted\" and 'quoted' & \\n \\",
	"'; system 'touch pwned'; set output 'pwned' #",
	"`touch pwned` $(touch pwned) ${HOME}",
	"</title></desc></svg><img src=x onerror=alert(1)>",
	"two\nlines\tand \x1b[31mred\x1b[0m \x01\x7f",
	"not UTF-8: \xff\xc0\xaf\xed\xa0\x80\xf8 end\xe2\x82",
	"]]> --> <!-- <![CDATA[ <?xml ?> &amp; &#60; %s %n",
	"a-very-long-name-without-any-place-to-break-it-that-would-make-a-page-wider-than-a-telephone-if-it-were-let-"
	"to",
	"EOF\nEND\nquit",
};
#define HOSTILE (sizeof(report_hostile) / sizeof(report_hostile[0]))

/* --- building */

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static char *copy(const char *text)
{
	return text ? need(strdup(text)) : NULL;
}

static struct results *start(void)
{
	struct results *r = need(calloc(1, sizeof(*r)));

	r->machine = copy("AMD EPYC 7763, 2 processors, 7.8 GiB of memory");
	r->kernel = copy("6.18.5-amd64");
	r->library = copy("0.5.0");
	r->date = copy("2026-01-31T12:34:56Z");
	r->mode = copy("standard");
	r->rounds = ROUNDS;
	r->seconds = 391;
	return r;
}

static void add_place(struct results *r, const char *name, const char *type, const char *features)
{
	r->places = need(reallocarray(r->places, r->nplaces + 1, sizeof(*r->places)));
	r->places[r->nplaces++] = (struct results_place){
		copy(name),
		copy(type),
		copy("rw,relatime,attr2,inode64,logbufs=8,logbsize=32k,noquota"),
		copy("loop device, image on tmpfs"),
		copy(features),
	};
}

static void add_workload(struct results *r, const char *id, const char *title, const char *description,
			 const char *group, enum results_axis axis, enum results_unit unit)
{
	r->workloads = need(reallocarray(r->workloads, r->nworkloads + 1, sizeof(*r->workloads)));
	r->workloads[r->nworkloads++] = (struct results_workload){
		copy(id), copy(title), copy(description), copy(group), axis, unit,
	};
}

static struct results_cell *add_cell(struct results *r, size_t place, size_t workload, uint64_t parameter)
{
	r->cells = need(reallocarray(r->cells, r->ncells + 1, sizeof(*r->cells)));
	r->cells[r->ncells] = (struct results_cell){.place = place, .workload = workload, .parameter = parameter};
	return &r->cells[r->ncells++];
}

static struct results_series *add_series(struct results_cell *c, const char *name, const char *lacks, bool library)
{
	c->series = need(reallocarray(c->series, c->nseries + 1, sizeof(*c->series)));
	c->series[c->nseries] = (struct results_series){.name = copy(name), .lacks = copy(lacks), .library = library};
	/* The reference is the first baseline. */
	c->reference = c->nseries + 1;
	for (size_t i = c->nseries + 1; i-- > 0;)
		if (!c->series[i].library)
			c->reference = i;
	return &c->series[c->nseries++];
}

/* From -1 to 1; the next of a sequence (splitmix64) */
static double noise(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1;
}

static void measure(struct results_series *s, double cost, double spread, uint64_t *state)
{
	s->values = need(calloc(ROUNDS, sizeof(double)));
	s->nvalues = ROUNDS;
	for (size_t i = 0; i < ROUNDS; i++)
		s->values[i] = cost * exp(spread * noise(state));
}

static void refuse(struct results_series *s, enum results_status status, const char *reason)
{
	s->status = status;
	s->reason = copy(reason);
}

/* --- a run as it could be */

static const struct {
	const char *name, *type, *features;
	bool reflink, exchange;
	double pace;
} kinds[] = {
	{"xfs-exchange", "xfs", "lease, reflink, copy; exchange, replace", true, true, 1},
	{"xfs", "xfs", "lease, reflink, copy; replace", true, false, 1.1},
	{"btrfs", "btrfs", "lease, reflink, copy; replace", true, false, 1.8},
	{"ext4", "ext4", "lease, copy; replace", false, false, 0.9},
	{"tmpfs", "tmpfs", "lease, copy; replace", false, false, 0.4},
	{"overlay", "overlay", "copy; replace", true, false, 1.5},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void add_kinds(struct results *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_place(r, kinds[i].name, kinds[i].type, kinds[i].features);
}

static void open_cell(struct results *r, size_t place, uint64_t size, uint64_t *state)
{
	struct results_cell *c = add_cell(r, place, 0, size);
	double pace = kinds[place].pace, bytes = (double)size;

	c->bar = 1.3;
	measure(add_series(c, "snapmap", NULL, true), 4.6e-6 * pace, 0.05, state);
	if (kinds[place].reflink)
		measure(add_series(c, "snapmap, reflink", NULL, true), 22e-6 * pace, 0.08, state);
	else
		refuse(add_series(c, "snapmap, reflink", NULL, true), STATUS_UNSUPPORTED,
		       "this file system cannot share extents");
	measure(add_series(c, "open, mmap", "not stable", false), 3.9e-6 * pace, 0.05, state);
	if (size > 1u << 30)
		refuse(add_series(c, "read all", NULL, false), STATUS_LEFT_OUT, "no room for it in memory");
	else
		measure(add_series(c, "read all", NULL, false), 6e-6 * pace + bytes * 2.2e-10, 0.1, state);
}

static void commit_cell(struct results *r, size_t place, uint64_t pages, uint64_t *state)
{
	struct results_cell *c = add_cell(r, place, 1, pages);
	double pace = kinds[place].pace, n = (double)pages;

	if (kinds[place].exchange)
		measure(add_series(c, "snapmap, exchange", NULL, true), (6e-4 + n * 3e-5) * pace, 0.12, state);
	else
		refuse(add_series(c, "snapmap, exchange", NULL, true), STATUS_UNSUPPORTED,
		       "exchanging blocks needs XFS with exchange-range, Linux 6.10");
	measure(add_series(c, "snapmap, replace", NULL, true), (2e-3 + n * 4e-5) * pace, n == 1 ? 0.7 : 0.1, state);
	measure(add_series(c, "write temporary, fsync, rename", NULL, false), 0.11 * pace, 0.1, state);
	if (place == 3 && pages > 50000)
		refuse(add_series(c, "write in place, fsync", "not atomic", false), STATUS_BROKEN,
		       "cannot write to 'edit.dat': No space left on device");
	else
		measure(add_series(c, "write in place, fsync", "not atomic", false), (4e-4 + n * 1e-5) * pace, 0.1,
			state);
	if (kinds[place].reflink)
		measure(add_series(c, "reflink, msync, reflink back", "not atomic", false), (9e-4 + n * 4e-5) * pace,
			0.15, state);
}

static void extents_cell(struct results *r, size_t place, uint64_t extents, uint64_t *state)
{
	struct results_cell *c = add_cell(r, place, 2, extents);
	double n = (double)extents;

	if (!kinds[place].reflink) {
		c->status = STATUS_UNSUPPORTED;
		c->reason = copy("this file system cannot share extents");
		return;
	}
	measure(add_series(c, "snapmap, reflink", NULL, true), 1e-5 + 1.4e-5 * n, 0.08, state);
	measure(add_series(c, "cp --reflink", NULL, false), 8e-4 + 1.4e-5 * n, 0.08, state);
}

static void threads_cell(struct results *r, size_t place, uint64_t threads, uint64_t *state)
{
	struct results_cell *c = add_cell(r, place, 3, threads);
	double n = (double)threads;

	measure(add_series(c, "snapmap", NULL, true), 5e-6 * pow(n, 0.5), 0.06, state);
	measure(add_series(c, "open, mmap", "not stable", false), 4e-6 * pow(n, 0.5), 0.06, state);
}

static void memory_cell(struct results *r, size_t place, uint64_t *state)
{
	struct results_cell *c = add_cell(r, place, 4, 0);

	measure(add_series(c, "snapmap", NULL, true), 4096, 0, state);
	measure(add_series(c, "snapmap, editable", NULL, true), 6144, 0.01, state);
	measure(add_series(c, "read all", NULL, false), 67108864, 0, state);
}

static void add_workloads(struct results *r)
{
	add_workload(r, "open-size", "Open and close, by size",
		     "A read-only handle is opened and closed. The file is in the page cache.", "Open", AXIS_SIZE,
		     UNIT_SECONDS);
	add_workload(r, "commit-dirty", "Commit, by number of edited pages",
		     "Pages all over a file of 512 MiB are edited, which is not timed, and committed, which is.",
		     "Commit", AXIS_DIRTY, UNIT_SECONDS);
	add_workload(r, "open-extents", "Open by reflink, by number of extents",
		     "An image is made of a file that lies in many extents.", "Open", AXIS_EXTENTS, UNIT_SECONDS);
	add_workload(r, "threads", "Open and close in several threads", "Time for one of them.", "Threads",
		     AXIS_THREADS, UNIT_SECONDS);
	add_workload(r, "memory", "Memory of a handle", "Resident bytes that a handle of 64 MiB takes.", "Memory",
		     AXIS_NONE, UNIT_BYTES);
}

static void fill(struct results *r, uint64_t *state)
{
	for (size_t place = 0; place < r->nplaces; place++) {
		for (uint64_t size = 4096; size <= (uint64_t)4 << 30; size *= 8)
			open_cell(r, place, size, state);
		for (uint64_t pages = 1; pages <= 100000; pages *= 10)
			commit_cell(r, place, pages, state);
		for (uint64_t extents = 1; extents <= 10000; extents *= 10)
			extents_cell(r, place, extents, state);
		for (uint64_t threads = 1; threads <= 8; threads *= 2)
			threads_cell(r, place, threads, state);
		memory_cell(r, place, state);
	}
}

static struct results *many(uint64_t seed)
{
	struct results *r = start();

	add_kinds(r, KINDS);
	add_workloads(r);
	fill(r, &seed);
	return r;
}

static struct results *one(uint64_t seed)
{
	struct results *r = start();

	add_kinds(r, 1);
	add_workloads(r);
	fill(r, &seed);
	r->interrupted = true;
	return r;
}

/* --- runs as they should not be */

static struct results *empty(uint64_t seed)
{
	(void)seed;
	return need(calloc(1, sizeof(struct results)));
}

static struct results *broken(uint64_t seed)
{
	struct results *r = start();
	struct results_cell *c;

	add_kinds(r, 2);
	add_workloads(r);
	c = add_cell(r, 0, 0, 4096);
	c->status = STATUS_BROKEN;
	c->reason = copy("cannot open 'open.dat': Input/output error");
	c = add_cell(r, 0, 0, 8192);
	refuse(add_series(c, "snapmap", NULL, true), STATUS_BROKEN, NULL);
	add_series(c, "read all", NULL, false);
	c = add_cell(r, 1, 0, 8192);
	measure(add_series(c, "read all", NULL, false), 0, 0, &seed);
	add_cell(r, 1, 1, 10);
	for (size_t i = 0; i < 2; i++) {
		c = add_cell(r, i, 2, 100);
		c->status = STATUS_LEFT_OUT;
		c->reason = copy("not within the time of a quick run");
	}
	c = add_cell(r, 1, 4, 0);
	c->bar = 1000;
	measure(add_series(c, "snapmap", NULL, true), 4096, 0.2, &seed);
	return r;
}

static struct results *single(uint64_t seed)
{
	struct results *r = start();

	add_kinds(r, 2);
	add_workloads(r);
	open_cell(r, 0, 4096, &seed);
	open_cell(r, 1, 4096, &seed);
	commit_cell(r, 0, 100, &seed);
	memory_cell(r, 0, &seed);
	return r;
}

static struct results *huge(uint64_t seed)
{
	static const double costs[] = {1e300, 1e150, 1e9, 86400, 1, 1e-9, 1e-150, 1e-300, 0, -1, INFINITY, NAN};
	struct results *r = start();

	add_kinds(r, 1);
	add_workloads(r);
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		struct results_cell *c = add_cell(r, 0, i % 4, i ? UINT64_MAX >> (5 * i) : 0);

		measure(add_series(c, "snapmap", NULL, true), costs[i], 0, &seed);
		measure(add_series(c, "read all", NULL, false), costs[(i + 1) % 12], 0, &seed);
	}
	r->seconds = 1e300;
	return r;
}

static struct results *hostile(uint64_t seed)
{
	struct results *r = start();

	free(r->machine);
	free(r->kernel);
	r->machine = copy(report_hostile[0]);
	r->kernel = copy(report_hostile[1]);
	for (size_t i = 0; i < HOSTILE; i++)
		add_place(r, report_hostile[i], report_hostile[(i + 1) % HOSTILE], report_hostile[(i + 2) % HOSTILE]);
	free(r->places[0].options);
	r->places[0].options = copy(report_hostile[3]);
	for (size_t i = 0; i < HOSTILE; i++) {
		add_workload(r, report_hostile[i], report_hostile[i], report_hostile[(i + 3) % HOSTILE],
			     report_hostile[i / 2], AXIS_DIRTY, UNIT_SECONDS);
		for (uint64_t n = 1; n <= 1000; n *= 10) {
			struct results_cell *c = add_cell(r, i, i, n);

			for (size_t k = 0; k < HOSTILE; k++)
				measure(add_series(c, report_hostile[k],
						   k % 3 ? report_hostile[(k + i) % HOSTILE] : NULL, k % 2),
					(double)n * 1e-6 * (double)(k + 1), 0.1, &seed);
			refuse(add_series(c, "reason", NULL, false), STATUS_BROKEN, report_hostile[i]);
		}
	}
	return r;
}

const struct sample report_samples[] = {
	{"many", many},	    {"one", one},   {"empty", empty},	  {"broken", broken},
	{"single", single}, {"huge", huge}, {"hostile", hostile}, {NULL, NULL},
};

struct results *report_sample(const char *name, uint64_t seed)
{
	for (const struct sample *s = report_samples; s->name; s++)
		if (!strcmp(s->name, name))
			return s->make(seed);
	return NULL;
}

/* --- freeing */

static void drop_cell(struct results_cell *c)
{
	for (size_t i = 0; i < c->nseries; i++) {
		free(c->series[i].name);
		free(c->series[i].lacks);
		free(c->series[i].reason);
		free(c->series[i].values);
	}
	free(c->series);
	free(c->reason);
}

static void drop_texts(struct results *r)
{
	for (size_t i = 0; i < r->nplaces; i++) {
		free(r->places[i].name);
		free(r->places[i].type);
		free(r->places[i].options);
		free(r->places[i].device);
		free(r->places[i].features);
	}
	for (size_t i = 0; i < r->nworkloads; i++) {
		free(r->workloads[i].id);
		free(r->workloads[i].title);
		free(r->workloads[i].description);
		free(r->workloads[i].group);
	}
	free(r->machine);
	free(r->kernel);
	free(r->library);
	free(r->date);
	free(r->mode);
}

void report_sample_drop(struct results *r)
{
	for (size_t i = 0; i < r->ncells; i++)
		drop_cell(&r->cells[i]);
	drop_texts(r);
	free(r->cells);
	free(r->places);
	free(r->workloads);
	free(r);
}
