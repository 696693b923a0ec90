/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a disk may hold after a power cut: all that a completed flush has made durable,
 * and of what was written since, any part. A write that was recorded before a flush had
 * been answered before it; one recorded after it is not covered by it.
 */
#ifndef SNAPMAP_CRASH_STATE_H
#define SNAPMAP_CRASH_STATE_H

#include "act.h"
#include "pages.h"
#include "record.h"

enum mode {
	MODE_ALL,     /* all of it, in order */
	MODE_NOTHING, /* all dropped */
	MODE_SUBSET,  /* whole writes, in order */
	MODE_TORN,    /* parts of writes, in any order */
};

struct state {
	uint64_t seed;
	size_t cut;   /* events before this one have happened */
	size_t flush; /* the ones before this one are durable */
	enum mode mode;
};

/* What must be found then, by version: at least @floor, at most @newest. */
struct expect {
	uint64_t floor[FILES], newest[FILES];
};

void state_choose(const struct record *r, uint64_t seed, struct state *ret);
void state_build(const struct record *r, const struct state *s, struct pages *p);
void state_expect(const struct record *r, const struct state *s, struct expect *ret);
const char *mode_name(enum mode mode);

/* A mark changes what is expected; @power: whether only what is durable counts. */
void expect_mark(struct expect *e, const struct mark *m, bool power);

#endif
