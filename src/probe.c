/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a place supports: every backend and strategy is asked. See include/snapmap/probe.h. */
#include "config.h"

#include "snapmap/probe.h"

#include <errno.h>
#include <stdio.h>

#include "handle.h"
#include "lease.h"
#include "snapmap/map_mut.h"
#include "strategy.h"
#include "sys.h"

static void fill(struct snapmap_probe_entry *entry, uint32_t id, int error, const char *what)
{
	*entry = (struct snapmap_probe_entry){.id = id, .error = error};
	if (error)
		snprintf(entry->reason, sizeof(entry->reason), "%s: %s", what, error_text(error));
}

static void probe_sources(const struct source *source, int dirfd, struct snapmap_probe *ret)
{
	const struct options none = {0};
	struct source_request request = {
		.fd = source->fd,
		.own_offset = source->own_offset,
		.dirfd = dirfd,
		.st = &source->st,
		.verity = source->verity,
		.fs = source->fs,
		.mount = source->mount,
		.options = &none,
		.lease = &lease_terms,
		.generation = source->generation,
	};
	const struct backend *b;

	for (size_t i = 0; (b = backend_at(i)) && i < SNAPMAP_PROBE_SOURCES; i++) {
		const char *what = "";
		int rc = b->probe(&request, &what);

		fill(&ret->sources[ret->nsources++], b->source, rc, what);
		if (!rc && b->read_only && !ret->source)
			ret->source = b->source;
		if (!rc && b->editable && !b->on_request && !ret->source_mut)
			ret->source_mut = b->source;
	}
}

static void probe_strategies(const struct target *target, struct snapmap_probe *ret)
{
	const struct strategy *s;

	for (size_t i = 0; (s = strategy_at(i)) && i < SNAPMAP_PROBE_STRATEGIES; i++) {
		const char *what = "";
		int rc = s->probe(target, &what);

		fill(&ret->strategies[ret->nstrategies++], s->id, rc, what);
		if (!rc && s->automatic && !ret->strategy)
			ret->strategy = s->id;
	}
}

/* A file with one page of data in the directory, or in memory if it cannot be written. */
static int make_sample(int dirfd, struct source *ret)
{
	struct private_file_request request = {.dirfd = dirfd, .local_only = true, .mode = S_IRUSR};
	static const char page[4096] = {1};
	struct source s = {.own_offset = true};
	int rc = file_size_allowed(sizeof(page)), reader;

	if (rc)
		return error_set(rc, "probe", NULL);
	rc = private_file_create(&request, &s.fd);
	if (rc)
		rc = private_file_memory("snapmap-probe", &s.fd);
	if (rc)
		return error_set(rc, "probe", NULL);
	rc = file_size_allowed(sizeof(page));
	if (!rc)
		rc = sys_pwrite_full(s.fd, page, sizeof(page), 0);
	if (!rc)
		rc = sys_fstat(s.fd, &s.st);
	if (rc) {
		sys_close(s.fd);
		return error_set(rc, "probe", NULL);
	}
	s.fs = fs_traits_of(dirfd);
	/* It stands for files that have names, and that nobody has open for writing. */
	s.st.st_nlink = 1;
	reader = sys_reopen(s.fd, O_RDONLY);
	if (reader >= 0) {
		sys_close(s.fd);
		s.fd = reader;
	}
	*ret = s;
	return 0;
}

static int probe_directory(const char *path, struct snapmap_probe *ret)
{
	struct target target = {.place = {.name = ".", .link_dirfd = -1}};
	struct source source;
	int rc;

	target.place.dirfd = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
	if (target.place.dirfd < 0)
		return error_set(target.place.dirfd, "open", NULL);
	rc = make_sample(target.place.dirfd, &source);
	if (!rc) {
		probe_sources(&source, target.place.dirfd, ret);
		target.fd = source.fd;
		probe_strategies(&target, ret);
		snprintf(ret->file_system, sizeof(ret->file_system), "%s", source.fs->name);
		source_close(&source);
	}
	place_close(&target.place);
	return rc;
}

static int probe_file(const char *path, struct snapmap_probe *ret)
{
	struct target target = {.place = {.dirfd = -1, .link_dirfd = -1}};
	struct source source;
	int rc = source_open(path, true, &source);

	if (rc)
		return rc;
	place_find_fd(source.fd, &target.place);
	target.fd = source.fd;
	target.fs = source.fs;
	probe_sources(&source, target.place.dirfd, ret);
	probe_strategies(&target, ret);
	snprintf(ret->file_system, sizeof(ret->file_system), "%s", source.fs->name);
	place_close(&target.place);
	source_close(&source);
	return 0;
}

int snapmap_probe(const char *path, struct snapmap_probe *ret)
{
	struct snapmap_probe probe = {0};
	struct stat st;
	int rc;

	error_begin(path ? path : "(null)");
	if (!path || !ret)
		return error_set(-EINVAL, "probe", "path and result must not be NULL");
	rc = sys_fstatat(AT_FDCWD, path, 0, &st);
	if (rc)
		return error_set(rc, "open", NULL);
	rc = S_ISDIR(st.st_mode) ? probe_directory(path, &probe) : probe_file(path, &probe);
	if (!rc)
		*ret = probe;
	return rc;
}
