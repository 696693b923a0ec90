/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers that depend on a seed only: splitmix64 (https://prng.di.unimi.it/splitmix64.c, public domain). */
#ifndef SNAPMAP_CRASH_RANDOM_H
#define SNAPMAP_CRASH_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

static inline bool random_percent(uint64_t *state, unsigned percent)
{
	return random_below(state, 100) < percent;
}

/* A seed for one of many things that have the seed @a together. */
static inline uint64_t random_mix(uint64_t a, uint64_t b)
{
	uint64_t state = a ^ (b * 0xd6e8feb86659fd93);

	return random_next(&state);
}

#endif
