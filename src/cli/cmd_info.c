/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "snapmap info": what snapmap_probe() finds, as text. */
#include "config.h"

#include <stdio.h>

#include "cli.h"

static const struct syntax syntax = {
	.name = "info",
	.arguments = "PATH...",
	.min_operands = 1,
	.help = "Tells for each file or directory which source would serve a read-only and an\n"
		"editable handle, how a commit would be made, and why not in a better way. The\n"
		"better ways come first.\n",
};

/* "-" stands for none. */
static const char *or_none(uint32_t id, const char *name)
{
	return id ? name : "-";
}

static void print_entry(const char *kind, const char *name, const struct snapmap_probe_entry *entry, const char *use)
{
	printf("  %-8s  %-9s  %-3s  %s\n", kind, name, entry->error ? "no" : "yes", entry->error ? entry->reason : use);
}

static const char *use_of_source(const struct snapmap_probe *probe, uint32_t id)
{
	if (id == probe->source && id == probe->source_mut)
		return "serves both";
	if (id == probe->source)
		return "serves read-only handles";
	if (id == probe->source_mut)
		return "serves editable handles";
	if (id == SNAPMAP_SOURCE_EXCLUSIVE)
		return "only on request: for editing, not stable against others";
	return "on request, or if a better one fails";
}

static const char *use_of_strategy(const struct snapmap_probe *probe, uint32_t id)
{
	if (id == probe->strategy)
		return "used";
	if (id == SNAPMAP_STRATEGY_REPLACE)
		return "on request, or if a better one fails";
	if (id == SNAPMAP_STRATEGY_CLONE)
		return "only on request: not crash-atomic, readers may see a mix";
	return "only on request";
}

static void print_probe(const char *path, const struct snapmap_probe *probe)
{
	printf("%s\n", path);
	printf("  file system      %s\n", probe->file_system);
	printf("  read-only handle %s\n", or_none(probe->source, snapmap_source_name(probe->source)));
	printf("  editable handle  %s\n", or_none(probe->source_mut, snapmap_source_name(probe->source_mut)));
	printf("  commit           %s\n", or_none(probe->strategy, snapmap_strategy_name(probe->strategy)));
	for (uint32_t i = 0; i < probe->nsources; i++) {
		const struct snapmap_probe_entry *entry = &probe->sources[i];

		print_entry("source", snapmap_source_name(entry->id), entry, use_of_source(probe, entry->id));
	}
	for (uint32_t i = 0; i < probe->nstrategies; i++) {
		const struct snapmap_probe_entry *entry = &probe->strategies[i];

		print_entry("strategy", snapmap_strategy_name(entry->id), entry, use_of_strategy(probe, entry->id));
	}
}

int cmd_info(int argc, char **argv)
{
	struct request request;
	int status = options_parse(&syntax, argc, argv, &request);

	if (status >= 0)
		return status;
	status = STATUS_OK;
	for (int i = 0; i < request.count; i++) {
		struct snapmap_probe probe;
		int rc = snapmap_probe(request.operands[i], &probe);

		if (rc)
			status = report_open(rc);
		else
			print_probe(request.operands[i], &probe);
	}
	return report_output(status);
}
