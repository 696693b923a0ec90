/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one place that names the strategies, in order of preference. */
#include "config.h"

#include "strategy.h"

extern const struct strategy strategy_exchange;
extern const struct strategy strategy_replace;
extern const struct strategy strategy_clone;
extern const struct strategy strategy_journal;

static const struct strategy *const table[] = {
	&strategy_exchange,
	&strategy_replace,
	&strategy_clone,
	&strategy_journal,
};

const struct strategy *strategy_at(size_t index)
{
	return index < sizeof(table) / sizeof(table[0]) ? table[index] : NULL;
}
