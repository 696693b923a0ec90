/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One cell: which contenders can run at the place, their files, and then the harness. */
#include "config.h"

#include "bench/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/harness.h"
#include "bench/results_build.h"

struct plan {
	struct place *place;
	const struct workload *workload;
	bool (*stopped)(void);
	struct shape shape;
	struct job jobs[CONTENDERS_MAX];
	char paths[CONTENDERS_MAX][PATH_MAX];
	struct why why;
};

static struct shape shape_of(const struct workload *w, const struct point *point)
{
	if (w->axis == AXIS_EXTENTS)
		return (struct shape){SHAPE_FRAGMENTED, point->value};
	return (struct shape){w->sparse ? SHAPE_SPARSE : SHAPE_DENSE, w->axis == AXIS_SIZE ? point->value : w->size};
}

static void plan_jobs(struct plan *plan, const struct point *point)
{
	const struct workload *w = plan->workload;
	bool counts = w->axis == AXIS_DIRTY || w->axis == AXIS_THREADS;

	plan->shape = shape_of(w, point);
	for (size_t i = 0; i < w->ncontenders; i++)
		plan->jobs[i] = (struct job){
			.place = plan->place,
			.contender = &w->contenders[i],
			.dir = plan->place->dir,
			.path = plan->paths[i],
			.size = shape_size(&plan->shape),
			.count = counts ? (unsigned)point->value : w->count,
			.before = w->before,
			.clustered = w->clustered,
			.warm = w->warm,
			.stopped = plan->stopped,
			.why = &plan->why,
		};
}

static const char *what_is_lacking(const struct place *place, const struct contender *c)
{
	const char *lacks = c->source ? place_lacks_source(place, c->source) : NULL;

	if (!lacks && c->strategy)
		lacks = place_lacks_strategy(place, c->strategy);
	return lacks;
}

static int add_series(const struct plan *plan, struct results_cell *cell)
{
	for (size_t i = 0; i < plan->workload->ncontenders; i++) {
		const struct contender *c = &plan->workload->contenders[i];
		struct results_series *s = results_add_series(cell);
		const char *lacks = what_is_lacking(plan->place, c);

		if (!s || results_set(&s->name, c->name) || results_set(&s->lacks, c->lacks) ||
		    results_set(&s->reason, lacks))
			return -ENOMEM;
		s->library = c->library;
		s->status = lacks ? STATUS_UNSUPPORTED : STATUS_MEASURED;
	}
	return 0;
}

static unsigned count_measured(const struct results_cell *cell)
{
	unsigned n = 0;

	for (size_t i = 0; i < cell->nseries; i++)
		n += cell->series[i].status == STATUS_MEASURED;
	return n;
}

/*
 * What contenders write besides their files: one new version at a time, the old one
 * of which may be held open; and without reflinks each may keep an image all the while.
 * Contenders that fill holes are not let at holes to change (work_commit.c).
 */
static uint64_t room_to_work(const struct plan *plan, unsigned own_files)
{
	uint64_t size = shape_size(&plan->shape);

	if (!own_files)
		return size;
	if (plan->shape.kind == SHAPE_SPARSE)
		return 0;
	return size * (place_lacks_source(plan->place, SNAPMAP_SOURCE_REFLINK) ? own_files + 1 : 2);
}

/* All contenders share one file, or each has its own. */
static int make_files(struct plan *plan, const struct results_cell *cell)
{
	bool own = plan->workload->own_files;
	const char *path;
	unsigned own_files = own ? count_measured(cell) : 0;
	int rc = pool_make_room(plan->place->pool, plan->place, &plan->shape, own_files, room_to_work(plan, own_files),
				&plan->why);

	for (unsigned i = 0; !rc && i < cell->nseries; i++) {
		if (cell->series[i].status != STATUS_MEASURED)
			continue;
		rc = own ? pool_get_own(plan->place->pool, &plan->shape, i, plan->stopped, &path)
			 : pool_get(plan->place->pool, &plan->shape, plan->stopped, &path);
		if (!rc)
			snprintf(plan->paths[i], sizeof(plan->paths[i]), "%s", path);
	}
	return rc;
}

static int fail(struct results_cell *cell, int rc, const char *reason)
{
	cell->status = rc == -ENOSPC ? STATUS_LEFT_OUT : STATUS_BROKEN;
	for (size_t i = 0; i < cell->nseries; i++)
		if (cell->series[i].status == STATUS_MEASURED) {
			cell->series[i].status = cell->status;
			if (results_set(&cell->series[i].reason, reason))
				return -ENOMEM;
		}
	return results_set(&cell->reason, reason);
}

static int run_contenders(struct plan *plan, const struct effort *effort, struct results_cell *cell)
{
	struct comparison c = {
		.jobs = plan->jobs,
		.cell = cell,
		.rounds = effort->rounds,
		.batch = plan->workload->batch ? plan->workload->batch : 1,
		.budget = effort->budget,
		.limit = effort->limit,
		.settle_fd = -1,
	};
	int rc;

	if (plan->workload->settle)
		c.settle_fd = open(plan->place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = harness_measure(&c);
	if (c.settle_fd >= 0)
		close(c.settle_fd);
	pool_give_back(plan->place->pool);
	return rc;
}

/* The status of a cell is the best of its series. */
static int conclude(const struct plan *plan, const struct point *point, struct results_cell *cell)
{
	cell->reference = cell->nseries;
	for (size_t i = cell->nseries; i-- > 0;)
		if (!cell->series[i].library && cell->series[i].status == STATUS_MEASURED)
			cell->reference = i;
	if (!plan->workload->bar_applies || plan->workload->bar_applies(plan->place))
		cell->bar = point->bar;
	if (count_measured(cell) || cell->status != STATUS_MEASURED || !cell->nseries)
		return 0;
	cell->status = cell->series[0].status;
	return results_set(&cell->reason, cell->series[0].reason);
}

int cell_measure(struct place *place, const struct workload *w, const struct point *point, const struct effort *effort,
		 bool (*stopped)(void), struct results_cell *cell)
{
	static struct plan plan;
	int rc;

	memset(&plan, 0, sizeof(plan));
	plan.place = place;
	plan.workload = w;
	plan.stopped = stopped;
	plan_jobs(&plan, point);
	cell->parameter = point->value;
	rc = add_series(&plan, cell);
	if (rc)
		return rc;
	if (count_measured(cell)) {
		rc = make_files(&plan, cell);
		if (stopped())
			return -ECANCELED;
		if (rc)
			rc = fail(cell, rc, plan.why.text[0] ? plan.why.text : strerror(-rc));
		else
			rc = run_contenders(&plan, effort, cell);
	}
	return rc ? rc : conclude(&plan, point, cell);
}
