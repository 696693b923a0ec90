/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of the public constants, for people. */
#include "config.h"

#include "snapmap.h"

const char *snapmap_source_name(uint32_t source)
{
	switch (source) {
	case SNAPMAP_SOURCE_AUTO:
		return "auto";
	case SNAPMAP_SOURCE_IMMUTABLE:
		return "immutable";
	case SNAPMAP_SOURCE_LEASE:
		return "lease";
	case SNAPMAP_SOURCE_SUBVOLUME:
		return "subvolume";
	case SNAPMAP_SOURCE_REFLINK:
		return "reflink";
	case SNAPMAP_SOURCE_SNAPFS:
		return "snapfs";
	case SNAPMAP_SOURCE_MINIFS:
		return "minifs";
	case SNAPMAP_SOURCE_COPY:
		return "copy";
	case SNAPMAP_SOURCE_EXCLUSIVE:
		return "exclusive";
	default:
		return "unknown";
	}
}

const char *snapmap_consistency_name(uint32_t consistency)
{
	switch (consistency) {
	case SNAPMAP_CONSISTENCY_FUZZY:
		return "fuzzy";
	case SNAPMAP_CONSISTENCY_POINT_IN_TIME:
		return "point in time";
	case SNAPMAP_CONSISTENCY_EACH_FILE:
		return "each file";
	default:
		return "unknown";
	}
}

const char *snapmap_strategy_name(uint32_t strategy)
{
	switch (strategy) {
	case SNAPMAP_STRATEGY_AUTO:
		return "auto";
	case SNAPMAP_STRATEGY_EXCHANGE:
		return "exchange";
	case SNAPMAP_STRATEGY_REPLACE:
		return "replace";
	case SNAPMAP_STRATEGY_CLONE:
		return "clone";
	case SNAPMAP_STRATEGY_JOURNAL:
		return "journal";
	case SNAPMAP_STRATEGY_IMAGE:
		return "image";
	default:
		return "unknown";
	}
}

const char *snapmap_version(void)
{
	return PACKAGE_VERSION;
}
